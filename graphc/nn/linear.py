"""The affine layer."""

from __future__ import annotations

import math

import graphc
import graphc.nn.functional as F
from graphc.ir.types import DType
from graphc.nn import init
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter
from graphc.tensors.tensor import Tensor


class Linear(Module):
    """x W^T + b: [..., in_features] -> [..., out_features]. `weight` is [out_features, in_features], `bias`
    [out_features] or None; both of `dtype` (float32 by default).

    Both are initialised uniformly in +-1/sqrt(in_features), as PyTorch does."""

    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: object = None,
        dtype: DType | None = None,
    ):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(graphc.empty(out_features, in_features, dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(graphc.empty(out_features, dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
