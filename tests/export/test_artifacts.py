"""Exported programs on disk, loaded from Python."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.codegen.host import host_target
from graphc.exporting import Exported, ExportWarning, export_graph
from graphc.ir import interpret, parse
from graphc.ir.errors import GraphcError, OutOfRangeError, ShapeError
from graphc.runtime.artifact import ArtifactError, artifact_file, load_program
from graphc.runtime.checkpoint import CheckpointError, read_arrays, write_arrays
from graphc.runtime.loader import TargetMismatchError
from tests.fusion.training_graphs import arguments, mlp

STEP = """
graph @step [traced] (%x: f32[4], %i: i64[2]; state %w: f32[4], %n: i64[], %rate: f32[]) -> f32[2], f32[] {
  %r = broadcast %rate {shape = [4], dims = []} : f32[4]
  %g = mul %x, %r : f32[4]
  %v = sub %w, %g : f32[4]
  %one = constant {value = 1, dtype = i64, shape = []} : i64[]
  %m = add %n, %one : i64[]
  %y = take %w, %i {axis = 0} : f32[2]  ; user.py:9
  %s = sum %v {axes = [0], keepdims = false} : f32[]
  return %y, %s ; update %w = %v, %n = %m
}
"""
W = np.arange(4, dtype=np.float32)
STATES = [W, np.asarray(5), np.asarray(0.5, np.float32)]
X, ROWS = np.ones(4, np.float32), np.asarray([3, 0])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of an exported program."""
    prefix = tmp_path_factory.mktemp("exported") / "deep" / "folder" / "my-step"
    export_graph(parse(STEP), STATES, prefix)
    return prefix


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    """The prefix of a copy that a test may damage."""
    for file in exported.parent.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / exported.name


