"""What is measured: models, batches, optimizers; weights and data that every peer starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Workload:
    """Training an MLP with ReLU between its layers, on cross-entropy. `widths` runs from the input to the classes."""

    name: str
    widths: tuple[int, ...]
    batch: int
    optimizer: str  # "sgd", "momentum" or "adam"
    lr: float

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(weight [out, in], bias [out]) per layer, f32, PyTorch's default distribution."""
        rng = np.random.default_rng(0)
        layers = []
        for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False):
            bound = fan_in**-0.5
            weight = rng.uniform(-bound, bound, (fan_out, fan_in)).astype(np.float32)
            layers.append((weight, rng.uniform(-bound, bound, fan_out).astype(np.float32)))
        return layers

    def batches(self, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """`count` distinct batches: images f32 [batch, in] in [0, 1), labels i64 [batch]."""
        rng = np.random.default_rng(1)
        return [
            (
                rng.random((self.batch, self.widths[0]), dtype=np.float32),
                rng.integers(0, self.widths[-1], self.batch),
            )
            for _ in range(count)
        ]


WORKLOADS = {
    w.name: w
    for w in (
        Workload("mlp-sgd", (784, 128, 10), 64, "sgd", 0.05),
        Workload("mlp-adam", (784, 128, 10), 64, "adam", 1e-3),
        Workload("wide-sgd", (784, 1024, 1024, 10), 256, "sgd", 0.05),
        Workload("wide-adam", (784, 1024, 1024, 10), 256, "adam", 1e-3),
        Workload("tutorial-b4", (784, 128, 64, 10), 4, "momentum", 0.01),
        Workload("tutorial-b1", (784, 128, 64, 10), 1, "momentum", 0.01),
    )
}
MOMENTUM = 0.9
ADAM = (0.9, 0.999, 1e-8)  # beta1, beta2, eps
