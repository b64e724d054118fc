"""Makes the records of pointwise ops without attributes, whose operands and result share one type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.ir.attributes import Attributes
from graphc.ir.errors import FaultError
from graphc.ir.opdef import Infer, OpDef, Vjp
from graphc.ir.ops.checks import require_dtype, require_same
from graphc.ir.ops.rounding import elementwise
from graphc.ir.ops.samples import NUMBERS, Draw, every, pointwise_samples
from graphc.ir.types import DType, TensorType


def homogeneous(name: str, family: str, result: DType | None) -> Infer:
    """The `infer` of an op on operands of one type: that type, or its shape with the element type `result`."""

    def infer(types: Sequence[TensorType], attrs: Attributes) -> list[TensorType]:
        require_same(name, types)
        require_dtype(name, types[0], family)
        return [types[0].with_dtype(result) if result else types[0]]

    return infer


def pointwise(
    name: str,
    n_operands: int,
    family: str,
    doc: str,
    function: Callable[..., Any],
    scalar: Callable[..., Any] | str,
    *,
    vjp: Vjp | None = None,
    result: DType | None = None,
    traits: Sequence[str] = (),
    fault: type[FaultError] | None = None,
    identity: Callable[[DType], float | int | bool] | None = None,
    domains: Sequence[Draw] = (),
    allowed: Callable[..., Any] = every,
) -> OpDef:
    """A record: `function` computes it on NumPy arrays, `scalar` is an expression or the name of one primitive.
    Samples are drawn from `domains`, one for each operand, and from the special values that `allowed` lets pass."""
    primitive = scalar if isinstance(scalar, str) else ""
    return OpDef(
        name=name,
        kind="pointwise",
        doc=doc,
        infer=homogeneous(name, family, result),
        eval=elementwise(function),
        vjp=vjp,
        scalar=(lambda s, op, *xs: s.call(primitive, *xs)) if primitive else scalar,  # type: ignore[arg-type]
        traits=frozenset(traits),
        fault=fault,
        identity=identity,
        n_operands=n_operands,
        samples=pointwise_samples(family, domains or [NUMBERS] * n_operands, allowed),
    )
