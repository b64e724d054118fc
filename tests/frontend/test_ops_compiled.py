"""Every function on tensors gives the same compiled as eagerly, and so do its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import graphc
from tests.op_cases import (
    BINARY,
    EQUATIONS,
    INDICES,
    MATMULS,
    POSITIVE,
    PRODUCTS,
    REDUCTIONS,
    SCALARS,
    SHAPES,
    UNARY,
    Case,
    inputs,
)

Shapes = Sequence[tuple[int, ...]]

CASES: list[tuple[str, Case, Shapes]] = [
    *((name, lambda T, x, n=name: getattr(T, n)(x), [(3, 4)]) for name in UNARY.split()),
    *((name, lambda T, x, n=name: getattr(T, n)(x * x + 0.5), [(3, 4)]) for name in POSITIVE.split()),
    *((name, lambda T, x, y, n=name: getattr(T, n)(x, y), [(3, 1), (4,)]) for name in BINARY.split()),
    *((name, case, [(3, 4)]) for name, case in SCALARS),
    *((name, case, [(2, 3, 4)]) for name, case in (*REDUCTIONS, *SHAPES)),
    *(
        (name, case, [(2, 3, 4)]) for name, case in INDICES if not name.startswith("mask")
    ),  # shapes that depend on elements
    *((f"matmul{shapes}", lambda T, a, b: a @ b, shapes) for shapes in MATMULS),
    *PRODUCTS,
    *((equation, lambda T, *xs, e=equation: T.einsum(e, *xs), shapes) for equation, shapes in EQUATIONS),
]


def results(value: Any) -> list[graphc.Tensor]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def gradients(values: list[graphc.Tensor], tensors: list[graphc.Tensor]) -> list[Any]:
    recorded = [x for x in values if x.requires_grad]
    if not recorded:
        return []
    for x in tensors:
        x.grad = None
    sum((x * x).sum() for x in recorded).backward()  # type: ignore[union-attr]
    return [None if x.grad is None else x.grad.numpy() for x in tensors]


@pytest.mark.parametrize(("case", "shapes"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_compiled_as_eager(case: Case, shapes: Shapes) -> None:
    tensors = [x.requires_grad_() for x in inputs(*shapes)]
    eager = results(case(graphc, *tensors))
    expected = gradients(eager, tensors)
    step = graphc.compile(lambda *xs: case(graphc, *xs), name="case")
    found = results(step(*tensors))
    assert [x.requires_grad for x in found] == [x.requires_grad for x in eager]
    for a, b in zip(eager, found, strict=True):
        assert a._type == b._type
        np.testing.assert_allclose(a.numpy(force=True), b.numpy(force=True), rtol=1e-5, atol=1e-6)
    for c, d in zip(expected, gradients(found, tensors), strict=True):
        np.testing.assert_allclose(0 if c is None else c, 0 if d is None else d, rtol=1e-4, atol=1e-5)
