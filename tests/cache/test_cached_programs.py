"""Programs from the cache: found where they may be, compiled again where they may not, and right either way."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.codegen import llvm
from graphc.codegen.host import host_target
from graphc.compiler import programs
from graphc.compiler.options import DEFAULT
from graphc.errors import OutOfRangeError
from graphc.runtime import cache_versions
from graphc.runtime.cache import CacheWarning, Store
from graphc.runtime.manifest import program_from, program_record
from graphc.runtime.pool_object import pool_object
from graphc.runtime.program import Fault, Program

ROOT = Path(__file__).parent.parent.parent
Logged = Callable[[], list[str]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty cache, in a process that has compiled nothing."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(llvm, "_compiled", {})
    return Store(str(tmp_path / "cache"))


@pytest.fixture
def logged(store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Logged:
    """What has been logged of programs since the last call."""
    monkeypatch.setenv("GRAPHC_LOG", "cache,compile")

    def lines() -> list[str]:
        found = capfd.readouterr().err.splitlines()
        return [line.removeprefix("graphc [cache] ") for line in found if "[cache]" in line and "kernel_" not in line]

    return lines


def compiled(scale: float = 2.0, name: str = "step", **places: Any) -> Any:
    """A new compiled function, always from the same lines."""

    def step(x: Any) -> Any:
        return (x * scale).exp().sum()

    return graphc.compile(step, name=name)


X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
EXPECTED = np.exp(X * np.float32(2)).sum()


def test_a_second_compile_is_a_hit(store: Store, logged: Logged) -> None:
    first = compiled()(graphc.tensor(X))
    assert logged() == ["step: miss, none of this name is cached"]
    second = compiled()(graphc.tensor(X))
    assert logged() == ["step: hit"]
    np.testing.assert_allclose(first.numpy(), EXPECTED, rtol=1e-6)
    assert first.numpy().tobytes() == second.numpy().tobytes()
    assert {entry.kind for entry in store.entries()} >= {"programs", "kernels"}


def test_what_makes_another_program(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled()(graphc.tensor(X))
    logged()
    np.testing.assert_allclose(compiled(3.0)(graphc.tensor(X)).numpy(), np.exp(X * np.float32(3)).sum(), rtol=1e-6)
    assert logged() == ["step: miss, cached for another graph"]
    compiled()(graphc.tensor(X[:2]))
    assert logged() == ["step: miss, cached for another graph"]
    compiled(name="other")(graphc.tensor(X))
    assert logged() == ["other: miss, none of this name is cached"]
    target = dataclasses.replace(host_target(), l1_bytes=host_target().l1_bytes * 2)
    with monkeypatch.context() as patch:
        patch.setattr(programs, "host_target", lambda: target)
        compiled()(graphc.tensor(X))
        (line,) = logged()
        assert line == (
            f"step: miss, cached for target l1_bytes: {host_target().l1_bytes} instead of {target.l1_bytes}"
        )
    with monkeypatch.context() as patch:
        patch.setenv("GRAPHC_VERIFY", "1")
        compiled()(graphc.tensor(X))
        assert logged() == ["step: miss, cached for options verify: False instead of True"]
    with monkeypatch.context() as patch:
        patch.setitem(cache_versions._packages(), "numba", "0.99")
        compiled()(graphc.tensor(X))
        (line,) = logged()
        assert line.startswith("step: miss, cached for versions numba: ")
        assert line.endswith(" instead of 0.99")
    compiled()(graphc.tensor(X))
    assert logged() == ["step: hit"]


PICK = """
def pick(x, i, j):
    first = x[i]
    return first + x[j]
"""


def pick(file: str, lines: int = 0, source: str = PICK) -> Any:
    """A function from some lines of some file."""
    scope: dict[str, Any] = {}
    exec(compile("\n" * lines + source, file, "exec"), scope)
    return graphc.compile(scope["pick"])


def messages(function: Any) -> list[str]:
    """What is said of an index out of range: of the first, of the second."""
    found = []
    good, bad = graphc.tensor([0, 2]), graphc.tensor([1, 99])
    for i, j in ((bad, good), (good, bad)):
        with pytest.raises(OutOfRangeError) as raised:
            function(graphc.tensor(X), i, j)
        found.append(str(raised.value))
    return found


def test_a_function_that_has_moved_is_a_hit(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few lines down, to where the lines of the two are mixed up, to another file: faults name the lines of now."""
    places = [("a.py", 0), ("a.py", 1), ("a.py:4", 7), ("a.py", 19)]
    told = [messages(pick(*place)) for place in places]
    assert [line.split(",")[0] for line in logged()] == ["pick: miss", *["pick: hit"] * 3]
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    assert told == [messages(pick(*place)) for place in places]
    assert "a.py:3" in told[0][0]
    assert "a.py:4" in told[0][1]
    assert "a.py:4:11" in told[2][1]


