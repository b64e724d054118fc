"""Products of vectors, matrices and tensors: all are sums of products over named axes."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from graphc.dispatch import apply
from graphc.errors import AttributeValueError, DTypeError, ShapeError, fail
from graphc.functions import pointwise
from graphc.promotion import Number, broadcast_shapes, broadcast_to

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor


def _contract(name: str, spec: str, a: Tensor, b: Tensor) -> Tensor:
    if a._type.dtype != b._type.dtype:
        fail(DTypeError, f"{name}: element types differ: {a._type} and {b._type}; cast one of them")
    if a._type.dtype.is_bool:
        fail(DTypeError, f"{name} does not take bools, got {a._type}; cast it first")
    return apply("contract", [a, b], spec=spec)


def _require_rank(name: str, rank: int, *tensors: Tensor) -> None:
    for x in tensors:
        if x._type.rank != rank:
            fail(ShapeError, f"{name} takes {rank}-dimensional tensors, got {x._type}")


def _require_inner(name: str, a: Tensor, b: Tensor, m: int, n: int) -> None:
    if m != n:
        fail(ShapeError, f"{name}: shapes {a._type.shape} and {b._type.shape} do not fit: sizes {m} and {n} differ")


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product. Vectors count as rows (left) or columns (right) and leave the result; dimensions before
    the last two are broadcast. Raises ShapeError and DTypeError, naming both shapes."""
    a, b = input, other
    if a._type.rank == 0 or b._type.rank == 0:
        fail(ShapeError, f"matmul takes tensors of at least one dimension, got {a._type} and {b._type}")
    _require_inner("matmul", a, b, a._type.shape[-1], b._type.shape[-2] if b._type.rank > 1 else b._type.shape[0])
    if a._type.rank == 1 or b._type.rank == 1:
        return _with_vector(a, b)
    left, right = a._type.shape[:-2], b._type.shape[:-2]
    if not right:
        batch = string.ascii_letters[: len(left) + 1]
        return _contract("matmul", f"{batch}Y,YZ->{batch}Z", a, b)
    shape = broadcast_shapes(left, right, name="matmul")
    letters = string.ascii_letters[: len(shape)]
    spec_a, a = _batch(a, left, shape, letters)
    spec_b, b = _batch(b, right, shape, letters)
    return _contract("matmul", f"{spec_a}XY,{spec_b}YZ->{letters}XZ", a, b)


def _with_vector(a: Tensor, b: Tensor) -> Tensor:
    if a._type.rank == 1:
        batch = string.ascii_letters[: max(b._type.rank - 2, 0)]
        return _contract("matmul", "Y,Y->" if b._type.rank == 1 else f"Y,{batch}YZ->{batch}Z", a, b)
    batch = string.ascii_letters[: a._type.rank - 1]
    return _contract("matmul", f"{batch}Y,Y->{batch}", a, b)


