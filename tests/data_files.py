"""Data for tests: synthetic IDX files, so that no test needs a download."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np


def write_mnist(folder: Path, train: int = 640, test: int = 500, zipped: bool = True) -> Path:
    """Four IDX files of easy images: the class decides which rows of pixels are bright."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", train), ("t10k", test)):
        labels = rng.integers(0, 10, count).astype(np.uint8)
        images = rng.integers(0, 60, (count, 28, 28)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 2 : 2 * label + 6] += 150
        _write(folder / f"{name}-images-idx3-ubyte", images, zipped)
        _write(folder / f"{name}-labels-idx1-ubyte", labels, zipped)
    return folder


def _write(path: Path, array: np.ndarray, zipped: bool) -> None:
    data = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    if zipped:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(data, 1))
    else:
        path.write_bytes(data)
