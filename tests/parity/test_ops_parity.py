"""Every op that PyTorch has as well, against PyTorch: values on the samples, gradients at corners."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from graphc.ir.types import DTYPES, bf16, f16, type_of
from tests.ops.derivatives import gradients
from tests.ops.sampled import Array, evaluate, samples

pytestmark = pytest.mark.parity

_TORCH = {
    "f32": torch.float32,
    "f64": torch.float64,
    "bf16": torch.bfloat16,
    "f16": torch.float16,
    "i8": torch.int8,
    "i16": torch.int16,
    "i32": torch.int32,
    "i64": torch.int64,
    "u8": torch.uint8,
    "bool": torch.bool,
}


def to_torch(array: Array) -> Any:
    array = np.array(array)
    if type_of(array).dtype == bf16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_numpy(tensor: Any) -> Array:
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return np.asarray(tensor.view(torch.int16).numpy().view(bf16.numpy))
    return np.asarray(tensor.numpy())


def _reduce(function: Callable[..., Any]) -> Callable[..., Any]:
    """A torch reduction over one axis at a time, as an op with axes."""

    def reduce(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
        for axis in reversed(axes):
            x = function(x, axis, keepdims)
        return x

    return reduce


def _slices(start: tuple[int, ...], stop: tuple[int, ...], step: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(*part) for part in zip(start, stop, step, strict=True))


def _index_add(base: Any, indices: Any, updates: Any, axis: int) -> Any:
    flat = updates.reshape(*base.shape[:axis], indices.numel(), *base.shape[axis + 1 :])
    return base.index_add(axis, indices.reshape(-1), flat)


def _take(data: Any, indices: Any, axis: int) -> Any:
    found = data.index_select(axis, indices.reshape(-1))
    return found.reshape(*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])


# name -> f(*operands, **attributes). Not here: sign, whose value of NaN is 0 in PyTorch.
UNARY = (
    *("neg", "abs", "floor", "ceil", "round", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "tanh", "sigmoid"),
    *("erf", "sin", "cos", "relu", "bitwise_not"),
)
BINARY = (
    *("add", "sub", "mul", "div", "pow", "maximum", "minimum", "eq", "ne", "lt", "le", "gt", "ge"),
    *("bitwise_and", "bitwise_or", "bitwise_xor"),
)
COUNTERPARTS: dict[str, Callable[..., Any]] = {
    **{name: getattr(torch, name) for name in (*UNARY, *BINARY)},
    "mod": torch.remainder,
    "floor_div": lambda x, y: torch.div(x, y, rounding_mode="floor"),
    "clamp": torch.clamp,
    "where": torch.where,
    "stop_gradient": lambda x: x.detach(),
    "reshape": lambda x, shape: x.reshape(shape),
    "transpose": lambda x, perm: x.permute(perm),
    "slice": lambda x, start, stop, step: x[_slices(start, stop, step)],
    "concat": lambda *xs, axis: torch.cat(xs, axis),
    "flip": lambda x, axes: x.flip(axes),
    "sum": _reduce(lambda x, axis, keep: x.sum(axis, keep, dtype=x.dtype)),
    "prod": _reduce(lambda x, axis, keep: x.prod(axis, keep, dtype=x.dtype)),
    "max": _reduce(lambda x, axis, keep: x.amax(axis, keep)),
    "min": _reduce(lambda x, axis, keep: x.amin(axis, keep)),
    "any": _reduce(lambda x, axis, keep: x.any(axis, keep)),
    "all": _reduce(lambda x, axis, keep: x.all(axis, keep)),
    "argmax": lambda x, axes, keepdims: x.argmax(axes[0], keepdims),
    "argmin": lambda x, axes, keepdims: x.argmin(axes[0], keepdims),
    "contract": lambda x, y, spec: torch.einsum(spec, x, y),
    "take": _take,
    "gather": lambda x, indices, axis: x.gather(axis, indices.long()),
    "index_add": _index_add,
    "scatter_add": lambda x, indices, updates, axis: x.scatter_add(axis, indices.long(), updates),
}
# where PyTorch keeps half sums in halves, or combines in another order
LOOSE = ("sum", "prod", "contract", "index_add", "scatter_add")


@pytest.mark.parametrize("name", sorted(COUNTERPARTS))
def test_values_match_pytorch(name: str) -> None:
    compared = 0
    for message, record, op, arrays in samples(name):
        dtype = type_of(arrays[-1]).dtype
        (expected,) = record.eval(arrays, op.attributes)
        if dtype.is_integer and name in ("floor_div", "mod") and not _representable_quotients(arrays):
            continue
        found = to_numpy(COUNTERPARTS[name](*map(to_torch, arrays), **op.attributes))
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), message
        _assert_close(expected, found, message, 64 if name in LOOSE else 4)
        compared += 1
    assert compared


def _representable_quotients(arrays: list[Array]) -> bool:
    """The smallest integer by -1 wraps here; in PyTorch it is undefined, and may trap."""
    x, y = arrays
    return x.dtype.kind != "i" or not bool(((x == np.iinfo(x.dtype).min) & (y == -1)).any())


def _assert_close(actual: Array, expected: Array, message: str, ulps: float) -> None:
    dtype = type_of(expected).dtype
    if not dtype.is_float:
        np.testing.assert_array_equal(actual, expected, err_msg=message)
        return
    epsilon = {bf16: 2.0**-8, f16: 2.0**-11}.get(dtype) or float(np.finfo(expected.dtype).eps)
    np.testing.assert_allclose(
        actual.astype(np.float64),
        expected.astype(np.float64),
        rtol=ulps * epsilon,
        atol=ulps * epsilon,
        err_msg=message,
    )


@pytest.mark.parametrize("source", DTYPES)
@pytest.mark.parametrize("target", DTYPES)
def test_casts_match_pytorch_within_range(source: str, target: str) -> None:
    x = np.array([0, 1, 2, 3, 5, 100, 127]).astype(DTYPES[source].numpy)
    if DTYPES[source].is_float:
        x = np.concatenate([x, np.array([0.5, 1.75, 2.5, 99.9]).astype(x.dtype)])
    found = to_numpy(to_torch(x).to(_TORCH[target]))
    actual = evaluate("cast", [x], dtype=DTYPES[target])
    assert actual.tobytes() == found.tobytes()


# --- gradients where conventions matter

NAN, INF = math.nan, math.inf
CORNERS: list[tuple[str, list[list[float]], dict[str, Any]]] = [
    ("abs", [[0.0, -0.0, 1.0, -2.0, INF]], {}),
    ("relu", [[0.0, -0.0, 1.0, -2.0, NAN]], {}),
    ("sign", [[0.0, 1.0, -2.0]], {}),
    ("round", [[0.5, 1.5]], {}),
    ("maximum", [[1.0, 2.0, 3.0, NAN], [1.0, 3.0, 2.0, 1.0]], {}),
    ("minimum", [[1.0, 2.0, 3.0, NAN], [1.0, 3.0, 2.0, 1.0]], {}),
    ("clamp", [[0.0, 1.0, 1.5, 2.0, 3.0, 5.0], [1.0, 1.0, 1.0, 1.0, 1.0, 4.0], [2.0, 2.0, 2.0, 2.0, 2.0, 3.0]], {}),
    ("pow", [[0.0, 0.0, 0.0, 2.0, -2.0, 0.0], [0.0, 1.0, 2.0, 0.0, 3.0, 0.5]], {}),
    ("div", [[1.0, 0.0, 2.0], [2.0, 3.0, -0.5]], {}),
    ("mod", [[5.0, -5.0, 5.5], [3.0, 3.0, -2.0]], {}),
    ("sqrt", [[0.0, 4.0]], {}),
    ("rsqrt", [[4.0, 0.25]], {}),
    ("log", [[0.5, 2.0]], {}),
    ("tanh", [[0.0, 20.0, -20.0]], {}),
    ("sigmoid", [[0.0, 40.0, -40.0]], {}),
    ("max", [[1.0, 3.0, 3.0, 2.0]], {"axes": (0,), "keepdims": False}),
    ("min", [[1.0, 1.0, 3.0, 1.0]], {"axes": (0,), "keepdims": True}),
    ("prod", [[2.0, 3.0, 4.0]], {"axes": (0,), "keepdims": False}),
    ("prod", [[2.0, 0.0, 4.0]], {"axes": (0,), "keepdims": False}),
    ("prod", [[0.0, 0.0, 4.0]], {"axes": (0,), "keepdims": False}),
]


@pytest.mark.parametrize(("name", "values", "attributes"), CORNERS)
def test_gradients_at_corners_match_pytorch(name: str, values: list[list[float]], attributes: dict[str, Any]) -> None:
    operands = [np.array(v) for v in values]
    leaves = [to_torch(a).requires_grad_() for a in operands]
    result = COUNTERPARTS[name](*leaves, **attributes) if name != "sign" else torch.sign(*leaves)
    cotangent = torch.linspace(0.5, 2.0, result.numel(), dtype=torch.float64).reshape(result.shape)
    expected = torch.autograd.grad(result, leaves, cotangent, allow_unused=True)
    found = gradients(name, operands, cotangent.numpy(), **attributes)
    for actual, grad in zip(found, expected, strict=True):
        np.testing.assert_allclose(actual, 0 if grad is None else grad.numpy(), rtol=1e-12)
