"""The step from one stage to the next, where no op changes."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.graph import Graph
from graphc.passes.rewriter import rewrite


@dataclass(frozen=True)
class EnterStage:
    """Before: a graph that keeps the rules of `stage`, whatever its own stage.

    After: the same graph, of that stage. The verifier holds it to the stage's rules from here on.
    """

    stage: str

    @property
    def name(self) -> str:
        return f"enter-{self.stage}"

    def run(self, graph: Graph) -> Graph:
        return rewrite(graph, lambda builder, op, operands: None, stage=self.stage)
