"""Constant arrays as text: `dense<f32[2,2], [[1.0, 2.0], [3.0, 4.0]]>`, or the little-endian bytes in hexadecimal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.ir.attributes import DenseArray
from graphc.ir.text.cursor import Cursor
from graphc.ir.text.lexer import Token
from graphc.ir.types import DType, TensorType

_READABLE = 64  # arrays of up to this many elements print as numbers


def dense_text(value: DenseArray) -> str:
    """Nested lists where that is short and exact (NaNs that carry a payload are not), hexadecimal otherwise."""
    array = value.array
    if array.size <= _READABLE:
        numbers = [_number_text(element) for element in array.reshape(-1)]
        if b"".join(number(n, value.type.dtype).tobytes() for n in numbers) == array.tobytes():
            return f"dense<{value.type}, {_nested(numbers, array.shape)}>"
    return f'dense<{value.type}, "{array.tobytes().hex()}">'


def parse_payload(cursor: Cursor, type: TensorType) -> DenseArray:
    """What stands between the comma and the `>`: an array of exactly `type`."""
    if cursor.at("string"):
        return DenseArray(_from_hex(cursor, type))
    elements: list[np.ndarray[Any, Any]] = []
    if 0 in type.shape:
        cursor.expect("[", f"the elements of {type}")
        cursor.expect("]", f"']', since {type} has no elements")
    else:
        _parse_rows(cursor, type, 0, elements)
    return DenseArray(np.array(elements, type.dtype.numpy).reshape(type.shape))


def number(text: str, dtype: DType) -> np.ndarray[Any, Any]:
    """The 0-d array that one printed element stands for. Raises ValueError where it is none of that type."""
    if dtype.is_bool:
        if text not in ("true", "false"):
            raise ValueError(f"{text} is not true or false")
        return np.asarray(text == "true")
    if dtype.is_float:
        exact = float(text)
        with np.errstate(over="ignore"):
            rounded = np.asarray(exact).astype(dtype.numpy)
        if math.isfinite(exact) and not math.isfinite(float(rounded)):
            raise ValueError(f"{text} does not fit in {dtype}")
        return rounded
    if not np.iinfo(dtype.numpy).min <= int(text) <= np.iinfo(dtype.numpy).max:
        raise ValueError(f"{text} does not fit in {dtype}")
    return np.asarray(int(text), dtype.numpy)


def _number_text(element: np.generic) -> str:
    """The shortest text that reads back as the element."""
    if isinstance(element, np.bool_):
        return "true" if element else "false"
    if isinstance(element, np.integer):
        return str(int(element))
    return repr(float(str(element)))


def _nested(numbers: list[str], shape: tuple[int, ...]) -> str:
    if not shape:
        return numbers[0]
    if 0 in shape:
        return "[]"
    step = len(numbers) // shape[0]
    return f"[{', '.join(_nested(numbers[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0]))}]"


def _parse_rows(cursor: Cursor, type: TensorType, axis: int, into: list[np.ndarray[Any, Any]]) -> None:
    if axis == type.rank:
        into.append(_parse_element(cursor, type.dtype))
        return
    cursor.expect("[", f"a list of {type.shape[axis]} along axis {axis} of {type}")
    for i in range(type.shape[axis]):
        if i:
            cursor.expect(",", f"',' ({type} has {type.shape[axis]} along axis {axis}, this list {i})")
        _parse_rows(cursor, type, axis + 1, into)
    cursor.expect("]", f"']' ({type} has {type.shape[axis]} along axis {axis})")


def _parse_element(cursor: Cursor, dtype: DType) -> np.ndarray[Any, Any]:
    token: Token = cursor.next()
    text = token.text
    if token.kind == "negative":
        text = "-" + cursor.next().text
    wanted = {"float": ("float", "integer", "negative"), "bool": ("name",)}.get(dtype.kind, ("integer",))
    if token.kind not in wanted and not (dtype.is_float and text in ("nan", "inf")):
        raise cursor.error(f"{token} is not an element of type {dtype}", token)
    if len(text) > 400:
        raise cursor.error("this number is too long", token)
    try:
        return number(text, dtype)
    except ValueError as error:
        raise cursor.error(str(error), token) from None


def _from_hex(cursor: Cursor, type: TensorType) -> np.ndarray[Any, Any]:
    token = cursor.next()
    if len(token.text) != 2 * type.nbytes:
        raise cursor.error(f"{type} holds {type.nbytes} bytes, not {len(token.text) / 2:g}", token)
    try:
        data = bytes.fromhex(token.text)
    except ValueError:
        raise cursor.error("these bytes are not hexadecimal", token) from None
    if len(data) != type.nbytes or (type.dtype.is_bool and data.strip(b"\0\1")):
        raise cursor.error(f"these bytes are no {type}", token)
    return np.frombuffer(data, type.dtype.numpy).reshape(type.shape)
