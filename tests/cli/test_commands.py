"""The command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphc.cli import main
from graphc.compiler.lowered import ALL_STAGES
from graphc.ir import parse, same_graph, verify
from graphc.ir.schedule_text import parse_schedule, print_schedule
from tests.data_files import write_mnist

SCRIPT = """
import sys
import graphc
from graphc import nn, optim

net = nn.Linear(4, 2)
optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

@graphc.compile
def train_step(x, y):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(net(x), y)
    loss.backward()
    optimizer.step()
    return loss

@graphc.compile
def other(x):
    return x + 1

if __name__ == "__main__":
    n = int(sys.argv[1])
    other(graphc.zeros(2))
    train_step(graphc.zeros(n, 4), graphc.zeros(n, dtype=graphc.int64))
    print("the step has run")
"""
LOSS = """
graph @loss [traced] (%x: f32[4]; state %count: i64[]) -> f32[], f32[4] {
  %h = tanh %x : f32[4]
  %loss = sum %h {axes = [0], keepdims = false} : f32[]
  %one = constant {value = 1.0, dtype = f32, shape = []} : f32[]
  %g = gradient %loss, %one, %x {targets = 1} : f32[4]
  %i = constant {value = 1, dtype = i64, shape = []} : i64[]
  %next = add %count, %i : i64[]
  return %loss, %g ; update %count = %next
}
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture
def graph_file(tmp_path: Path) -> Path:
    path = tmp_path / "loss.gir"
    path.write_text(LOSS)
    return path


