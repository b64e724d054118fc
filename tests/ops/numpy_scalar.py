"""A small evaluator of scalar expressions on NumPy arrays, independent of the records' `eval`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.ir.errors import OutOfRangeError
from graphc.ir.ops.philox import philox
from graphc.ir.scalar import Primitive, ScalarBuilder
from graphc.ir.types import DType


@dataclass(frozen=True)
class Number:
    """An array of element type `dtype`, standing for one scalar at each place."""

    array: np.ndarray[Any, Any]
    dtype: DType


def _philox(key: Any, counter: Any) -> Any:
    word0, word1 = philox(int(key), np.asarray(counter))
    return ((word1 << np.uint64(32)) | word0).view(np.int64)


def _check_range(x: Any, low: Any, high: Any) -> Any:
    if np.any((x < low) | (x >= high)):
        raise OutOfRangeError("a value is out of range")
    return x


def _lshr(x: Any, n: Any) -> Any:
    unsigned = np.dtype(f"u{np.asarray(x).itemsize}")
    return (np.asarray(x).view(unsigned) >> np.asarray(n).astype(unsigned)).view(np.asarray(x).dtype)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.true_divide,
    "floor_div": np.floor_divide,
    "mod": np.mod,
    "pow": np.power,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "neg": np.negative,
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "sin": np.sin,
    "cos": np.cos,
    "bit_and": np.bitwise_and,
    "bit_or": np.bitwise_or,
    "bit_xor": np.bitwise_xor,
    "bit_not": np.invert,
    "lshr": _lshr,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "select": np.where,
    "philox": _philox,
    "check_range": _check_range,
}


class NumpyScalars(ScalarBuilder[Number]):
    """Computes at once. Raises TypeError where a primitive is applied outside its domain or to mixed types."""

    def const(self, value: float | int | bool, dtype: DType) -> Number:
        return Number(np.array(value, dtype.numpy), dtype)

    def emit(self, primitive: Primitive, args: tuple[Number, ...], dtype: DType) -> Number:
        typed = args[1:] if primitive.name == "select" else args
        kinds = {"float": "f", "int": "i", "uint": "i", "bool": "b"}
        if any(a.dtype != typed[0].dtype or kinds[a.dtype.kind] not in primitive.domain for a in typed):
            raise TypeError(f"{primitive.name} cannot take {[str(a.dtype) for a in args]}")
        arrays = [a.array for a in args]
        with np.errstate(all="ignore"):
            if primitive.name == "cast":
                return Number(_cast(arrays[0], dtype), dtype)
            if primitive.name == "erf" and arrays[0].size == 0:
                return Number(arrays[0], dtype)
            return Number(np.asarray(_FUNCTIONS[primitive.name](*arrays)).astype(dtype.numpy), dtype)


def _cast(array: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    if array.dtype.kind != "f" or not dtype.is_integer:
        return array.astype(dtype.numpy)
    converted = [_to_integer(v, np.iinfo(dtype.numpy)) for v in array.ravel().tolist()]
    return np.array(converted, dtype.numpy).reshape(array.shape)


def _to_integer(value: float, info: Any) -> int:
    if math.isnan(value):
        return 0
    finite = int(value) if math.isfinite(value) else int(math.copysign(2**70, value))
    return int(max(info.min, min(info.max, finite)))
