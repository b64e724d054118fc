"""Batches of a dataset, in order or shuffled, prefetched by background threads where asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import graphc
from graphc.data.dataset import batch_of
from graphc.functions.generator import Generator


class DataLoader:
    """Iterates over `dataset` (anything with `len` and an index) in batches; every `iter()` is one epoch.

    shuffle: a new order every epoch, drawn from `generator`, or from one of its own that starts at `seed`, or from the
        default generator, which `graphc.manual_seed` starts.
    sampler: an iterable of indices instead. batch_sampler: an iterable of lists of indices, one per batch.
    drop_last: leave out a last, smaller batch.
    num_workers: background threads that fetch and collate; each keeps up to `prefetch_factor` batches ready. Batches
        come in the same order whatever the number. 0 fetches in the calling thread.
    collate_fn: a list of samples -> a batch; by default the dataset's `get_batch`, or `default_collate`.
    pin_memory: for scripts that pass it; batches are in the only memory there is.

    Raises ValueError for arguments that contradict one another. An exception in a worker is raised where its batch
    would have come.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool | None = None,
        sampler: Iterable[int] | None = None,
        *,
        batch_sampler: Iterable[Sequence[int]] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        generator: Generator | None = None,
        seed: int | None = None,
        prefetch_factor: int = 2,
    ):
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be at least 1, got {batch_size}")
        if num_workers < 0:
            raise ValueError(f"DataLoader: num_workers must not be negative, got {num_workers}")
        if prefetch_factor < 1:
            raise ValueError(f"DataLoader: prefetch_factor must be at least 1, got {prefetch_factor}")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: a sampler already decides the order; leave out shuffle=True")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise ValueError(
                "DataLoader: a batch_sampler already decides the batches; leave out batch_size, shuffle, sampler and "
                "drop_last"
            )
        if generator is not None and seed is not None:
            raise ValueError("DataLoader: a generator has a seed already; leave out seed")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = bool(shuffle)
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        self.collate_fn = collate_fn
        self.pin_memory = pin_memory
        self.drop_last = drop_last
        self.generator = generator if seed is None else Generator(seed)
        self.prefetch_factor = prefetch_factor

    def __len__(self) -> int:
        """The number of batches in an epoch. Raises TypeError for a sampler of unknown length."""
        if self.batch_sampler is not None:
            return _length(self.batch_sampler)
        samples = len(self.dataset) if self.sampler is None else _length(self.sampler)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        batches = self._batches(self._order()) if self.batch_sampler is None else iter(self.batch_sampler)
        return map(self._fetch, batches) if self.num_workers == 0 else self._prefetch(batches)

    def _order(self) -> Iterable[int]:
        if self.sampler is not None:
            return self.sampler
        count = len(self.dataset)
        if not self.shuffle:
            return range(count)
        return graphc.randperm(count, generator=self.generator).tolist()

    def _batches(self, order: Iterable[int]) -> Iterator[Sequence[int]]:
        indices = iter(order)
        while batch := list(islice(indices, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def _fetch(self, indices: Sequence[int]) -> Any:
        if self.collate_fn is None:
            return batch_of(self.dataset, indices)
        return self.collate_fn([self.dataset[i] for i in indices])

    def _prefetch(self, batches: Iterator[Sequence[int]]) -> Iterator[Any]:
        pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="graphc-loader")
        pending: deque[Future[Any]] = deque()
        try:
            for batch in islice(batches, self.num_workers * self.prefetch_factor):
                pending.append(pool.submit(self._fetch, batch))
            while pending:
                ready = pending.popleft().result()
                for batch in islice(batches, 1):
                    pending.append(pool.submit(self._fetch, batch))
                yield ready
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _length(sampler: Iterable[Any]) -> int:
    if not isinstance(sampler, Sized):
        raise TypeError(f"the length of a DataLoader over a {type(sampler).__name__} is not known")
    return len(sampler)
