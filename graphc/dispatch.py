"""Applies one op of the IR to tensors: at once, or into the trace under way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import graphc.ir.ops  # noqa: F401  (fills the registry)
from graphc.context import context
from graphc.errors import AutogradError, DTypeError, GraphcError, fail, located
from graphc.ir.opdef import OpDef, lookup
from graphc.ir.types import TensorType
from graphc.tape import Edge, Node, Saved
from graphc.tensors.base import TensorBase, elements, wrap
from graphc.tensors.views import VIEW_OPS, replay, step, write_back

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

Array = np.ndarray[Any, Any]


def apply(name: str, operands: Sequence[TensorBase], **attributes: Any) -> Tensor:
    """Apply a one-result op. Raises what its record's `infer` and `eval` raise, at the user's line."""
    return apply_op(name, operands, attributes)[0]


def apply_op(name: str, operands: Sequence[TensorBase], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Apply an op to tensors of exactly the types it takes; one tensor per result."""
    if context.trace is not None:
        return context.trace.apply(name, operands, attributes)
    try:
        return _apply_eagerly(name, operands, attributes)
    except GraphcError as error:
        raise located(error) from None


def _apply_eagerly(name: str, operands: Sequence[TensorBase], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    record = lookup(name)
    complete = record.complete(attributes)
    types = record.infer([x._type for x in operands], complete)
    found = record.eval([elements(x) for x in operands], complete)
    results = tuple(_result(record, complete, operands, array, type) for array, type in zip(found, types, strict=True))
    if context.grad_enabled and any(map(needs_grad, operands)) and any(t.dtype.is_float for t in types):
        record_node(name, complete, operands, results)
    return results


def _result(
    record: OpDef, attributes: Mapping[str, Any], operands: Sequence[TensorBase], array: Array, type: TensorType
) -> Tensor:
    if record.name in VIEW_OPS:
        source = operands[0]
        if np.may_share_memory(array, elements(source)):
            view = wrap(array, type)
            steps = (*source._steps, step(record.name, attributes, source._type))
            view._view_of(source, source if source._base is None else source._base, steps)
            return view
    elif any(array is x._array for x in operands) or (record.kind == "layout" and _aliases(array, operands)):
        array = array.copy()
    return wrap(array if array.flags.c_contiguous else array.copy(), type)  # dense, as every result of a program is


def _aliases(array: Array, operands: Sequence[TensorBase]) -> bool:
    return any(x._array is not None and np.may_share_memory(array, x._array) for x in operands)


def record_node(
    name: str, attributes: Mapping[str, Any], operands: Sequence[TensorBase], results: Sequence[TensorBase]
) -> None:
    """Put an op on the tape. Results of a float type require gradients then."""
    edges = [edge_of(x) if needs_grad(x) else None for x in operands]
    node = Node(name, attributes, edges, [saved(x) for x in operands])
    attach(node, results)


def attach(node: Node, results: Sequence[TensorBase]) -> None:
    """Make `results` the results of `node`."""
    node.results = tuple(saved(x) for x in results)
    for i, x in enumerate(results):
        if x._type.dtype.is_float:
            x._node, x._index, x._requires_grad = node, i, True


def saved(x: TensorBase) -> Saved:
    """What a node keeps of a tensor."""
    return Saved(elements(x), x._type, x._storage, x._storage.version)


def needs_grad(x: TensorBase) -> bool:
    """Whether a tensor requires gradients: a view does as soon as what requires them is written to the tensor that it
    was taken of."""
    base = x._base
    return x._requires_grad or (
        base is not None and base._requires_grad and base._node is not None and x._type.dtype.is_float
    )


def edge_of(x: TensorBase) -> Edge:
    """Where on the tape a tensor stands. A view of a tensor that was written since is recorded anew."""
    if x._base is not None and x._seen != x._storage.version:
        _renew(x)
    return Edge(None, 0, x) if x._node is None else Edge(x._node, x._index, None)


def _renew(view: TensorBase) -> None:
    base = view._base
    assert base is not None
    if base._requires_grad:
        fresh = replay(view._steps[len(base._steps) :], base, _emit)
        view._node, view._index, view._requires_grad = fresh._node, fresh._index, True
    view._seen = view._storage.version


def _emit(name: str, operands: Sequence[TensorBase], attributes: Mapping[str, Any]) -> TensorBase:
    return apply_op(name, operands, attributes)[0]


def write(target: TensorBase, value: TensorBase) -> None:
    """Replace the elements of `target`, which has the type of `value`: the tensors that share its memory see it too.
    Raises AutogradError for a leaf that requires gradients, outside `no_grad`."""
    if target._type != value._type:
        fail(DTypeError, f"cannot write a tensor of type {value._type} in place to one of type {target._type}")
    base = target if target._base is None else target._base
    if context.grad_enabled and base._requires_grad and base._node is None:
        fail(
            AutogradError,
            f"in-place write to a {'view of a ' if base is not target else ''}leaf tensor of type {base._type} that "
            "requires gradients; do it under graphc.no_grad()",
        )
    if context.trace is not None:
        context.trace.write(target, value)
        return
    _write_eagerly(target, base, value)


def _write_eagerly(target: TensorBase, base: TensorBase, value: TensorBase) -> None:
    array, new = elements(target), elements(value)
    if not array.flags.writeable:
        reason = (
            "several of its elements are one element in memory" if 0 in array.strides else "its memory is read-only"
        )
        fail(AutogradError, f"in-place write to a tensor of type {target._type}: {reason}; clone() it first")
    recorded = context.grad_enabled and (needs_grad(value) or base._requires_grad)
    whole = _recorded_write(target, base, value) if recorded else None
    np.copyto(array, new)
    target._storage.note_write()
    if whole is not None:
        base._node, base._index, base._requires_grad = whole._node, whole._index, whole._requires_grad
        base._seen = target._storage.version


def _recorded_write(target: TensorBase, base: TensorBase, value: TensorBase) -> TensorBase:
    """What `base` becomes, as a tensor on the tape."""
    steps = target._steps[len(base._steps) :]
    whole = write_back(steps, base, value, value._type, _emit)
    if whole._requires_grad and whole._node is None:  # a leaf's own elements: a copy of a leaf is not a leaf
        whole = apply("reshape", [whole], shape=whole._type.shape)
    return whole


def identity(x: TensorBase) -> Tensor:
    """A tensor of the same elements that gradients tell apart from `x`: a result on the tape where `x` requires
    gradients, a tensor to be made a leaf otherwise."""
    return clone(x) if context.trace is None else context.trace.identity(x)


def clone(source: TensorBase) -> Tensor:
    """A copy that gradients flow through."""
    if context.trace is not None:
        return context.trace.clone(source)
    copied = wrap(elements(source).copy(order="C"), source._type)
    if context.grad_enabled and source._requires_grad:
        record_node("reshape", {"shape": source._type.shape}, [source], [copied])
    return copied


__all__ = ["apply", "apply_op", "attach", "clone", "edge_of", "identity", "needs_grad", "record_node", "saved", "write"]
