"""graphc: a static-graph compiler for training neural networks.

Names are loaded when they are first used, so `import graphc` is quick and never loads the code generator.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "graphc.dtypes": """
        DType bfloat16 double float16 float32 float64 half int8 int16 int32 int64 long short uint8
    """,
    "graphc.tensors.tensor": "Tensor is_tensor",
    "graphc.tensors.base": "Size",
    "graphc.tensors.interchange": "allclose equal",
    "graphc.context": "is_grad_enabled set_grad_enabled no_grad enable_grad",
    "graphc.promotion": "result_type promote_types broadcast_shapes",
    "graphc.dispatch": "clone",
    "graphc.functions.pointwise": """
        abs add addcdiv addcmul bitwise_and bitwise_not bitwise_or bitwise_xor ceil clamp clamp_max clamp_min clip cos
        div eq erf exp expm1 floor floor_divide ge gt isfinite isinf isnan le lerp log log10 log1p log2 logical_and
        logical_not logical_or logical_xor lt masked_fill maximum minimum mul ne neg positive pow reciprocal relu
        remainder round rsqrt sigmoid sign sin sqrt square sub tanh trunc where
    """,
    "graphc.functions.reductions": """
        all amax amin any argmax argmin count_nonzero log_softmax logsumexp max mean min norm prod softmax std sum var
    """,
    "graphc.functions.linalg": "addmm addmv baddbmm bmm dot einsum matmul mm mv outer tensordot",
    "graphc.functions.shaping": """
        cat chunk concat concatenate diagonal flatten flip movedim narrow permute repeat_interleave reshape roll select
        split squeeze stack swapaxes t tile transpose tril triu unbind unflatten unsqueeze
    """,
    "graphc.functions.indexing": """
        gather index_add index_select nonzero one_hot scatter_add take take_along_dim
    """,
    "graphc.functions.creation": """
        arange as_tensor empty empty_like eye from_dlpack from_numpy full full_like linspace ones ones_like tensor zeros
        zeros_like
    """,
    "graphc.functions.sampling": "bernoulli normal rand rand_like randint randn randn_like randperm",
    "graphc.random": "Generator default_generator get_rng_state initial_seed manual_seed set_rng_state",
    "graphc.compiler.decorator": "compile",
    "graphc.transforms": "grad value_and_grad",
    "graphc.exporting": "export",
    "graphc.checkpoint": "load save",
    "graphc.runtime.artifact": "ArtifactError load_program",
    "graphc.runtime.pool": "get_num_threads set_num_threads",
    "graphc.runtime.checkpoint": "CheckpointError",
    "graphc.errors": """
        AttributeValueError AutogradError DTypeError DifferentiationError GraphcError OutOfRangeError ShapeError
        StateError TracingError VerifyError
    """,
}
_PLACES = {name: (module, name) for module, names in _NAMES.items() for name in names.split()}
_PLACES |= {  # PyTorch's names that are Python's too
    "bool": ("graphc.ir.types", "bool_"),
    "int": ("graphc.dtypes", "int32"),
    "float": ("graphc.dtypes", "float32"),
}
_MODULES = ("autograd", "data", "nn", "optim", "random", "tracing")

__all__ = sorted([*_PLACES, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"graphc.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module 'graphc' has no attribute {name!r}")
    module, attribute = _PLACES[name]
    if not module.startswith("graphc.runtime"):  # which stays light
        import_module("graphc.functions")  # before any other part: tensors and functions need one another
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return __all__
