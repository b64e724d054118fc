"""Shape rules meet any operand types and any attributes of the right kind, and answer with a GraphcError at worst."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphc.ir import DTYPES, AttrSpec, DenseArray, DType, GraphcError, TensorType, registered

_SIZES = st.one_of(st.integers(0, 4), st.sampled_from([2**31, 2**62]))
_TYPES = st.builds(TensorType, st.sampled_from(list(DTYPES.values())), st.lists(_SIZES, max_size=4).map(tuple)).filter(
    lambda t: t.is_representable
)
_INTS = st.one_of(st.integers(-2, 5), st.sampled_from([-(2**63), 2**62, 2**63 - 1]))
_SPECS = st.one_of(st.text("abk,->", max_size=9), st.sampled_from(["mk,nk->mn", "ab,ab->", ",->", "a,b->ab"]))
_NUMBERS = st.one_of(st.booleans(), st.integers(-300, 300), st.floats())


def _attribute(spec: AttrSpec) -> st.SearchStrategy[Any]:
    if spec.choices:
        return st.sampled_from(spec.choices)
    if spec.type == "any":
        arrays = st.just(DenseArray(np.zeros((2, 3), np.float32)))
        return st.one_of(_NUMBERS, arrays, st.text(max_size=2), st.lists(_INTS, max_size=3).map(tuple))
    return {
        "ints": st.lists(_INTS, max_size=4).map(tuple),
        "scalar": _NUMBERS,
        bool: st.booleans(),
        int: _INTS,
        float: st.floats(),
        str: _SPECS,
        DType: st.sampled_from(list(DTYPES.values())),
    }[spec.type]


@pytest.mark.parametrize("name", sorted(registered()))
@settings(max_examples=60)
@given(data=st.data())
def test_a_shape_rule_raises_located_errors_only(name: str, data: st.DataObject) -> None:
    record = registered()[name]
    n = record.n_operands if record.n_operands is not None else data.draw(st.integers(0, 4))
    alike = data.draw(st.booleans())
    types = [data.draw(_TYPES)] * n if alike else [data.draw(_TYPES) for _ in range(n)]
    attributes = record.complete({key: data.draw(_attribute(spec)) for key, spec in record.attrs.items()})
    try:
        results = record.infer(types, attributes)
    except GraphcError:
        return
    assert all(isinstance(t, TensorType) and t.is_representable for t in results)
