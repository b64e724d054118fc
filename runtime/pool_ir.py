"""The thread pool, as LLVM IR: what runs one function on several threads at once.

It is part of every exported library and is loaded once into a process that runs compiled programs, so it needs libc
and POSIX threads only. In C, with all numbers 64 bits wide unless said otherwise:

    struct pool {
        int32_t (*run)(pool, threads, body, context, int32_t eager);
        void (*wait)(pool, threads);
        void (*stop)(pool);
        spin;       // nanoseconds for which an idle worker watches for work before it sleeps
        ...
    };

`run` calls `int32_t body(context, thread, threads)` for every thread from 0 to threads - 1, thread 0 being the caller,
and returns what thread 0 returned. All of them round floats, and treat subnormal ones, as the caller does. Where the
pool is busy with another caller, or no worker can be started, it calls `body(context, 0, 1)`. Unless `eager`, it does
so too when the last run ended longer ago than workers stay awake: then waking them would cost more than a short program
takes. `wait` is the barrier: it returns once all threads of the body have called it. `stop` ends the workers; the next
run starts new ones. After a fork the child starts from an empty pool.

The word that publishes a job holds its number and its threads, so that a worker which is not part of a job never looks
at it. A worker that finds no new word for a while counts itself as a sleeper and waits on the condition variable; the
caller publishes first and looks for sleepers then, so that no wake-up is lost (both in sequentially consistent order).
The barrier is the centralised one with a generation in place of a sense (Mellor-Crummey and Scott, "Algorithms for
scalable synchronization on shared-memory multiprocessors", 1991).
"""

from __future__ import annotations

MOST_THREADS = 256
SPIN_NS = 100_000

# What each kind of processor has intrinsics of its own for: to say that a thread waits in a loop, and to keep at
# %mode.at, and take from there, how a thread computes with floats (rounding, subnormal numbers).
_PROCESSORS = {
    "x86_64": {
        "@DECLARATIONS@": """\
declare void @llvm.x86.sse2.pause()
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)""",
        "@PAUSE@": "call void @llvm.x86.sse2.pause()",
        "@KEEP_MODE@": "call void @llvm.x86.sse.stmxcsr(ptr %mode.at)",
        "@TAKE_MODE@": "call void @llvm.x86.sse.ldmxcsr(ptr %mode.at)",
    },
    "aarch64": {
        "@DECLARATIONS@": """\
declare void @llvm.aarch64.hint(i32)
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)""",
        "@PAUSE@": "call void @llvm.aarch64.hint(i32 1)",
        "@KEEP_MODE@": "%mode = call i64 @llvm.aarch64.get.fpcr()\n  store i64 %mode, ptr %mode.at",
        "@TAKE_MODE@": "%mode = load i64, ptr %mode.at\n  call void @llvm.aarch64.set.fpcr(i64 %mode)",
    },
}