def manifest_edit(prefix: Path, edit: Callable[[dict[str, Any]], object], vouch: bool = True) -> None:
    """Change a manifest and, with `vouch`, its checksum too."""
    path = artifact_file(prefix, "json")
    manifest = json.loads(path.read_text())
    edit(manifest)
    if vouch:
        text = json.dumps(manifest["program"], sort_keys=True)
        manifest["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(manifest))


def test_round_trip(exported: Path) -> None:
    program = load_program(exported)
    y, s = program(X, ROWS)
    np.testing.assert_array_equal(y, [3, 0])
    assert s == 4.0
    states = program.state_dict()
    np.testing.assert_array_equal(states["w"], W - 0.5)
    assert states["n"] == 6
    states["rate"][...] = 2  # what the caller writes, the next step reads
    program(X, ROWS)
    np.testing.assert_array_equal(states["w"], W - 2.5)
    np.testing.assert_array_equal(load_program(exported).state_dict()["w"], W)  # each has states of its own
    with pytest.raises(OutOfRangeError, match=r"^user.py:9: take\(f32\[4\], i64\[2\]\)"):
        program(X, ROWS + 1)
    with pytest.raises(ShapeError, match="input 'x'"):
        program(X[:3], ROWS)


def test_files(exported: Path) -> None:
    suffixes = {"o", "h", "gir", "json", "safetensors", "so"}
    assert {path.name for path in exported.parent.iterdir()} == {f"my-step.{suffix}" for suffix in suffixes}
    program = load_program(exported).program
    assert (program.name, program.entry) == ("my_step", "my_step_run")
    assert program.target.cpu == host_target().cpu


def test_the_text_runs_and_compiles_again(exported: Path, tmp_path: Path) -> None:
    graph = parse(artifact_file(exported, "gir").read_text())
    assert graph.stage == "optimized"
    outputs, states = interpret(graph, [X, ROWS], STATES)
    np.testing.assert_array_equal(outputs[0], [3, 0])
    np.testing.assert_array_equal(states[0], W - 0.5)
    export_graph(graph, STATES, tmp_path / "again")
    np.testing.assert_array_equal(load_program(tmp_path / "again")(X, ROWS)[0], [3, 0])


def test_export_is_reproducible(exported: Path, tmp_path: Path) -> None:
    export_graph(parse(STEP), STATES, tmp_path / "my-step")
    for suffix in ("o", "h", "gir", "json", "safetensors"):
        assert artifact_file(exported, suffix).read_bytes() == artifact_file(tmp_path / "my-step", suffix).read_bytes()


def test_states_are_saved_and_read_back(exported: Path, tmp_path: Path) -> None:
    program = load_program(exported)
    program(X, ROWS)
    program.save(tmp_path / "later.safetensors")
    again = load_program(exported, state=tmp_path / "later.safetensors")
    for name, array in program.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
    assert graphc.load(tmp_path / "later.safetensors")["n"].item() == 6
    graphc.save({**graphc.load(tmp_path / "later.safetensors"), "more": graphc.ones(1)}, tmp_path / "other.safetensors")
    assert load_program(exported, state=tmp_path / "other.safetensors").state_dict()["n"] == 6


@pytest.mark.parametrize("suffix", ["json", "o", "safetensors"])
def test_missing_files(copied: Path, suffix: str) -> None:
    artifact_file(copied, suffix).unlink()
    with pytest.raises(FileNotFoundError, match=rf"my-step\.{suffix}"):
        load_program(copied)


@pytest.mark.parametrize("suffix", ["json", "o", "safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_truncated_files(copied: Path, suffix: str, keep: float) -> None:
    path = artifact_file(copied, suffix)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    error = CheckpointError if suffix == "safetensors" else ArtifactError
    with pytest.raises(error, match=rf"my-step\.{suffix} is (damaged|not a whole)"):
        load_program(copied)


def test_flipped_bytes_in_the_code(copied: Path) -> None:
    path = artifact_file(copied, "o")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"my-step\.o is damaged: its checksum is not the one in my-step\.json"):
        load_program(copied)


def test_every_changed_number_in_the_manifest_is_noticed(copied: Path) -> None:
    path = artifact_file(copied, "json")
    text = path.read_text()
    places = [i for i, c in enumerate(text) if c.isdigit()]
    for place in places[::7]:
        path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
        with pytest.raises(ArtifactError, match=r"my-step\.(json|o)"):
            load_program(copied)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m["program"].pop("inputs"), r"my-step\.json is damaged: 'inputs'"),
        (lambda m: m["program"]["target"].update(more=1), "is damaged"),
        (lambda m: m["program"]["states"][0]["type"].update(dtype="f31"), "is damaged: 'f31'"),
        (lambda m: m.update(program=[]), "is damaged"),
        (lambda m: m.update(format="other"), "is not the manifest of a graphc program"),
        (lambda m: m.update(version=99), "has format version 99, this graphc reads 2; export it again"),
    ],
    ids=["missing", "extra", "dtype", "no object", "format", "version"],
)
def test_wrong_manifests(copied: Path, edit: Callable[[dict[str, Any]], object], message: str) -> None:
    manifest_edit(copied, edit)
    with pytest.raises(ArtifactError, match=message):
        load_program(copied)


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (("name",), [None, 1, ["s"]]),
        (("entry",), [None, 1, "", "no symbol", "x\0", ["s"]]),
        (("arena_bytes",), [None, True, -1, 1.5, 1 << 70, "64", [64]]),
        (("states",), [None, 1, "x", [1], {"a": 1}]),
        (("states", 0, "name"), [None, 1, ["s"], {}]),
        (("states", 0, "type", "shape"), [None, 1, "", "4", {}, [-1], [1.0], ["4"], [True], [1 << 70]]),
        (("states", 0, "updated"), [None, 0, 1, "true"]),
        (("faults", 0, "kind"), [None, "", "another", []]),
        (("faults", 0, "location"), [1, "x.py:3", [], {}, {"file": 1, "line": 1}, {"file": "x", "line": "1"}]),
        (("target", "triple"), [None, 1, []]),
        (("target", "features"), [None, 1, ["+avx2"]]),
    ],
    ids=lambda given: ".".join(map(str, given)) if isinstance(given, tuple) else "",
)
def test_manifests_of_wrong_types(copied: Path, place: tuple[Any, ...], wrong: list[Any]) -> None:
    """Though they match their checksum."""
    for value in wrong:

        def edit(manifest: dict[str, Any], value: Any = value) -> None:
            node = manifest["program"]
            for key in place[:-1]:
                node = node[key]
            assert place[-1] in node
            node[place[-1]] = value

        manifest_edit(copied, edit)
        with pytest.raises(ArtifactError, match=r"my-step\.json is damaged"):
            load_program(copied)


