"""Functional: dropout, and what losses and layers refuse, with the op, the shapes, the remedy and the user's line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn
from graphc.errors import AttributeValueError, DTypeError, OutOfRangeError, ShapeError

HERE = r"test_functional.py:\d+: "
zeros, ones = graphc.zeros, graphc.ones


def integers(*shape: int) -> graphc.Tensor:
    return zeros(*shape, dtype=graphc.int64)


# --- dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [graphc.float32, graphc.float64, graphc.float16, graphc.bfloat16], ids=str)
def test_dropout(p: float, dtype: Any) -> None:
    """The share of zeros to five standard errors, the scale of the rest, and the gradient, which is the mask."""
    graphc.manual_seed(3)
    n = 40_000
    x = ones(n, dtype=dtype, requires_grad=True)
    y = F.dropout(x, p)
    y.sum().backward()
    found = y.detach().float().numpy()
    assert y.dtype == dtype
    assert abs((found == 0).mean() - p) < 5 * np.sqrt(p * (1 - p) / n)
    scale = np.float32(graphc.tensor(1 / (1 - p), dtype=dtype).float().item())
    assert set(np.unique(found)) == {0.0, scale}
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.float().numpy(), found)


def test_dropout_draws_anew_and_repeats_under_a_seed() -> None:
    layer, x = nn.Dropout(0.5), ones(1000)
    graphc.manual_seed(1)
    first, second = layer(x).tolist(), layer(x).tolist()
    assert first != second
    graphc.manual_seed(1)
    assert [layer(x).tolist(), layer(x).tolist()] == [first, second]


def test_dropout_at_its_ends() -> None:
    x = ones(5)
    assert F.dropout(x, 0.0) is x
    assert F.dropout(x, 1.0).tolist() == [0.0] * 5
    assert F.dropout(x, 0.5, training=False) is x
    assert nn.Dropout(0.5).eval()(x) is x
    assert F.dropout(graphc.tensor(2.0), 0.5).item() in (0.0, 4.0)


def test_dropout_in_place() -> None:
    graphc.manual_seed(0)
    x = ones(1000)
    assert F.dropout(x, 0.5, inplace=True) is x
    assert set(x.tolist()) == {0.0, 2.0}


# --- errors: (call, error, text)

ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: F.dropout(ones(2), 1.5), AttributeValueError, "dropout: p must be between 0 and 1, got 1.5"),
    (lambda: nn.Dropout(-0.1), AttributeValueError, "Dropout: p must be between 0 and 1, got -0.1"),
    (lambda: F.dropout(integers(2)), DTypeError, r"dropout takes tensors of float elements, got i64\[2\]; cast it"),
    (
        lambda: F.linear(zeros(2, 3), zeros(4, 5)),
        ShapeError,
        r"linear: input f32\[2,3\] does not fit weight f32\[4,5\]; the last dimension of the input must be",
    ),
    (lambda: nn.Linear(3, 4)(zeros(())), ShapeError, r"linear: input f32\[\] does not fit weight f32\[4,3\]"),
    (
        lambda: F.linear(zeros(2, 3), zeros(4, 3), zeros(1)),
        ShapeError,
        r"linear: bias f32\[1\] does not fit weight f32\[4,3\]; it must have shape \[4\]",
    ),
    (
        lambda: nn.Linear(3, 4)(zeros(2, 3, dtype=graphc.float64)),
        DTypeError,
        r"linear: element types differ: input f64\[2,3\], weight f32\[4,3\], bias f32\[4\]; convert",
    ),
    (lambda: nn.Linear(3, 4)(integers(2, 3)), DTypeError, "linear: element types differ"),
    (
        lambda: F.layer_norm(zeros(2, 3), (4,)),
        ShapeError,
        r"layer_norm: input f32\[2,3\] does not end in normalized_shape \[4\]; normalise over the trailing dimensions",
    ),
    (lambda: F.layer_norm(zeros(2, 3), ()), ShapeError, "does not end in normalized_shape"),
    (lambda: F.layer_norm(zeros(2, 3), (2, 2, 3)), ShapeError, "does not end in normalized_shape"),
    (
        lambda: F.layer_norm(zeros(2, 3), (3,), weight=zeros(2, 3)),
        ShapeError,
        r"layer_norm: weight f32\[2,3\] must have the shape \[3\]",
    ),
    (
        lambda: F.layer_norm(zeros(2, 3), (3,), bias=zeros(1)),
        ShapeError,
        r"layer_norm: bias f32\[1\] must have the shape \[3\]",
    ),
    (lambda: F.gelu(zeros(2), "erf"), AttributeValueError, "gelu: approximate must be 'none' or 'tanh', got 'erf'"),
    (lambda: F.gelu(integers(2)), DTypeError, r"gelu takes tensors of float elements, got i64\[2\]"),
    *(
        (
            lambda name=name: getattr(F, name)(zeros(2, 3), zeros(3, 2)),
            ShapeError,
            rf"{name}: input f32\[2,3\] and target f32\[3,2\] must have the same shape; reshape or expand the target",
        )
        for name in (
            *("mse_loss", "l1_loss", "smooth_l1_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"),
            "kl_div",
        )
    ),
    *(
        (
            lambda name=name: getattr(F, name)(zeros(2), zeros(2), reduction="average"),
            AttributeValueError,
            f"{name}: reduction must be one of none, mean, sum(, batchmean)?, got 'average'",
        )
        for name in (
            *("mse_loss", "l1_loss", "smooth_l1_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"),
            "kl_div",
        )
    ),
    (lambda: F.mse_loss(integers(2), integers(2)), DTypeError, r"mse_loss: input takes tensors of float elements"),
    (
        lambda: F.smooth_l1_loss(zeros(2), zeros(2), beta=-1.0),
        AttributeValueError,
        "smooth_l1_loss: beta must not be negative, got -1.0",
    ),
    (
        lambda: F.binary_cross_entropy(ones(4, 3), ones(4, 3), ones(2)),
        ShapeError,
        r"binary_cross_entropy: weight f32\[2\] does not broadcast to the elements f32\[4,3\]",
    ),
    (lambda: F.binary_cross_entropy(ones(3), ones(3), ones(4, 3)), ShapeError, "weight .* does not broadcast"),
    (
        lambda: F.binary_cross_entropy_with_logits(ones(4, 3), ones(4, 3), pos_weight=ones(4)),
        ShapeError,
        r"binary_cross_entropy_with_logits: pos_weight f32\[4\] does not broadcast",
    ),
    (lambda: F.kl_div(zeros(()), zeros(()), reduction="batchmean"), ShapeError, "needs a batch dimension, got input"),
    *(
        (
            lambda name=name: getattr(F, name)(zeros(4, 3), integers(5)),
            ShapeError,
            rf"{name}: input f32\[4,3\] needs a target of shape \[4\], got i64\[5\]",
        )
        for name in ("nll_loss", "cross_entropy")
    ),
    *(
        (
            lambda name=name: getattr(F, name)(zeros(4, 3), zeros(4)),
            DTypeError,
            rf"{name}: target must hold class indices, integers of shape \[4\].*; got f32\[4\]; convert it with .long",
        )
        for name in ("nll_loss", "cross_entropy")
    ),
    (lambda: F.cross_entropy(zeros(4, 3), zeros(4)), DTypeError, r"or probabilities of the shape \[4, 3\]"),
    (lambda: F.cross_entropy(integers(4, 3), integers(4)), DTypeError, "cross_entropy: input takes tensors of float"),
    (lambda: F.cross_entropy(zeros(()), integers()), ShapeError, r"input must have a class dimension, got f32\[\]"),
    (
        lambda: F.cross_entropy(zeros(4, 3), integers(4), ones(4)),
        ShapeError,
        r"cross_entropy: weight must have shape \[3\], one per class, got f32\[4\]",
    ),
    (
        lambda: F.cross_entropy(zeros(4, 3), integers(4), label_smoothing=1.5),
        AttributeValueError,
        "cross_entropy: label_smoothing must be between 0 and 1, got 1.5",
    ),
    (
        lambda: F.cross_entropy(zeros(4, 3), integers(4), reduction="batchmean"),
        AttributeValueError,
        "cross_entropy: reduction must be one of none, mean, sum, got 'batchmean'",
    ),
    (
        lambda: F.cross_entropy(zeros(4, 3), zeros(4, 3), ignore_index=1),
        AttributeValueError,
        "ignore_index=1 has no meaning for class probabilities",
    ),
    *(
        (
            lambda name=name: getattr(F, name)(zeros(4, 3), graphc.tensor([0, 1, 7, 2])),
            OutOfRangeError,
            rf"{name}: the target 7 is out of range; it must lie in 0 <= x < 3, or be ignore_index=-100",
        )
        for name in ("nll_loss", "cross_entropy")
    ),
    (
        lambda: nn.CrossEntropyLoss(ignore_index=-1)(zeros(2, 3, 2), graphc.tensor([[0, -1], [-2, 2]])),
        OutOfRangeError,
        "cross_entropy: the target -2 is out of range; it must lie in 0 <= x < 3, or be ignore_index=-1",
    ),
    (
        lambda: F.cross_entropy(zeros(2, 3), graphc.tensor([0, 3]), label_smoothing=0.1),
        OutOfRangeError,
        "cross_entropy: the target 3 is out of range",
    ),
]


@pytest.mark.parametrize(("call", "error", "text"), ERRORS, ids=[text[:40] for _, _, text in ERRORS])
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=HERE + ".*" + text):
        call()


@pytest.mark.parametrize("name", ["MSELoss", "L1Loss", "SmoothL1Loss", "KLDivLoss"])
def test_pytorchs_positions_are_not_taken_for_others(name: str) -> None:
    """PyTorch's first positions are `size_average` and `reduce`."""
    with pytest.raises(TypeError):
        getattr(nn, name)("sum")
    for loss in (nn.CrossEntropyLoss, nn.NLLLoss, nn.BCELoss):
        with pytest.raises(TypeError):
            loss(None, True)  # type: ignore[call-arg]


