"""Half precisions: what is composed of several ops is worked on in float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from graphc.ir.types import bf16, f16, f32
from graphc.promotion import cast as convert
from graphc.promotion import result_type
from graphc.tensors.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def rounded_once(function: F) -> F:
    """Give `function` its bfloat16 and float16 operands as float32, and round its result once to the type that the
    operands promote to, as PyTorch's kernels do."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        if not any(_is_half(x) for x in given):
            return function(*args, **kwargs)
        dtype = result_type(*(x for x in given if x.is_floating_point()))
        found = function(*map(_widened, args), **{name: _widened(x) for name, x in kwargs.items()})
        return convert(found, dtype)

    return cast(F, call)


def _is_half(x: Tensor) -> bool:
    return x.dtype in (bf16, f16)


def _widened(x: Any) -> Any:
    return convert(x, f32) if isinstance(x, Tensor) and _is_half(x) else x
