"""Every op that a kernel can hold, compiled by itself and run uncompiled, against its `eval` on every sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphc.ir.attributes import DenseArray
from graphc.ir.graph import Op
from graphc.ir.opdef import OpDef, lookup, registered
from tests.codegen.harness import Array, fused, reversed_units, run, types_of

KINDS = {
    "pointwise": "loop",
    "generate": "loop",
    "layout": "loop",
    "gather": "loop",
    "reduce": "reduction",
    "scatter": "scatter",
}
NAMES = [name for name, record in registered().items() if record.kind in KINDS]

# Ops whose kernels evaluate polynomials of their own, or combine in another order than NumPy; the others are exact.
ADDED = {"sum", "index_add", "scatter_add"}
ROUNDED = {
    *("exp", "expm1", "log", "log1p", "rsqrt", "tanh", "sigmoid", "erf", "sin", "cos", "pow", "random_normal", "prod"),
    *ADDED,
}
ULPS = 6
SMALL = 70  # elements up to which a sample is run uncompiled too


def samples_of(record: OpDef) -> list[tuple[list[Array], dict[str, Any]]]:
    """Without arrays held by value: those stay outside of kernels."""
    found = record.samples()
    return [s for s in found if not any(isinstance(v, DenseArray) and v.array.size != 1 for v in s[1].values())]


def single(record: OpDef, arrays: list[Array], attributes: dict[str, Any]) -> Op:
    kind = KINDS[record.kind]
    return fused(kind, types_of(arrays), lambda b, *xs: b.emit(record.name, xs, attributes).results)


@pytest.mark.parametrize("name", NAMES)
def test_compiled_and_uncompiled_agree_with_eval(name: str) -> None:
    record = lookup(name)
    for arrays, attributes in samples_of(record):
        op = single(record, arrays, attributes)
        (expected,) = record.eval(arrays, op.regions[0].ops[0].attributes)
        outcomes = [run(op, arrays), run(op, arrays, order=reversed_units)]
        assert outcomes[0].results[0].tobytes() == outcomes[1].results[0].tobytes()
        if max((a.size for a in arrays), default=expected.size) <= SMALL:
            outcomes.append(run(op, arrays, python=True))
        for outcome in outcomes:
            assert outcome.fault == 0
            check_value(name, outcome.results[0], np.asarray(expected), f"{types_of(arrays)} {attributes}")


def check_value(name: str, actual: Array, expected: Array, what: str) -> None:
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind in "iub":
        np.testing.assert_array_equal(actual, expected, err_msg=what)
        return
    epsilon = {2: 2.0**-8 if expected.dtype.kind == "V" else 2.0**-10, 4: 2.0**-23, 8: 2.0**-52}[expected.itemsize]
    tolerance = ULPS * epsilon if name in ROUNDED else 0.0
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    absolute = tolerance * (4.0 if name in ADDED else 1e-3)  # terms of a sum may cancel
    np.testing.assert_allclose(a, e, rtol=tolerance, atol=absolute, err_msg=what)
    if name not in ROUNDED:
        np.testing.assert_array_equal(np.signbit(a), np.signbit(e), err_msg=what)


def test_every_kind_of_op_is_covered() -> None:
    left_out = {name for name, record in registered().items() if record.kind not in KINDS}
    assert {lookup(name).kind for name in left_out} == {"contract", "meta", "fused"}
    assert all(samples_of(lookup(name)) for name in NAMES)
