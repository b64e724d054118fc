"""Batches of a dataset, in order or shuffled, prefetched by background threads where asked."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from graphc.data.collate import default_collate
from graphc.data.dataset import Dataset
from graphc.random import initial_seed


class DataLoader:
    """Iterates over `dataset` in batches; every `iter()` is one epoch.

    shuffle: a new order every epoch, a function of `seed` and the number of epochs begun (seed None: of
        `graphc.manual_seed`'s). sampler: an iterable of indices instead. drop_last: leave out a last, smaller batch.
    num_workers: background threads that fetch and collate; each keeps up to `prefetch_factor` batches ready. Batches
        come in the same order whatever the number. 0 fetches in the calling thread.
    collate_fn: a list of samples -> a batch; by default `default_collate`, or the dataset's `get_batch`.

    Raises ValueError for arguments that contradict one another. An exception in a worker is raised where its batch
    would have come.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        sampler: Iterable[int] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        drop_last: bool = False,
        seed: int | None = None,
        prefetch_factor: int = 2,
    ):
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be at least 1, got {batch_size}")
        if num_workers < 0 or prefetch_factor < 1:
            raise ValueError("DataLoader: num_workers must be >= 0 and prefetch_factor >= 1")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: a sampler already decides the order; leave out shuffle=True")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.sampler = sampler
        self.num_workers = num_workers
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.seed = seed
        self.prefetch_factor = prefetch_factor
        self._epochs = 0

    def __len__(self) -> int:
        """The number of batches in an epoch. Raises TypeError for a sampler of unknown length."""
        if self.sampler is not None:
            if not isinstance(self.sampler, Sized):
                raise TypeError(f"the length of a DataLoader over a {type(self.sampler).__name__} is not known")
            samples = len(self.sampler)
        else:
            samples = len(self.dataset)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        batches = self._batches(self._order())
        if self.num_workers == 0:
            return map(self._fetch, batches)
        return self._prefetch(batches)

    def _order(self) -> Iterable[int]:
        if self.sampler is not None:
            return self.sampler
        if not self.shuffle:
            return range(len(self.dataset))
        seed = initial_seed() if self.seed is None else self.seed
        order: list[int] = np.random.default_rng([seed % 2**64, self._epochs]).permutation(len(self.dataset)).tolist()
        self._epochs += 1
        return order

    def _batches(self, order: Iterable[int]) -> Iterator[list[int]]:
        indices = iter(order)
        while batch := list(itertools.islice(indices, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def _fetch(self, indices: Sequence[int]) -> Any:
        if self.collate_fn is None and hasattr(self.dataset, "get_batch"):
            return self.dataset.get_batch(indices)
        return (self.collate_fn or default_collate)([self.dataset[i] for i in indices])

    def _prefetch(self, batches: Iterator[list[int]]) -> Iterator[Any]:
        pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="graphc-loader")
        pending: deque[Future[Any]] = deque()
        try:
            for batch in itertools.islice(batches, self.num_workers * self.prefetch_factor):
                pending.append(pool.submit(self._fetch, batch))
            while pending:
                ready = pending.popleft().result()
                following = next(batches, None)
                if following is not None:
                    pending.append(pool.submit(self._fetch, following))
                yield ready
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
