"""Data sets from files: MNIST's layouts, what is wrong with a file, and scikit-learn's digits."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.data import MNIST, DataFileError, DataLoader, Digits, FashionMNIST

RNG = np.random.default_rng(0)
IMAGES = {True: RNG.integers(0, 256, (7, 28, 28), np.uint8), False: RNG.integers(0, 256, (3, 28, 28), np.uint8)}
LABELS = {True: np.arange(7, dtype=np.uint8), False: np.array([9, 0, 4], np.uint8)}
NAMES = {True: "train", False: "t10k"}


def idx(array: np.ndarray[Any, Any]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write(folder: Path, suffix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for train, name in NAMES.items():
        for kind, array in (("images-idx3", IMAGES[train]), ("labels-idx1", LABELS[train])):
            data = idx(array)
            (folder / f"{name}-{kind}-ubyte{suffix}").write_bytes(gzip.compress(data) if suffix else data)
    return folder


# --- layouts


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("below", [".", "MNIST/raw", "raw"])
@pytest.mark.parametrize("train", [True, False])
def test_layouts(tmp_path: Path, suffix: str, below: str, train: bool) -> None:
    write(tmp_path / below, suffix)
    data = MNIST(str(tmp_path), train=train)
    assert len(data) == len(LABELS[train])
    image, label = data[1]
    assert (image.dtype, tuple(image.shape)) == (graphc.float32, (1, 28, 28))
    assert (label.dtype, tuple(label.shape)) == (graphc.int64, ())
    np.testing.assert_array_equal(image.numpy()[0], IMAGES[train][1].astype(np.float32) / np.float32(255))
    assert label.item() == LABELS[train][1]
    np.testing.assert_array_equal(data.data, IMAGES[train])
    assert data.targets.tolist() == LABELS[train].tolist()


def test_fashion_mnist_stands_in_its_own_folder(tmp_path: Path) -> None:
    write(tmp_path / "FashionMNIST" / "raw", ".gz")
    assert len(FashionMNIST(tmp_path)) == 7
    with pytest.raises(FileNotFoundError, match="MNIST: train-images-idx3-ubyte and train-labels-idx1-ubyte"):
        MNIST(tmp_path)


def test_a_gzipped_file_without_its_suffix(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert MNIST(tmp_path).targets.tolist() == LABELS[True].tolist()


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_samples(tmp_path: Path, workers: int) -> None:
    write(tmp_path)
    data = MNIST(tmp_path)
    loaded = list(DataLoader(data, 4, num_workers=workers))
    assert [tuple(x.shape) for x, _ in loaded] == [(4, 1, 28, 28), (3, 1, 28, 28)]
    images, labels = loaded[0]
    assert (images.dtype, labels.dtype) == (graphc.float32, graphc.int64)
    for i in range(4):
        np.testing.assert_array_equal(images[i].numpy(), data[i][0].numpy())
        assert labels[i].item() == data[i][1].item()


def test_transforms(tmp_path: Path) -> None:
    write(tmp_path)
    data = MNIST(
        tmp_path,
        transform=lambda image: (image[:, ::14, ::14] - 0.5).astype(np.float64),
        target_transform=lambda label: 10 - label,
        download=True,
    )
    image, label = data[2]
    assert image.shape == (1, 2, 2)
    assert label == 8
    ((images, labels),) = DataLoader(data, 7)
    assert (images.dtype, tuple(images.shape)) == (graphc.float64, (7, 1, 2, 2))
    np.testing.assert_array_equal(images[2].numpy(), image)
    assert labels.tolist() == [10 - i for i in range(7)]


# --- files that are missing or damaged


def test_missing_files_are_listed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as info:
        MNIST(tmp_path, train=False)
    message = str(info.value)
    assert "MNIST: t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (or .gz) not found in" in message
    assert str(tmp_path) in message
    assert "train-" not in message
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"MNIST: t10k-labels-idx1-ubyte \(or .gz\) not found") as info:
        MNIST(tmp_path, train=False)
    assert "t10k-images" not in str(info.value)
    assert len(MNIST(tmp_path)) == 7
    with pytest.raises(FileNotFoundError, match=r"absent, which is no folder; .* downloads nothing"):
        MNIST(tmp_path / "absent", download=True)


GOOD = idx(LABELS[True])
DAMAGED = [
    (b"", "is not an IDX file of unsigned bytes: it begins with nothing"),
    (b"\x00\x00", "is not an IDX file of unsigned bytes: it begins with 00 00"),
    (b"<html>not found</html>", "is not an IDX file of unsigned bytes: it begins with 3c 68 74 6d"),
    (b"\x00\x00\x0d\x01" + GOOD[4:], "is not an IDX file of unsigned bytes: it begins with 00 00 0d 01"),
    (GOOD[:6], r"is truncated or padded: 6 bytes, its header promises"),
    (GOOD[:-1], r"is truncated or padded: 14 bytes, its header promises 15"),
    (GOOD + b"\x00", "is truncated or padded: 16 bytes, its header promises 15"),
    (b"\x00\x00\x08\x04" + b"\xff" * 16, "20 bytes, its header promises 340282366604025813516997721482669850645"),
    (gzip.compress(GOOD)[:-6], "is damaged: "),
    (gzip.compress(GOOD)[:14] + b"\xff" * 20, "is damaged: "),
    (gzip.compress(GOOD)[:-8] + b"\x00" * 8, "is damaged: CRC check failed"),
    (gzip.compress(GOOD) + b"trailing", "is damaged: "),
    (b"\x1f\x8b", "is damaged: "),
    (gzip.compress(b"text"), "is not an IDX file of unsigned bytes: it begins with 74 65 78 74"),
    (idx(LABELS[True][:6]), r"images of shape \[7, 28, 28\] in .* do not go with labels of shape \[6\] in"),
    (idx(IMAGES[True]), r"do not go with labels of shape \[7, 28, 28\]"),
    (b"\x00\x00\x08\x00\x07", r"do not go with labels of shape \[\]"),
    (idx(np.array([0, 1, 2, 3, 4, 5, 10], np.uint8)), "has a label 10; there are 10 classes"),
]


@pytest.mark.parametrize(("data", "text"), DAMAGED, ids=range(len(DAMAGED)))
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_files(tmp_path: Path, data: bytes, text: str, suffix: str) -> None:
    write(tmp_path, suffix)
    path = tmp_path / f"train-labels-idx1-ubyte{suffix}"
    path.write_bytes(data)
    with pytest.raises(DataFileError, match=text) as info:
        MNIST(tmp_path)
    assert str(path) in str(info.value)
    assert isinstance(info.value, ValueError)
    assert len(MNIST(tmp_path, train=False)) == 3


# --- digits


def test_digits() -> None:
    train, test = Digits(), Digits(train=False)
    assert len(train) == 1438
    assert len(test) == 359
    image, label = train[0]
    assert (image.dtype, tuple(image.shape)) == (graphc.float32, (1, 8, 8))
    assert label.dtype == graphc.int64
    images, labels = train.tensors
    assert images.min().item() == 0.0
    assert images.max().item() == 1.0
    assert sorted(set(labels.tolist())) == list(range(10))
    seen = {image.tobytes() for image in images.numpy()}
    assert sum(image.tobytes() in seen for image in test.tensors[0].numpy()) < 5  # the sets are apart
    assert Digits().tensors[1].tolist() == labels.tolist()
    ((batch, _),) = DataLoader(test, 359)
    assert tuple(batch.shape) == (359, 1, 8, 8)


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r'Digits needs scikit-learn: pip install "graphc\[demo\]"'):
        Digits()
