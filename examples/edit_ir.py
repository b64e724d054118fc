"""Reads IR text, rewrites it with a pass of its own, differentiates, and runs both versions.

The pass replaces tanh by its cheaper look-alike x / (1 + |x|), in the graph, before the gradient is taken.

    python examples/edit_ir.py
"""

from dataclasses import dataclass

import numpy as np

from graphc import ir
from graphc.passes.autodiff import Autodiff
from graphc.passes.dce import Dce
from graphc.passes.rewriter import rewrite

TEXT = """
graph @loss [traced] (%x: f32[4]) -> f32[], f32[4] {
  %h = tanh %x : f32[4]
  %loss = sum %h {axes = [0], keepdims = false} : f32[]
  %one = constant {value = 1.0, dtype = f32, shape = []} : f32[]
  %g = gradient %loss, %one, %x {targets = 1} : f32[4]
  return %loss, %g
}
"""


@dataclass(frozen=True)
class Softsign:
    """tanh(x) -> x / (1 + |x|). Holds before and after: any graph that has not been differentiated."""

    name: str = "softsign"

    def run(self, graph):
        def visit(builder, op, operands):
            if op.name != "tanh":
                return None  # keep the op
            (x,) = operands
            return [builder.div(x, builder.add(builder.abs(x), builder.full_like(x, 1.0)))]

        return rewrite(graph, visit)


graph = ir.parse(TEXT)
assert ir.same_graph(ir.parse(str(graph)), graph)
edited = Softsign().run(graph)
print(edited)

x = np.array([-2.0, -0.5, 0.0, 3.0], np.float32)
for title, version in (("tanh", graph), ("softsign", edited)):
    differentiated = Dce().run(Autodiff().run(version))
    ir.verify(differentiated)
    (loss, gradient), _ = ir.interpret(differentiated, [x], [])
    print(f"{title}: loss {loss:.4f}, gradient {np.round(gradient, 4)}")