def _batch(x: Tensor, own: tuple[int, ...], shape: tuple[int, ...], letters: str) -> tuple[str, Tensor]:
    """The letters of the batch axes that `x` has in full; those it lacks, or has with size 1, are left out: the
    contraction repeats it along them."""
    missing = len(shape) - len(own)
    kept = [i for i, n in enumerate(own) if n == shape[i + missing]]
    if len(kept) != len(own):
        x = apply("reshape", [x], shape=tuple(own[i] for i in kept) + x._type.shape[-2:])
    return "".join(letters[i + missing] for i in kept), x


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices."""
    _require_rank("mm", 2, input, mat2)
    return matmul(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices, of equal length."""
    _require_rank("bmm", 3, input, mat2)
    _require_inner("bmm", input, mat2, input._type.shape[0], mat2._type.shape[0])
    return matmul(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector."""
    _require_rank("mv", 2, input)
    _require_rank("mv", 1, vec)
    return matmul(input, vec)


def dot(input: Tensor, other: Tensor) -> Tensor:
    """The inner product of two vectors."""
    _require_rank("dot", 1, input, other)
    return matmul(input, other)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The outer product of two vectors."""
    _require_rank("outer", 1, input, vec2)
    return _contract("outer", "a,b->ab", input, vec2)


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * (mat1 @ mat2)."""
    return _add_product(input, mm(mat1, mat2), beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * (mat @ vec)."""
    return _add_product(input, mv(mat, vec), beta, alpha)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta * input + alpha * (batch1 @ batch2)."""
    return _add_product(input, bmm(batch1, batch2), beta, alpha)


def _add_product(x: Tensor, product: Tensor, beta: Number, alpha: Number) -> Tensor:
    scaled = product if alpha == 1 else pointwise.mul(product, alpha)
    if beta == 0:
        return broadcast_to(scaled, broadcast_shapes(x._type.shape, scaled._type.shape, name="addmm"))
    return pointwise.add(scaled, x if beta == 1 else pointwise.mul(x, beta))


def tensordot(a: Tensor, b: Tensor, dims: int | tuple[list[int], list[int]] = 2) -> Tensor:
    """Sums of products over the last `dims` dimensions of a and the first of b, or over the listed pairs."""
    if isinstance(dims, int):
        pairs_a, pairs_b = list(range(a._type.rank - dims, a._type.rank)), list(range(dims))
    else:
        pairs_a, pairs_b = [d % a._type.rank for d in dims[0]], [d % b._type.rank for d in dims[1]]
    letters_a = list(string.ascii_lowercase[: a._type.rank])
    letters_b = list(string.ascii_uppercase[: b._type.rank])
    for i, j in zip(pairs_a, pairs_b, strict=True):
        _require_inner("tensordot", a, b, a._type.shape[i], b._type.shape[j])
        letters_b[j] = letters_a[i]
    out = [x for x in letters_a + letters_b if not (x in letters_a and x in letters_b)]
    return _contract("tensordot", f"{''.join(letters_a)},{''.join(letters_b)}->{''.join(out)}", a, b)


# --- einsum


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Einstein's sum: letters name dimensions, `...` stands for leading ones that are broadcast; letters that the
    result does not name are summed. Operands are multiplied from left to right. Raises AttributeValueError for a
    malformed equation or a letter that repeats within an operand, ShapeError for sizes that do not fit."""
    terms, tensors, out = _parse(equation, operands)
    sizes: dict[str, int] = {}
    for term, x in zip(terms, tensors, strict=True):
        for letter, n in zip(term, x._type.shape, strict=True):
            if sizes.setdefault(letter, n) != n:
                fail(ShapeError, f"einsum {equation!r}: letter {letter!r} stands for sizes {sizes[letter]} and {n}")
    spec, found = terms[0], tensors[0]
    for i in range(1, len(terms)):
        needed = set(out).union(*terms[i + 1 :])
        spec, found = _sum_out(spec, found, needed | set(terms[i]))
        other, right = _sum_out(terms[i], tensors[i], needed | set(spec))
        result = "".join(dict.fromkeys(x for x in spec + other if x in needed))
        if i == len(terms) - 1 and set(result) == set(out):
            result = out
        found = _contract("einsum", f"{spec},{other}->{result}", found, right)
        spec = result
    spec, found = _sum_out(spec, found, set(out))
    if spec == out:
        return found
    return apply("transpose", [found], perm=tuple(spec.index(x) for x in out))


def _sum_out(spec: str, x: Tensor, needed: set[str]) -> tuple[str, Tensor]:
    axes = tuple(i for i, letter in enumerate(spec) if letter not in needed)
    if not axes:
        return spec, x
    return "".join(letter for letter in spec if letter in needed), apply("sum", [x], axes=axes, keepdims=False)


def _parse(equation: str, operands: tuple[Tensor, ...]) -> tuple[list[str], list[Tensor], str]:
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        fail(AttributeValueError, f"einsum {equation!r} names {len(terms)} operands, got {len(operands)}")
    for term in [*terms, right]:
        letters = term.replace("...", "", 1)
        if not all(x in string.ascii_letters for x in letters):
            fail(AttributeValueError, f"einsum {equation!r}: {term!r} is not letters and at most one '...'")
        if len(set(letters)) != len(letters):
            fail(AttributeValueError, f"einsum {equation!r}: a letter repeats within {term!r}; diagonals are not taken")
    hidden = [x._type.rank - len(t.replace("...", "")) for t, x in zip(terms, operands, strict=True)]
    for term, x, n in zip(terms, operands, hidden, strict=True):
        if n < 0 or (n > 0 and "..." not in term):
            fail(ShapeError, f"einsum {equation!r}: {term!r} does not name the dimensions of {x._type}")
    free = [x for x in string.ascii_letters if x not in text]
    names = "".join(free[: max(hidden)])
    if not arrow:
        once = [x for x in sorted(set(left) & set(string.ascii_letters)) if left.count(x) == 1]
        right = ("..." if "..." in left else "") + "".join(once)
    unknown = [x for x in right.replace("...", "") if x not in left]
    if unknown:
        fail(AttributeValueError, f"einsum {equation!r}: result letter {unknown[0]!r} is in no operand")
    if names and "..." not in right:
        fail(AttributeValueError, f"einsum {equation!r}: the result must name '...'")
    return *_share(equation, terms, operands, names), right.replace("...", names)


def _share(equation: str, terms: list[str], operands: tuple[Tensor, ...], names: str) -> tuple[list[str], list[Tensor]]:
    """Letters in place of `...`. An operand does without the letters that it would have to be broadcast along: the
    contraction repeats it there."""
    starts = [t.find("...") for t in terms]
    counts = [x._type.rank - len(t.replace("...", "")) for t, x in zip(terms, operands, strict=True)]
    shapes = [x._type.shape[s : s + n] if n else () for s, n, x in zip(starts, counts, operands, strict=True)]
    common = broadcast_shapes(*shapes, name=f"einsum {equation!r}")
    found: list[tuple[str, Tensor]] = []
    for term, x, start, shape in zip(terms, operands, starts, shapes, strict=True):
        first = len(common) - len(shape)
        kept = [i for i, n in enumerate(shape) if n == common[first + i]]
        if len(kept) < len(shape):
            sizes = tuple(shape[i] for i in kept)
            x = apply("reshape", [x], shape=x._type.shape[:start] + sizes + x._type.shape[start + len(shape) :])
        found.append((term.replace("...", "".join(names[first + i] for i in kept)), x))
    return [term for term, _ in found], [x for _, x in found]
