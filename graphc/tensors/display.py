"""How tensors print: as PyTorch's do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.dtypes import DEFAULT_FLOAT, DEFAULT_INT, NAMES

if TYPE_CHECKING:
    from graphc.tensors.base import TensorBase


def describe(x: TensorBase) -> str:
    """`tensor([1., 2.], dtype=graphc.float64)`; of a traced tensor, its type."""
    if x._array is None:
        return f"<traced tensor {x._type}{', requires_grad' if x._requires_grad else ''}>"
    name = "Parameter containing:\ntensor" if type(x) is not x.result_class else "tensor"
    parts = [_elements(x._array)]
    dtype = x._type.dtype
    if not x._type.size and x._type.shape != (0,):
        parts.append(f"size={tuple(x._type.shape)}")
    if dtype not in (DEFAULT_FLOAT, DEFAULT_INT) and not dtype.is_bool:
        parts.append(f"dtype=graphc.{NAMES[dtype]}")
    if x._node is not None:
        parts.append(f"grad_fn=<{x._node.name}>")
    elif x._requires_grad:
        parts.append("requires_grad=True")
    return f"{name}({', '.join(parts)})"


def _elements(array: np.ndarray[Any, Any]) -> str:
    if array.size == 0:
        return "[]"
    shown = array.astype(np.float32) if array.dtype.kind == "V" or array.dtype.name == "bfloat16" else array
    if shown.dtype.kind != "f":
        return np.array2string(shown, separator=", ", prefix="tensor(", threshold=1000)
    return np.array2string(shown, separator=", ", prefix="tensor(", threshold=1000, precision=4, **_style(shown))


def _style(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    finite = array[np.isfinite(array)]
    if finite.size and np.all(finite == np.rint(finite)) and np.abs(finite).max() < 1e5:
        return {}
    nonzero = np.abs(finite[finite != 0])
    if nonzero.size and (nonzero.max() >= 1e8 or nonzero.min() < 1e-4 or nonzero.max() / nonzero.min() > 1e3):
        return {"formatter": {"float_kind": lambda v: f"{v:.4e}"}}
    return {"floatmode": "fixed"}
