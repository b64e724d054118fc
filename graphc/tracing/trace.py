"""The trace under way: applies ops to traced tensors, and keeps what they did to memory apart from the memory.

Every tensor that a traced function meets becomes an argument of the graph: those handed to it are inputs, all others
are state, keyed by their memory, so that tied weights are one state. Writes replace values in an overlay and never
touch the tensors themselves; the graph's updates are what the overlay ends with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from graphc.context import context
from graphc.dispatch import needs_grad
from graphc.errors import TracingError, fail, user_location
from graphc.ir.builder import Builder
from graphc.ir.graph import Block, Value
from graphc.ir.types import TensorType, f64, type_of
from graphc.tensors.base import TensorBase
from graphc.tensors.storage import Storage
from graphc.tensors.views import VIEW_OPS, Step, keeps_memory, replay, step, write_back
from graphc.tracing.gradients import Gradients
from graphc.tracing.guards import Reading, same_value
from graphc.tracing.values import TRACED, TracedStorage, traced

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

T = TypeVar("T")


class State(NamedTuple):
    """A tensor that a trace met, what its memory holds now, and the argument that it began with."""

    tensor: TensorBase
    requires_grad: bool
    held: TracedStorage
    argument: Value


class Trace:
    """One function being traced. `names` says how to call states, by the identity of their storage; `visit_module` is
    told of every module that is called."""

    def __init__(self, name: str, names: Mapping[int, str], visit_module: Callable[[Any], None]):
        self.name = name
        self.block = Block()
        self.inputs: list[Value] = []
        self.states: list[State] = []
        self.scalars: list[Reading] = []
        self.scalar_values: list[Value] = []
        self.guards: list[Reading] = []
        self.gradients_ = Gradients(self)
        self._builder = Builder(self.block)
        self._names = names
        self._visit_module = visit_module
        self._overlay: dict[int, TracedStorage] = {}
        self._tainted: set[Value] = set()
        self._stopped: dict[Value, Value] = {}
        self._undo: list[Callable[[], Any]] = []
        self._attributes: dict[tuple[int, str], tuple[Any, str, Any]] = {}
        self._switched: dict[int, tuple[TensorBase, bool]] = {}
        self._taken: set[str] = set()

    # --- arguments

    def add_input(self, type: TensorType, name: str, requires_grad: bool = False) -> Tensor:
        """A traced tensor for a new input of the graph."""
        value = Value(type, None, 0, self._unique(name))
        self.inputs.append(value)
        found = traced(TracedStorage(self, value, user_location()), value)
        if requires_grad:
            found._requires_grad = True
            found._storage.trained = True
            self._tainted.add(value)
        return found

    def scalar_input(self, getter: Callable[[], float], name: str) -> Tensor:
        """A traced f64 tensor for a number that is read at every call."""
        reading = Reading.of(getter, name)
        known = {r.key: v for r, v in zip(self.scalars, self.scalar_values, strict=True)}
        value = known.get(reading.key)
        if value is None:
            value = Value(TensorType(f64, ()), None, 0, self._unique(name))
            self.scalars.append(reading)
            self.scalar_values.append(value)
        return traced(TracedStorage(self, value, user_location()), value)

    def guard(self, getter: Callable[[], T], name: str) -> T:
        """The value that `getter` returns, which the trace relies on."""
        reading = Reading.of(getter, name)
        for known in self.guards:
            if known.key == reading.key:
                return known.value
        self.guards.append(reading)
        return reading.value

    def storage_of(self, x: TensorBase) -> TracedStorage:
        """What the memory of `x` holds in this trace; memory that was not met before becomes state."""
        if x._array is None:
            if x._storage.trace is not self:
                x._storage.fail_leaked()
            return x._storage
        found = self._overlay.get(id(x._storage))
        return self._lift(x) if found is None else found

    def _lift(self, x: TensorBase) -> TracedStorage:
        storage: Storage = x._storage
        value = Value(type_of(storage.array), None, 0, self._unique(self.name_of(x)))
        found = TracedStorage(self, value, user_location(), storage)
        self._overlay[id(storage)] = found
        self.states.append(State(x, self._switched.get(id(x), (x, x._requires_grad))[1], found, value))
        if storage.trained or x._requires_grad:
            self._tainted.add(value)
        return found

    def name_of(self, x: TensorBase) -> str:
        """What to call the state that `x` shows."""
        if x._storage.label is not None:
            owner, key = x._storage.label
            return key if owner is None else f"{self.name_of(owner)}.{key}"
        return self._names.get(id(x._storage), "state")

    def argument_name(self, leaf: TensorBase) -> str:
        """What a leaf is called: an input by its parameter, state by its place."""
        if leaf._array is not None:
            return self.name_of(leaf)
        return next((v.name for v in self.inputs if v is leaf._storage.first), None) or "tensor"

    def _unique(self, name: str) -> str:
        found, n = name, 1
        while found in self._taken:
            n += 1
            found = f"{name}_{n}"
        self._taken.add(found)
        return found

    # --- ops

    def apply(self, name: str, operands: Sequence[TensorBase], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """Append one op; its results as traced tensors."""
        values = [self.operand(x) for x in operands]
        results = self.emit(name, values, attributes)
        if name in VIEW_OPS:
            view = self._view(operands[0], step(name, attributes, values[0].type), results[0])
            if view is not None:
                return (view,)
        recorded = context.grad_enabled and any(map(needs_grad, operands))
        return tuple(self.wrap(value, recorded) for value in results)

    def wrap(self, value: Value, recorded: bool = False) -> Tensor:
        """A traced tensor with a storage of its own; `recorded` if it was computed from what requires gradients."""
        found = traced(TracedStorage(self, value, self._builder.location), value)
        if recorded and value.type.dtype.is_float:
            found._requires_grad, found._node = True, TRACED
            found._storage.recorded = True
        return found

    def _view(self, source: TensorBase, last: Step, value: Value) -> Tensor | None:
        storage = self.storage_of(source)
        steps = (*source._steps, last)
        if not keeps_memory(storage.value.type, steps):
            return None
        storage.views[steps] = value
        found = traced(storage, value)
        found._view_of(source, source if source._base is None else source._base, steps)
        found._storage = storage
        if context.grad_enabled and needs_grad(source) and value.type.dtype.is_float:
            found._requires_grad, found._node = True, TRACED
        return found

    def emit(self, name: str, operands: Sequence[Value], attributes: Mapping[str, Any]) -> tuple[Value, ...]:
        """Append one op on values. Its results depend on what requires gradients if an operand does."""
        self._builder.location = user_location()
        op = self._builder.emit(name, operands, dict(attributes))
        if name != "stop_gradient" and not self._tainted.isdisjoint(operands):
            self._tainted.update(v for v in op.results if v.type.dtype.is_float)
        return op.results

    def _emit_one(self, name: str, operands: Sequence[Value], attributes: Mapping[str, Any]) -> Value:
        return self.emit(name, operands, attributes)[0]

    def value_of(self, x: TensorBase) -> Value:
        """The present value of a tensor."""
        storage = self.storage_of(x)
        if not x._steps:
            return storage.value
        found = storage.views.get(x._steps)
        if found is None:
            found = storage.views[x._steps] = replay(x._steps, storage.value, self._emit_one)
        return found

    def operand(self, x: TensorBase) -> Value:
        """The value of a tensor as an operand: what does not require gradients is cut off from what does."""
        if not context.grad_enabled or not x._type.dtype.is_float:
            return self.value_of(x)
        root = x if x._base is None else x._base
        if root._requires_grad and (root._node is None or root._array is not None):
            self.gradients_.leaf_value(root)
        return self.value_of(x) if needs_grad(x) else self.cut(self.value_of(x))

    def cut(self, value: Value) -> Value:
        """The value, as a constant of differentiation."""
        if value not in self._tainted:
            return value
        if value not in self._stopped:
            self._stopped[value] = self._emit_one("stop_gradient", [value], {})
        return self._stopped[value]

    def is_tainted(self, value: Value) -> bool:
        """Whether a value may depend on a leaf that requires gradients."""
        return value in self._tainted

    def taint(self, value: Value) -> None:
        """Note that a value is a leaf that requires gradients."""
        self._tainted.add(value)

    def clone(self, source: TensorBase) -> Tensor:
        """A tensor of the same value with a storage of its own."""
        return self.wrap(self.operand(source), context.grad_enabled and needs_grad(source))

    def identity(self, x: TensorBase) -> Tensor:
        """A tensor of the same elements with a value of its own, on the tape if `x` is."""
        recorded = context.grad_enabled and needs_grad(x)
        name, attributes = ("reshape", {"shape": x._type.shape}) if recorded else ("stop_gradient", {})
        return self.wrap(self._emit_one(name, [self.operand(x)], attributes), recorded)

    # --- writes

    def write(self, target: TensorBase, value: TensorBase) -> None:
        """Replace the elements of `target` by those of `value`, in the overlay."""
        storage = self.storage_of(target)
        base = target if target._base is None else target._base
        recorded = context.grad_enabled and (needs_grad(value) or base._requires_grad)
        if recorded and storage.origin is not None and base._array is not None:
            fail(
                TracingError,
                f"a value that requires gradients is written to {self.name_of(base)!r}, which outlives the compiled "
                "function; write value.detach(), or do it under graphc.no_grad()",
            )
        if storage.origin is not None and not storage.origin.array.flags.writeable:
            fail(TracingError, f"in-place write to {self.name_of(base)!r}, whose memory is read-only; clone() it first")
        if storage.recorded and not recorded:
            fail(
                TracingError,
                f"an in-place write to a tensor of type {base._type} that requires gradients, under no_grad or through "
                "detach(), cannot be followed; clone() it first",
            )
        new = self.operand(value)
        self._builder.location = user_location()
        storage.set(write_back(target._steps, storage.value, new, value._type, self._emit_one))
        if recorded:
            base._requires_grad, base._node = True, TRACED
            storage.recorded = True

    # --- gradients

    def backward(self, target: TensorBase, cotangent: TensorBase, create_graph: bool) -> None:
        """Accumulate the gradient of `target` in the leaves it depends on."""
        self.gradients_.backward(target, cotangent, create_graph)

    def gradients(
        self,
        targets: Sequence[TensorBase],
        cotangents: Sequence[TensorBase],
        wrt: Sequence[TensorBase],
        create_graph: bool,
    ) -> list[Tensor | None]:
        """The gradient by each tensor of `wrt`; None where the targets do not depend on it."""
        return self.gradients_.gradients(targets, cotangents, wrt, create_graph)

    def leaves(self, tensors: Sequence[TensorBase]) -> list[TensorBase]:
        """The leaves that require gradients and that the tensors were computed from."""
        return self.gradients_.leaves_behind(tensors)

    def get_grad(self, tensor: TensorBase) -> Tensor | None:
        """`tensor.grad`."""
        return self.gradients_.get(tensor)

    def set_grad(self, tensor: TensorBase, grad: Tensor | None) -> None:
        """`tensor.grad = grad`."""
        self.gradients_.set(tensor, grad)

    # --- Python's side

    def visit(self, module: Any) -> None:
        """A module is called."""
        self._visit_module(module)

    def note_attribute(self, module: Any, name: str) -> None:
        """An attribute of a module is about to be set."""
        known = module.__dict__
        before = known.get(name, _ABSENT)
        self._attributes.setdefault((id(module), name), (module, name, before))

        def restore() -> None:
            if before is _ABSENT:
                known.pop(name, None)
            else:
                known[name] = before

        self._undo.append(restore)

    def note_requires_grad(self, x: TensorBase) -> None:
        """`requires_grad` of a tensor from outside is about to be set."""
        before = self._switched.setdefault(id(x), (x, x._requires_grad))[1]

        def restore() -> None:
            x._requires_grad = before

        self._undo.append(restore)

    def note_leaf(self, x: TensorBase) -> None:
        """`x` requires gradients from now on: it gets a value of its own, on which nothing depends that was computed
        from it before, and from which its detached views are cut off."""
        if x._array is not None and id(x._storage) not in self._overlay:
            return  # not met yet
        storage = self.storage_of(x)
        value = self._emit_one("stop_gradient", [self.value_of(x)], {})
        storage.renew(x._steps, value)
        self._tainted.add(value)

    def require_switched_back(self) -> None:
        """Raise TracingError for a tensor from outside that got another `requires_grad`."""
        for x, before in self._switched.values():
            if x._requires_grad != before:
                fail(
                    TracingError,
                    f"requires_grad of {self.name_of(x)!r} is changed in the compiled function {self.name!r} and left "
                    "so; change it outside, or back before the end",
                )

    def changed_attributes(self) -> list[tuple[Any, str, Any]]:
        """(module, name, value) of the attributes that the traced function left with another value."""
        return [
            (module, name, module.__dict__.get(name))
            for module, name, before in self._attributes.values()
            if not same_value(before, module.__dict__.get(name, _ABSENT))
        ]

    def outside(self, make: Callable[[], T]) -> T:
        """Call `make` as if no function were traced."""
        context.trace = None
        enabled, context.grad_enabled = context.grad_enabled, False
        try:
            return make()
        finally:
            context.trace, context.grad_enabled = self, enabled

    def on_failure(self, undo: Callable[[], Any]) -> None:
        """Call `undo` if the trace, or compiling it, fails."""
        self._undo.append(undo)

    def roll_back(self) -> None:
        """Take back everything that the trace has changed."""
        while self._undo:
            self._undo.pop()()


_ABSENT: Any = object()
