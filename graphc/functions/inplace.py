"""Functions that write their result over their first operand: `x.add_(y)` is `x = x + y` in the memory of x."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.dispatch import write
from graphc.errors import DTypeError, ShapeError, fail
from graphc.functions import pointwise, shaping
from graphc.promotion import Number, Operand, as_operand, broadcast_to, cast, splat
from graphc.tensors.base import TensorBase

if TYPE_CHECKING:
    from graphc.tensors.tensor import Tensor

_CATEGORY = {"bool": 0, "uint": 1, "int": 1, "float": 2}


def assign(name: str, target: Tensor, value: Tensor) -> Tensor:
    """Write `value`, cast to the type of `target`. Raises ShapeError where target would have to grow, and DTypeError
    where floats would become integers, or numbers bools."""
    if value._type.shape != target._type.shape:
        fail(
            ShapeError,
            f"{name}: the result has shape {value._type.shape}, which does not fit in place into {target._type.shape}",
        )
    own, new = target._type.dtype, value._type.dtype
    if _CATEGORY[new.kind] > _CATEGORY[own.kind]:
        fail(
            DTypeError, f"{name}: a result of type {new} cannot be written in place to a tensor of type {own}; cast it"
        )
    write(target, cast(value, own))
    return target


def in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The in-place form of a function."""
    name = f"{function.__name__}_"

    def call(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return assign(name, self, function(self, *args, **kwargs))

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"In place: {function.__doc__}"
    return call


abs_ = in_place(pointwise.abs)
add_ = in_place(pointwise.add)
addcdiv_ = in_place(pointwise.addcdiv)
addcmul_ = in_place(pointwise.addcmul)
bitwise_and_ = in_place(pointwise.bitwise_and)
bitwise_or_ = in_place(pointwise.bitwise_or)
bitwise_xor_ = in_place(pointwise.bitwise_xor)
ceil_ = in_place(pointwise.ceil)
clamp_ = in_place(pointwise.clamp)
clamp_max_ = in_place(pointwise.clamp_max)
clamp_min_ = in_place(pointwise.clamp_min)
div_ = in_place(pointwise.div)
erf_ = in_place(pointwise.erf)
exp_ = in_place(pointwise.exp)
floor_ = in_place(pointwise.floor)
floor_divide_ = in_place(pointwise.floor_divide)
lerp_ = in_place(pointwise.lerp)
log_ = in_place(pointwise.log)
masked_fill_ = in_place(pointwise.masked_fill)
mul_ = in_place(pointwise.mul)
neg_ = in_place(pointwise.neg)
pow_ = in_place(pointwise.pow)
reciprocal_ = in_place(pointwise.reciprocal)
relu_ = in_place(pointwise.relu)
remainder_ = in_place(pointwise.remainder)
round_ = in_place(pointwise.round)
rsqrt_ = in_place(pointwise.rsqrt)
sigmoid_ = in_place(pointwise.sigmoid)
sqrt_ = in_place(pointwise.sqrt)
square_ = in_place(pointwise.square)
sub_ = in_place(pointwise.sub)
tanh_ = in_place(pointwise.tanh)
tril_ = in_place(shaping.tril)
triu_ = in_place(shaping.triu)


def copy_(self: Tensor, src: Operand) -> Tensor:
    """Write the elements of `src`, broadcast and cast."""
    value = as_operand(src)
    if not isinstance(value, TensorBase):
        return fill_(self, value)
    write(self, broadcast_to(cast(value, self._type.dtype), self._type.shape))
    return self


def fill_(self: Tensor, value: Number | Tensor) -> Tensor:
    """Write one number, or a tensor without dimensions, to every place."""
    if isinstance(value, TensorBase):
        if value._type.rank:
            fail(ShapeError, f"fill_ takes a number or a tensor without dimensions, got {value._type}")
        return copy_(self, value)
    write(self, splat(value, self._type.dtype, self._type.shape))
    return self


def zero_(self: Tensor) -> Tensor:
    """Write zeros."""
    return fill_(self, 0)