@pytest.mark.parametrize("keep", [0, 64, 1000])
def test_an_object_that_is_none(copied: Path, keep: int) -> None:
    path = artifact_file(copied, "o")
    path.write_bytes(path.read_bytes()[:keep])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest_edit(copied, lambda m: m["program"].update(object_sha256=digest))
    with pytest.raises(ArtifactError, match=r"my-step\.o is damaged"):
        load_program(copied)


def test_another_kind_of_json(copied: Path) -> None:
    artifact_file(copied, "json").write_text("[1, 2]")
    with pytest.raises(ArtifactError, match="is not the manifest"):
        load_program(copied)


def test_another_cpu(copied: Path) -> None:
    manifest_edit(copied, lambda m: m["program"]["target"].update(cpu="xyz", features="+sse3,+time-travel,-avx"))
    with pytest.raises(
        TargetMismatchError, match=r"compiled for the CPU 'xyz' and uses time-travel, which this machine"
    ):
        load_program(copied)
    manifest_edit(copied, lambda m: m["program"]["target"].update(triple="riscv64-unknown-linux-gnu"))
    with pytest.raises(TargetMismatchError, match="was compiled for riscv64-unknown-linux-gnu, and this machine is"):
        load_program(copied)


def test_states_that_do_not_fit(copied: Path) -> None:
    path = artifact_file(copied, "safetensors")
    arrays, _ = read_arrays(path)
    write_arrays(path, {name: array for name, array in arrays.items() if name != "w"})
    with pytest.raises(ArtifactError, match=r"has no entry 'w', which the program needs as f32\[4\]"):
        load_program(copied)
    write_arrays(path, {**arrays, "w": np.ones(3, np.float32)})
    with pytest.raises(ArtifactError, match=r"'w' is f32\[3\], but the program needs f32\[4\]"):
        load_program(copied)
    write_arrays(path, {**arrays, "n": np.ones((), np.int32)})
    with pytest.raises(ArtifactError, match=r"'n' is i32\[\], but the program needs i64\[\]"):
        load_program(copied)


