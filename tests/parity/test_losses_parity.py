"""Losses and activations against PyTorch's: values and gradients, every option, corners of the domain, half types."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import graphc
import graphc.nn.functional as F
from graphc import nn
from graphc.dtypes import NAMES

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides"),  # PyTorch's kl_div
]

TF = torch.nn.functional
RNG = np.random.default_rng(0)
INF = float("inf")


def to_torch(x: Any) -> Any:
    if not isinstance(x, graphc.Tensor):
        return x
    return torch.tensor(x.detach().tolist(), dtype=getattr(torch, NAMES[x.dtype])).reshape(tuple(x.shape))


def numbers(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(x.detach().double())


def check(
    name: str,
    *tensors: Any,
    trained: tuple[int, ...] = (0,),
    rtol: float = 1e-5,
    atol: float = 1e-6,
    **options: Any,
) -> None:
    """`name` of both libraries' nn.functional: the value, and the gradients of its weighted sum by the trained ones."""
    ours = [x.detach().requires_grad_(i in trained) if i in trained else x for i, x in enumerate(tensors)]
    theirs = [to_torch(x) for x in tensors]
    for i in trained:
        theirs[i].requires_grad_()
    a = getattr(F, name)(*ours, **options)
    b = getattr(TF, name)(*theirs, **{k: to_torch(v) for k, v in options.items()})
    assert NAMES[a.dtype] == str(b.dtype).removeprefix("torch.")
    assert tuple(a.shape) == tuple(b.shape)
    np.testing.assert_allclose(numbers(a), numbers(b), rtol=rtol, atol=atol)
    factor = np.linspace(0.5, 1.5, max(a.numel(), 1))[: a.numel()].reshape(tuple(a.shape))
    a.backward(graphc.tensor(factor, dtype=a.dtype))
    b.backward(torch.tensor(factor, dtype=b.dtype))
    for i in trained:
        assert ours[i].grad is not None
        np.testing.assert_allclose(numbers(ours[i].grad), numbers(theirs[i].grad), rtol=10 * rtol, atol=10 * atol)


def normal(*shape: int, dtype: Any = graphc.float32, scale: float = 2.0) -> graphc.Tensor:
    return graphc.tensor(RNG.normal(size=shape) * scale, dtype=dtype)


def probabilities(*shape: int, dtype: Any = graphc.float32) -> graphc.Tensor:
    return graphc.tensor(RNG.uniform(0.05, 0.95, size=shape), dtype=dtype)


def classes(*shape: int, count: int = 5, dtype: Any = graphc.int64) -> graphc.Tensor:
    return graphc.tensor(RNG.integers(0, count, size=shape), dtype=dtype)


REDUCTIONS = ("none", "mean", "sum")
FLOATS = (graphc.float32, graphc.float64)
HALVES = {graphc.float16: 2e-3, graphc.bfloat16: 2e-2}


