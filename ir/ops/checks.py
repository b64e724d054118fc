"""What the `infer` rules share: checks that name the op, the types and the remedy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from graphc.ir.errors import AttributeValueError, DTypeError, ShapeError
from graphc.ir.types import DTYPES, MAX_RANK, DType, TensorType

FAMILIES: dict[str, tuple[DType, ...]] = {
    "float": tuple(d for d in DTYPES.values() if d.is_float),
    "integer": tuple(d for d in DTYPES.values() if d.is_integer),
    "number": tuple(d for d in DTYPES.values() if not d.is_bool),
    "bool or integer": tuple(d for d in DTYPES.values() if not d.is_float),
    "bool": tuple(d for d in DTYPES.values() if d.is_bool),
    "any": tuple(DTYPES.values()),
}


def tensor(name: str, dtype: DType, shape: Sequence[int]) -> TensorType:
    """The result type of the op `name`. Raises ShapeError for a shape no memory could hold."""
    result = TensorType(dtype, tuple(shape))
    if result.rank > MAX_RANK:
        raise ShapeError(f"{name}: a result of rank {result.rank} is above the limit of {MAX_RANK}; reshape first")
    if any(n < 0 for n in result.shape):
        raise ShapeError(f"{name}: the result {result} has a negative size; every size must be at least 0")
    if not result.is_representable:
        raise ShapeError(f"{name}: the result {result} exceeds 2^63 bytes; use smaller sizes")
    return result


def require_dtype(name: str, type: TensorType, family: str) -> None:
    """Raises DTypeError unless the element type is in the family."""
    if type.dtype not in FAMILIES[family]:
        raise DTypeError(f"{name} takes {family} elements, got {type}; cast it first")


def require_same(name: str, types: Sequence[TensorType]) -> None:
    """Raises DTypeError or ShapeError unless all types are equal."""
    listed = " and ".join(map(str, types))
    if any(t.dtype != types[0].dtype for t in types):
        raise DTypeError(f"{name}: element types differ: {listed}; cast one of them")
    if any(t.shape != types[0].shape for t in types):
        raise ShapeError(f"{name}: shapes differ: {listed}; broadcast one of them")


def require_axis(name: str, axis: int, type: TensorType) -> None:
    """Raises AttributeValueError unless 0 <= axis < rank."""
    if not 0 <= axis < type.rank:
        raise AttributeValueError(
            f"{name}: axis {axis} is not an axis of {type}; it must lie in 0 <= axis < {type.rank}"
        )


def require_axes(name: str, axes: Sequence[int], type: TensorType) -> None:
    """Raises AttributeValueError unless the axes are sorted, unique and in range."""
    for axis in axes:
        require_axis(name, axis, type)
    if any(a >= b for a, b in itertools.pairwise(axes)):
        raise AttributeValueError(f"{name}: axes {tuple(axes)} must be sorted and unique")


def require_per_axis(name: str, key: str, values: Sequence[int], type: TensorType) -> None:
    """Raises AttributeValueError unless there is one value for each axis."""
    if len(values) != type.rank:
        raise AttributeValueError(f"{name}: {key} has {len(values)} entries for {type}; give one for each axis")


def require_number(name: str, value: object, dtype: DType) -> None:
    """Raises AttributeValueError unless `value` is a number of the kind of `dtype` and in its range: a float for a
    float type, an int for an integer type, a bool for bool."""
    kind = float if dtype.is_float else bool if dtype.is_bool else int
    if type(value) is not kind:
        raise AttributeValueError(f"{name}: value {value!r} is not a {kind.__name__}, which {dtype} needs")
    if dtype.is_integer:
        low, high = integer_range(dtype)
        if not low <= value <= high:
            raise AttributeValueError(f"{name}: value {value!r} does not fit {dtype}; it holds {low} to {high}")


def integer_range(dtype: DType) -> tuple[int, int]:
    """The smallest and the largest value of an integer type."""
    bits = 8 * dtype.itemsize
    return (0, 2**bits - 1) if dtype.kind == "uint" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
