"""Views as ops: how a view is computed from the memory it shows, and how a write through it changes that memory.

A tensor records the layout ops that lead from its storage to it. Eager tensors show NumPy's views of the storage; a
trace has values only, and follows a view by replaying its steps, and a write through a view by undoing them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from graphc.errors import TracingError, fail
from graphc.ir.types import TensorType, bool_

T = TypeVar("T")
Emit = Callable[[str, Sequence[T], Mapping[str, Any]], T]

VIEW_OPS = frozenset({"broadcast", "reshape", "slice", "transpose"})


class Step(NamedTuple):
    """One layout op of a view; `source` is the type it is applied to."""

    name: str
    attributes: tuple[tuple[str, Any], ...]
    source: TensorType


def step(name: str, attributes: Mapping[str, Any], source: TensorType) -> Step:
    return Step(name, tuple(attributes.items()), source)


def replay(steps: Sequence[Step], root: T, emit: Emit[T]) -> T:
    """The view of `root` that the steps make."""
    for s in steps:
        root = emit(s.name, [root], dict(s.attributes))
    return root


def write_back(steps: Sequence[Step], root: T, value: T, value_type: TensorType, emit: Emit[T]) -> T:
    """`root` with the part that the steps show replaced by `value`."""
    if not steps:
        return value
    before = [root]
    for s in steps[:-1]:
        before.append(emit(s.name, [before[-1]], dict(s.attributes)))
    for s, whole in zip(reversed(steps), reversed(before), strict=True):
        value = _undo(s, whole, value, value_type, emit)
        value_type = s.source
    return value


def keeps_memory(root: TensorType, steps: Sequence[Step]) -> bool:
    """Whether the view shows the memory of `root`; a reshape after a transpose or a slice may have to copy."""
    if not any(s.name == "reshape" for s in steps[1:]):
        return True
    array = np.empty(root.shape, np.bool_)  # never touched, so never backed by memory
    for s in steps:
        attributes = dict(s.attributes)
        if s.name == "reshape":
            viewed = array.reshape(attributes["shape"])
            if not np.may_share_memory(viewed, array):
                return False
            array = viewed
        elif s.name == "transpose":
            array = array.transpose(attributes["perm"])
        elif s.name == "slice":
            array = array[slices(attributes)]
        else:
            return False
    return True


def is_dense(root: TensorType, steps: Sequence[Step]) -> bool:
    """Whether the elements of the view lie in row-major order without gaps, in the memory of a dense `root`."""
    array = np.empty(root.shape, np.bool_)  # never touched, so never backed by memory
    for s in steps:
        attributes = dict(s.attributes)
        if s.name == "reshape":
            array = array.reshape(attributes["shape"])
        elif s.name == "transpose":
            array = array.transpose(attributes["perm"])
        elif s.name == "slice":
            array = array[slices(attributes)]
        else:
            spread = [1] * len(attributes["shape"])
            for dim, size in zip(attributes["dims"], array.shape, strict=True):
                spread[dim] = size
            array = np.broadcast_to(array.reshape(spread), attributes["shape"])
    return bool(array.flags.c_contiguous)


def slices(attributes: Mapping[str, Any]) -> tuple[slice, ...]:
    """The NumPy index of a `slice` op."""
    return tuple(
        slice(a, b, c) for a, b, c in zip(attributes["start"], attributes["stop"], attributes["step"], strict=True)
    )


def _undo(s: Step, whole: T, value: T, value_type: TensorType, emit: Emit[T]) -> T:
    attributes = dict(s.attributes)
    shape = s.source.shape
    if s.name == "reshape":
        return emit("reshape", [value], {"shape": shape})
    if s.name == "transpose":
        return emit("transpose", [value], {"perm": tuple(int(i) for i in np.argsort(attributes["perm"]))})
    if s.name == "slice":
        return _put(attributes, shape, whole, value, value_type, emit)
    if value_type.size != s.source.size:
        fail(
            TracingError,
            f"in-place write to a tensor of shape {value_type.shape} expanded from {shape}: several of its elements "
            "are one element in memory; clone() it first",
        )
    return emit("reshape", [value], {"shape": shape})


def _put(
    attributes: Mapping[str, Any], shape: tuple[int, ...], whole: T, value: T, value_type: TensorType, emit: Emit[T]
) -> T:
    if value_type.size == 0:
        return whole
    if value_type.shape == shape:
        return value
    start, step = attributes["start"], attributes["step"]
    last = [a + (n - 1) * c for a, n, c in zip(start, value_type.shape, step, strict=True)]
    place: dict[str, Any] = {
        "low": tuple(start),
        "high": tuple(n - 1 - b for n, b in zip(shape, last, strict=True)),
        "interior": tuple(c - 1 for c in step),
    }
    ones = emit("constant", [], {"value": True, "dtype": bool_, "shape": value_type.shape})
    mask = emit("pad", [ones], {**place, "value": False})
    zero = 0.0 if value_type.dtype.is_float else False if value_type.dtype.is_bool else 0
    return emit("where", [mask, emit("pad", [value], {**place, "value": zero}), whole], {})
