"""Functions of tensors that networks are made of, under PyTorch's names: `import graphc.nn.functional as F`."""

from graphc.functions.indexing import one_hot
from graphc.functions.shaping import pad
from graphc.nn.functional.activations import (
    gelu,
    log_softmax,
    logsigmoid,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from graphc.nn.functional.layers import dropout, layer_norm, linear
from graphc.nn.functional.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    kl_div,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from graphc.nn.functional.nll import cross_entropy, nll_loss

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "gelu",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "linear",
    "log_softmax",
    "logsigmoid",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "pad",
    "relu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
]
