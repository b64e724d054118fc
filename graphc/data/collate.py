"""Single samples to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphc.tensors.base import wrap
from graphc.tensors.tensor import Tensor


def default_collate(samples: Sequence[Any]) -> Any:
    """Stack samples along a new first axis, through tuples, lists and dicts. Tensors, arrays and numbers become
    tensors (Python floats float64, ints int64, as in PyTorch); strings stay a list.

    Raises ValueError for samples of different shapes, TypeError for what cannot be batched."""
    first = samples[0]
    if isinstance(first, (str, bytes)):
        return list(samples)
    if isinstance(first, (Tensor, np.ndarray, np.generic, bool, int, float)):
        return wrap(stacked(samples))
    if isinstance(first, Mapping):
        return {key: default_collate([s[key] for s in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        lengths = sorted({len(s) for s in samples})
        if len(lengths) > 1:
            raise ValueError(f"cannot batch samples of {' and '.join(map(str, lengths))} fields; pass collate_fn=")
        fields = [default_collate(field) for field in zip(*samples, strict=True)]
        if hasattr(first, "_fields"):
            return type(first)(*fields)
        return type(first)(fields)
    raise TypeError(f"cannot batch samples of type {type(first).__name__}; pass collate_fn=")


def stacked(samples: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Tensors, arrays or numbers of one shape, along a new first axis. Raises ValueError where shapes differ."""
    arrays = [np.asarray(s) for s in samples]
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise ValueError(
            f"cannot batch samples of different shapes {sorted(shapes)}; pad or crop them in the dataset, or pass "
            "collate_fn="
        )
    return np.stack(arrays)
