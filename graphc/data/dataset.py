"""Map-style datasets: `len(dataset)` samples, `dataset[i]` one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

import graphc
from graphc.data.collate import default_collate
from graphc.functions.generator import Generator
from graphc.tensors.base import wrap
from graphc.tensors.tensor import Tensor


class Dataset:
    """Base of datasets. A subclass defines `__len__` and `__getitem__`. One that can gather many samples at once may
    also define `get_batch(indices)`, which returns a batch; loaders then prefer it to collating single samples."""

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} does not define __len__, which a DataLoader needs")

    def __getitem__(self, index: int) -> Any:
        raise TypeError(f"{type(self).__name__} does not define __getitem__, which a DataLoader needs")


def batch_of(dataset: Any, indices: Sequence[int]) -> Any:
    """The samples at `indices` as a batch."""
    if _gathers(type(dataset)):
        return dataset.get_batch(indices)
    return default_collate([dataset[i] for i in indices])


def _gathers(cls: type) -> bool:
    """Whether `get_batch` tells the same as `__getitem__`: not where a subclass has defined the latter anew."""
    return next(("get_batch" in vars(c) for c in cls.__mro__ if {"get_batch", "__getitem__"} & set(vars(c))), False)


class TensorDataset(Dataset):
    """Samples are tuples of the i-th rows of the given tensors (or arrays), which must agree in their first extent.
    Raises ValueError where they do not."""

    def __init__(self, *tensors: Tensor | np.ndarray[Any, Any]):
        if not tensors:
            raise ValueError("TensorDataset needs at least one tensor")
        self._arrays = [np.asarray(t) for t in tensors]
        lengths = {a.shape[0] if a.ndim else None for a in self._arrays}
        if None in lengths or len(lengths) != 1:
            shapes = ", ".join(str(a.shape) for a in self._arrays)
            raise ValueError(f"TensorDataset: the tensors must agree in their first extent, got shapes {shapes}")

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors."""
        return tuple(wrap(a) for a in self._arrays)

    def __len__(self) -> int:
        return len(self._arrays[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(wrap(np.asarray(a[index])) for a in self._arrays)

    def get_batch(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """The rows at `indices` of every tensor."""
        rows = np.asarray(indices)
        return tuple(wrap(a[rows]) for a in self._arrays)


class Subset(Dataset):
    """The samples of `dataset` at `indices`."""

    def __init__(self, dataset: Any, indices: Sequence[int]):
        self.dataset = dataset
        self.indices = list(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def get_batch(self, indices: Sequence[int]) -> Any:
        """The samples at `indices` of the subset as a batch."""
        return batch_of(self.dataset, [self.indices[i] for i in indices])


def random_split(dataset: Any, lengths: Sequence[int | float], generator: Generator | None = None) -> list[Subset]:
    """Split at random into subsets of the given lengths, or of fractions that sum to 1 (what rounding leaves over goes
    to the first ones, one each). The order comes from `generator`, or the default one.

    Raises ValueError where the lengths do not add up to the dataset's."""
    total = len(dataset)
    if any(n < 0 for n in lengths):
        raise ValueError(f"random_split: lengths must not be negative, got {list(lengths)}")
    if any(isinstance(n, float) for n in lengths):
        if not math.isclose(sum(lengths), 1):
            raise ValueError(f"random_split: the fractions sum to {sum(lengths)}, not 1")
        counts = [math.floor(total * n) for n in lengths]
        for i in range(total - sum(counts)):
            counts[i % len(counts)] += 1
    else:
        counts = [int(n) for n in lengths]
    if sum(counts) != total:
        raise ValueError(f"random_split: the lengths sum to {sum(counts)}, the dataset has {total} samples")
    order: list[int] = graphc.randperm(total, generator=generator).tolist()
    return [Subset(dataset, order[end - n : end]) for n, end in zip(counts, accumulate(counts), strict=True)]
