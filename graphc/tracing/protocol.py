"""What optimizers, and other Python code that compiled functions call, ask of the trace under way.

Outside a trace these functions do the plain thing, so the same code runs eagerly.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar

from graphc.context import context

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

K = TypeVar("K")
V = TypeVar("V", bool, int, float, str, None)


def scalar_input(getter: Callable[[], float], name: str) -> Any:
    """A float that may change between calls, such as a learning rate: in a trace, an f64 tensor without dimensions that
    is an input of the program, for which `getter` is asked at every call; eagerly, the float itself."""
    return getter() if context.trace is None else context.trace.scalar_input(getter, name)


def guard(getter: Callable[[], V], name: str) -> V:
    """A Python value that decides what is traced: the compiled function is made anew when `getter` returns another
    one. `name` is how a message calls it."""
    return getter() if context.trace is None else context.trace.guard(getter, name)


def create_state(owner: MutableMapping[K, Any], key: K, make: Callable[[], Any], of: Tensor | None = None) -> Any:
    """`owner[key]`, made by `make` where it is absent. `make` runs outside the trace, so the tensors that it returns
    (one, or a dict of them) are real, and state of the program; a failed trace removes them again. `of` is the tensor
    they belong to: the moments of `fc1.weight` are called `fc1.weight.exp_avg`, after their key."""
    if key in owner:
        return owner[key]
    trace = context.trace
    if trace is None:
        owner[key] = make()
    else:
        owner[key] = trace.outside(make)
        trace.on_failure(lambda: owner.pop(key, None))
    if of is not None:
        _name_after(of, key, owner[key])
    return owner[key]


def _name_after(of: Tensor, key: Any, made: Any) -> None:
    for name, tensor in made.items() if isinstance(made, dict) else [(key, made)]:
        tensor._storage.label = (of, str(name))
