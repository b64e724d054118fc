"""Single samples to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.tensors.base import wrap
from graphc.tensors.tensor import Tensor


def default_collate(samples: Sequence[Any]) -> Any:
    """Stack samples along a new first axis, through tuples, lists and dicts. Tensors, arrays and numbers become
    tensors (Python floats float64, ints int64, as in PyTorch); strings stay a list.

    Raises ValueError for samples of different shapes, TypeError for what cannot be batched."""
    first = samples[0]
    if isinstance(first, (Tensor, np.ndarray, np.generic, bool, int, float)):
        arrays = [np.asarray(s) for s in samples]
        shapes = {a.shape for a in arrays}
        if len(shapes) > 1:
            raise ValueError(
                f"cannot batch samples of different shapes {sorted(shapes)}; pad or crop them in the dataset, or pass "
                "collate_fn="
            )
        return wrap(np.stack(arrays))
    if isinstance(first, (str, bytes)):
        return list(samples)
    if isinstance(first, dict):
        return {key: default_collate([s[key] for s in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        if len({len(s) for s in samples}) > 1:
            raise ValueError("cannot batch samples with different numbers of fields")
        fields = [default_collate(field) for field in zip(*samples, strict=True)]
        if hasattr(first, "_fields"):
            return type(first)(*fields)
        return type(first)(fields)
    raise TypeError(f"cannot batch samples of type {type(first).__name__}; pass collate_fn=")