def test_ops_on_one_line_or_on_two(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    one = "\ndef pick(x, i, j):\n    return x[i] + x[j]\n"
    told = [messages(pick("a.py", source=source)) for source in (PICK, one)]
    assert logged() == ["pick: miss, none of this name is cached", "pick: miss, cached for another division into lines"]
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    assert told == [messages(pick("a.py", source=source)) for source in (PICK, one)]


def test_every_byte_of_a_constant_counts(logged: Logged) -> None:
    values = np.arange(200, dtype=np.float64)

    def make() -> Any:
        def step(x: Any) -> Any:
            return x + graphc.tensor(values)

        return graphc.compile(step)

    zeros = graphc.zeros(200, dtype=graphc.float64)
    np.testing.assert_array_equal(make()(zeros).numpy(), values)
    values[137] = np.nextafter(values[137], np.inf)
    np.testing.assert_array_equal(make()(zeros).numpy(), values)
    values[0] = -0.0
    np.testing.assert_array_equal(np.signbit(make()(-zeros).numpy())[:2], [True, False])
    assert [line.split(",")[0] for line in logged()] == ["step: miss"] * 3


def test_training_goes_on_as_it_would_have(logged: Logged) -> None:
    def losses() -> list[float]:
        graphc.manual_seed(1)
        net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
        optimizer = optim.Adam(net.parameters(), lr=0.05)

        @graphc.compile
        def train_step(x: Any, y: Any) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return [train_step(graphc.tensor(X), graphc.tensor([0, 2, 1])).item() for _ in range(5)]

    first = losses()
    assert losses() == first
    assert [line.split(":")[1].split(",")[0] for line in logged()] == [" miss", " hit"]


def test_backward_programs_are_cached_too(logged: Logged) -> None:
    def gradient() -> Any:
        x = graphc.tensor(X).requires_grad_()
        compiled(name="loss")(x).backward()
        assert x.grad is not None
        return x.grad.numpy()

    np.testing.assert_array_equal(gradient(), gradient())
    assert logged()[2:] == ["loss: hit", "loss.backward: hit"]


def test_equal_kernels_are_compiled_once_across_programs(
    logged: Logged, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    compiled(name="first")(graphc.tensor(X))
    assert "kernels: 1 compiled" in capfd.readouterr().err
    compiled(name="second")(graphc.tensor(X))
    assert "kernels: 1 in memory" in capfd.readouterr().err
    monkeypatch.setattr(llvm, "_compiled", {})  # another process

    def refuse(*args: Any) -> str:
        raise AssertionError("compiled again")

    monkeypatch.setattr(llvm, "unoptimised_llvm", refuse)
    np.testing.assert_allclose(compiled(name="third")(graphc.tensor(X)).numpy(), EXPECTED, rtol=1e-6)
    assert "kernels: 1 in the cache" in capfd.readouterr().err


def test_compile_times_by_stage(
    store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRAPHC_LOG", "compile")
    compiled()(graphc.tensor(X))
    head, *lines = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"graphc \[compile\] step: \d+\.\d ms; kernels: 1 compiled", head)
    stages = [line.split()[0] for line in lines]
    assert stages[0] == "trace"
    assert {"autodiff", "fuse", "schedule", "emit", "numba", "llvm", "driver", "keep", "load"} <= set(stages)
    assert all(re.fullmatch(r"  \S.{15} +\d+\.\d ms(  \d+\.\d ms each)?", line) for line in lines)
    compiled()(graphc.tensor(X))
    head, *lines = capfd.readouterr().err.splitlines()
    assert head.endswith(" ms; the program was in the cache")
    assert [line[2:18].strip() for line in lines] == ["trace", "look up", "load"]


def test_cached_kernels_are_shown_and_exported(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []
    images = []
    for attempt in range(2):
        monkeypatch.setattr(llvm, "_compiled", {})
        lowered = compiled().lower(graphc.tensor(X))
        texts.append((lowered.text("llvm"), lowered.text("asm")))
        graphc.export(compiled(), graphc.tensor(X), tmp_path / str(attempt) / "step")
        images.append((tmp_path / str(attempt) / "step.o").read_bytes())
    assert "define" in texts[0][0]
    assert ".text" in texts[0][1]
    assert texts[0] == texts[1]
    assert images[0] == images[1]


def test_edited_code_never_gets_stale_programs(logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled()(graphc.tensor(X))
    logged()
    before = dict(cache_versions._AT_START)
    assert {folder: cache_versions.hash_of_code(folder) for folder in before} == before
    edited = {**before, "passes": "edited"}
    files = dict(cache_versions._FILES)

    def touched(folder: str) -> list[tuple[str, int, int]]:
        return [(path, when + 1, size) for path, when, size in files[folder]]

    with monkeypatch.context() as patch:  # a process that began after the edit
        patch.setattr(cache_versions, "_AT_START", edited)
        patch.setattr(cache_versions, "files_of", touched)
        patch.setattr(cache_versions, "hash_of_code", edited.__getitem__)
        compiled()(graphc.tensor(X))
        assert logged() == [f"step: miss, cached for versions graphc.passes: {before['passes']} instead of edited"]
        compiled()(graphc.tensor(X))
        assert logged() == ["step: hit"]
    with monkeypatch.context() as patch:  # one that was running
        patch.setattr(cache_versions, "files_of", touched)
        compiled(5.0)(graphc.tensor(X))
        assert len(logged()) == 1  # files were touched, and hold the same
        patch.setattr(cache_versions, "hash_of_code", edited.__getitem__)
        for _ in range(2):
            compiled(4.0)(graphc.tensor(X))
            assert logged()[1] == "step: not kept, since graphc's code has changed since this process began"
    monkeypatch.setattr(cache_versions, "_AT_START", dict.fromkeys(before, ""))  # in an archive
    assert not cache_versions.code_is_unchanged(cache_versions.KERNEL_CODE)


def test_code_that_is_just_being_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is gone by the time it is read is a change, and no error."""
    monkeypatch.setattr(cache_versions, "_ROOT", str(tmp_path))
    monkeypatch.setattr(cache_versions, "files_of", lambda folder: [(str(tmp_path / folder / "gone.py"), 0, 0)])
    assert cache_versions.hash_of_code("ir") == ""
    assert not cache_versions.code_is_unchanged(cache_versions.KERNEL_CODE)


def test_the_hash_of_code_is_of_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_versions, "_ROOT", str(tmp_path))
    assert cache_versions.hash_of_code("ir") == ""
    for name, text in {"a.py": "x = 1", "ops/b.py": "", "notes.txt": "no code"}.items():
        (tmp_path / "ir" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ir" / name).write_text(text)
    before = cache_versions.hash_of_code("ir")
    os.utime(tmp_path / "ir/a.py", (0, 0))
    (tmp_path / "ir/notes.txt").write_text("still none")
    (tmp_path / "ir/__pycache__").mkdir()
    (tmp_path / "ir/__pycache__/a.py").write_text("")
    assert cache_versions.hash_of_code("ir") == before
    seen = {before}
    (tmp_path / "ir/a.py").write_text("x = 2")
    seen.add(cache_versions.hash_of_code("ir"))
    (tmp_path / "ir/a.py").rename(tmp_path / "ir/c.py")
    seen.add(cache_versions.hash_of_code("ir"))
    (tmp_path / "ir/c.py").rename(tmp_path / "ir/ops/c.py")
    seen.add(cache_versions.hash_of_code("ir"))
    (tmp_path / "ir/ops/b.py").unlink()
    seen.add(cache_versions.hash_of_code("ir"))
    assert len(seen) == 5


def test_no_cache(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    np.testing.assert_allclose(compiled()(graphc.tensor(X)).numpy(), EXPECTED, rtol=1e-6)
    assert not os.path.exists(store.folder)


@pytest.mark.parametrize("kind", ["programs", "kernels"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "folder", "other"])
def test_damaged_entries_are_compiled_again(
    kind: str, damage: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled()(graphc.tensor(X))
    (path,) = Path(store.folder, kind).iterdir()
    whole = path.read_bytes()
    if damage == "flip":
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"truncate": whole[: len(whole) // 2], "empty": b"", "other": b"\x7fELF"}[damage])
    monkeypatch.setattr(llvm, "_compiled", {})
    name = "step" if kind == "programs" else "other"
    with pytest.warns(CacheWarning, match="damaged"):
        found = compiled(name=name)(graphc.tensor(X))
    np.testing.assert_allclose(found.numpy(), EXPECTED, rtol=1e-6)
    assert path.read_bytes()[100:] != b""  # it was written again
    np.testing.assert_allclose(compiled(name=name)(graphc.tensor(X)).numpy(), EXPECTED, rtol=1e-6)


def test_an_entry_that_holds_no_program(store: Store) -> None:
    compiled()(graphc.tensor(X))
    (entry,) = store.entries("programs")
    assert entry.header is not None
    store.put("programs", entry.key, b"\2\0\0\0\0\0\0\0{}", "step", entry.header.parts)
    with pytest.warns(CacheWarning, match="damaged"):
        np.testing.assert_allclose(compiled()(graphc.tensor(X)).numpy(), EXPECTED, rtol=1e-6)


def test_the_thread_pool_is_cached(store: Store) -> None:
    first = pool_object("a_pool")
    assert pool_object("a_pool") == first
    assert pool_object("b_pool") != first
    (path, _) = Path(store.folder, "pools").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(CacheWarning, match="not whole"):
        assert [pool_object(name) for name in ("a_pool", "b_pool", "a_pool")][::2] == [first, first]
    assert len(store.entries("pools")) == 2


# --- records


def test_programs_are_recorded_whole(store: Store) -> None:
    program = programs.program_for(compiled().lower(graphc.tensor(X)).graph("traced"), DEFAULT, programs.CompileTimes())
    program = dataclasses.replace(program, faults=(Fault("value out of range", "why"),))
    record = program_record(program)
    assert program_from(record, program.objects) == program
    assert set(record) == {field.name for field in dataclasses.fields(Program)} - {"objects"}
    for name in record:
        with pytest.raises((ValueError, TypeError, LookupError)):
            program_from({key: value for key, value in record.items() if key != name}, program.objects)
        with pytest.raises((ValueError, TypeError, LookupError)):
            program_from({**record, name: 1.5}, program.objects)
    with pytest.raises(ValueError, match="there is no field 'more'"):
        program_from({**record, "more": 1}, program.objects)


# --- other processes

TRAIN = """
import sys
import graphc
from graphc import nn, optim

graphc.manual_seed(0)
net = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 4))
optimizer = optim.Adam(net.parameters(), lr=0.1)

@graphc.compile
def train_step(x, y):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    return loss

x, y = graphc.randn(8, 16), graphc.arange(8) % 4
print(train_step(x, y).item().hex())
print("numba" in sys.modules, "graphc.passes.pipeline" in sys.modules)
"""


def run(script: Path, folder: Path, seed: int) -> tuple[list[str], str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": str(seed),
        "GRAPHC_CACHE_DIR": str(folder),
        "GRAPHC_LOG": "cache",
    }
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.split(), done.stderr


def test_a_warm_start_needs_no_numba(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    (loss, *loaded), _ = run(script, tmp_path / "cache", 1)
    assert loaded == ["True", "True"]
    for seed in (2, 3):
        (again, *loaded), log = run(script, tmp_path / "cache", seed)
        assert log == "graphc [cache] train_step: hit\n"
        assert again == loss
        assert loaded == ["False", "False"]


RACE = """
import random, sys, time, warnings
import numpy as np
import graphc
from graphc.codegen import llvm
from graphc.runtime.cache import CacheWarning

warnings.simplefilter("ignore", CacheWarning)
rng = random.Random(int(sys.argv[1]))
end = time.monotonic() + float(sys.argv[2])
x = np.linspace(-1, 1, 12, dtype=np.float32)
while time.monotonic() < end:
    scale = rng.randrange(6)

    @graphc.compile
    def step(x):
        return x * 2.0**scale + 1

    llvm._compiled.clear()
    np.testing.assert_array_equal(step(x).numpy(), x * np.float32(2.0**scale) + 1)
print("done")
"""


def test_processes_race_to_compile(tmp_path: Path) -> None:
    """While entries are damaged, deleted and evicted."""
    script, folder = tmp_path / "race.py", tmp_path / "cache"
    script.write_text(textwrap.dedent(RACE))
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "GRAPHC_CACHE_DIR": str(folder),
        "GRAPHC_CACHE_LIMIT": "30KiB",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, str(script), str(seed), "2"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(3)
    ]
    rng = np.random.default_rng(0)
    while any(worker.poll() is None for worker in workers):
        for path in folder.glob("*/*"):
            try:
                if rng.random() < 0.02:
                    path.unlink()
                elif rng.random() < 0.02:
                    data = bytearray(path.read_bytes())
                    data[rng.integers(len(data))] ^= 255
                    path.write_bytes(data[: rng.integers(1, len(data) + 1)])
            except (OSError, ValueError):  # gone, or just written to by the same means
                pass
    for worker in workers:
        printed, problems = worker.communicate()
        assert (printed, problems) == ("done\n", "")