def options(**choices: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


# --- losses between tensors of one shape

ELEMENTWISE = [
    *(("mse_loss", o) for o in options(reduction=REDUCTIONS)),
    *(("l1_loss", o) for o in options(reduction=REDUCTIONS)),
    *(("smooth_l1_loss", o) for o in options(reduction=REDUCTIONS, beta=(1.0, 0.3, 0.0))),
    *(("binary_cross_entropy", o) for o in options(reduction=REDUCTIONS)),
    *(("binary_cross_entropy_with_logits", o) for o in options(reduction=REDUCTIONS)),
    *(("kl_div", o) for o in options(reduction=(*REDUCTIONS, "batchmean"), log_target=(False, True))),
]


def pair(name: str, chosen: dict[str, Any], dtype: Any, shape: tuple[int, ...] = (4, 3)) -> list[graphc.Tensor]:
    if name == "binary_cross_entropy":
        return [probabilities(*shape, dtype=dtype), probabilities(*shape, dtype=dtype)]
    if name == "kl_div":
        target = probabilities(*shape, dtype=dtype)
        return [normal(*shape, dtype=dtype), target.log() if chosen["log_target"] else target]
    if name.startswith("binary"):
        return [normal(*shape, dtype=dtype), probabilities(*shape, dtype=dtype)]
    return [normal(*shape, dtype=dtype), normal(*shape, dtype=dtype)]


@pytest.mark.parametrize(("name", "chosen"), ELEMENTWISE, ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_elementwise_losses(name: str, chosen: dict[str, Any], dtype: Any) -> None:
    exact = {"rtol": 1e-10, "atol": 1e-12} if dtype == graphc.float64 else {}
    check(name, *pair(name, chosen, dtype), trained=(0, 1), **exact, **chosen)


@pytest.mark.parametrize(("name", "chosen"), [c for c in ELEMENTWISE if c[1]["reduction"] == "mean"], ids=str)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_elementwise_losses_of_half_precisions(name: str, chosen: dict[str, Any], dtype: Any) -> None:
    tolerance = HALVES[dtype]
    check(name, *pair(name, chosen, dtype), rtol=tolerance, atol=tolerance / 10, **chosen)


@pytest.mark.parametrize(("name", "chosen"), [c for c in ELEMENTWISE if c[1]["reduction"] != "batchmean"], ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_elementwise_losses_without_dimensions_and_without_elements(
    name: str, chosen: dict[str, Any], shape: tuple[int, ...]
) -> None:
    check(name, *pair(name, chosen, graphc.float32, shape), **chosen)


@pytest.mark.parametrize("beta", [1.0, 0.25])
def test_smooth_l1_at_its_seams(beta: float) -> None:
    distance = graphc.tensor([0.0, beta, -beta, beta * 0.999, 1e30, -1e-30, INF])
    check("smooth_l1_loss", distance, graphc.zeros(7), reduction="none", beta=beta)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_bce_where_it_saturates(dtype: Any) -> None:
    """Probabilities of exactly 0 and 1, and next to them. The gradient of a target is that of the value, whose
    logarithms are bounded; PyTorch's is infinite there."""
    p = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1e-30, 1e-13, 1 - 1e-7, 1 - 6e-8, 1e-6, 0.5]
    t = [0.0, 1.0, 0.3, 0.0, 1.0, 0.3, 1.0, 0.0, 0.0, 1.0, 0.5, 0.5]
    check(
        "binary_cross_entropy",
        graphc.tensor(p, dtype=dtype),
        graphc.tensor(t, dtype=dtype),
        reduction="none",
        atol=1e-5,
    )
    target = graphc.tensor(t, dtype=dtype, requires_grad=True)
    F.binary_cross_entropy(graphc.tensor(p, dtype=dtype), target, reduction="sum").backward()
    assert target.grad is not None
    assert target.grad[:6].tolist() == [100.0] * 3 + [-100.0] * 3


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_bce_with_logits_where_it_saturates(dtype: Any) -> None:
    x = [0.0, 0.0, 40.0, -40.0, 1e4, -1e4, 1e30, -1e30, 100.0, -100.0, 1e-20]
    t = [0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.3, 0.3, 0.5]
    for extra in ({}, {"pos_weight": graphc.tensor([2.5], dtype=dtype)}):
        check(
            "binary_cross_entropy_with_logits",
            graphc.tensor(x, dtype=dtype),
            graphc.tensor(t, dtype=dtype),
            trained=(0, 1),
            reduction="none",
            **extra,
        )


@pytest.mark.parametrize("name", ["binary_cross_entropy", "binary_cross_entropy_with_logits"])
@pytest.mark.parametrize("shape", [(4, 3), (3,), (4, 1), (1,), ()])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_bce_weights(name: str, shape: tuple[int, ...], reduction: str) -> None:
    check(name, *pair(name, {}, graphc.float32), probabilities(*shape), reduction=reduction)


@pytest.mark.parametrize("shape", [(4, 3), (3,), (4, 1), ()])
def test_bce_with_logits_positive_weights(shape: tuple[int, ...]) -> None:
    tensors = pair("binary_cross_entropy_with_logits", {}, graphc.float32)
    check("binary_cross_entropy_with_logits", *tensors, probabilities(3), pos_weight=probabilities(*shape) * 3)


def test_kl_div_of_targets_that_are_zero() -> None:
    check("kl_div", normal(2, 3), graphc.tensor([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]), reduction="none")


# --- losses over classes

SHAPES = {"vector": (5,), "matrix": (6, 5), "positions": (2, 5, 3), "image": (2, 5, 2, 3)}
NLL = list(options(weighted=(False, True), reduction=REDUCTIONS, ignore_index=(-100, 2)))


def targets(shape: tuple[int, ...], dtype: Any = graphc.int64) -> graphc.Tensor:
    return classes(*shape[:1], *shape[2:], dtype=dtype) if len(shape) > 1 else classes(dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("chosen", NLL, ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_nll_loss(shape: tuple[int, ...], chosen: dict[str, Any], dtype: Any) -> None:
    weight = probabilities(5, dtype=dtype) if chosen["weighted"] else None
    rest = {k: v for k, v in chosen.items() if k != "weighted"}
    exact = {"rtol": 1e-10, "atol": 1e-12} if dtype == graphc.float64 else {}
    check("nll_loss", normal(*shape, dtype=dtype), targets(shape), weight, **exact, **rest)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("chosen", NLL, ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_cross_entropy(shape: tuple[int, ...], chosen: dict[str, Any], smoothing: float) -> None:
    weight = probabilities(5) if chosen["weighted"] else None
    rest = {k: v for k, v in chosen.items() if k != "weighted"}
    check("cross_entropy", normal(*shape), targets(shape), weight, label_smoothing=smoothing, **rest)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_cross_entropy_of_probabilities(
    shape: tuple[int, ...], weighted: bool, reduction: str, smoothing: float, dtype: Any
) -> None:
    tensors = [normal(*shape, dtype=dtype), probabilities(*shape, dtype=dtype)]
    weight = probabilities(5, dtype=dtype) if weighted else None
    exact = {"rtol": 1e-10, "atol": 1e-12} if dtype == graphc.float64 else {}
    check("cross_entropy", *tensors, weight, trained=(0, 1), reduction=reduction, label_smoothing=smoothing, **exact)


@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_all_targets_ignored(name: str, reduction: str, weighted: bool) -> None:
    """The mean over none is NaN."""
    weight = probabilities(5) if weighted else None
    check(name, normal(3, 5), graphc.full((3,), 4), weight, ignore_index=4, reduction=reduction)


@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_no_samples(name: str, reduction: str) -> None:
    check(name, normal(0, 5), classes(0), reduction=reduction)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("chosen", [{}, {"label_smoothing": 0.1}, {"ignore_index": 1}], ids=str)
def test_cross_entropy_of_half_precisions(dtype: Any, chosen: dict[str, Any]) -> None:
    tolerance = HALVES[dtype]
    check("cross_entropy", normal(6, 5, dtype=dtype), classes(6), rtol=tolerance, atol=tolerance / 4, **chosen)


def test_cross_entropy_where_it_saturates() -> None:
    logits = graphc.tensor([[1e4, 0.0, -1e4], [-1e30, 1e30, 0.0], [-INF, 0.0, 1.0], [3e38, 3e38, -3e38]])
    check("cross_entropy", logits, graphc.tensor([0, 1, 2, 0]), reduction="none")


@pytest.mark.parametrize("dtype", [graphc.uint8, graphc.int8, graphc.int16, graphc.int32], ids=str)
def test_targets_of_other_integer_types(dtype: Any) -> None:
    """PyTorch takes int64 only; the numbers are those of int64."""
    x, t = normal(4, 200), graphc.tensor([0, 100, 3, 90])
    assert F.cross_entropy(x, t.to(dtype)).item() == F.cross_entropy(x, t).item()
    t = graphc.tensor([0, 156, 3, 199])  # -100 as an unsigned byte is 156
    assert F.cross_entropy(x, t.to(graphc.uint8)).item() == F.cross_entropy(x, t).item()


# --- the modules pass their options on

MODULES = [
    ("MSELoss", {"reduction": "sum"}, "normal"),
    ("L1Loss", {"reduction": "none"}, "normal"),
    ("SmoothL1Loss", {"beta": 0.5, "reduction": "sum"}, "normal"),
    ("BCELoss", {"weight": 3, "reduction": "sum"}, "probabilities"),
    ("BCEWithLogitsLoss", {"weight": 3, "pos_weight": 3, "reduction": "none"}, "normal"),
    ("KLDivLoss", {"reduction": "batchmean", "log_target": True}, "normal"),
    ("NLLLoss", {"weight": 3, "ignore_index": 1, "reduction": "sum"}, "classes"),
    ("CrossEntropyLoss", {"weight": 3, "ignore_index": 1, "reduction": "none", "label_smoothing": 0.2}, "classes"),
    *((name, {}, "normal") for name in ("MSELoss", "L1Loss", "SmoothL1Loss", "KLDivLoss")),
    ("BCELoss", {}, "probabilities"),
    ("BCEWithLogitsLoss", {}, "probabilities"),
    ("NLLLoss", {}, "classes"),
    ("CrossEntropyLoss", {}, "classes"),
]


@pytest.mark.parametrize(("name", "chosen", "kind"), MODULES)
def test_modules(name: str, chosen: dict[str, Any], kind: str) -> None:
    chosen = {k: probabilities(v) if k.endswith("weight") else v for k, v in chosen.items()}
    module = getattr(nn, name)(**chosen)
    reference = getattr(torch.nn, name)(**{k: to_torch(v) for k, v in chosen.items()})
    x = probabilities(4, 3) if kind == "probabilities" else normal(4, 3)
    target = classes(4, count=3) if kind == "classes" else probabilities(4, 3)
    np.testing.assert_allclose(
        numbers(module(x, target)), numbers(reference(to_torch(x), to_torch(target))), rtol=1e-5, atol=1e-6
    )
    assert repr(module) == repr(reference)
    assert list(module.state_dict()) == list(reference.state_dict())


# --- activations

SPECIAL = [0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, 19.9, 20.0, 20.1, -30.0, 100.0, -100.0, 1e4, -1e4, float("nan")]
ACTIVATIONS = [
    ("relu", {}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("silu", {}),
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("logsigmoid", {}),
    ("softplus", {}),
    ("softplus", {"beta": 2.0, "threshold": 5.0}),
    ("softplus", {"beta": 0.5}),
]


@pytest.mark.parametrize(("name", "chosen"), ACTIVATIONS, ids=str)
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_activations(name: str, chosen: dict[str, Any], dtype: Any) -> None:
    exact = {"rtol": 1e-10, "atol": 1e-13} if dtype == graphc.float64 else {}
    check(name, normal(5, 7, dtype=dtype), **exact, **chosen)
    check(name, graphc.tensor(SPECIAL, dtype=dtype), **exact, **chosen)
    check(name, normal(0, 3, dtype=dtype), **chosen)


@pytest.mark.parametrize(("name", "chosen"), ACTIVATIONS, ids=str)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_activations_of_half_precisions(name: str, chosen: dict[str, Any], dtype: Any) -> None:
    """One rounding, as in PyTorch's kernels."""
    eps = 2**-10 if dtype == graphc.float16 else 2**-7
    check(name, normal(5, 7, dtype=dtype), rtol=eps, atol=eps * 1e-2, **chosen)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax(name: str, dim: int) -> None:
    check(name, normal(3, 4, 2), dim=dim)
    check(name, graphc.tensor([[1e4, -1e4], [3e38, -3e38], [0.0, -INF]]), dim=dim % 2)
    for dtype, tolerance in HALVES.items():
        check(name, normal(3, 4, 2, dtype=dtype), dim=dim, rtol=tolerance, atol=tolerance / 4)


def test_softmax_in_another_dtype() -> None:
    x = normal(3, 4, dtype=graphc.float16)
    a = F.log_softmax(x, 1, dtype=graphc.float32)
    b = TF.log_softmax(to_torch(x), 1, dtype=torch.float32)
    assert a.dtype == graphc.float32
    np.testing.assert_allclose(numbers(a), numbers(b), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("ReLU", {}),
        ("ReLU", {"inplace": True}),
        ("SiLU", {"inplace": True}),
        ("SiLU", {}),
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("LogSigmoid", {}),
        ("Softplus", {"beta": 2.0}),
        ("GELU", {"approximate": "tanh"}),
        ("GELU", {}),
        ("Softmax", {"dim": 0}),
        ("LogSoftmax", {"dim": 0}),
        ("Identity", {}),
        ("Flatten", {}),
        ("Flatten", {"start_dim": 0, "end_dim": 1}),
    ],
)
def test_activation_modules(name: str, arguments: dict[str, Any]) -> None:
    module, reference = getattr(nn, name)(**arguments), getattr(torch.nn, name)(**arguments)
    assert repr(module) == repr(reference)
    x = normal(2, 3, 4)
    a, b = module(x.clone()), reference(to_torch(x))
    assert tuple(a.shape) == tuple(b.shape)
    np.testing.assert_allclose(numbers(a), numbers(b), rtol=1e-5, atol=1e-6)


def test_in_place_activations() -> None:
    for name in ("relu", "silu"):
        x, y = normal(3), None
        leaf = x.detach().clone().requires_grad_()
        y = leaf * 2
        z = getattr(F, name)(y, inplace=True)
        assert z is y
        z.sum().backward()
        other = to_torch(x).requires_grad_()
        getattr(TF, name)(other * 2, inplace=True).sum().backward()
        assert leaf.grad is not None
        # SiLU's slope has a zero, near which rounding is absolute.
        np.testing.assert_allclose(numbers(leaf.grad), numbers(other.grad), rtol=1e-5, atol=1e-6)