# What lies in a pool, by byte offset. Each group that is written by one side and watched by another has 64 bytes of its
# own: a cache line.
_TEXT = r"""
%slot = type { i64, ptr, i64, i64 }            ; a worker: handle, pool, its number, the word it has seen
%pool = type {
  ptr, ptr, ptr, i64, i64, i32, i32, i64, i64, ;  0 run, wait, stop, spin; 4 end of last run; 5 pid; 6 lock; 8 workers
  i64, ptr, ptr, [5 x i64],                    ;  9 word; 10 body; 11 context; 12 how the caller computes with floats
  i64, [7 x i64],                              ; 13 how many workers are done
  i64, [7 x i64],                              ; 15 how many threads have come to the barrier
  i64, [7 x i64],                              ; 17 how often the barrier has opened
  i64, [7 x i64],                              ; 19 sleepers
  [8 x i64], [8 x i64],                        ; 21 mutex; 22 condition variable: all zero is their initial state
  [@WORKERS@ x %slot]                          ; 23
}

@NAME@ = global %pool { ptr @NAME@.run, ptr @NAME@.wait, ptr @NAME@.stop, i64 @SPIN@, i64 0, i32 0, i32 0,
  i64 0, i64 0, i64 0, ptr null, ptr null, [5 x i64] zeroinitializer, i64 0, [7 x i64] zeroinitializer,
  i64 0, [7 x i64] zeroinitializer, i64 0, [7 x i64] zeroinitializer, i64 0, [7 x i64] zeroinitializer,
  [8 x i64] zeroinitializer, [8 x i64] zeroinitializer, [@WORKERS@ x %slot] zeroinitializer }, align 64

declare i32 @clock_gettime(i32, ptr)
declare i32 @getpid()
declare i32 @pthread_cond_broadcast(ptr)
declare i32 @pthread_cond_wait(ptr, ptr)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)
declare i32 @pthread_mutex_lock(ptr)
declare i32 @pthread_mutex_unlock(ptr)
declare i32 @pthread_sigmask(i32, ptr, ptr)
declare i32 @sched_yield()
@DECLARATIONS@
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

; Nanoseconds of the monotonic clock.
define internal i64 @NAME@.clock() nounwind {
  %spec = alloca [2 x i64]
  call i32 @clock_gettime(i32 1, ptr %spec)
  %seconds = load i64, ptr %spec
  %rest.at = getelementptr i64, ptr %spec, i64 1
  %rest = load i64, ptr %rest.at
  %scaled = mul i64 %seconds, 1000000000
  %now = add i64 %scaled, %rest
  ret i64 %now
}

; Watch a place until it holds something else than %seen, or until the clock reaches %deadline; what it held last.
; After a while (a few microseconds) it gives way between looks: who it waits for may need this processor.
define internal i64 @NAME@.watch(ptr %place, i64 %seen, i64 %deadline) nounwind {
entry:
  br label %look
look:
  %round = phi i64 [ 0, %entry ], [ %next, %again ], [ %next, %pausing ]
  %now = load atomic i64, ptr %place acquire, align 8
  %changed = icmp ne i64 %now, %seen
  br i1 %changed, label %done, label %pausing
pausing:
  @PAUSE@
  %next = add i64 %round, 1
  %low = and i64 %next, 63
  %rarely = icmp eq i64 %low, 0
  br i1 %rarely, label %long, label %look
long:
  %time = call i64 @NAME@.clock()
  %late = icmp sge i64 %time, %deadline
  br i1 %late, label %done, label %patient
patient:
  %many = icmp ugt i64 %next, 128
  br i1 %many, label %yield, label %again
yield:
  call i32 @sched_yield()
  br label %again
again:
  br label %look
done:
  ret i64 %now
}

; Publish a job of that many threads (0: end), and wake who sleeps.
define internal void @NAME@.publish(ptr %pool, i64 %threads) nounwind {
  %word.at = getelementptr %pool, ptr %pool, i32 0, i32 9
  %old = load atomic i64, ptr %word.at monotonic, align 8
  %number = lshr i64 %old, 16
  %following = add i64 %number, 1
  %shifted = shl i64 %following, 16
  %word = or i64 %shifted, %threads
  store atomic i64 %word, ptr %word.at seq_cst, align 8
  %sleepers.at = getelementptr %pool, ptr %pool, i32 0, i32 19
  %sleepers = load atomic i64, ptr %sleepers.at seq_cst, align 8
  %asleep = icmp ne i64 %sleepers, 0
  br i1 %asleep, label %wake, label %done
wake:
  %mutex = getelementptr %pool, ptr %pool, i32 0, i32 21
  %condition = getelementptr %pool, ptr %pool, i32 0, i32 22
  call i32 @pthread_mutex_lock(ptr %mutex)
  call i32 @pthread_cond_broadcast(ptr %condition)
  call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %done
done:
  ret void
}

; The word after %seen: watched for at first, then slept for.
define internal i64 @NAME@.next_word(ptr %pool, i64 %seen) nounwind {
  %word.at = getelementptr %pool, ptr %pool, i32 0, i32 9
  %spin.at = getelementptr %pool, ptr %pool, i32 0, i32 3
  %spin = load atomic i64, ptr %spin.at monotonic, align 8
  %start = call i64 @NAME@.clock()
  %deadline = add i64 %start, %spin
  %watched = call i64 @NAME@.watch(ptr %word.at, i64 %seen, i64 %deadline)
  %found = icmp ne i64 %watched, %seen
  br i1 %found, label %awake, label %sleep
awake:
  ret i64 %watched
sleep:
  %mutex = getelementptr %pool, ptr %pool, i32 0, i32 21
  %condition = getelementptr %pool, ptr %pool, i32 0, i32 22
  %sleepers.at = getelementptr %pool, ptr %pool, i32 0, i32 19
  call i32 @pthread_mutex_lock(ptr %mutex)
  atomicrmw add ptr %sleepers.at, i64 1 seq_cst
  br label %check
check:
  %word = load atomic i64, ptr %word.at seq_cst, align 8
  %new = icmp ne i64 %word, %seen
  br i1 %new, label %woken, label %asleep
asleep:
  call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  br label %check
woken:
  atomicrmw sub ptr %sleepers.at, i64 1 seq_cst
  call i32 @pthread_mutex_unlock(ptr %mutex)
  ret i64 %word
}

; A worker. It takes no signals: they are for the program's own threads.
define internal ptr @NAME@.worker(ptr %slot) nounwind {
entry:
  %signals = alloca [16 x i64]
  call void @llvm.memset.p0.i64(ptr %signals, i8 -1, i64 128, i1 false)
  call i32 @pthread_sigmask(i32 2, ptr %signals, ptr null)
  %pool.at = getelementptr %slot, ptr %slot, i32 0, i32 1
  %pool = load ptr, ptr %pool.at
  %number.at = getelementptr %slot, ptr %slot, i32 0, i32 2
  %number = load i64, ptr %number.at
  %seen.at = getelementptr %slot, ptr %slot, i32 0, i32 3
  %first = load i64, ptr %seen.at
  br label %idle
idle:
  %seen = phi i64 [ %first, %entry ], [ %word, %published ], [ %word, %work ]
  %word = call i64 @NAME@.next_word(ptr %pool, i64 %seen)
  %threads = and i64 %word, 65535
  %over = icmp eq i64 %threads, 0
  br i1 %over, label %end, label %published
published:
  %takes.part = icmp ult i64 %number, %threads
  br i1 %takes.part, label %work, label %idle
work:
  %body.at = getelementptr %pool, ptr %pool, i32 0, i32 10
  %body = load ptr, ptr %body.at
  %context.at = getelementptr %pool, ptr %pool, i32 0, i32 11
  %context = load ptr, ptr %context.at
  %mode.at = getelementptr %pool, ptr %pool, i32 0, i32 12
  @TAKE_MODE@
  call i32 %body(ptr %context, i64 %number, i64 %threads)
  %done.at = getelementptr %pool, ptr %pool, i32 0, i32 13
  atomicrmw add ptr %done.at, i64 1 release
  br label %idle
end:
  ret ptr null
}

; Start workers until there are %wanted; how many there are then.
define internal i64 @NAME@.staff(ptr %pool, i64 %wanted) nounwind {
entry:
  %workers.at = getelementptr %pool, ptr %pool, i32 0, i32 8
  %word.at = getelementptr %pool, ptr %pool, i32 0, i32 9
  %word = load atomic i64, ptr %word.at monotonic, align 8
  %before = load i64, ptr %workers.at
  br label %next
next:
  %workers = phi i64 [ %before, %entry ], [ %number, %started ]
  %enough = icmp uge i64 %workers, %wanted
  br i1 %enough, label %done, label %start
start:
  %number = add i64 %workers, 1
  %slot = getelementptr %pool, ptr %pool, i32 0, i32 23, i64 %workers
  %pool.at = getelementptr %slot, ptr %slot, i32 0, i32 1
  store ptr %pool, ptr %pool.at
  %number.at = getelementptr %slot, ptr %slot, i32 0, i32 2
  store i64 %number, ptr %number.at
  %seen.at = getelementptr %slot, ptr %slot, i32 0, i32 3
  store i64 %word, ptr %seen.at
  %failed.code = call i32 @pthread_create(ptr %slot, ptr null, ptr @NAME@.worker, ptr %slot)
  %failed = icmp ne i32 %failed.code, 0
  br i1 %failed, label %done, label %started
started:
  store i64 %number, ptr %workers.at
  br label %next
done:
  ret i64 %workers
}

; Take the pool for one run: false where somebody else has it.
define internal i1 @NAME@.claim(ptr %pool) nounwind {
entry:
  %pid.at = getelementptr %pool, ptr %pool, i32 0, i32 5
  %lock.at = getelementptr %pool, ptr %pool, i32 0, i32 6
  %mine = call i32 @getpid()
  %pid = load atomic i32, ptr %pid.at acquire, align 4
  %same = icmp eq i32 %pid, %mine
  br i1 %same, label %lock, label %foreign
foreign: ; this process is new, or a fork of the one that the workers live in: whoever comes first empties the pool
  %fresh = cmpxchg ptr %pid.at, i32 %pid, i32 -1 acquire monotonic
  %first = extractvalue { i32, i1 } %fresh, 1
  %resetting = icmp eq i32 %pid, -1
  %not.resetting = xor i1 %resetting, true
  %resets = and i1 %first, %not.resetting
  br i1 %resets, label %reset, label %busy
reset:
  %end.at = getelementptr %pool, ptr %pool, i32 0, i32 4
  store i64 0, ptr %end.at
  store atomic i32 0, ptr %lock.at monotonic, align 4
  %workers.at = getelementptr %pool, ptr %pool, i32 0, i32 8
  %behind = getelementptr %pool, ptr %pool, i32 1
  %from = ptrtoint ptr %workers.at to i64
  %to = ptrtoint ptr %behind to i64
  %size = sub i64 %to, %from
  call void @llvm.memset.p0.i64(ptr %workers.at, i8 0, i64 %size, i1 false)
  store atomic i32 %mine, ptr %pid.at release, align 4
  br label %lock
lock:
  %taken = cmpxchg ptr %lock.at, i32 0, i32 1 acquire monotonic
  %ours = extractvalue { i32, i1 } %taken, 1
  ret i1 %ours
busy:
  ret i1 false
}

define internal i32 @NAME@.run(ptr %pool, i64 %asked, ptr %body, ptr %context, i32 %eager) nounwind {
entry:
  %several = icmp ugt i64 %asked, 1
  br i1 %several, label %claim, label %alone
claim:
  %ours = call i1 @NAME@.claim(ptr %pool)
  br i1 %ours, label %ours.now, label %alone
alone:
  %alone.status = call i32 %body(ptr %context, i64 0, i64 1)
  ret i32 %alone.status
ours.now:
  %end.at = getelementptr %pool, ptr %pool, i32 0, i32 4
  %lock.at = getelementptr %pool, ptr %pool, i32 0, i32 6
  %is.eager = icmp ne i32 %eager, 0
  br i1 %is.eager, label %staff, label %gap
gap:
  %last = load i64, ptr %end.at
  %spin.at = getelementptr %pool, ptr %pool, i32 0, i32 3
  %spin = load atomic i64, ptr %spin.at monotonic, align 8
  %limit = add i64 %last, %spin
  %start = call i64 @NAME@.clock()
  %rare = icmp sgt i64 %start, %limit
  br i1 %rare, label %once, label %staff
once:
  %once.status = call i32 %body(ptr %context, i64 0, i64 1)
  br label %release
staff:
  %most = icmp ult i64 %asked, @MOST@
  %wanted = select i1 %most, i64 %asked, i64 @MOST@
  %others.wanted = sub i64 %wanted, 1
  %others.there = call i64 @NAME@.staff(ptr %pool, i64 %others.wanted)
  %short = icmp ult i64 %others.there, %others.wanted
  %others = select i1 %short, i64 %others.there, i64 %others.wanted
  %threads = add i64 %others, 1
  %body.at = getelementptr %pool, ptr %pool, i32 0, i32 10
  store ptr %body, ptr %body.at
  %context.at = getelementptr %pool, ptr %pool, i32 0, i32 11
  store ptr %context, ptr %context.at
  %mode.at = getelementptr %pool, ptr %pool, i32 0, i32 12
  @KEEP_MODE@
  %done.at = getelementptr %pool, ptr %pool, i32 0, i32 13
  store atomic i64 0, ptr %done.at monotonic, align 8
  call void @NAME@.publish(ptr %pool, i64 %threads)
  %status = call i32 %body(ptr %context, i64 0, i64 %threads)
  br label %others.done
others.done:
  %done = load atomic i64, ptr %done.at acquire, align 8
  %all = icmp eq i64 %done, %others
  br i1 %all, label %release, label %await
await:
  call i64 @NAME@.watch(ptr %done.at, i64 %done, i64 9223372036854775807)
  br label %others.done
release:
  %result = phi i32 [ %once.status, %once ], [ %status, %others.done ]
  %end = call i64 @NAME@.clock()
  store i64 %end, ptr %end.at
  store atomic i32 0, ptr %lock.at release, align 4
  ret i32 %result
}

define internal void @NAME@.wait(ptr %pool, i64 %threads) nounwind {
  %opened.at = getelementptr %pool, ptr %pool, i32 0, i32 17
  %opened = load atomic i64, ptr %opened.at acquire, align 8
  %come.at = getelementptr %pool, ptr %pool, i32 0, i32 15
  %before = atomicrmw add ptr %come.at, i64 1 acq_rel
  %come = add i64 %before, 1
  %last = icmp eq i64 %come, %threads
  br i1 %last, label %open, label %closed
open:
  store atomic i64 0, ptr %come.at monotonic, align 8
  %following = add i64 %opened, 1
  store atomic i64 %following, ptr %opened.at release, align 8
  ret void
closed:
  call i64 @NAME@.watch(ptr %opened.at, i64 %opened, i64 9223372036854775807)
  ret void
}

define internal void @NAME@.stop(ptr %pool) nounwind {
entry:
  br label %claim
claim:
  %ours = call i1 @NAME@.claim(ptr %pool)
  br i1 %ours, label %end, label %yield
yield:
  call i32 @sched_yield()
  br label %claim
end:
  %workers.at = getelementptr %pool, ptr %pool, i32 0, i32 8
  %workers = load i64, ptr %workers.at
  call void @NAME@.publish(ptr %pool, i64 0)
  br label %next
next:
  %i = phi i64 [ 0, %end ], [ %following, %join ]
  %more = icmp ult i64 %i, %workers
  br i1 %more, label %join, label %done
join:
  %slot = getelementptr %pool, ptr %pool, i32 0, i32 23, i64 %i
  %handle = load i64, ptr %slot
  call i32 @pthread_join(i64 %handle, ptr null)
  %following = add i64 %i, 1
  br label %next
done:
  store i64 0, ptr %workers.at
  %lock.at = getelementptr %pool, ptr %pool, i32 0, i32 6
  store atomic i32 0, ptr %lock.at release, align 4
  ret void
}
"""


def pool_ir(triple: str, name: str) -> str:
    """A module that defines the pool `name`, and nothing else that is visible from outside. Raises ValueError for a
    processor whose own instructions are not known here."""
    arch = triple.split("-")[0]
    if arch not in _PROCESSORS:
        raise ValueError(f"there is no thread pool for {triple}; processors known: {', '.join(_PROCESSORS)}")
    text = _TEXT
    for key, value in {
        **_PROCESSORS[arch],
        "@NAME@": f"@{name}",
        "@SPIN@": str(SPIN_NS),
        "@MOST@": str(MOST_THREADS),
        "@WORKERS@": str(MOST_THREADS - 1),
    }.items():
        text = text.replace(key, value)
    return text
