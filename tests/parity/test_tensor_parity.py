"""Functions of tensors give PyTorch's values, shapes and dtypes, and its gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import graphc
from graphc.dtypes import NAMES
from tests.op_cases import (
    BINARY,
    EQUATIONS,
    INDICES,
    MATMULS,
    POSITIVE,
    PRODUCTS,
    REDUCTIONS,
    SCALARS,
    SHAPES,
    UNARY,
    Case,
    inputs,
)

pytestmark = pytest.mark.parity

DTYPES = tuple(NAMES.values())


def to_torch(x: graphc.Tensor) -> Any:
    dtype = getattr(torch, NAMES[x.dtype])
    return torch.tensor(x.detach().tolist(), dtype=dtype).reshape(tuple(x.shape))


def as_array(x: Any) -> np.ndarray[Any, Any]:
    x = x.detach()
    return np.asarray(x.double() if x.is_floating_point() else x)


def check_equal(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    if isinstance(theirs, (tuple, list)):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            check_equal(a, b, tolerance)
        return
    if not isinstance(theirs, torch.Tensor):
        assert ours == theirs
        return
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert f"torch.{NAMES[ours.dtype]}" == str(theirs.dtype)
    np.testing.assert_allclose(as_array(ours), as_array(theirs), rtol=tolerance, atol=tolerance)


def both(case: Case, tensors: list[Any], tolerance: float = 1e-5, gradients: bool = True) -> None:
    """`case(module, *tensors)` with graphc and with torch; then the gradients of the sum of its float results."""
    theirs_in = [to_torch(x) for x in tensors]
    gradients = gradients and any(x.is_floating_point() for x in tensors)
    if gradients:
        tensors = [x.detach().requires_grad_(x.is_floating_point()) for x in tensors]
        theirs_in = [x.requires_grad_(x.is_floating_point()) for x in theirs_in]
    ours, theirs = case(graphc, *tensors), case(torch, *theirs_in)
    check_equal(ours, theirs, tolerance)
    if not gradients:
        return
    ours_list, theirs_list = ([x] if not isinstance(x, (tuple, list)) else list(x) for x in (ours, theirs))
    pairs = [(a, b) for a, b in zip(ours_list, theirs_list, strict=True) if getattr(b, "requires_grad", False)]
    assert all(a.requires_grad for a, _ in pairs)
    if not pairs:
        return
    sum((a * a).sum() for a, _ in pairs).backward()
    sum((b * b).sum() for _, b in pairs).backward()
    for a, b in zip(tensors, theirs_in, strict=True):
        if b.grad is not None:
            check_equal(a.grad, b.grad, 20 * tolerance)


NOT_OF_BOOLS = "neg relu abs floor ceil trunc round square"  # one of the two libraries takes none


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (name, dtype)
        for name in (UNARY + POSITIVE).split()
        for dtype in ("float32", "float64", "int32", "bool")
        if not (dtype == "bool" and name in NOT_OF_BOOLS.split())
    ],
)
def test_unary(name: str, dtype: str) -> None:
    (x,) = inputs((3, 4), dtype=dtype, low=0.25 if name in POSITIVE.split() else -2.0)
    both(lambda T, x: getattr(T, name)(x), [x])


@pytest.mark.parametrize("name", (UNARY + POSITIVE).split())
def test_unary_special_values(name: str) -> None:
    values = [float("inf"), float("-inf"), 0.0, -0.0, 0.5, 1e30, -1e-30]
    if name != "sign":  # NaN in graphc, 0 in PyTorch
        values.append(float("nan"))
    x = graphc.tensor(values)
    both(lambda T, x: getattr(T, name)(x), [x], gradients=False)


@pytest.mark.parametrize("name", BINARY.split())
@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((3, 1), (4,)), ((), (2, 3)), ((2, 3), ())])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_binary(name: str, shapes: Any, dtype: str) -> None:
    a, b = inputs(*shapes, dtype=dtype)
    if dtype == "int64" and name in ("floor_divide", "remainder", "div"):
        b = b * b + 1
    both(lambda T, x, y: getattr(T, name)(x, y), [a, b], gradients=name not in ("floor_divide", "remainder"))


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "eq", "lt", "maximum", "remainder", "floor_divide"])
def test_every_pair_of_dtypes(name: str) -> None:
    for first, second in itertools.product(DTYPES, DTYPES):
        a, b = graphc.ones(2, dtype=getattr(graphc, first)), graphc.ones(2, dtype=getattr(graphc, second))
        try:
            theirs = getattr(torch, name)(to_torch(a), to_torch(b))
        except RuntimeError:
            continue
        check_equal(getattr(graphc, name)(a, b), theirs)


def _operands(T: Any, dtype: str) -> list[Any]:
    kind = getattr(T, dtype)
    return [T.ones((2,), dtype=kind), T.ones((), dtype=kind)]


def test_result_type_of_every_pair() -> None:
    """All pairs of (tensor, tensor without dimensions, Python number) of all dtypes."""
    numbers = [True, 2, 2.5]
    ours = [x for d in DTYPES for x in _operands(graphc, d)] + numbers
    theirs = [x for d in DTYPES for x in _operands(torch, d)] + numbers
    checked = 0
    for (a, x), (b, y) in itertools.product(zip(ours, theirs, strict=True), repeat=2):
        if x in numbers and y in numbers if not hasattr(x, "shape") and not hasattr(y, "shape") else False:
            continue
        expected = str(torch.result_type(x, y)).removeprefix("torch.")
        assert NAMES[graphc.result_type(a, b)] == expected, (a, b)
        checked += 1
    assert checked == 23 * 23 - 9


def test_promote_types() -> None:
    for a, b in itertools.product(DTYPES, DTYPES):
        expected = str(torch.promote_types(getattr(torch, a), getattr(torch, b))).removeprefix("torch.")
        assert NAMES[graphc.promote_types(getattr(graphc, a), getattr(graphc, b))] == expected


@pytest.mark.parametrize("case", [c for _, c in SCALARS], ids=[n for n, _ in SCALARS])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8"])
def test_python_numbers(case: Case, dtype: str) -> None:
    undefined = case in [c for n, c in SCALARS if n == "x//s"]  # PyTorch has no gradient there; graphc's is zero
    both(case, inputs((3, 4), dtype=dtype), tolerance=1e-4, gradients=not undefined)


@pytest.mark.parametrize("exponent", [0.5, -0.5, -1, -2, 2, 3, 1, 0, 2.5, 4])
def test_powers(exponent: float) -> None:
    both(lambda T, x: x**exponent, inputs((3, 4), low=0.5))


def test_bitwise() -> None:
    for dtype in ("int64", "uint8", "bool"):
        both(lambda T, x, y: (x & y, x | y, x ^ y, ~x), inputs((3, 4), (4,), dtype=dtype))
    both(lambda T, x, y: T.logical_and(x, y), inputs((3,), (3,)))


@pytest.mark.parametrize("case", [c for _, c in REDUCTIONS], ids=[n for n, _ in REDUCTIONS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_reductions(case: Case, dtype: str) -> None:
    both(case, inputs((2, 3, 4), dtype=dtype))


def test_reductions_of_integers_and_bools() -> None:
    for dtype in ("int32", "uint8", "int64", "bool"):
        both(lambda T, x: (x.sum(), x.sum(1), x.prod(0), x.bool().any(), x.bool().all(1)), inputs((3, 4), dtype=dtype))
    both(lambda T, x: (x.amax(1), x.argmin(0)), inputs((3, 4), dtype="int32"))
    with pytest.raises(graphc.DTypeError, match="mean takes"):
        graphc.ones(2, dtype=graphc.int64).mean()


def test_logsumexp_of_infinities() -> None:
    inf = float("inf")
    x = graphc.tensor([[-inf, -inf], [inf, 1.0], [-inf, 2.0]])
    both(lambda T, x: T.logsumexp(x, 1), [x], gradients=False)


def test_norm_has_no_gradient_at_zero() -> None:
    both(lambda T, x: x.norm(), [graphc.zeros(3)])


def test_nan_in_extrema() -> None:
    x = graphc.tensor([[1.0, float("nan"), 3.0], [2.0, 1.0, 0.0]])
    both(lambda T, x: (x.max(), x.amin(1), x.argmax(1), *x.max(1), *x.min(0)), [x], gradients=False)


@pytest.mark.parametrize("shapes", MATMULS, ids=str)
def test_matmul(shapes: Any) -> None:
    both(lambda T, a, b: a @ b, inputs(*shapes))


@pytest.mark.parametrize("flip_a", [False, True])
@pytest.mark.parametrize("flip_b", [False, True])
def test_matmul_transposed(flip_a: bool, flip_b: bool) -> None:
    a, b = inputs((3, 2) if flip_a else (2, 3), (4, 3) if flip_b else (3, 4))
    both(lambda T, a, b: (a.t() if flip_a else a) @ (b.T if flip_b else b), [a, b])


@pytest.mark.parametrize(("case", "shapes"), [p[1:] for p in PRODUCTS], ids=[p[0] for p in PRODUCTS])
def test_products(case: Case, shapes: list[tuple[int, ...]]) -> None:
    both(case, inputs(*shapes))


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    both(lambda T, *xs: T.einsum(equation, *xs), inputs(*shapes))


@pytest.mark.parametrize("case", [c for _, c in SHAPES], ids=[n for n, _ in SHAPES])
def test_shapes(case: Case) -> None:
    both(case, inputs((2, 3, 4)))


@pytest.mark.parametrize("case", [c for _, c in INDICES], ids=[n for n, _ in INDICES])
def test_indices(case: Case) -> None:
    both(case, inputs((2, 3, 4)))


def test_one_hot() -> None:
    x = graphc.tensor([[0, 2], [1, 1]])
    check_equal(graphc.one_hot(x, 4), torch.nn.functional.one_hot(to_torch(x), 4))
    check_equal(graphc.one_hot(x), torch.nn.functional.one_hot(to_torch(x)))


def test_nonzero() -> None:
    x = graphc.tensor([[0, 2], [1, 0]])
    check_equal(graphc.nonzero(x), torch.nonzero(to_torch(x)))


WRITES: list[tuple[str, Callable[[Any, Any], None]]] = [
    ("add_", lambda T, x: x.add_(2)),
    ("mul_", lambda T, x: x.mul_(x)),
    ("clamp_", lambda T, x: x.clamp_(min=0)),
    ("zero_", lambda T, x: x.zero_()),
    ("fill_", lambda T, x: x.fill_(3)),
    ("copy_", lambda T, x: x.copy_(T.arange(4))),
    ("addcdiv_", lambda T, x: x.addcdiv_(x, x + 9, value=2)),
    ("lerp_", lambda T, x: x.lerp_(x * 2, 0.5)),
    ("item", lambda T, x: x.__setitem__((0, 1, 2), 5.0)),
    ("row", lambda T, x: x.__setitem__(1, 5.0)),
    ("slice", lambda T, x: x.__setitem__((slice(None), slice(0, 3, 2)), T.arange(4))),
    ("mask", lambda T, x: x.__setitem__(x > 0, 0.0)),
    ("mask values", lambda T, x: x.__setitem__(x > 0, x[x > 0] * 2)),
    ("indices", lambda T, x: x.__setitem__((slice(None), T.tensor([2, 0])), 7.0)),
    ("through view", lambda T, x: x.view(-1)[3:5].mul_(10)),
    ("through transpose", lambda T, x: x.transpose(0, 2)[1].zero_()),
    ("detached", lambda T, x: x.detach().mul_(2)),
    ("data", lambda T, x: x.data.sub_(1)),
]


@pytest.mark.parametrize("write", [w for _, w in WRITES], ids=[n for n, _ in WRITES])
def test_writes(write: Callable[[Any, Any], None]) -> None:
    (x,) = inputs((2, 3, 4))
    y = to_torch(x)
    write(graphc, x)
    write(torch, y)
    check_equal(x, y)


CREATED: list[tuple[str, Callable[[Any], Any]]] = [
    ("zeros", lambda T: T.zeros(2, 3)),
    ("zeros-tuple", lambda T: T.zeros((2, 3), dtype=T.int64)),
    ("ones", lambda T: T.ones(())),
    ("full", lambda T: T.full((2, 2), 7)),
    ("full-float", lambda T: T.full((2,), 0.5)),
    ("full-bool", lambda T: T.full((2,), True)),
    ("arange", lambda T: T.arange(5)),
    ("arange-step", lambda T: T.arange(1, 10, 3)),
    ("arange-float", lambda T: T.arange(0.5, 2, 0.25)),
    ("arange-down", lambda T: T.arange(5, 0, -2)),
    ("arange-typed", lambda T: T.arange(5, dtype=T.float32)),
    ("linspace", lambda T: T.linspace(0, 1, 5)),
    ("eye", lambda T: T.eye(3)),
    ("eye-2", lambda T: T.eye(2, 4, dtype=T.int32)),
    ("tensor-int", lambda T: T.tensor(3)),
    ("tensor-float", lambda T: T.tensor([1.5, 2])),
    ("tensor-nested", lambda T: T.tensor([[1, 2], [3, 4]])),
    ("tensor-bool", lambda T: T.tensor([True, False])),
    ("tensor-typed", lambda T: T.tensor([1.7, -2.7], dtype=T.int32)),
    ("tensor-array", lambda T: T.tensor(np.arange(3.0))),
    ("tensor-array-32", lambda T: T.tensor(np.arange(3, dtype=np.int32))),
    ("tensor-empty", lambda T: T.tensor([])),
    ("tensor-scalar", lambda T: T.tensor(np.float64(2))),
    ("as_tensor", lambda T: T.as_tensor([1, 2])),
    ("zeros_like", lambda T: T.zeros_like(T.ones(2, 3, dtype=T.int32))),
    ("full_like", lambda T: T.full_like(T.ones(2), 3)),
    ("new_zeros", lambda T: T.ones(2, dtype=T.float64).new_zeros(3)),
]


@pytest.mark.parametrize("make", [m for _, m in CREATED], ids=[n for n, _ in CREATED])
def test_creation(make: Callable[[Any], Any]) -> None:
    check_equal(make(graphc), make(torch))


@pytest.mark.parametrize("first", DTYPES)
def test_casts(first: str) -> None:
    (x,) = inputs((3, 4), dtype=first)
    for second in DTYPES:
        if first.startswith(("float", "bfloat")) and second == "uint8":
            continue  # PyTorch leaves negative floats to the machine
        check_equal(x.to(getattr(graphc, second)), to_torch(x).to(getattr(torch, second)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype: str) -> None:
    tolerance = 2e-3 if dtype == "float16" else 2e-2
    both(
        lambda T, x: (x + x, x * 2.5, x.exp(), x.sum(), x.mean(1), x.softmax(-1), x @ x.T),
        inputs((3, 4), dtype=dtype),
        tolerance=tolerance,
        gradients=False,
    )


def test_interchange_with_torch() -> None:
    ours = graphc.arange(6, dtype=graphc.float32).reshape(2, 3)
    theirs = torch.from_dlpack(ours)
    theirs[0, 0] = 9.0
    assert ours[0, 0].item() == 9.0
    back = graphc.from_dlpack(theirs)
    back[1, 1] = -1.0
    assert theirs[1, 1].item() == -1.0
    assert np.array_equal(np.asarray(ours), theirs.numpy())
