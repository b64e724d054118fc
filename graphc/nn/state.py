"""State dicts of modules: parameters and buffers by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphc.context import no_grad
from graphc.errors import GraphcError, StateError, fail
from graphc.functions.creation import as_tensor

if TYPE_CHECKING:
    from graphc.nn.module import Module
    from graphc.tensors.tensor import Tensor

Array = np.ndarray[Any, Any]


class LoadResult(NamedTuple):
    """Names that a checkpoint lacked, and names in it that the module has no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"LoadResult(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def named_state(module: Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Parameters and persistent buffers in PyTorch's order. What is shared comes under each of its paths."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield prefix + name, parameter
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._transient:
            yield prefix + name, buffer
    for name, child in module._modules.items():
        if child is not None:
            yield from named_state(child, f"{prefix}{name}.")


def load_state(module: Module, state_dict: Mapping[str, Tensor | Array], strict: bool) -> LoadResult:
    """Copy tensors or arrays into the parameters and buffers of the same names."""
    own = dict(named_state(module, ""))
    missing = [name for name in own if name not in state_dict]
    unexpected = [name for name in state_dict if name not in own]
    problems = []
    if strict and missing:
        problems.append(f"missing: {', '.join(missing)}")
    if strict and unexpected:
        problems.append(f"unexpected: {', '.join(unexpected)}")
    loaded: dict[str, Tensor] = {}
    for name, tensor in own.items():
        if name in state_dict:
            found = _read(state_dict[name])
            if isinstance(found, str):
                problems.append(f"{name} {found}")
            elif found.shape != tensor.shape:
                problems.append(f"{name} has shape {list(found.shape)}, needed {list(tensor.shape)}")
            else:
                loaded[name] = found
    if problems:
        fail(StateError, f"the state dict does not fit {type(module).__name__}: {'; '.join(problems)}")
    with no_grad():
        for name, value in loaded.items():
            own[name].copy_(value)
    return LoadResult(missing, unexpected)


def _read(entry: Any) -> Tensor | str:
    """An entry as a tensor, or what is wrong with it."""
    if not hasattr(entry, "shape"):
        return f"is a {type(entry).__name__}, needed a tensor or an array"
    try:
        return as_tensor(entry).detach()
    except (GraphcError, TypeError, ValueError) as error:
        return f"cannot be read: {error}"
