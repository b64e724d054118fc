"""MNIST and Fashion-MNIST from IDX files on disk (format: http://yann.lecun.com/exdb/mnist/)."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphc.data.dataset import Dataset
from graphc.ir.errors import GraphcError
from graphc.tensors.base import wrap
from graphc.tensors.tensor import Tensor

_FILES = {
    True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


class DataFileError(GraphcError, ValueError):
    """A data file that is not what its name says."""


class MNIST(Dataset):
    """Handwritten digits, 28x28, 10 classes (LeCun, Cortes, Burges): 60,000 to train on, 10,000 to test on.

    A sample is (image f32 [1, 28, 28] in [0, 1], label int64 []). `root` holds the four IDX files, gzipped or not,
    directly or under `<name>/raw` as torchvision lays them out. `transform` is applied to each image as a NumPy array.
    Nothing is downloaded. Raises FileNotFoundError naming the files that are missing, DataFileError for damaged ones.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable[[np.ndarray[Any, Any]], Any] | None = None,
    ):
        name = type(self).__name__
        folders = [Path(root), Path(root) / name / "raw"]
        paths = [_find(folders, file) for file in _FILES[train]]
        missing = [file for file, path in zip(_FILES[train], paths, strict=True) if path is None]
        if missing:
            raise FileNotFoundError(
                f"{name}: {' and '.join(missing)} (or .gz) not found in {Path(root).resolve()}; put the IDX files of "
                f"{name} there, or pass the folder that holds them as root"
            )
        pixels, labels = (read_idx(path) for path in paths if path is not None)
        if pixels.ndim != 3 or labels.ndim != 1 or len(pixels) != len(labels):
            raise DataFileError(
                f"{name}: images of shape {pixels.shape} do not go with labels of shape {labels.shape} in {root}"
            )
        self.images = pixels[:, None].astype(np.float32) / np.float32(255)
        self.labels = labels.astype(np.int64)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, Tensor]:
        image = self.images[index]
        label = wrap(np.asarray(self.labels[index]))
        return (wrap(image) if self.transform is None else self.transform(image)), label

    def get_batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        rows = np.asarray(indices)
        if self.transform is None:
            images = self.images[rows]
        else:
            images = np.stack([np.asarray(self.transform(image)) for image in self.images[rows]])
        return wrap(images), wrap(self.labels[rows])


class FashionMNIST(MNIST):
    """Zalando's article images in MNIST's format (Xiao, Rasul, Vollgraf, 2017)."""


def read_idx(path: Path) -> np.ndarray[Any, Any]:
    """The u8 array in one IDX file, gzipped or not. Raises DataFileError, naming the file and what is wrong."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataFileError(f"{path} is damaged: {error}") from None
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise DataFileError(
            f"{path} is not an IDX file of unsigned bytes: it begins with {data[:4].hex(' ') or 'nothing'}"
        )
    start = 4 + 4 * data[3]
    shape = tuple(int(n) for n in np.frombuffer(data[4:start], ">u4"))
    expected = start + int(np.prod(shape, dtype=np.int64))
    if len(shape) != data[3] or len(data) != expected:
        raise DataFileError(f"{path} is truncated or padded: {len(data)} bytes, its header promises {expected}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _find(folders: Sequence[Path], file: str) -> Path | None:
    candidates = [folder / (file + suffix) for folder in folders for suffix in ("", ".gz")]
    return next((path for path in candidates if path.is_file()), None)