@pytest.mark.parametrize("stage", ALL_STAGES)
def test_inspect_prints_every_stage(stage: str, script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", f"{script}:train_step", "--stage", stage, "--", "8"]) == 0
    printed = capsys.readouterr().out
    assert "the step has run" not in printed
    if stage in ("traced", "differentiated", "optimized", "fused"):
        graph = parse(printed)
        verify(graph)
        assert graph.stage == stage
        assert same_graph(parse(str(graph)), graph)
        assert "train.py:12" in printed  # the user's line
    elif stage == "scheduled":
        assert print_schedule(parse_schedule(printed)).strip() == printed.strip()
    else:
        assert {"source": "def kernel(", "llvm": "define", "asm": ".text"}[stage] in printed


def test_inspect_with_types_does_not_run_the_script(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", f"{script}:train_step", "--stage", "traced", "--inputs", "f32[3,4] i64[3]"]) == 0
    assert "%x: f32[3,4]" in capsys.readouterr().out


def test_inspect_explains_kernels(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", f"{script}:train_step", "--stage", "explain", "--", "8"]) == 0
    printed = capsys.readouterr().out
    assert "kernel 0: a " in printed
    assert "train.py:12" in printed  # the user's line
    assert "apart from" in printed


def test_inspect_shows_costs(script: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", f"{script}:train_step", "--stage", "cost", "--", "8"]) == 0
    printed = capsys.readouterr().out
    assert "arena" in printed
    assert "flops" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["{script}:nothing", "--", "8"],
            "never called a compiled function named 'nothing'; it called other, train_step",
        ),
        (["{script}:train_step", "--inputs", "f33[2]"], "is not a list of types"),
        (["{script}:net", "--inputs", "f32[2]"], "defines no compiled function 'net'"),
        (["{script}"], "names no function"),
        (["{script}:"], "names no function"),
        (["missing.py:step"], "missing.py does not exist"),
    ],
)
def test_inspect_says_what_is_wrong(
    arguments: list[str], message: str, script: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [a.replace("{script}", str(script)) for a in arguments]
    assert main(["inspect", *given]) == 1
    assert message in capsys.readouterr().err


def test_opt_runs_passes(graph_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["opt", "--passes", "autodiff,canonicalize,dce", str(graph_file)]) == 0
    graph = parse(capsys.readouterr().out)
    assert graph.stage == "differentiated"
    assert "gradient" not in {op.name for op in graph.ops}


def test_opt_prints_each_pass_and_its_time(graph_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["opt", "--passes", "autodiff,dce", "--print-each", "--times", str(graph_file)]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("; after") == 2
    assert "autodiff" in printed.err


def test_opt_names_unknown_passes(graph_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["opt", "--passes", "autodif", str(graph_file)]) == 1
    assert "no pass 'autodif'; there are: autodiff" in capsys.readouterr().err


def test_opt_shows_where_text_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.gir"
    path.write_text(LOSS.replace("tanh %x", "tanh %y"))
    assert main(["opt", str(path)]) == 1
    error = capsys.readouterr().err
    assert "bad.gir:3:" in error
    assert "^" in error


@pytest.mark.parametrize("command", ["opt", "run"])
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe\x00graph", "is not IR text: 'utf-8' codec"), (b"; nothing\n", "holds no graph")],
)
def test_files_that_hold_no_graph(
    command: str, content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.gir"
    path.write_bytes(content)
    assert main([command, str(path)]) == 1
    assert f"graphc {command}: {path} {message}" in capsys.readouterr().err


@pytest.mark.parametrize("mode", [[], ["--interpret"]])
def test_run_says_that_memory_is_short(mode: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "huge.gir"
    path.write_text(
        "graph @f (%x: f32[1000000,1000000,100000]) -> f32[] {\n  %s = sum %x {axes = [0, 1, 2]} : f32[]\n"
        "  return %s\n}\n"
    )
    assert main(["run", str(path), *mode]) == 1
    assert "graphc run: not enough memory: " in capsys.readouterr().err


@pytest.mark.parametrize("mode", [[], ["--interpret"]])
def test_run_with_names_that_are_no_identifiers(
    mode: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "names.gir"
    path.write_text(
        'graph @"a\\u0000\\ud800 \\"b" (%"x y": f32[2]) -> f32[2], f32[2] {\n'
        '  %0 = neg %"x y" : f32[2]  ; "a\\nraise SystemExit(7)\\n\\u0000.py":3\n'
        '  %"z\\n\\ud800" = sub %0, %0 : f32[2]\n  return %0, %"z\\n\\ud800"\n}\n'
    )
    assert main(["run", str(path), *mode]) == 0
    printed = capsys.readouterr().out
    assert "%0: f32[2] =" in printed
    assert '%"z\\n\\ud800": f32[2] =\n[0. 0.]' in printed


@pytest.mark.parametrize("mode", [[], ["--interpret"]])
def test_run_on_given_arrays(
    mode: list[str], graph_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "values.npz", x=np.zeros(4, np.float32), count=np.array(41))
    assert main(["run", str(graph_file), "--arrays", str(tmp_path / "values.npz"), *mode]) == 0
    printed = capsys.readouterr().out
    assert "%g: f32[4] =\n[1. 1. 1. 1.]" in printed
    assert "update %count: i64[] =\n42" in printed


def test_run_rejects_arrays_that_do_not_fit(
    graph_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "values.npz", x=np.zeros(5, np.float32))
    assert main(["run", str(graph_file), "--arrays", str(tmp_path / "values.npz")]) == 1
    assert "array 'x' is float32[5], the graph takes f32[4]" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x80\x04"])
def test_run_rejects_files_that_hold_no_arrays(
    content: bytes, graph_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "values.npz"
    path.write_bytes(content)
    assert main(["run", str(graph_file), "--arrays", str(path)]) == 1
    assert f"{path} is not an .npz file of arrays" in capsys.readouterr().err
    np.save(tmp_path / "single.npy", np.zeros(4, np.float32))
    assert main(["run", str(graph_file), "--arrays", str(tmp_path / "single.npy")]) == 1
    assert "single.npy is not an .npz file of arrays" in capsys.readouterr().err


def test_run_rejects_a_negative_seed(graph_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(graph_file), "--seed", "-1"]) == 1
    assert "a seed cannot be negative, got -1" in capsys.readouterr().err


def test_run_rejects_arrays_that_no_graph_takes(
    graph_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "values.npz", x=np.zeros(4, np.float32), y=np.zeros(4, np.float32))
    assert main(["run", str(graph_file), "--arrays", str(tmp_path / "values.npz")]) == 1
    assert "no graph takes an array 'y'" in capsys.readouterr().err


def test_demo_on_idx_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_mnist(tmp_path / "mnist")
    assert main(["demo", "--data", str(folder), "--epochs", "2", "--hidden", "32"]) == 0
    printed = capsys.readouterr().out
    for line in ("test accuracy", "compile time", "step time", "kernels", "arena"):
        assert line in printed


def test_demo_names_missing_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--data", str(tmp_path)]) == 1
    assert "train-images-idx3-ubyte" in capsys.readouterr().err


def test_demo_reaches_its_accuracy_on_the_digits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("test accuracy")]
    assert float(line.split()[-1]) >= 0.95
