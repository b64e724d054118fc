"""Tensor: an array with PyTorch's operations, eager or traced."""

from __future__ import annotations

import builtins
import copy
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np

from graphc import autograd
from graphc.dispatch import clone
from graphc.errors import AutogradError, ShapeError, fail
from graphc.functions import casting, creation, indexing, inplace, linalg, pointwise, reductions, sampling, shaping
from graphc.functions.subscript import getitem, setitem
from graphc.ir.types import DType
from graphc.promotion import Operand, as_operand
from graphc.tensors import interchange
from graphc.tensors.base import TensorBase, wrap
from graphc.tensors.display import describe
from graphc.tensors.storage import Storage, aligned_copy

Self = TypeVar("Self", bound="Tensor")


class Tensor(TensorBase):
    """`Tensor(data)` copies numbers, nested lists or an array, as `graphc.tensor` does. Methods are the functions of
    the same name; those that end in `_` write their result over the tensor."""

    __slots__ = ()

    def __init__(self, data: Any = (), *, dtype: DType | None = None, requires_grad: builtins.bool = False):
        made = creation.tensor(data, dtype=dtype)
        self._set_up(made._type, made._storage, made._array)
        self._requires_grad = False
        if requires_grad:
            self.requires_grad_()

    # --- arithmetic
    __add__ = add = pointwise.add
    __sub__ = sub = subtract = pointwise.sub
    __mul__ = mul = multiply = pointwise.mul
    __truediv__ = div = divide = true_divide = pointwise.div
    __floordiv__ = floor_divide = pointwise.floor_divide
    __mod__ = remainder = pointwise.remainder
    __pow__ = pow = pointwise.pow
    __matmul__ = matmul = linalg.matmul
    __neg__ = neg = negative = pointwise.neg
    __abs__ = abs = pointwise.abs
    __pos__ = positive = pointwise.positive
    __invert__ = bitwise_not = pointwise.bitwise_not
    __and__ = bitwise_and = pointwise.bitwise_and
    __or__ = bitwise_or = pointwise.bitwise_or
    __xor__ = bitwise_xor = pointwise.bitwise_xor

    def __radd__(self, other: Operand) -> Tensor:
        return pointwise.add(other, self)

    def __rsub__(self, other: Operand) -> Tensor:
        return pointwise.sub(other, self)

    def __rmul__(self, other: Operand) -> Tensor:
        return pointwise.mul(other, self)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return pointwise.div(other, self)

    def __rfloordiv__(self, other: Operand) -> Tensor:
        return pointwise.floor_divide(other, self)

    def __rmod__(self, other: Operand) -> Tensor:
        return pointwise.remainder(other, self)

    def __rpow__(self, other: Operand) -> Tensor:
        return pointwise.pow(other, self)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return linalg.matmul(as_operand(other), self)  # type: ignore[arg-type]

    def __rand__(self, other: Operand) -> Tensor:
        return pointwise.bitwise_and(other, self)

    def __ror__(self, other: Operand) -> Tensor:
        return pointwise.bitwise_or(other, self)

    def __rxor__(self, other: Operand) -> Tensor:
        return pointwise.bitwise_xor(other, self)

    # --- comparison
    __eq__ = eq = pointwise.eq  # type: ignore[assignment]
    __ne__ = ne = pointwise.ne  # type: ignore[assignment]
    __lt__ = lt = less = pointwise.lt
    __le__ = le = less_equal = pointwise.le
    __gt__ = gt = greater = pointwise.gt
    __ge__ = ge = greater_equal = pointwise.ge
    __hash__ = TensorBase.__hash__
    logical_and = pointwise.logical_and
    logical_not = pointwise.logical_not
    logical_or = pointwise.logical_or
    logical_xor = pointwise.logical_xor
    isfinite = pointwise.isfinite
    isinf = pointwise.isinf
    isnan = pointwise.isnan
    equal = interchange.equal
    allclose = interchange.allclose

    # --- element-wise
    addcdiv = pointwise.addcdiv
    addcmul = pointwise.addcmul
    bernoulli = sampling.bernoulli
    ceil = pointwise.ceil
    clamp = clip = pointwise.clamp
    clamp_max = pointwise.clamp_max
    clamp_min = pointwise.clamp_min
    cos = pointwise.cos
    erf = pointwise.erf
    exp = pointwise.exp
    expm1 = pointwise.expm1
    floor = pointwise.floor
    lerp = pointwise.lerp
    log = pointwise.log
    log10 = pointwise.log10
    log1p = pointwise.log1p
    log2 = pointwise.log2
    masked_fill = pointwise.masked_fill
    maximum = pointwise.maximum
    minimum = pointwise.minimum
    reciprocal = pointwise.reciprocal
    relu = pointwise.relu
    round = pointwise.round
    rsqrt = pointwise.rsqrt
    sigmoid = pointwise.sigmoid
    sign = pointwise.sign
    sin = pointwise.sin
    sqrt = pointwise.sqrt
    square = pointwise.square
    tanh = pointwise.tanh
    trunc = pointwise.trunc

    def where(self, condition: Tensor, other: Operand) -> Tensor:
        """The tensor where the condition holds, else `other`."""
        return pointwise.where(condition, self, other)

    # --- reductions
    all = reductions.all
    amax = reductions.amax
    amin = reductions.amin
    any = reductions.any
    argmax = reductions.argmax
    argmin = reductions.argmin
    count_nonzero = reductions.count_nonzero
    log_softmax = reductions.log_softmax
    logsumexp = reductions.logsumexp
    max = reductions.max
    mean = reductions.mean
    min = reductions.min
    norm = reductions.norm
    prod = reductions.prod
    softmax = reductions.softmax
    std = reductions.std
    sum = reductions.sum
    var = reductions.var

    # --- linear algebra
    addmm = linalg.addmm
    addmv = linalg.addmv
    baddbmm = linalg.baddbmm
    bmm = linalg.bmm
    dot = linalg.dot
    mm = linalg.mm
    mv = linalg.mv
    outer = linalg.outer

    # --- shape
    chunk = shaping.chunk
    diagonal = shaping.diagonal
    expand = shaping.expand
    expand_as = shaping.expand_as
    flatten = shaping.flatten
    flip = shaping.flip
    movedim = shaping.movedim
    narrow = shaping.narrow
    permute = shaping.permute
    repeat = shaping.repeat
    repeat_interleave = shaping.repeat_interleave
    reshape = shaping.reshape
    reshape_as = shaping.reshape_as
    roll = shaping.roll
    select = shaping.select
    split = shaping.split
    squeeze = shaping.squeeze
    swapaxes = shaping.swapaxes
    t = shaping.t
    tile = shaping.tile
    transpose = shaping.transpose
    tril = shaping.tril
    triu = shaping.triu
    unbind = shaping.unbind
    unflatten = shaping.unflatten
    unsqueeze = shaping.unsqueeze
    view = shaping.view
    view_as = shaping.view_as
    clone = clone

    @property
    def T(self) -> Tensor:
        """The dimensions in reverse order."""
        return shaping.permute(self, tuple(reversed(range(self._type.rank))))

    @property
    def mT(self) -> Tensor:
        """The last two dimensions swapped."""
        if self._type.rank < 2:
            fail(ShapeError, f"mT takes at least two dimensions, got {self._type}")
        return shaping.transpose(self, -1, -2)

    # --- indices
    __getitem__ = getitem
    __setitem__ = setitem
    gather = indexing.gather
    index_add = indexing.index_add
    index_select = indexing.index_select
    nonzero = indexing.nonzero
    scatter_add = indexing.scatter_add
    take = indexing.take
    take_along_dim = indexing.take_along_dim

    # --- element type
    bfloat16 = casting.bfloat16
    bool = casting.boolean
    char = casting.int8
    contiguous = casting.contiguous
    cpu = casting.cpu
    cuda = casting.cuda
    double = casting.float64
    float = casting.float32
    half = casting.float16
    int = casting.int32
    long = casting.int64
    short = casting.int16
    to = casting.to
    byte = casting.uint8
    type_as = casting.type_as

    # --- in place
    __iadd__ = add_ = inplace.add_
    __iand__ = bitwise_and_ = inplace.bitwise_and_
    __ifloordiv__ = floor_divide_ = inplace.floor_divide_
    __imod__ = remainder_ = inplace.remainder_
    __imul__ = mul_ = inplace.mul_
    __ior__ = bitwise_or_ = inplace.bitwise_or_
    __ipow__ = pow_ = inplace.pow_
    __isub__ = sub_ = inplace.sub_
    __itruediv__ = div_ = inplace.div_
    __ixor__ = bitwise_xor_ = inplace.bitwise_xor_
    abs_ = inplace.abs_
    addcdiv_ = inplace.addcdiv_
    addcmul_ = inplace.addcmul_
    bernoulli_ = sampling.bernoulli_
    ceil_ = inplace.ceil_
    clamp_ = inplace.clamp_
    clamp_max_ = inplace.clamp_max_
    clamp_min_ = inplace.clamp_min_
    copy_ = inplace.copy_
    erf_ = inplace.erf_
    exp_ = inplace.exp_
    fill_ = inplace.fill_
    floor_ = inplace.floor_
    lerp_ = inplace.lerp_
    log_ = inplace.log_
    masked_fill_ = inplace.masked_fill_
    neg_ = inplace.neg_
    normal_ = sampling.normal_
    reciprocal_ = inplace.reciprocal_
    relu_ = inplace.relu_
    round_ = inplace.round_
    rsqrt_ = inplace.rsqrt_
    sigmoid_ = inplace.sigmoid_
    sqrt_ = inplace.sqrt_
    square_ = inplace.square_
    tanh_ = inplace.tanh_
    tril_ = inplace.tril_
    triu_ = inplace.triu_
    uniform_ = sampling.uniform_
    zero_ = inplace.zero_

    # --- new tensors of the same type

    def new_zeros(self, *size: Any) -> Tensor:
        """Zeros of the same element type."""
        return creation.zeros(*size, dtype=self._type.dtype)

    def new_ones(self, *size: Any) -> Tensor:
        """Ones of the same element type."""
        return creation.ones(*size, dtype=self._type.dtype)

    # --- the tape
    backward = autograd.backward

    # --- to Python and NumPy
    item = interchange.item
    numpy = interchange.numpy
    tolist = interchange.tolist
    __array__ = interchange.array
    __array_priority__ = 1000  # NumPy's operators leave it to ours
    __bool__ = interchange.truth
    __dlpack__ = interchange.dlpack
    __dlpack_device__ = interchange.dlpack_device
    __float__ = interchange.as_float
    __format__ = interchange.formatted
    __index__ = interchange.as_index
    __int__ = interchange.as_int
    __repr__ = describe
    __str__ = interchange.text

    def __len__(self) -> builtins.int:
        if not self._type.shape:
            raise TypeError("len() of a tensor without dimensions")
        return self._type.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._type.shape:
            raise TypeError("iteration over a tensor without dimensions")
        return iter(shaping.unbind(self))

    def __contains__(self, element: Operand) -> builtins.bool:
        return interchange.truth(reductions.any(pointwise.eq(self, element)))

    # --- copies

    def __deepcopy__(self: Self, memo: dict[Any, Any]) -> Self:
        if self._node is not None:
            fail(AutogradError, "only leaf tensors can be deep-copied; use detach() first")
        found = _rebuild(type(self), np.array(self._read("copy")), self._requires_grad)
        memo[id(self)] = found
        if isinstance(self._grad, Tensor):
            found._grad = copy.deepcopy(self._grad, memo)
        return found

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), np.array(self._read("copy")), self._requires_grad)


TensorBase.result_class = Tensor


def _rebuild(cls: type[Self], array: np.ndarray[Any, Any], requires_grad: bool) -> Self:
    """A leaf of class `cls` with the elements of `array`."""
    made = wrap(array)
    copied = aligned_copy(array, made._type)
    found = object.__new__(cls)
    found._set_up(made._type, Storage(copied), copied)
    found._requires_grad = requires_grad
    return found


def is_tensor(x: object) -> bool:
    """Whether x is a tensor."""
    return isinstance(x, Tensor)
