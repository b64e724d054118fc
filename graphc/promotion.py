"""PyTorch's rules for mixed operands: which element type results, and to which shape operands spread.

The IR promotes nothing, so casts and broadcasts become ops here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graphc.context import context
from graphc.dispatch import apply
from graphc.dtypes import DEFAULT_FLOAT, DEFAULT_INT, as_dtype, type_of_array
from graphc.errors import AttributeValueError, DTypeError, ShapeError, TracingError, fail
from graphc.ir.attributes import DenseArray
from graphc.ir.types import DType, bf16, bool_, f16, f32, i8, i16, u8
from graphc.tensors.base import TensorBase, wrap

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

Number = bool | int | float
Operand: TypeAlias = "Tensor | Number | np.ndarray[Any, Any] | np.generic"

_RANK = {"bool": 0, "uint": 1, "int": 1, "float": 2}


def promote_types(a: DType, b: DType) -> DType:
    """The smallest type that holds both: of two floats or two integers the wider one, a float before an integer."""
    if a == b:
        return a
    if _RANK[a.kind] != _RANK[b.kind]:
        return a if _RANK[a.kind] > _RANK[b.kind] else b
    if {a, b} == {f16, bf16}:
        return f32
    if {a, b} == {u8, i8}:
        return i16
    if u8 in (a, b):
        return b if a == u8 else a
    return a if a.itemsize > b.itemsize else b


def result_type(*operands: Operand) -> DType:
    """The element type of an operation on tensors and Python numbers. Tensors with dimensions decide; those without,
    and then Python numbers, only where they are of a higher category (bool < integer < float)."""
    ranked: list[DType | None] = [None, None, None]
    for x in operands:
        level, dtype = _level(x)
        known = ranked[level]
        ranked[level] = dtype if known is None else promote_types(known, dtype)
    found = _combine(ranked[0], _combine(ranked[1], ranked[2]))
    if found is None:
        raise TypeError("result_type needs at least one operand")
    return found


def _level(x: Operand) -> tuple[int, DType]:
    if isinstance(x, TensorBase):
        return (0 if x._type.shape else 1), x._type.dtype
    if isinstance(x, np.ndarray):
        return (0 if x.shape else 1), as_dtype(x.dtype)
    number = as_number(x)
    return 2, bool_ if isinstance(number, bool) else DEFAULT_INT if isinstance(number, int) else DEFAULT_FLOAT


def _combine(higher: DType | None, lower: DType | None) -> DType | None:
    if higher is None or lower is None:
        return lower if higher is None else higher
    if higher.is_float:
        return higher
    if higher.is_bool or lower.is_float:
        return promote_types(higher, lower)
    return higher


def as_number(x: object) -> Number:
    """A Python number from a Python or NumPy one. Raises TypeError for anything else."""
    if isinstance(x, (bool, int, float)):
        return x
    if isinstance(x, np.generic):
        found = x.item()
        if isinstance(found, (bool, int, float)):
            return found
    raise TypeError(f"expected a tensor or a number, got {type(x).__name__}")


def broadcast_shapes(*shapes: Sequence[int], name: str = "broadcast") -> tuple[int, ...]:
    """The shape that all `shapes` spread to. Raises ShapeError, naming `name` and the shapes, where there is none."""
    rank = max(map(len, shapes), default=0)
    found = [1] * rank
    for shape in shapes:
        for i, n in enumerate(shape, rank - len(shape)):
            if found[i] == 1:
                found[i] = n
            elif n not in (1, found[i]):
                listed = " and ".join(str(tuple(s)) for s in shapes)
                fail(ShapeError, f"{name}: shapes {listed} do not broadcast: sizes {found[i]} and {n} differ")
    return tuple(found)


def cast(x: Tensor, dtype: DType) -> Tensor:
    """`x` in another element type; `x` itself where it has that type."""
    return x if x._type.dtype == dtype else apply("cast", [x], dtype=dtype)


def broadcast_to(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`x` spread to a shape that it broadcasts to; `x` itself where it has that shape."""
    if x._type.shape == shape:
        return x
    return apply("broadcast", [x], shape=shape, dims=tuple(range(len(shape) - len(x._type.shape), len(shape))))


def splat(value: Number, dtype: DType, shape: tuple[int, ...]) -> Tensor:
    """A number at every place; integers wrap."""
    return apply("constant", [], value=number_of(value, dtype), dtype=dtype, shape=shape)


def number_of(value: Number, dtype: DType) -> Number:
    """A number as an element of `dtype`; integers wrap. Raises AttributeValueError for an integer that needs more than
    64 bits."""
    if isinstance(value, int) and not -(2**63) <= value < 2**64 and not dtype.is_bool:
        if not dtype.is_float:
            fail(
                AttributeValueError,
                f"an integer of {value.bit_length()} bits does not fit into 64 bits, nor into {dtype}; make it a float",
            )
        if abs(value) > sys.float_info.max:
            fail(AttributeValueError, f"an integer of {value.bit_length()} bits is too large for {dtype}; scale it")
    if dtype.is_float:
        return float(value)
    if dtype.is_bool:
        return bool(value)
    bits = 8 * dtype.itemsize
    wrapped = int(value) % 2**bits
    return wrapped - 2**bits if dtype.kind == "int" and wrapped >= 2 ** (bits - 1) else wrapped


def as_operand(x: Operand) -> Tensor | Number:
    """A tensor for an array, a Python number for a number. Raises TracingError for an array in a trace."""
    if isinstance(x, TensorBase):
        return x
    if isinstance(x, np.ndarray):
        return constant_array(x)
    return as_number(x)


def constant_array(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor that shows a NumPy array. Raises TracingError in a trace, which would freeze its elements."""
    if context.trace is not None:
        fail(
            TracingError,
            f"a NumPy array of shape {array.shape} is used in a compiled function: its elements would be frozen into "
            "the program; pass it as an argument, or make it a tensor before (graphc.from_numpy)",
        )
    return wrap(array, borrowed=True)


def embed(array: np.ndarray[Any, Any]) -> Tensor:
    """A constant of the program that is being traced, or a fresh tensor."""
    type = type_of_array(array)
    if array.ndim == 0:
        return splat((array.astype(np.float64) if type.dtype.is_float else array).item(), type.dtype, ())
    return apply("constant", [], value=DenseArray(array), dtype=type.dtype, shape=type.shape)


def match(name: str, *operands: Operand, dtype: DType | None = None) -> list[Tensor]:
    """The operands as tensors of one element type (`dtype`, or the promoted one) and one shape."""
    known = [as_operand(x) for x in operands]
    found = result_type(*known) if dtype is None else dtype
    shapes = [x._type.shape for x in known if isinstance(x, TensorBase)] or [()]
    shape = shapes[0] if all(s == shapes[0] for s in shapes) else broadcast_shapes(*shapes, name=name)
    return [broadcast_to(cast(x, found), shape) if isinstance(x, TensorBase) else splat(x, found, shape) for x in known]


def require_dtype(name: str, x: Tensor, kind: str) -> None:
    """Raises DTypeError unless the element type is of the kind: "float", "number" or "integer or bool"."""
    dtype = x._type.dtype
    fits = {"float": dtype.is_float, "number": not dtype.is_bool, "integer or bool": not dtype.is_float}[kind]
    if not fits:
        fail(DTypeError, f"{name} takes tensors of {kind} elements, got {x._type}; cast it first")
