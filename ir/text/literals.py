"""Parses types and attribute values."""

from __future__ import annotations

import math

from graphc.ir.attributes import INTEGERS, MAX_DEPTH, MAX_ITEMS, Attribute
from graphc.ir.text.cursor import Cursor, suggestion
from graphc.ir.text.dense import parse_payload
from graphc.ir.text.lexer import Token
from graphc.ir.types import DTYPES, MAX_RANK, DType, TensorType


def parse_type(cursor: Cursor) -> TensorType:
    """A tensor type, `f32[64,784]`."""
    start = cursor.token
    dtype = _dtype(cursor, cursor.expect("name", "a type such as f32[2,3]"))
    cursor.expect("[", f"'[' and the sizes after {dtype}")
    shape: list[int] = []
    if not cursor.at("]"):
        shape.append(_size(cursor))
        while cursor.accept(","):
            shape.append(_size(cursor))
    cursor.expect("]", "',' or ']'")
    if len(shape) > MAX_RANK:
        raise cursor.error(f"a type has at most {MAX_RANK} axes, this one {len(shape)}", start)
    type = TensorType(dtype, tuple(shape))
    if not type.is_representable:
        raise cursor.error("this type is larger than any address space", start)
    return type


def parse_types(cursor: Cursor) -> list[tuple[Token, TensorType]]:
    """One or more types, each with the token that it starts at."""
    types = [(cursor.token, parse_type(cursor))]
    while cursor.accept(","):
        types.append((cursor.token, parse_type(cursor)))
    return types


def parse_attribute(cursor: Cursor, depth: int = 0) -> Attribute:
    """An attribute's value."""
    if cursor.at("["):
        return _list(cursor, depth)
    token = cursor.next()
    if token.kind == "string":
        return token.text
    if token.kind == "integer":
        return _integer(cursor, token)
    if token.kind == "float":
        return _float(cursor, token)
    if token.kind == "negative":
        cursor.expect("inf")
        return -math.inf
    if token.kind == "name":
        return _named(cursor, token)
    raise cursor.error(f"expected an attribute's value, found {token}", token)


def _list(cursor: Cursor, depth: int) -> tuple[Attribute, ...]:
    opening = cursor.next()
    if depth == MAX_DEPTH:
        raise cursor.error(f"lists nest deeper than {MAX_DEPTH}", opening)
    items: list[Attribute] = []
    if not cursor.at("]"):
        items.append(parse_attribute(cursor, depth + 1))
        while cursor.accept(","):
            items.append(parse_attribute(cursor, depth + 1))
    cursor.expect("]", "',' or ']'")
    if len(items) > MAX_ITEMS:
        raise cursor.error(f"a list has at most {MAX_ITEMS} items, this one {len(items)}", opening)
    return tuple(items)


def _named(cursor: Cursor, token: Token) -> Attribute:
    if token.text in ("true", "false"):
        return token.text == "true"
    if token.text in ("nan", "inf"):
        return float(token.text)
    if token.text != "dense":
        return _dtype(cursor, token)
    cursor.expect("<", "'<' after dense")
    type = parse_type(cursor)
    cursor.expect(",", "',' and the elements")
    payload = parse_payload(cursor, type)
    cursor.expect(">", "'>' after the elements")
    return payload


def _dtype(cursor: Cursor, token: Token) -> DType:
    if token.text not in DTYPES:
        raise cursor.error(f"unknown element type {token}{suggestion(token.text, DTYPES)}", token)
    return DTYPES[token.text]


def _size(cursor: Cursor) -> int:
    token = cursor.expect("integer", "a size")
    if token.text.startswith("-"):
        raise cursor.error(f"a size cannot be {token.text}", token)
    return _integer(cursor, token)


def _integer(cursor: Cursor, token: Token) -> int:
    if len(token.text) > 40 or int(token.text) not in INTEGERS:
        raise cursor.error("this integer does not fit in 64 bits", token)
    return int(token.text)


def _float(cursor: Cursor, token: Token) -> float:
    if len(token.text) > 400 or math.isinf(float(token.text)):
        raise cursor.error("this number does not fit in f64", token)
    return float(token.text)
