"""Proves that running a schedule gives what its graph says.

1. Every kernel of the graph is launched once, and the graph keeps the rules of the stage `fused`.
2. Every value has a buffer of its type, and a launch uses the buffers of its operands and results.
3. Arguments, constants, outputs and new state values lie where they must: input i in input i, and so on. A reshape
   lies where its operand does. No other kernel result lies outside the arena.
4. Arena buffers are aligned to 64 bytes and lie within the arena.
5. A launch reads a value only where that value was written before and not overwritten since: so a state's old value
   is never read after its new one was written, and values that are live at the same time do not overlap.
6. The buffers of one launch do not overlap where one of them is written; but a result may lie in the very place of an
   operand that the kernel may update in place, unless another result lies there too.
7. Launches with no barrier between them do not touch memory that one of them writes; but those of one strand may,
   where none that comes before can fault.
8. No state is overwritten by a kernel that can fault, nor before the barrier that follows the last such kernel.
9. All launches have a partition, or none has; launches that share a strand within a phase have one unit each.
"""

from __future__ import annotations

from graphc.ir.errors import VerifyError
from graphc.ir.graph import Graph, Op, Value
from graphc.ir.kernel_facts import can_fault, may_update_in_place
from graphc.ir.schedule import SPACES, Barrier, Buffer, Launch, Schedule
from graphc.ir.text.names import value_names
from graphc.ir.verify import verify

ALIGNMENT = 64

Span = tuple[str, int, int]  # a space, or a buffer of one; the first byte, and the one after the last


def verify_schedule(schedule: Schedule) -> None:
    """Raises VerifyError for the first invariant that `schedule` breaks, with its number above."""
    verify(schedule.graph)
    _check_launches(schedule)
    _check_buffers(schedule)
    _check_places(schedule)
    _check_arena(schedule)
    for launch in schedule.launches:
        _check_overlap_within(launch)
    _check_barriers(schedule)
    _check_partitions(schedule)
    _check_contents(schedule)
    _check_faults(schedule)


def span_of(buffer: Buffer) -> Span:
    """The memory of a buffer; two buffers overlap where their spans do."""
    if buffer.space == "arena":
        return ("arena", buffer.offset, buffer.offset + buffer.type.nbytes)
    return (f"{buffer.space} {buffer.index}", 0, buffer.type.nbytes)


def spans_overlap(a: Span, b: Span) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


def base_of(value: Value) -> Value:
    """The value that a top-level value is an alias of."""
    while value.op is not None and value.op.name == "reshape":
        value = value.op.operands[0]
    return value


def _fail(rule: int, message: str, op: Op | None = None) -> VerifyError:
    return VerifyError(f"{message} (rule {rule} of schedules)", op.location if op else None)


def _check_launches(schedule: Schedule) -> None:
    kernels = [op for op in schedule.graph.ops if op.name == "fused"]
    launched = [launch.op for launch in schedule.launches]
    for op in kernels:
        if launched.count(op) != 1:
            raise _fail(
                1, f"the kernel that computes {_named(schedule.graph, op)} is launched {launched.count(op)} times", op
            )
    for op in launched:
        if op not in kernels:
            raise _fail(1, "a launch runs a kernel that is not in the graph", op)


def _check_buffers(schedule: Schedule) -> None:
    graph = schedule.graph
    for value in (*graph.args, *(v for op in graph.ops for v in op.results)):
        buffer = schedule.buffers.get(value)
        if buffer is None:
            raise _fail(2, f"the value {value_names(graph)[value]} has no buffer", value.op)
        if buffer.type != value.type:
            raise _fail(2, f"the buffer {buffer.name} is {buffer.type}, its value {value.type}", value.op)
        if buffer.space not in SPACES:
            raise _fail(2, f"the buffer {buffer.name} is in an unknown space {buffer.space!r}", value.op)
    for launch in schedule.launches:
        for role, buffers, values in (
            ("reads", launch.reads, launch.op.operands),
            ("writes", launch.writes, launch.op.results),
        ):
            if list(buffers) != [schedule.buffers[v] for v in values]:
                raise _fail(2, f"a launch {role} {_list(buffers)}, which are not the buffers of its values", launch.op)


def _check_places(schedule: Schedule) -> None:
    graph = schedule.graph
    expected: dict[Value, tuple[str, int]] = {}
    for space, values in (
        ("input", graph.inputs),
        ("state", graph.states),
        ("constant", [op.result for op in schedule.constants]),
        ("output", [base_of(v) for v in graph.results]),
    ):
        for i, value in enumerate(values):
            if expected.setdefault(value, (space, i)) != (space, i):
                raise _fail(3, f"{schedule.buffers[value].name} cannot be {space} {i} as well", value.op)
    for state, value in graph.updates.items():
        new = base_of(value)
        place = ("state", graph.states.index(state))
        if new.op is None or new.op.name != "fused" or expected.setdefault(new, place) != place:
            raise _fail(3, f"{schedule.buffers[new].name} cannot be the new value of state {place[1]}", new.op)
    for op in graph.ops:
        for result in op.results:
            buffer = schedule.buffers[result]
            if op.name == "reshape":
                if buffer.place != schedule.buffers[op.operands[0]].place:
                    raise _fail(3, f"{buffer.name} does not lie where what it is a reshape of lies", op)
            elif result not in expected and buffer.space != "arena":
                raise _fail(3, f"{buffer.name} lies in {buffer.space} {buffer.index}, which is not its own", op)
    for value, place in expected.items():
        if schedule.buffers[value].place != place:
            raise _fail(3, f"{schedule.buffers[value].name} does not lie in {place[0]} {place[1]}", value.op)


