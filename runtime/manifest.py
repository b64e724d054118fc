"""Programs as plain records, field by field: for the manifest of an exported program, and for the cache.

A record of a dataclass is a dict with exactly its fields; of a tuple, a list; of an element type, its name. A program's
objects are kept beside its record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from graphc.ir.types import DTYPES, DType
from graphc.runtime.program import FAULTS, Program

_OBJECTS = "objects"


def program_record(program: Program) -> dict[str, Any]:
    """Everything of a program but its objects."""
    return {name: _encode(getattr(program, name), hint) for name, hint in _fields(Program).items() if name != _OBJECTS}


def program_from(record: Any, objects: Sequence[bytes]) -> Program:
    """The program of a record. Raises ValueError, TypeError or LookupError for what is none."""
    hints = {name: hint for name, hint in _fields(Program).items() if name != _OBJECTS}
    program = Program(**_decode_fields(record, hints), objects=tuple(objects))
    if not program.entry.isidentifier():
        raise ValueError(f"{program.entry!r} is no symbol")
    for fault in program.faults:
        if fault.kind not in FAULTS:
            raise ValueError(f"there is no fault {fault.kind!r}")
    return program


@cache
def _fields(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields by name."""
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _encode(value: Any, hint: Any) -> Any:
    if value is None or hint in (str, int, bool):
        return value
    if hint is DType:
        return value.name
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return {name: _encode(getattr(value, name), inner) for name, inner in _fields(hint).items()}
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and arguments[1:] == (...,):
        return [_encode(item, arguments[0]) for item in value]
    if origin in (Union, UnionType):
        return _encode(value, _present(arguments))
    raise TypeError(f"a program's record cannot hold {hint}")


def _decode(value: Any, hint: Any) -> Any:
    if hint in (str, int, bool):
        return _size(value) if hint is int else _typed(value, hint)
    if hint is DType:
        return DTYPES[value]
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return hint(**_decode_fields(value, _fields(hint)))
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and arguments[1:] == (...,):
        return tuple(_decode(item, arguments[0]) for item in _typed(value, list))
    if origin in (Union, UnionType):
        return None if value is None else _decode(value, _present(arguments))
    raise TypeError(f"a program's record cannot hold {hint}")


def _decode_fields(record: Any, hints: dict[str, Any]) -> dict[str, Any]:
    unknown = set(_typed(record, dict)) - set(hints)
    if unknown:
        raise ValueError(f"there is no field {min(unknown)!r}")
    return {name: _decode(record[name], hint) for name, hint in hints.items()}


def _present(arguments: tuple[Any, ...]) -> Any:
    """The other one of two types, one of which is None's."""
    (found,) = (argument for argument in arguments if argument is not NoneType)
    return found


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{value!r} stands where a {kind.__name__} belongs")
    return value


def _size(value: Any) -> int:
    """A program's integers are sizes, counts and line numbers."""
    if not 0 <= _typed(value, int) < 1 << 63:
        raise ValueError(f"a size cannot be {value}")
    return int(value)
