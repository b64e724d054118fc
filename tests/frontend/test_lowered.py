"""A look at the stages, and dumps of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import graphc
from graphc.compiler.lowered import ALL_STAGES
from graphc.ir.graph import same_graph
from graphc.ir.text import parse
from graphc.ir.verify import verify
from tests.frontend.steps import Net, batch, clear, mse, sgd


def training_step() -> Any:
    net = Net()

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        clear(net.parameters())
        loss = mse(net(x), y)
        loss.backward()
        sgd(net.parameters())
        return loss

    return step


def test_every_stage_prints() -> None:
    lowered = training_step().lower(*batch())
    texts = {stage: lowered.text(stage) for stage in ALL_STAGES}
    assert "gradient" in texts["traced"]
    assert "gradient" not in texts["differentiated"]
    assert "fused" in texts["fused"]
    assert "launch" in texts["scheduled"]
    assert "def kernel" in texts["source"]
    assert "define" in texts["llvm"]
    assert texts["asm"]
    for stage in ALL_STAGES[:4]:
        verify(lowered.graph(stage))
        assert same_graph(parse(texts[stage]), lowered.graph(stage))
    assert lowered.explain().count("kernel 0: ") == 1
    assert lowered.cost().flops > 0
    assert lowered.cost(threads=2).ceilings.threads == 2
    for threads in (0, -1, 257):
        with pytest.raises(ValueError, match="a number of threads is from 1 to 256"):
            lowered.cost(threads=threads)
    assert lowered.schedule.arena_bytes >= 0


def test_ops_carry_the_users_lines() -> None:
    graph = training_step().lower(*batch()).graph("traced")
    files = {op.location.file for op in graph.ops if op.location is not None}
    assert all(op.location is not None for op in graph.ops)
    assert files == {__file__, str(Path(__file__).with_name("steps.py"))}


def test_stages_that_do_not_exist() -> None:
    lowered = graphc.compile(lambda x: x * 2).lower(graphc.ones(2))
    with pytest.raises(graphc.GraphcError, match="'fast' is not a stage; use one of traced"):
        lowered.text("fast")
    with pytest.raises(graphc.GraphcError, match="no graph at stage 'llvm'"):
        lowered.graph("llvm")


@pytest.mark.parametrize("by_variable", [False, True])
def test_dump(tmp_path: Path, monkeypatch: Any, by_variable: bool) -> None:
    if by_variable:
        monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path))
        step = graphc.compile(lambda x: (x * 2).sum(), name="step")
    else:
        step = graphc.compile(lambda x: (x * 2).sum(), name="step", dump=str(tmp_path))
    step(graphc.ones(2))
    step(graphc.ones(2))
    step(graphc.ones(3))
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 2 * len(ALL_STAGES)
    assert names[0] == "step.0.0.traced.gir"
    assert names[-1] == "step.1.7.asm.s"
    assert parse((tmp_path / "step.1.3.fused.gir").read_text()).name == "step"