def _check_arena(schedule: Schedule) -> None:
    for buffer in schedule.buffers.values():
        if buffer.space == "arena":
            if buffer.offset % ALIGNMENT:
                raise _fail(4, f"the offset {buffer.offset} of {buffer.name} is not a multiple of {ALIGNMENT}")
            if buffer.offset < 0 or buffer.offset + buffer.type.nbytes > schedule.arena_bytes:
                raise _fail(4, f"{buffer.name} ends outside the arena of {schedule.arena_bytes} bytes")


def _check_overlap_within(launch: Launch) -> None:
    for i, written in enumerate(launch.writes):
        for other in launch.writes[i + 1 :]:
            if spans_overlap(span_of(written), span_of(other)) or written.place == other.place:
                raise _fail(6, f"a launch writes {written.name} and {other.name}, which overlap", launch.op)
        for j, read in enumerate(launch.reads):
            if written.place == read.place:
                if not may_update_in_place(launch.op, j, i):
                    raise _fail(6, f"a launch writes {written.name} over {read.name}, which it still reads", launch.op)
            elif spans_overlap(span_of(written), span_of(read)):
                raise _fail(6, f"a launch writes {written.name} and reads {read.name}, which overlap", launch.op)


def _check_barriers(schedule: Schedule) -> None:
    for phase in schedule.phases:
        reads: list[tuple[Buffer, Launch]] = []
        writes: list[tuple[Buffer, Launch]] = []
        for launch in phase:
            for buffers, conflicting in ((launch.reads, writes), (launch.writes, [*reads, *writes])):
                for buffer in buffers:
                    for other, user in conflicting:
                        if spans_overlap(span_of(buffer), span_of(other)) and not _follows(user, launch):
                            text = f"no barrier stands between uses of {other.name} and {buffer.name}"
                            raise _fail(7, text, launch.op)
            reads += [(b, launch) for b in launch.reads]
            writes += [(b, launch) for b in launch.writes]


def _follows(first: Launch, second: Launch) -> bool:
    """Whether one thread runs the second right after the first, come what may."""
    a, b = first.partition, second.partition
    return a is not None and b is not None and a.strand == b.strand and not can_fault(first.op)


def _check_partitions(schedule: Schedule) -> None:
    partitions = [launch.partition for launch in schedule.launches]
    if None in partitions and any(partitions):
        raise _fail(9, "some launches have a partition, and some have none")
    for phase in schedule.phases:
        seen: dict[int, int] = {}
        for launch in phase:
            if launch.partition is None:
                continue
            strand, units = launch.partition.strand, launch.partition.units
            if strand in seen and not units == seen[strand] == 1:
                text = f"launches of {seen[strand]} and {units} units share strand {strand}; those of a strand have one"
                raise _fail(9, text, launch.op)
            seen[strand] = units


def _check_contents(schedule: Schedule) -> None:
    """Follow which value each piece of memory holds."""
    graph = schedule.graph
    held: dict[Value, Span] = {}
    for value in (*graph.args, *(op.result for op in schedule.constants)):
        held[value] = span_of(schedule.buffers[value])
    for launch in schedule.launches:
        for operand in launch.op.operands:
            if base_of(operand) not in held:
                name = schedule.buffers[base_of(operand)].name
                raise _fail(5, f"a launch reads {name}, which is not written yet or no longer there", launch.op)
        for result, buffer in zip(launch.op.results, launch.writes, strict=True):
            span = span_of(buffer)
            for value in [v for v, other in held.items() if spans_overlap(span, other)]:
                del held[value]
            held[result] = span


def _check_faults(schedule: Schedule) -> None:
    overwritten: str | None = None  # a state written, since the last barrier or before
    faulted = False  # a kernel that can fault ran since the last barrier
    for node in schedule.body:
        if isinstance(node, Barrier):
            faulted = False
            continue
        states = [b.name for b in node.writes if b.space == "state"]
        faults = can_fault(node.op)
        touched = states[0] if states else overwritten
        if faults and touched is not None:
            raise _fail(8, f"a kernel that can fault runs when {touched} may be overwritten", node.op)
        if faulted and states:
            raise _fail(8, f"{states[0]} is overwritten while a kernel that can fault may still run", node.op)
        faulted = faulted or faults
        overwritten = touched


def _named(graph: Graph, op: Op) -> str:
    names = value_names(graph)
    return ", ".join(names[v] for v in op.results)


def _list(buffers: tuple[Buffer, ...]) -> str:
    return ", ".join(b.name for b in buffers)
