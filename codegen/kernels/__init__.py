"""From a fused op to the source of its kernel: one emitter for each kind."""

from __future__ import annotations

from collections.abc import Callable

from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels.contraction import AnyTiling, emit_contraction
from graphc.codegen.kernels.loop import emit_loop
from graphc.codegen.kernels.reduction import emit_reduction
from graphc.codegen.kernels.scatter import emit_scatter
from graphc.ir.graph import Op
from graphc.ir.target import Target

_EMITTERS: dict[str, Callable[[Op, tuple[int, ...], Target], Kernel]] = {
    "contraction": emit_contraction,
    "loop": emit_loop,
    "reduction": emit_reduction,
    "scatter": emit_scatter,
}


def emit_kernel(op: Op, slots: tuple[int, ...], target: Target, tiling: AnyTiling | None = None) -> Kernel:
    """The kernel of a fused op. `slots[i]` numbers the pointer parameter of the region's argument i, then of its
    results; values that share memory share a parameter. `tiling`: for a contraction, how to cut it instead of as
    estimates say (see `candidates` there)."""
    if tiling is not None:
        return emit_contraction(op, slots, target, tiling)
    return _EMITTERS[str(op.attributes["kind"])](op, slots, target)
