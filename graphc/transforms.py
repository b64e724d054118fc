"""Gradients of functions: `graphc.grad` and `graphc.value_and_grad`, eagerly and in compiled functions alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from graphc import autograd
from graphc.context import context, enable_grad, no_grad
from graphc.dispatch import identity, needs_grad
from graphc.errors import DTypeError, ShapeError, fail
from graphc.functions.creation import as_tensor, zeros_like
from graphc.pytree import Static, flatten, unflatten
from graphc.tensors.base import TensorBase
from graphc.tensors.tensor import Tensor


def value_and_grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns (value, gradient) of `function`, which returns a tensor of one element.

    argnums: the argument(s) to differentiate by: tensors, numbers, or tuples, lists and dicts of them. The gradient has
        the structure of the argument; with several argnums it is a tuple.
    has_aux: `function` returns (value, anything else), and the result is ((value, anything else), gradient).

    Gradients can be differentiated again. Raises DTypeError for arguments that are not of a float type, and ShapeError
    for a value of several elements.
    """
    return _transformed(function, argnums, has_aux, lambda value, aux, g: ((value, aux) if has_aux else value, g))


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """As value_and_grad, but returns the gradient alone, or (gradient, anything else) with has_aux."""
    return _transformed(function, argnums, has_aux, lambda value, aux, g: (g, aux) if has_aux else g)


def _transformed(
    function: Callable[..., Any],
    argnums: int | Sequence[int],
    has_aux: bool,
    choose: Callable[[Any, Any, Any], Any],
) -> Callable[..., Any]:
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        _require_positions(positions, args)
        with enable_grad():
            given = list(args)
            fresh: list[Tensor] = []
            structures = []
            for i in positions:
                leaves: list[Any] = []
                structure = _tensors(flatten(given[i], leaves), leaves)
                variables = [_variable(x) for x in leaves]
                remaining = iter(variables)
                given[i] = unflatten(structure, lambda r=remaining: next(r))  # type: ignore[misc]
                structures.append(structure)
                fresh += variables
            result = function(*given, **kwargs)
            value, aux = result if has_aux else (result, None)
            _require_scalar(function, value)
            found = _gradients(value, fresh)
        outputs: list[Any] = []
        structure = flatten((value, aux), outputs)
        closed = _close([x for x in outputs if isinstance(x, Tensor)] + found, fresh)
        ends = iter(closed)
        value, aux = unflatten(structure, lambda: next(ends))
        gradients = [unflatten(s, lambda: next(ends)) for s in structures]
        return choose(value, aux, gradients[0] if isinstance(argnums, int) else tuple(gradients))

    return call


def _require_positions(positions: Sequence[int], args: Sequence[Any]) -> None:
    for i in positions:
        if not -len(args) <= i < len(args):
            raise TypeError(f"grad: there is no argument {i}; the function was called with {len(args)}")


def _tensors(structure: Any, leaves: list[Any]) -> Any:
    """The structure with numbers as tensors too, which are added to `leaves` in order."""
    tensors = iter(list(leaves))
    leaves.clear()

    def walk(node: Any) -> Any:
        if node is None:
            leaves.append(next(tensors))
            return None
        if isinstance(node, Static):
            if isinstance(node.value, (int, float)):
                leaves.append(node.value)
                return None
            return node
        return node._replace(children=tuple(map(walk, node.children)))

    return walk(structure)


def _variable(x: Any) -> Tensor:
    """A tensor of the same elements to differentiate by; on the tape of outer gradients, if there are any."""
    tensor = as_tensor(x)
    if not tensor.is_floating_point():
        fail(
            DTypeError,
            f"grad: cannot differentiate by an argument of type {tensor._type}; only floats have gradients: cast it "
            "with .float(), or leave it out of argnums",
        )
    return identity(tensor) if needs_grad(tensor) else identity(tensor).requires_grad_()


def _require_scalar(function: Callable[..., Any], value: Any) -> None:
    name = getattr(function, "__name__", "function")
    if not isinstance(value, TensorBase):
        raise TypeError(f"grad: {name} must return a tensor, got {type(value).__name__}")
    if value._type.size != 1:
        fail(ShapeError, f"grad: {name} must return one element, got a tensor of shape {value._type.shape}")
    if not value._type.dtype.is_float:
        fail(DTypeError, f"grad: {name} must return a float, got {value._type}; only floats have gradients")


def _gradients(value: Tensor, fresh: Sequence[Tensor]) -> list[Tensor]:
    if not needs_grad(value):
        return [zeros_like(x) for x in fresh]
    found = autograd.grad(value, fresh, create_graph=True, allow_unused=True)
    return [zeros_like(x) if g is None else g for x, g in zip(fresh, found, strict=True)]


def _close(results: list[Tensor], fresh: Sequence[Tensor]) -> list[Tensor]:
    """The results, taken off the tape unless they depend on more that requires gradients than the variables."""
    variables = {id(x) for x in fresh if x.is_leaf}
    if context.grad_enabled and any(id(leaf) not in variables for leaf in autograd.leaves(results)):
        return results
    with no_grad():
        return [x.detach() for x in results]
