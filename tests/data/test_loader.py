"""DataLoader: what comes in which order, with and without workers; and how it ends."""

from __future__ import annotations

import itertools
import threading
import traceback
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.data import DataLoader, Dataset, Subset, TensorDataset, default_collate, random_split

WORKERS = pytest.mark.parametrize("workers", [0, 1, 3])


class Numbers(Dataset):
    """0, 1, ..., as single samples; notes the threads that ask."""

    def __init__(self, count: int):
        self.count = count
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.count:
            raise IndexError(index)
        self.threads.add(threading.current_thread().name)
        return index


def batches(loader: DataLoader) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


def flat(loader: DataLoader) -> list[int]:
    return list(itertools.chain(*batches(loader)))


def loader_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("graphc-loader")]


# --- order


@WORKERS
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("count", [0, 1, 7, 8])
def test_order(workers: int, drop_last: bool, count: int) -> None:
    loader = DataLoader(Numbers(count), batch_size=4, drop_last=drop_last, num_workers=workers)
    expected = [list(range(i, min(i + 4, count))) for i in range(0, count, 4)]
    if drop_last:
        expected = [b for b in expected if len(b) == 4]
    assert batches(loader) == expected
    assert len(loader) == len(expected)
    assert batches(loader) == expected  # and again


@WORKERS
def test_shuffling(workers: int) -> None:
    """Every epoch another order, of everything once; the same orders from the same seed."""

    def epochs(**options: Any) -> list[list[int]]:
        loader = DataLoader(Numbers(50), batch_size=8, shuffle=True, num_workers=workers, **options)
        return [flat(loader) for _ in range(3)]

    first = epochs(seed=1)
    assert all(sorted(order) == list(range(50)) for order in first)
    assert len({tuple(order) for order in first}) == 3
    assert epochs(seed=1) == first
    assert epochs(seed=2) != first
    assert epochs(generator=graphc.Generator(1)) == first
    graphc.manual_seed(1)
    assert epochs() == first
    graphc.manual_seed(1)
    assert [flat(DataLoader(Numbers(50), 8, shuffle=True)) for _ in range(3)] == first  # a new loader every epoch


def test_the_order_does_not_depend_on_the_workers() -> None:
    orders = {w: flat(DataLoader(Numbers(100), 7, shuffle=True, seed=0, num_workers=w)) for w in (0, 1, 2, 5)}
    assert len({tuple(order) for order in orders.values()}) == 1


@WORKERS
def test_samplers(workers: int) -> None:
    loader = DataLoader(Numbers(10), batch_size=2, sampler=[3, 3, 9], num_workers=workers)
    assert batches(loader) == [[3, 3], [9]]
    assert len(loader) == 2
    loader = DataLoader(Numbers(10), batch_sampler=[[1], [2, 3, 4]], num_workers=workers)
    assert batches(loader) == [[1], [2, 3, 4]]
    assert len(loader) == 2

    class Endless:
        def __iter__(self) -> Iterator[int]:
            return itertools.cycle([1, 2])

    loader = DataLoader(Numbers(10), batch_size=2, sampler=Endless(), num_workers=workers)
    assert [b.tolist() for b in itertools.islice(loader, 3)] == [[1, 2]] * 3
    with pytest.raises(TypeError, match="the length of a DataLoader over a Endless is not known"):
        len(loader)


def test_any_sequence_is_a_dataset() -> None:
    assert batches(DataLoader([3, 1, 4], 2)) == [[3, 1], [4]]


# --- workers


def test_workers_fetch_and_are_gone_afterwards() -> None:
    data = Numbers(40)
    assert flat(DataLoader(data, 4, num_workers=2)) == list(range(40))
    assert data.threads
    assert all(name.startswith("graphc-loader") for name in data.threads)
    assert not loader_threads()


def test_an_early_end_closes_the_workers() -> None:
    data = Numbers(1000)
    for batch in DataLoader(data, 4, num_workers=3, prefetch_factor=2):
        assert batch.tolist() == [0, 1, 2, 3]
        break
    assert not loader_threads()
    iterator = iter(DataLoader(data, 4, num_workers=2))
    next(iterator)
    assert loader_threads()
    del iterator
    assert not loader_threads()


