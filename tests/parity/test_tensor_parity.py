"""Functions of tensors give PyTorch's values, shapes and dtypes, and its gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.dtypes import NAMES
from graphc.functions.shaping import pad

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

Case = Callable[..., Any]
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


def inputs(*shapes: tuple[int, ...], dtype: str = "float32", low: float = -2.0, high: float = 2.0) -> list[Any]:
    rng = np.random.default_rng(abs(hash(shapes)) % 2**32)
    made = []
    for shape in shapes:
        array = rng.uniform(low, high, shape)
        array = array > 0 if dtype == "bool" else np.abs(array * 3) if dtype == "uint8" else array
        array = np.rint(array * 3) if "int" in dtype else array
        made.append(graphc.tensor(array.tolist(), dtype=getattr(graphc, dtype)).reshape(shape))
    return made


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


UNARY = """
    abs ceil cos erf exp expm1 floor isfinite isinf isnan logical_not neg reciprocal relu round sigmoid sign sin square
    tanh trunc
"""
POSITIVE = "log log10 log1p log2 rsqrt sqrt"
BINARY = "add sub mul div maximum minimum eq ne lt le gt ge floor_divide remainder"


@pytest.mark.parametrize("name", (UNARY + POSITIVE).split())
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool"])
def test_unary(name: str, dtype: str) -> None:
    if dtype == "bool" and name in ("neg", "relu", "abs", "floor", "ceil", "trunc", "round", "square"):
        pytest.skip("PyTorch takes no bools here, or graphc does not")
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


SCALARS: list[tuple[str, Case]] = [
    ("x+s", lambda T, x: x + 2.5),
    ("s+x", lambda T, x: 3 + x),
    ("x-s", lambda T, x: x - 1.5),
    ("s-x", lambda T, x: 1 - x),
    ("x*s", lambda T, x: x * 3),
    ("s*x", lambda T, x: 0.5 * x),
    ("x/s", lambda T, x: x / 4),
    ("s/x", lambda T, x: 2 / (x + 10)),
    ("x//s", lambda T, x: x // 2),
    ("x%s", lambda T, x: x % 3),
    ("x**2", lambda T, x: x**2),
    ("x**3", lambda T, x: x**3),
    ("x**1", lambda T, x: x**1),
    ("2**x", lambda T, x: 2 ** (x * x)),
    ("x<s", lambda T, x: x < 0.5),
    ("s<x", lambda T, x: 1 > x),  # noqa: SIM300
    ("-x", lambda T, x: -x),
    ("abs", lambda T, x: abs(x)),
    ("alpha", lambda T, x: T.add(x, x, alpha=3)),
]


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


REDUCTIONS: list[tuple[str, Case]] = [
    ("sum", lambda T, x: x.sum()),
    ("sum-dim", lambda T, x: x.sum(1)),
    ("sum-dims", lambda T, x: x.sum((0, -1), keepdim=True)),
    ("mean", lambda T, x: x.mean()),
    ("mean-dim", lambda T, x: x.mean(dim=-1, keepdim=True)),
    ("prod", lambda T, x: x.prod()),
    ("prod-dim", lambda T, x: x.prod(1)),
    ("amax", lambda T, x: x.amax((0, 2))),
    ("amin", lambda T, x: x.amin(1, keepdim=True)),
    ("max", lambda T, x: x.max()),
    ("min", lambda T, x: x.min()),
    ("max-dim", lambda T, x: tuple(x.max(1))),
    ("min-dim", lambda T, x: tuple(x.min(-1, keepdim=True))),
    ("max-other", lambda T, x: T.max(x, x * x)),
    ("argmax", lambda T, x: x.argmax()),
    ("argmax-dim", lambda T, x: x.argmax(1)),
    ("argmin", lambda T, x: x.argmin(0, keepdim=True)),
    ("any", lambda T, x: (x > 1).any(1)),
    ("all", lambda T, x: (x > -1.5).all()),
    ("logsumexp", lambda T, x: x.logsumexp(1)),
    ("logsumexp2", lambda T, x: T.logsumexp(x, (0, 1), keepdim=True)),
    ("var", lambda T, x: x.var()),
    ("var-dim", lambda T, x: x.var(1, unbiased=False)),
    ("var-correction", lambda T, x: x.var((0, 2), correction=1, keepdim=True)),
    ("std", lambda T, x: x.std(2)),
    ("norm", lambda T, x: x.norm()),
    ("norm-1", lambda T, x: x.norm(1, dim=1)),
    ("norm-3", lambda T, x: x.norm(3.0, 2, True)),
    ("softmax", lambda T, x: x.softmax(1)),
    ("log_softmax", lambda T, x: T.log_softmax(x, -1)),
    ("count_nonzero", lambda T, x: T.count_nonzero(x > 0, 1)),
]


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


MATMULS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (1, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((6, 5, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((0, 3), (3, 4)),
    ((2, 0), (0, 4)),
]


@pytest.mark.parametrize("shapes", MATMULS, ids=str)
def test_matmul(shapes: Any) -> None:
    both(lambda T, a, b: a @ b, inputs(*shapes))


@pytest.mark.parametrize("flip_a", [False, True])
@pytest.mark.parametrize("flip_b", [False, True])
def test_matmul_transposed(flip_a: bool, flip_b: bool) -> None:
    a, b = inputs((3, 2) if flip_a else (2, 3), (4, 3) if flip_b else (3, 4))
    both(lambda T, a, b: (a.t() if flip_a else a) @ (b.T if flip_b else b), [a, b])


PRODUCTS: list[tuple[str, Case, list[tuple[int, ...]]]] = [
    ("mm", lambda T, a, b: T.mm(a, b), [(2, 3), (3, 4)]),
    ("bmm", lambda T, a, b: T.bmm(a, b), [(5, 2, 3), (5, 3, 4)]),
    ("dot", lambda T, a, b: T.dot(a, b), [(3,), (3,)]),
    ("mv", lambda T, a, b: T.mv(a, b), [(2, 3), (3,)]),
    ("outer", lambda T, a, b: T.outer(a, b), [(3,), (4,)]),
    ("addmm", lambda T, c, a, b: T.addmm(c, a, b, beta=0.5, alpha=2), [(4,), (2, 3), (3, 4)]),
    ("baddbmm", lambda T, c, a, b: T.baddbmm(c, a, b), [(5, 2, 4), (5, 2, 3), (5, 3, 4)]),
    ("tensordot", lambda T, a, b: T.tensordot(a, b, dims=2), [(5, 2, 3), (2, 3, 4)]),
    ("tensordot-pairs", lambda T, a, b: T.tensordot(a, b, dims=([0, 2], [1, 0])), [(5, 2, 3), (3, 5, 4)]),
]
EQUATIONS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("ij->ji", [(2, 3)]),
    ("ij->", [(2, 3)]),
    ("ij->j", [(2, 3)]),
    ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]),
    ("i,j->ij", [(3,), (4,)]),
    ("i,i->", [(3,), (3,)]),
    ("ij,kj->ki", [(2, 3), (4, 3)]),
    ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]),
    ("...ij,...jk->...ik", [(6, 1, 2, 3), (5, 3, 4)]),
    ("...i->...", [(2, 3)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
    ("ij,j,k->ik", [(2, 3), (3,), (4,)]),
    ("ijk,j->k", [(2, 3, 4), (3,)]),
    ("a,b,c->abc", [(2,), (3,), (4,)]),
]


@pytest.mark.parametrize(("case", "shapes"), [p[1:] for p in PRODUCTS], ids=[p[0] for p in PRODUCTS])
def test_products(case: Case, shapes: list[tuple[int, ...]]) -> None:
    both(case, inputs(*shapes))


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    both(lambda T, *xs: T.einsum(equation, *xs), inputs(*shapes))


def padding(T: Any) -> Any:
    return pad if T is graphc else torch.nn.functional.pad


SHAPES: list[tuple[str, Case]] = [
    ("reshape", lambda T, x: x.reshape(4, -1)),
    ("view", lambda T, x: x.view(-1)),
    ("flatten", lambda T, x: x.flatten(1)),
    ("flatten-all", lambda T, x: T.flatten(x)),
    ("unflatten", lambda T, x: x.unflatten(2, (2, -1))),
    ("squeeze", lambda T, x: x.unsqueeze(1).squeeze()),
    ("squeeze-dim", lambda T, x: x[:, :1].squeeze(1)),
    ("unsqueeze", lambda T, x: x.unsqueeze(-1)),
    ("transpose", lambda T, x: x.transpose(0, 2)),
    ("permute", lambda T, x: x.permute(2, 0, 1)),
    ("T", lambda T, x: x[0].T),
    ("mT", lambda T, x: x.mT),
    ("expand", lambda T, x: x[:, :1].expand(-1, 5, 4)),
    ("expand-new", lambda T, x: x.expand(3, 2, 3, 4)),
    ("repeat", lambda T, x: x.repeat(2, 1, 3)),
    ("repeat-new", lambda T, x: x.repeat(2, 1, 2, 1)),
    ("tile", lambda T, x: T.tile(x, (2,))),
    ("repeat_interleave", lambda T, x: x.repeat_interleave(3, dim=1)),
    ("chunk", lambda T, x: x.chunk(2, dim=1)),
    ("split", lambda T, x: x.split(3, dim=2)),
    ("split-list", lambda T, x: x.split([1, 3], 2)),
    ("unbind", lambda T, x: x.unbind(1)),
    ("flip", lambda T, x: x.flip(0, 2)),
    ("roll", lambda T, x: T.roll(x, 2, 1)),
    ("roll-two", lambda T, x: T.roll(x, (1, -1), (0, 2))),
    ("roll-flat", lambda T, x: T.roll(x, 5)),
    ("tril", lambda T, x: x.tril()),
    ("triu", lambda T, x: T.triu(x, 1)),
    ("tril-below", lambda T, x: x.tril(-1)),
    ("movedim", lambda T, x: T.movedim(x, 0, 2)),
    ("narrow", lambda T, x: x.narrow(2, 1, 2)),
    ("select", lambda T, x: x.select(1, -1)),
    ("diagonal", lambda T, x: T.diagonal(x[0])),
    ("cat", lambda T, x: T.cat([x, x * 2], dim=1)),
    ("cat-empty", lambda T, x: T.cat([x[0], T.zeros(0), x[1]])),
    ("stack", lambda T, x: T.stack([x, x * 2, x], -1)),
    ("pad", lambda T, x: padding(T)(x, (1, 2, 0, 1), value=3.0)),
    ("pad-negative", lambda T, x: padding(T)(x, (-1, 2, 1, -1))),
    ("where", lambda T, x: T.where(x > 0, x, 0.0)),
    ("where2", lambda T, x: T.where(x[0] > 0, x, x * x)),
    ("masked_fill", lambda T, x: x.masked_fill(x > 0, -1.0)),
    ("clamp", lambda T, x: x.clamp(-0.5, 0.75)),
    ("clamp-min", lambda T, x: T.clamp(x, min=0.1)),
    ("clamp-tensor", lambda T, x: T.clamp(x, x * 0.5, x * x)),
    ("lerp", lambda T, x: T.lerp(x, x * x, 0.25)),
    ("addcmul", lambda T, x: T.addcmul(x, x, x, value=0.5)),
    ("clone", lambda T, x: x.clone()),
]


@pytest.mark.parametrize("case", [c for _, c in SHAPES], ids=[n for n, _ in SHAPES])
def test_shapes(case: Case) -> None:
    both(case, inputs((2, 3, 4)))


INDICES: list[tuple[str, Case]] = [
    ("int", lambda T, x: x[1]),
    ("negative", lambda T, x: x[-1, -2]),
    ("slice", lambda T, x: x[:, 1:]),
    ("step", lambda T, x: x[:, ::2, 1::2]),
    ("none", lambda T, x: x[None, :, None, 1]),
    ("ellipsis", lambda T, x: x[..., 1]),
    ("ellipsis-middle", lambda T, x: x[0, ..., 1:]),
    ("empty", lambda T, x: x[:, 2:1]),
    ("out-of-range slice", lambda T, x: x[:, -9:9]),
    ("tensor", lambda T, x: x[T.tensor([1, 0, 1])]),
    ("negative tensor", lambda T, x: x[:, T.tensor([-1, 0])]),
    ("tensor-2d", lambda T, x: x[:, T.tensor([[1, 0], [2, 2]])]),
    ("two tensors", lambda T, x: x[T.tensor([0, 1]), T.tensor([2, 0])]),
    ("two tensors broadcast", lambda T, x: x[T.tensor([[0], [1]]), T.tensor([2, 0])]),
    ("tensors apart", lambda T, x: x[T.tensor([0, 1]), :, T.tensor([3, 0])]),
    ("tensors last", lambda T, x: x[:, T.tensor([0, 1]), T.tensor([3, 0])]),
    ("list", lambda T, x: x[[1, 0]]),
    ("list and slice", lambda T, x: x[:, [2, 0], 1:]),
    ("mask", lambda T, x: x[x > 0]),
    ("mask rows", lambda T, x: x[:, T.tensor([True, False, True])]),
    ("gather", lambda T, x: T.gather(x, 2, T.tensor([[[0, 3], [1, 1], [2, 0]]] * 2))),
    ("take_along_dim", lambda T, x: T.take_along_dim(x, T.tensor([[[1]], [[0]]]), 1)),
    ("index_select", lambda T, x: T.index_select(x, 1, T.tensor([2, 2, 0]))),
    ("take", lambda T, x: T.take(x, T.tensor([[5, 0], [23, 1]]))),
    ("scatter_add", lambda T, x: T.scatter_add(x, 1, T.tensor([[[0, 0, 2, 1]] * 2] * 2), x[:, :2])),
    ("index_add", lambda T, x: T.index_add(x, 1, T.tensor([0, 0]), x[:, 1:], alpha=2)),
]


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