def test_loading_needs_no_compiler(exported: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from graphc.runtime.artifact import load_program\n"
        f"program = load_program({str(exported)!r})\n"
        "assert program(np.ones(4, np.float32), np.asarray([3, 0]))[0].tolist() == [3, 0]\n"
        "assert not {'numba', 'graphc.passes', 'graphc.codegen'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- graphc.export


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.fc(x)


def training_step(keep: bool = False) -> tuple[Any, Net, Any]:
    graphc.manual_seed(3)
    net = Net()
    optimizer = optim.Adam(net.parameters(), lr=0.01)

    @graphc.compile
    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step, net, optimizer


def batch(seed: int) -> tuple[Any, Any]:
    numbers = np.random.default_rng(seed)
    return graphc.tensor(numbers.normal(size=(6, 3)).astype(np.float32)), graphc.tensor(numbers.integers(0, 2, 6))


@pytest.mark.parametrize("target", ["host", "x86-64-v3"])
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_a_compiled_step(tmp_path: Path, target: str, debug: bool, trained: bool) -> None:
    step, net, optimizer = training_step()
    if trained:
        for seed in range(3):
            step(*batch(seed))
    before = net.fc.weight.detach().clone()
    done = graphc.export(step, batch(0), tmp_path / "step", target=target, debug=debug)
    assert isinstance(done, Exported)
    assert graphc.equal(net.fc.weight, before)  # nothing ran
    program = graphc.load_program(tmp_path / "step")
    assert [port.name for port in program.program.inputs] == ["x", "labels"]
    for seed in range(10, 13):
        x, labels = batch(seed)
        (loss,) = program(x.numpy(), labels.numpy())
        np.testing.assert_allclose(loss, step(x, labels).item(), rtol=1e-5)
    states = program.state_dict()
    np.testing.assert_allclose(states["fc.weight"], net.fc.weight.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert states["optimizer.lr"] == 0.01
    for group in optimizer.param_groups:
        group["lr"] = 0.5
    states["optimizer.lr"][...] = 0.5
    x, labels = batch(20)
    program(x.numpy(), labels.numpy())
    step(x, labels)
    np.testing.assert_allclose(states["fc.weight"], net.fc.weight.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_functions_and_modules(tmp_path: Path) -> None:
    x = graphc.randn(4, 3)
    net = Net()
    with graphc.no_grad():
        expected = net(x).numpy()
    graphc.export(graphc.compile(net), x, tmp_path / "module")
    np.testing.assert_allclose(graphc.load_program(tmp_path / "module")(x.numpy())[0], expected, rtol=1e-5, atol=1e-6)

    def both(a: Any, scale: int, b: Any) -> Any:
        return {"sum": a + b, "pair": (a * scale, a)}

    done = graphc.export(both, [x, 3, x], tmp_path / "plain")
    assert [port.name for port in done.program.outputs] == ["sum", "pair.0", "pair.1"]
    outputs = graphc.load_program(tmp_path / "plain")(x.numpy(), x.numpy())
    for found, factor in zip(outputs, (2, 3, 1), strict=True):
        np.testing.assert_allclose(found, x.numpy() * factor, rtol=1e-6)


def test_a_prefix_that_ends_in_a_slash(tmp_path: Path) -> None:
    prefix = f"{tmp_path}/double/"
    graphc.export(lambda x: x * 2, graphc.ones(2), prefix)
    (out,) = load_program(prefix)(np.ones(2, np.float32))
    np.testing.assert_array_equal(out, [2, 2])


def test_names_of_outputs(tmp_path: Path) -> None:
    class Pair(NamedTuple):
        low: Any
        high: Any

    def names(step: Any) -> list[str]:
        exported = graphc.export(step, graphc.ones(2, 3), tmp_path / "step")
        return [port.name for port in exported.program.outputs]

    assert names(lambda x: x + 1) == ["output"]
    assert names(lambda x: (x + 1, [x * 2, x * 3])) == ["output.0", "output.1.0", "output.1.1"]
    assert names(lambda x: Pair(x + 1, x + 2)) == ["low", "high"]
    assert names(lambda x: {"__metadata__": x + 1, 3: x + 2}) == ["__metadata___2", "3"]
    assert names(lambda x: None) == []
    assert names(lambda x: x.mul_(2).sum()) == ["output", "x.new"]
    found = graphc.load_program(tmp_path / "step")(np.ones((2, 3), np.float32))
    assert [array.sum() for array in found] == [12, 12]


def test_python_effects_are_told(tmp_path: Path) -> None:
    class Counting(Net):
        calls = 0

        def forward(self, x: Any) -> Any:
            self.calls = self.calls + 1
            return super().forward(x)

    with pytest.warns(ExportWarning, match=r"the step sets Counting\.calls, which the exported program does not"):
        graphc.export(graphc.compile(Counting()), graphc.ones(1, 3), tmp_path / "counting")


def test_a_failed_export_writes_nothing(tmp_path: Path) -> None:
    def broken(x: Any) -> Any:
        return x if x.sum() > 0 else -x

    with pytest.raises(GraphcError, match="branch on"):
        graphc.export(broken, graphc.ones(2), tmp_path / "new" / "broken")
    with pytest.raises(GraphcError, match=r"no target 'z80'; use one of host, x86-64-v2"):
        graphc.export(lambda x: x, graphc.ones(2), tmp_path / "new" / "broken", target="z80")
    with pytest.raises(ValueError, match="names no file"):
        graphc.export(lambda x: x, graphc.ones(2), "")
    assert not list(tmp_path.iterdir())


def test_an_export_that_replaces_another(tmp_path: Path) -> None:
    for shape in ((2,), (3, 3)):
        graphc.export(lambda x: x + 1, graphc.ones(*shape), tmp_path / "step")
        assert graphc.load_program(tmp_path / "step")(np.ones(shape, np.float32))[0].shape == shape


def test_a_mixture_of_two_exports(copied: Path, tmp_path: Path) -> None:
    """What an export that was cut off leaves behind."""
    other = tmp_path / "other"
    export_graph(parse(STEP.replace("sub", "add")), STATES, other)
    shutil.copy(artifact_file(other, "o"), artifact_file(copied, "o"))
    with pytest.raises(ArtifactError, match=r"my-step\.o is damaged"):
        load_program(copied)


# --- the shared library


def without_compilers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("graphc.codegen.shared_library.find_spec", lambda name: None)


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = tmp_path / "step"
    artifact_file(prefix, "so").write_bytes(b"of an earlier export")
    without_compilers(monkeypatch, tmp_path)
    with pytest.warns(
        ExportWarning, match=r"step\.so was not made: no C compiler .* Link step\.o .*-pthread"
    ) as caught:
        done = graphc.export(lambda x: x + 1, graphc.ones(2), prefix)
    assert caught[0].filename == __file__
    assert done.shared_library is None
    assert "no C compiler for" in done.message
    assert not artifact_file(prefix, "so").exists()
    assert artifact_file(prefix, "so") not in done.files
    assert all(path.exists() for path in done.files)
    np.testing.assert_array_equal(load_program(prefix)(np.ones(2, np.float32))[0], [2, 2])


def test_a_compiler_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "bad compiler"
    compiler.write_text("#!/bin/sh\necho cannot do that >&2\nexit 3\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", f"'{compiler}' --flag")
    with pytest.warns(ExportWarning, match=r"failed with status 3: cannot do that"):
        done = graphc.export(lambda x: x + 1, graphc.ones(2), tmp_path / "out" / "step")
    assert done.shared_library is None
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".o", ".h", ".gir", ".json", ".safetensors"}


def test_compilers_are_tried_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from graphc.codegen.shared_library import find_compiler

    host = host_target()
    other = dataclasses.replace(host, triple="riscv64-unknown-linux-gnu")
    without_compilers(monkeypatch, tmp_path)
    with pytest.raises(OSError, match=r"no C compiler for \w+ was found .*\$CC, cc, clang, and the package ziglang"):
        find_compiler(host, host.triple)
    with pytest.raises(OSError, match=r"no C compiler for riscv64 was found \(looked for the package ziglang\)"):
        find_compiler(other, host.triple)
    monkeypatch.setattr("graphc.codegen.shared_library.find_spec", lambda name: name == "ziglang")
    architecture = host.triple.split("-")[0]
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture}-linux-gnu"]
    assert find_compiler(host, host.triple) == zig
    for name in ("clang", "cc"):
        path = tmp_path / "empty" / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        assert find_compiler(host, host.triple) == [str(path)]
    monkeypatch.setenv("CC", "ccache gcc")
    assert find_compiler(host, host.triple) == ["ccache", "gcc"]
    assert find_compiler(other, host.triple) == [*zig[:-1], "riscv64-linux-gnu"]


def test_larger_steps(tmp_path: Path) -> None:
    graph = mlp("adam", (20, 16, 3), 8, dropout=True)
    inputs, states = arguments(graph)
    export_graph(graph, states, tmp_path / "mlp", debug=True)
    program = load_program(tmp_path / "mlp")
    text = parse(artifact_file(tmp_path / "mlp", "gir").read_text())
    expected = states
    for _ in range(3):
        outputs = program(*inputs)
        reference, expected = interpret(text, inputs, expected)
        np.testing.assert_allclose(outputs[0], reference[0], rtol=1e-4)
    for found, state in zip(program.states, expected, strict=True):
        np.testing.assert_allclose(found, state, rtol=1e-3, atol=1e-5)
    assert os.path.getsize(artifact_file(tmp_path / "mlp", "o")) > 0