# --- composition


def test_gradients_of_gradients() -> None:
    """Second derivatives of losses, against finite differences of the first."""
    rng = np.random.default_rng(0)
    target = graphc.tensor(rng.uniform(0.1, 0.9, (3, 4)))
    cases: list[tuple[Callable[[Any], Any], float, float]] = [
        (lambda x: F.mse_loss(x, target), -1, 1),
        (lambda x: F.binary_cross_entropy(x, target), 0.1, 0.9),
        (lambda x: F.binary_cross_entropy_with_logits(x, target), -1, 1),
        (lambda x: F.cross_entropy(x, target), -1, 1),
        (lambda x: F.cross_entropy(x, graphc.tensor([0, 3, 1])), -1, 1),
        (lambda x: F.gelu(F.layer_norm(x, (4,))).sum(), -1, 1),
        (lambda x: (F.softplus(x) * F.silu(x)).sum(), -1, 1),
    ]
    for loss, low, high in cases:
        at = rng.uniform(low, high, (3, 4))
        direction = rng.normal(size=(3, 4))

        def slope(array: np.ndarray[Any, Any], loss: Any = loss, direction: Any = direction) -> graphc.Tensor:
            x = graphc.tensor(array, requires_grad=True)
            (grad,) = graphc.autograd.grad(loss(x), x, create_graph=True)
            assert grad is not None
            return (grad * graphc.tensor(direction)).sum(), x  # type: ignore[return-value]

        first, x = slope(at)  # type: ignore[misc]
        (second,) = graphc.autograd.grad(first, x)
        h = 1e-5
        numeric = (slope(at + h * direction)[0].item() - slope(at - h * direction)[0].item()) / (2 * h)
        assert abs((second.detach().numpy() * direction).sum() - numeric) < 1e-6 * max(1, abs(numeric))


def test_names_that_stand_elsewhere_too() -> None:
    assert F.one_hot(graphc.tensor([1, 0]), 3).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert F.pad(ones(2), (1, 0), value=5).tolist() == [5.0, 1.0, 1.0]
