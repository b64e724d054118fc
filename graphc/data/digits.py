"""scikit-learn's bundled digits: a real data set that needs no files."""

from __future__ import annotations

import numpy as np

from graphc.data.dataset import TensorDataset


class Digits(TensorDataset):
    """1,797 handwritten digits, 8x8, 10 classes (UCI Optical Recognition of Handwritten Digits, Alpaydin & Kaynak).

    A sample is (image f32 [1, 8, 8] in [0, 1], label int64 []). A fixed shuffle holds out the last fifth for testing.
    Raises ModuleNotFoundError, naming the extra to install, without scikit-learn.
    """

    def __init__(self, train: bool = True):
        try:
            from sklearn.datasets import load_digits  # an optional dependency, heavy to import
        except ModuleNotFoundError:
            raise ModuleNotFoundError('Digits needs scikit-learn: pip install "graphc[demo]"') from None
        pixels, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(labels))
        held_out = len(labels) // 5
        chosen = order[:-held_out] if train else order[-held_out:]
        images = (pixels[chosen] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
        super().__init__(images, labels[chosen].astype(np.int64))
