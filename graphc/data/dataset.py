"""Map-style datasets: `len(dataset)` samples, `dataset[i]` one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.tensors.base import wrap
from graphc.tensors.tensor import Tensor


class Dataset:
    """Base of datasets. A subclass defines `__len__` and `__getitem__`; one that can gather many samples at once, in
    batch form, may define `get_batch(indices)` as well, which the loader then prefers to collating single samples."""

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} does not define __len__, which a DataLoader needs")

    def __getitem__(self, index: int) -> Any:
        raise TypeError(f"{type(self).__name__} does not define __getitem__, which a DataLoader needs")


class TensorDataset(Dataset):
    """Samples are tuples of the i-th rows of the given tensors (or arrays), which must agree in their first extent."""

    def __init__(self, *tensors: Tensor | np.ndarray[Any, Any]):
        if not tensors:
            raise ValueError("TensorDataset needs at least one tensor")
        self._arrays = [np.asarray(t) for t in tensors]
        lengths = [a.shape[0] if a.ndim else None for a in self._arrays]
        if None in lengths or len(set(lengths)) != 1:
            shapes = ", ".join(str(a.shape) for a in self._arrays)
            raise ValueError(f"TensorDataset: the tensors must agree in their first extent, got shapes {shapes}")

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(wrap(a) for a in self._arrays)

    def __len__(self) -> int:
        return len(self._arrays[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(wrap(np.asarray(a[index])) for a in self._arrays)

    def get_batch(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        rows = np.asarray(indices)
        return tuple(wrap(a[rows]) for a in self._arrays)


class Subset(Dataset):
    """The samples of `dataset` at `indices`."""

    def __init__(self, dataset: Dataset, indices: Sequence[int]):
        self.dataset = dataset
        self.indices = list(indices)
        if hasattr(dataset, "get_batch"):
            self.get_batch = lambda rows: dataset.get_batch([self.indices[i] for i in rows])

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]


def random_split(dataset: Dataset, lengths: Sequence[int | float], seed: int = 0) -> list[Subset]:
    """Split at random into subsets of the given lengths, or fractions that sum to 1 (remainders go to the first ones).

    Raises ValueError where the lengths do not add up to the dataset's."""
    total = len(dataset)
    if any(isinstance(n, float) for n in lengths):
        if abs(sum(lengths) - 1) > 1e-9:
            raise ValueError(f"random_split: the fractions sum to {sum(lengths)}, not 1")
        counts = [int(total * n) for n in lengths]
        for i in range(total - sum(counts)):
            counts[i % len(counts)] += 1
    else:
        counts = [int(n) for n in lengths]
    if sum(counts) != total:
        raise ValueError(f"random_split: the lengths sum to {sum(counts)}, the dataset has {total} samples")
    order = np.random.default_rng(seed).permutation(total).tolist()
    ends = np.cumsum(counts).tolist()
    return [Subset(dataset, order[end - n : end]) for n, end in zip(counts, ends, strict=True)]
