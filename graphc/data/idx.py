"""MNIST and Fashion-MNIST from IDX files on disk (format: http://yann.lecun.com/exdb/mnist/)."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphc.data.collate import stacked
from graphc.data.dataset import Dataset
from graphc.ir.errors import GraphcError
from graphc.tensors.base import wrap
from graphc.tensors.tensor import Tensor

Array = np.ndarray[Any, Any]
_FILES = {
    True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_CLASSES = 10


class DataFileError(GraphcError, ValueError):
    """A data file that is not what its name says."""


class MNIST(Dataset):
    """Handwritten digits, 28x28, 10 classes (LeCun, Cortes, Burges): 60,000 to train on, 10,000 to test on.

    A sample is (image f32 [1, 28, 28] in [0, 1], label int64 []). `data` (u8 [N, 28, 28]) and `targets` (int64 [N])
    hold all of them, as arrays. `root` holds the IDX files, gzipped or not, directly or under `<name>/raw` as
    torchvision lays them out. `transform` is applied to each image, an f32 array [1, 28, 28], and `target_transform`
    to each label, an int. `download` is there for scripts that pass it: nothing is downloaded.

    Raises FileNotFoundError naming the files that are missing, DataFileError for damaged ones.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable[[Array], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        download: bool = False,
    ):
        images, labels = _paths(type(self).__name__, Path(root), _FILES[train])
        self.data, targets = read_idx(images), read_idx(labels)
        if self.data.ndim != 3 or targets.ndim != 1 or len(self.data) != len(targets):
            raise DataFileError(
                f"images of shape {list(self.data.shape)} in {images} do not go with labels of shape "
                f"{list(targets.shape)} in {labels}"
            )
        if targets.size and targets.max() >= _CLASSES:
            raise DataFileError(f"{labels} has a label {targets.max()}; there are {_CLASSES} classes, 0 to 9")
        self.targets = targets.astype(np.int64)
        self.transform = transform
        self.target_transform = target_transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, label = self._scaled(index), self.targets[index]
        return (
            wrap(image) if self.transform is None else self.transform(image),
            wrap(np.asarray(label)) if self.target_transform is None else self.target_transform(int(label)),
        )

    def get_batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The samples at `indices` as a batch."""
        rows = np.asarray(indices)
        images, labels = self._scaled(rows), self.targets[rows]
        if self.transform is not None:
            images = stacked([self.transform(image) for image in images])
        if self.target_transform is not None:
            labels = stacked([self.target_transform(label) for label in labels.tolist()])
        return wrap(images), wrap(labels)

    def _scaled(self, index: Any) -> Array:
        return self.data[index][..., None, :, :].astype(np.float32) / np.float32(255)


class FashionMNIST(MNIST):
    """Zalando's article images in MNIST's format (Xiao, Rasul, Vollgraf, 2017, arXiv:1708.07747)."""


def read_idx(path: Path) -> Array:
    """The u8 array in one IDX file, gzipped or not. Raises DataFileError, naming the file and what is wrong."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise DataFileError(f"{path} is damaged: {error}") from None
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise DataFileError(
            f"{path} is not an IDX file of unsigned bytes: it begins with {data[:4].hex(' ') or 'nothing'}"
        )
    start = 4 + 4 * data[3]
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    expected = start + math.prod(shape)
    if len(data) != expected:
        raise DataFileError(f"{path} is truncated or padded: {len(data)} bytes, its header promises {expected}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _paths(name: str, root: Path, files: Sequence[str]) -> list[Path]:
    """Where the files are. Raises FileNotFoundError, listing those that are missing."""
    found = [_find([root, root / name / "raw", root / "raw"], file) for file in files]
    missing = [file for file, path in zip(files, found, strict=True) if path is None]
    if missing:
        state = "" if root.is_dir() else ", which is no folder"
        raise FileNotFoundError(
            f"{name}: {' and '.join(missing)} (or .gz) not found in {root.resolve()}{state}; put the IDX files of "
            f"{name} there, or pass the folder that holds them as root (graphc downloads nothing)"
        )
    return [path for path in found if path is not None]


def _find(folders: Sequence[Path], file: str) -> Path | None:
    candidates = [folder / (file + suffix) for folder in folders for suffix in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)
