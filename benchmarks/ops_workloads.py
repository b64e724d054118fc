"""What `benchmarks.ops` measures: operations bound by memory, their data, and what they should give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
EPSILON = 1e-5  # of layer_norm
RATE, BETAS, ADAM_EPSILON = 1e-3, (0.9, 0.999), 1e-8
ADAM_STEPS = 3  # after which an Adam update is checked


@dataclass(frozen=True)
class Operation:
    """kind: "cross_entropy": mean loss and its gradient by the logits, of `shape`; "layer_norm": the result, and the
    gradients by input, weight and bias; "adam": one update of parameters and moments of `shape`. All in f32."""

    kind: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.kind} {'x'.join(map(str, self.shape))}"

    @property
    def nbytes(self) -> int:
        """What has to be read and written, each array once."""
        arrays = {"cross_entropy": 2, "layer_norm": 4, "adam": 7}[self.kind]
        return arrays * 4 * int(np.prod(self.shape))

    def inputs(self) -> list[Array]:
        """cross_entropy: logits, i64 labels. layer_norm: input, weight, bias, the gradient by the result. adam:
        parameters, gradients."""
        rng = np.random.default_rng(0)

        def normal(*shape: int) -> Array:
            return rng.standard_normal(shape, dtype=np.float32)

        if self.kind == "cross_entropy":
            return [normal(*self.shape), rng.integers(0, self.shape[1], self.shape[0])]
        if self.kind == "layer_norm":
            return [normal(*self.shape), normal(self.shape[1]), normal(self.shape[1]), normal(*self.shape)]
        return [normal(*self.shape), normal(*self.shape)]

    def expected(self) -> list[Array]:
        """The results, in f64: those of `kind`; for "adam" parameters and moments after `ADAM_STEPS` updates."""
        inputs = [x.astype(np.float64) if x.dtype == np.float32 else x for x in self.inputs()]
        return _EXPECTED[self.kind](*inputs)

    def check(self, found: Sequence[Array]) -> float:
        """The largest error, relative to the largest magnitude of each result. Raises SystemExit where it is more than
        rounding can account for."""
        worst = 0.0
        for one, wanted in zip(found, self.expected(), strict=True):
            worst = max(worst, float(abs(one - wanted).max() / abs(wanted).max()))
        if not worst < 2e-5:
            raise SystemExit(f"{self.name} is wrong: relative error {worst}")
        return worst


def _cross_entropy(logits: Array, labels: Array) -> list[Array]:
    rows = np.arange(len(labels))
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    gradient = np.exp(log_p)
    gradient[rows, labels] -= 1
    return [-log_p[rows, labels].mean(), gradient / len(labels)]


def _layer_norm(x: Array, weight: Array, bias: Array, ct: Array) -> list[Array]:
    scale = 1 / np.sqrt(x.var(1, keepdims=True) + EPSILON)
    normal = (x - x.mean(1, keepdims=True)) * scale
    inner = ct * weight
    inner = inner - inner.mean(1, keepdims=True) - normal * (inner * normal).mean(1, keepdims=True)
    return [normal * weight + bias, inner * scale, (ct * normal).sum(0), ct.sum(0)]


def _adam(p: Array, g: Array) -> list[Array]:
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t in range(1, ADAM_STEPS + 1):
        m += (g - m) * (1 - BETAS[0])
        v += (g * g - v) * (1 - BETAS[1])
        p = p - RATE / (1 - BETAS[0] ** t) * m / (np.sqrt(v / (1 - BETAS[1] ** t)) + ADAM_EPSILON)
    return [p, m, v]


_EXPECTED: dict[str, Callable[..., list[Array]]] = {
    "cross_entropy": _cross_entropy,
    "layer_norm": _layer_norm,
    "adam": _adam,
}

OPERATIONS = {
    operation.name: operation
    for operation in (
        Operation("cross_entropy", (4096, 512)),
        Operation("cross_entropy", (512, 1000)),
        Operation("cross_entropy", (64, 10)),
        Operation("layer_norm", (4096, 512)),
        Operation("layer_norm", (512, 768)),
        Operation("adam", (10_000_000,)),
    )
}