def test_workers_stay_at_most_so_many_batches_ahead() -> None:
    asked: list[int] = []

    class Counting(Numbers):
        def __getitem__(self, index: int) -> int:
            asked.append(index)
            return index

    iterator = iter(DataLoader(Counting(1000), 1, num_workers=2, prefetch_factor=3))
    for i in range(5):
        next(iterator)
        assert max(asked) <= i + 2 * 3
    del iterator


def test_two_epochs_at_once() -> None:
    loader = DataLoader(Numbers(20), 4, num_workers=2)
    assert [(a.tolist(), b.tolist()) for a, b in zip(loader, loader, strict=True)] == [
        (list(range(i, i + 4)),) * 2 for i in range(0, 20, 4)
    ]


class Broken(Numbers):
    def __getitem__(self, index: int) -> int:
        if index == 5:
            raise RuntimeError("sample 5 is damaged")
        return index


@WORKERS
def test_errors_come_where_their_batch_would_with_their_traceback(workers: int) -> None:
    iterator = iter(DataLoader(Broken(12), 2, num_workers=workers))
    assert [next(iterator).tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(RuntimeError, match="sample 5 is damaged") as info:
        next(iterator)
    frames = traceback.extract_tb(info.value.__traceback__)
    assert frames[-1].filename == __file__
    assert frames[-1].name == "__getitem__"
    assert not loader_threads()


@WORKERS
def test_errors_of_samplers(workers: int) -> None:
    def sampler() -> Iterator[int]:
        yield from (0, 1)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        flat(DataLoader(Numbers(9), 1, sampler=sampler(), num_workers=workers))
    with pytest.raises(IndexError):
        flat(DataLoader(Numbers(2), 1, sampler=[5], num_workers=workers))
    assert not loader_threads()


# --- collating

Point = namedtuple("Point", "x y")


def test_collating_nested_samples() -> None:
    samples = [
        {
            "image": np.full((2, 2), i, np.uint8),
            "label": i,
            "weights": (i / 2, [True, graphc.tensor([i], dtype=graphc.float16)]),
            "name": f"n{i}",
            "raw": b"x",
            "at": Point(np.float32(i), np.int16(i)),
        }
        for i in range(3)
    ]
    batch = default_collate(samples)
    assert list(batch) == list(samples[0])
    assert (batch["image"].dtype, tuple(batch["image"].shape)) == (graphc.uint8, (3, 2, 2))
    assert (batch["label"].dtype, batch["label"].tolist()) == (graphc.int64, [0, 1, 2])
    half, (flag, tensor) = batch["weights"]
    assert (half.dtype, half.tolist()) == (graphc.float64, [0.0, 0.5, 1.0])
    assert (flag.dtype, flag.tolist()) == (graphc.bool, [True] * 3)
    assert (tensor.dtype, tensor.tolist()) == (graphc.float16, [[0.0], [1.0], [2.0]])
    assert batch["name"] == ["n0", "n1", "n2"]
    assert batch["raw"] == [b"x"] * 3
    assert isinstance(batch["at"], Point)
    assert (batch["at"].x.dtype, batch["at"].y.dtype) == (graphc.float32, graphc.int16)


@pytest.mark.parametrize(
    ("samples", "error", "text"),
    [
        ([np.zeros(2), np.zeros(3)], ValueError, r"different shapes \[\(2,\), \(3,\)\]; pad or crop them"),
        ([(1, 2), (1,)], ValueError, "samples of 1 and 2 fields; pass collate_fn="),
        ([None, None], TypeError, "cannot batch samples of type NoneType; pass collate_fn="),
        ([object()], TypeError, "cannot batch samples of type object"),
    ],
)
def test_samples_that_cannot_be_batched(samples: list[Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        default_collate(samples)


@WORKERS
def test_a_collate_function(workers: int) -> None:
    loader = DataLoader(TensorDataset(np.arange(5)), 2, num_workers=workers, collate_fn=lambda samples: len(samples))
    assert list(loader) == [2, 2, 1]


# --- data sets


@WORKERS
def test_tensor_dataset(workers: int) -> None:
    x, y = graphc.randn(5, 2), graphc.arange(5)
    data = TensorDataset(x, y)
    assert len(data) == 5
    assert data[3][0].tolist() == x[3].tolist()
    assert data[3][1].item() == 3
    assert [t.tolist() for t in data.tensors] == [x.tolist(), y.tolist()]
    found = list(DataLoader(data, 2, num_workers=workers))
    assert [b[1].tolist() for b in found] == [[0, 1], [2, 3], [4]]
    assert found[2][0].tolist() == x[4:].tolist()
    assert found[0][0].dtype == graphc.float32


def test_tensor_datasets_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"must agree in their first extent, got shapes \(2, 3\), \(4,\)"):
        TensorDataset(np.zeros((2, 3)), np.zeros(4))
    with pytest.raises(ValueError, match="must agree"):
        TensorDataset(graphc.tensor(1.0))
    with pytest.raises(ValueError, match="at least one tensor"):
        TensorDataset()


def test_batches_do_not_share_memory_with_the_data() -> None:
    x = np.zeros((4, 2), np.float32)
    for (batch,) in DataLoader(TensorDataset(x), 2):
        batch.fill_(1)
    assert not x.any()


def test_a_subclass_with_another_getitem_is_asked_for_it() -> None:
    """Not bypassed by the batches that its base class can gather."""

    class Doubled(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(index)[0] * 2

    class Gathered(Doubled):
        def get_batch(self, indices: Any) -> Any:
            return "gathered"

    x = np.arange(4)
    assert batches(DataLoader(Doubled(x), 2)) == [[0, 2], [4, 6]]
    assert batches(DataLoader(Subset(Doubled(x), [3, 1]), 2)) == [[6, 2]]
    assert list(DataLoader(Gathered(x), 2)) == ["gathered"] * 2


def test_subsets() -> None:
    inner = Subset(TensorDataset(np.arange(10) * 10), [7, 1, 5])
    outer = Subset(inner, [2, 0])
    assert len(inner) == 3
    assert [inner[i][0].item() for i in range(3)] == [70, 10, 50]
    assert [b[0].tolist() for b in DataLoader(outer, 2)] == [[50, 70]]
    assert batches(DataLoader(Subset(Numbers(9), [8, 0]), 2)) == [[8, 0]]


def test_random_split() -> None:
    def split(lengths: Any, **options: Any) -> list[list[int]]:
        return [subset.indices for subset in random_split(Numbers(11), lengths, **options)]

    parts = split([5, 6], generator=graphc.Generator(0))
    assert [len(p) for p in parts] == [5, 6]
    assert sorted(parts[0] + parts[1]) == list(range(11))
    assert split([5, 6], generator=graphc.Generator(0)) == parts
    assert split([5, 6], generator=graphc.Generator(1)) != parts
    graphc.manual_seed(0)
    assert split([5, 6]) == parts
    assert [len(p) for p in split([0.5, 0.3, 0.2])] == [6, 3, 2]  # 5.5, 3.3, 2.2: one left over
    for lengths, text in [
        ([5, 5], "the lengths sum to 10, the dataset has 11 samples"),
        ([0.5, 0.4], "the fractions sum to 0.9, not 1"),
        ([12, -1], "must not be negative"),
    ]:
        with pytest.raises(ValueError, match=text):
            split(lengths)


# --- what is refused


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": None}, "batch_size must be at least 1, got None"),
        ({"num_workers": -1}, "num_workers must not be negative, got -1"),
        ({"prefetch_factor": 0}, "prefetch_factor must be at least 1, got 0"),
        ({"sampler": [1], "shuffle": True}, "a sampler already decides the order"),
        ({"batch_sampler": [[1]], "batch_size": 2}, "a batch_sampler already decides the batches"),
        ({"batch_sampler": [[1]], "shuffle": True}, "a batch_sampler already decides the batches"),
        ({"seed": 1, "generator": graphc.Generator(1)}, "a generator has a seed already"),
    ],
)
def test_options_that_contradict(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        DataLoader(Numbers(3), **options)


def test_a_dataset_without_its_methods() -> None:
    class Empty(Dataset):
        pass

    with pytest.raises(TypeError, match="Empty does not define __len__"):
        len(DataLoader(Empty()))
    with pytest.raises(TypeError, match="Empty does not define __getitem__"):
        next(iter(DataLoader(Empty(), sampler=[0])))
