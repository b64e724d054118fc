"""What holds of every record, on every sample: types, scalar expressions, index maps, reductions, traits."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from graphc.ir.attributes import DenseArray, same_attribute
from graphc.ir.opdef import lookup
from graphc.ir.ops.rounding import narrow, widen
from graphc.ir.types import DTYPES, TensorType, i64, type_of
from tests.ops.numpy_scalar import Number, NumpyScalars
from tests.ops.sampled import Array, names, samples

_KINDS = {"pointwise", "generate", "layout", "reduce", "contract", "gather", "scatter"}
SAMPLED = names(*_KINDS)
NEVER_SCALAR = ("concat", "gather", "iota", "scatter_add")  # they need an axis


def carried(array: Array) -> Number:
    """An operand as a kernel holds it: halves in f32."""
    return Number(widen(array), type_of(array).dtype.accumulator)


def assert_close(actual: Array, expected: Array, message: str, ulps: float = 4) -> None:
    assert actual.dtype == expected.dtype, message
    if type_of(expected).dtype.is_float:
        epsilon = 2.0**-8 if expected.dtype.itemsize == 2 else float(np.finfo(expected.dtype).eps)
        actual, expected = actual.astype(np.float64), expected.astype(np.float64)
        np.testing.assert_allclose(actual, expected, rtol=ulps * epsilon, atol=ulps * epsilon * 1e-3, err_msg=message)
        zero = expected == 0
        np.testing.assert_array_equal(np.signbit(actual[zero]), np.signbit(expected[zero]), err_msg=message)
    else:
        np.testing.assert_array_equal(actual, expected, err_msg=message)


@pytest.mark.parametrize("name", SAMPLED)
def test_eval_gives_arrays_of_the_inferred_types(name: str) -> None:
    for message, record, op, arrays in samples(name):
        before = [a.copy() for a in arrays]
        results = record.eval(arrays, op.attributes)
        assert [type(r) for r in results] == [np.ndarray] * len(op.results), message
        assert [type_of(r) for r in results] == [v.type for v in op.results], message
        for array, copy in zip(arrays, before, strict=True):
            assert array.tobytes() == copy.tobytes(), f"{name} writes to its operand: {message}"


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_cover_shapes_and_element_types(name: str) -> None:
    types = [t for _, _, op, _ in samples(name) for t in (*op.operand_types, *(v.type for v in op.results))]
    assert name in NEVER_SCALAR or any(t.rank == 0 for t in types)
    assert any(t.size == 0 for t in types)
    accepted = {t.dtype for t in types}
    if accepted & {d for d in DTYPES.values() if d.is_float}:
        assert {d for d in DTYPES.values() if d.is_float} <= accepted


@pytest.mark.parametrize("name", names("pointwise"))
def test_scalar_expression_agrees_with_eval(name: str) -> None:
    for message, record, op, arrays in samples(name):
        assert record.scalar is not None
        found = record.scalar(NumpyScalars(), op, *map(carried, arrays))
        assert_scalar(found, op.result.type, record.eval(arrays, op.attributes)[0], message)


@pytest.mark.parametrize("name", names("generate"))
def test_generator_expression_agrees_with_eval(name: str) -> None:
    for message, record, op, arrays in samples(name):
        value = op.attributes.get("value")
        if isinstance(value, DenseArray) and value.array.size != 1:
            continue
        assert record.scalar is not None
        shape = op.result.type.shape
        index = Number(np.arange(op.result.type.size, dtype=np.int64).reshape(shape), i64)
        found = record.scalar(NumpyScalars(), op, index, *map(carried, arrays))
        assert_scalar(found, op.result.type, record.eval(arrays, op.attributes)[0], message)


def assert_scalar(found: Number, result: TensorType, expected: Array, message: str) -> None:
    assert found.dtype == result.dtype.accumulator, message
    with np.errstate(all="ignore"):
        rounded = narrow(np.broadcast_to(found.array, result.shape), result.dtype.numpy)
    assert_close(rounded, expected, message)


@pytest.mark.parametrize("name", names("layout"))
def test_index_map_agrees_with_eval(name: str) -> None:
    for message, record, op, arrays in samples(name):
        assert record.index_map is not None
        (expected,) = record.eval(arrays, op.attributes)
        for index in itertools.product(*map(range, expected.shape)):
            for access in record.index_map(op, index):
                if access.when is None or access.when:
                    assert all(type(i) is int and i >= 0 for i in access.index), message
                    element = arrays[access.operand][access.index]
                    break
            else:
                element = np.array(op.attributes["value"]).astype(expected.dtype)[()]
            assert element.tobytes() == expected[index].tobytes(), f"{message} at {index}"


@pytest.mark.parametrize("name", names("gather"))
def test_index_map_of_a_gather_agrees_with_eval(name: str) -> None:
    for message, record, op, arrays in samples(name):
        assert record.index_map is not None
        (expected,) = record.eval(arrays, op.attributes)
        for index in itertools.product(*map(range, expected.shape)):
            at, source = record.index_map(op, index)
            assert (at.operand, source.operand) == (1, 0)
            loaded = int(arrays[1][at.index])
            place = tuple(loaded if i is None else i for i in source.index)
            assert arrays[0][place].tobytes() == expected[index].tobytes(), f"{message} at {index}"


@pytest.mark.parametrize("name", names("scatter"))
def test_index_map_of_a_scatter_agrees_with_eval(name: str) -> None:
    for message, record, op, arrays in samples(name):
        assert record.index_map is not None
        base, indices, updates = arrays
        result = widen(base).copy()
        for index in itertools.product(*map(range, updates.shape)):
            at, target = record.index_map(op, index)
            assert (at.operand, target.operand) == (1, 0)
            place = tuple(int(indices[at.index]) if i is None else i for i in target.index)
            with np.errstate(over="ignore"):
                result[place] += widen(updates[index])
        assert_close(narrow(result, base.dtype), record.eval(arrays, op.attributes)[0], message)


@pytest.mark.parametrize("name", names("reduce"))
def test_reduction_agrees_with_eval(name: str) -> None:
    s = NumpyScalars()
    for message, record, op, arrays in samples(name):
        reduction = record.reduction
        assert reduction is not None
        (x,) = arrays
        axes: Any = op.attributes["axes"]
        kept = [d for d in range(x.ndim) if d not in axes]
        rows = x.transpose((*kept, *axes)).reshape([*(x.shape[d] for d in kept), math.prod(x.shape[d] for d in axes)])
        elements = [carried(rows[..., i]) for i in range(rows.shape[-1])]
        if reduction.combine is not None:
            assert reduction.identity is not None
            dtype = type_of(x).dtype.accumulator
            acc = Number(np.full(rows.shape[:-1], reduction.identity(dtype), dtype.numpy), dtype)
            for element in elements:
                acc = reduction.combine(s, acc, element)
            found = narrow(acc.array, x.dtype)
        else:
            assert reduction.better is not None
            best, at = elements[0], np.zeros(rows.shape[:-1], np.int64)
            for i, element in enumerate(elements):
                replaces = reduction.better(s, element, best)
                at = np.where(replaces.array, i, at)
                best = s.call("select", replaces, element, best)
            found = at
        (expected,) = record.eval(arrays, op.attributes)
        assert_close(found.reshape(expected.shape), expected, message, ulps=64)


@pytest.mark.parametrize("name", names())
def test_attributes_are_completed_unchanged(name: str) -> None:
    for message, record, op, _ in samples(name):
        again = record.complete(op.attributes)
        assert all(same_attribute(op.attributes[k], again[k]) for k in record.attrs), message


@pytest.mark.parametrize("name", names())
def test_documentation_is_a_sentence(name: str) -> None:
    assert lookup(name).doc.endswith(".")


@pytest.mark.parametrize("name", names("pointwise"))
def test_traits_hold_on_the_samples(name: str) -> None:
    for message, record, op, arrays in samples(name):
        x = arrays[0]
        if name in ("maximum", "minimum") and type_of(x).dtype.is_float:
            arrays = [a + np.zeros((), a.dtype) for a in arrays]  # of 0.0 and -0.0 they may choose either
            x = arrays[0]
        (expected,) = record.eval(arrays, op.attributes)
        if "commutative" in record.traits:
            (swapped,) = record.eval(arrays[::-1], op.attributes)
            assert_same_numbers(swapped, expected, message)
        if "associative" in record.traits and not type_of(x).dtype.is_float:
            y = arrays[1]
            left = record.eval([record.eval([x, y], {})[0], x[::-1] if x.ndim else x], {})[0]
            right = record.eval([x, record.eval([y, x[::-1] if x.ndim else x], {})[0]], {})[0]
            assert_same_numbers(left, right, message)
        if "idempotent" in record.traits:
            assert_same_numbers(record.eval([x, x], {})[0], x, message)
        if record.identity is not None:
            neutral = np.full(x.shape, record.identity(type_of(x).dtype), x.dtype)
            (same,) = record.eval([x, neutral], {})
            assert_same_numbers(same, x, message)
            if "commutative" in record.traits:
                assert_same_numbers(record.eval([neutral, x], {})[0], x, message)


def assert_same_numbers(actual: Array, expected: Array, message: str) -> None:
    """Equal bit for bit, but for the payload of NaNs."""
    assert actual.dtype == expected.dtype, message
    nan = expected != expected
    np.testing.assert_array_equal(actual != actual, nan, err_msg=message)
    assert actual[~nan].tobytes() == expected[~nan].tobytes(), message


def test_only_integer_divisions_and_indexing_can_fault() -> None:
    faulting = [n for n in names() if lookup(n).fault is not None]
    assert faulting == [
        "check_index", "floor_div", "gather", "index_add", "mod", "pow", "scatter_add", "take"
    ]  # fmt: skip


def test_every_op_with_a_float_result_has_a_gradient() -> None:
    for name in SAMPLED:
        for _, record, op, _ in samples(name):
            assert record.vjp is not None or not op.result.type.dtype.is_float, name
