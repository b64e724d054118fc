"""Checkpoints: tensors, and nested Python structures of them, in safetensors files. Never pickled.

A dict of tensors is a plain safetensors file with those names, as other frameworks read and write. Of any other
structure, the tensors are stored under dotted names, and a skeleton that refers to them goes into the metadata. It is
JSON: numbers, strings, bools and None stand for themselves, and an object with one entry for one of

    {"tensor": name}    {"dict": [[key, node], ...]}    {"list": [node, ...]}    {"tuple": [node, ...]}
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from graphc.ir.types import type_of
from graphc.runtime.checkpoint import CheckpointError, read_arrays, write_arrays
from graphc.tensors.base import TensorBase, wrap
from graphc.tensors.storage import aligned_copy
from graphc.tensors.tensor import Tensor

Array = np.ndarray[Any, Any]

SKELETON = "graphc"  # the key of the skeleton in a file's metadata
RESERVED = "__metadata__"  # what no tensor can be called
MAX_DEPTH = 100  # of containers in containers


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Write `obj` to a safetensors file, which appears whole or not at all.

    obj: a dict of tensors, such as `model.state_dict()`, which other frameworks then read too; or any nesting of dicts
    (keys: strings and ints), lists and tuples that hold tensors, NumPy arrays, numbers, strings, bools and None.

    Raises CheckpointError for anything else, naming its place, and OSError where the file cannot be written.
    """
    if isinstance(obj, dict) and all(_is_name(k) and _is_tensor(v) for k, v in obj.items()):
        write_arrays(path, {name: _array(tensor, (name,)) for name, tensor in obj.items()})
        return
    packer = _Packer()
    skeleton = packer.pack(obj, ())
    try:
        text = json.dumps(skeleton)
    except ValueError as error:  # an int of thousands of digits
        raise CheckpointError(f"cannot save: {error}") from None
    write_arrays(path, packer.arrays, {SKELETON: text})


def load(path: str | os.PathLike[str]) -> Any:
    """What `save` wrote: tensors come back as tensors that require no gradients, the rest equal to what it was. Any
    other safetensors file is a dict of tensors.

    Raises FileNotFoundError, or CheckpointError for a damaged file, one of another format (such as a pickled one), or
    dtypes that graphc does not know.
    """
    arrays, metadata = read_arrays(path)
    tensors = {name: wrap(aligned_copy(array, type_of(array))) for name, array in arrays.items()}
    if SKELETON not in metadata:
        return tensors
    try:
        return _unpack(json.loads(metadata[SKELETON]), tensors)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{os.fspath(path)}: its structure is damaged: {error!r}") from None


class _Packer:
    """Takes a structure apart; `arrays` holds its tensors."""

    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}

    def pack(self, node: Any, place: tuple[Any, ...]) -> Any:
        """The skeleton of `node`, which stands at `place` in the whole."""
        if isinstance(node, np.generic):
            node = node.item()
        if node is None or isinstance(node, (bool, int, float, str)):
            return node
        if _is_tensor(node):
            name = self._fresh(".".join(map(str, place)))
            self.arrays[name] = _array(node, place)
            return {"tensor": name}
        if len(place) == MAX_DEPTH:
            raise CheckpointError(f"cannot save {_spelled(place[:3])}...: it is nested deeper than {MAX_DEPTH} levels")
        return self._pack_container(node, place)

    def _pack_container(self, node: Any, place: tuple[Any, ...]) -> Any:
        if isinstance(node, dict):
            for key in node:
                if type(key) not in (str, int):
                    raise CheckpointError(
                        f"cannot save {_spelled(place)}: its key {key!r} is a {type(key).__name__}; "
                        "keys must be strings or ints"
                    )
            return {"dict": [[key, self.pack(value, (*place, key))] for key, value in node.items()]}
        if type(node) in (list, tuple):
            return {type(node).__name__: [self.pack(value, (*place, i)) for i, value in enumerate(node)]}
        raise CheckpointError(
            f"cannot save {_spelled(place)}, a {type(node).__name__}: a checkpoint holds tensors, arrays, numbers, "
            "strings, bools and None, in dicts, lists and tuples"
        )

    def _fresh(self, wanted: str) -> str:
        name = wanted = _encodable(wanted) or "tensor"
        number = 1
        while name in self.arrays or name == RESERVED:
            number += 1
            name = f"{wanted}#{number}"
        return name


def _unpack(node: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        if isinstance(node, list):
            raise TypeError("a list without its kind")
        return node
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(value, tensors) for key, value in content}
    if kind not in ("list", "tuple"):
        raise ValueError(f"an unknown kind {kind!r}")
    items = [_unpack(value, tensors) for value in content]
    return items if kind == "list" else tuple(items)


def _is_name(key: Any) -> bool:
    """Whether a tensor can be called that."""
    return isinstance(key, str) and key != RESERVED and key == _encodable(key)


def _encodable(text: str) -> str:
    """The text, with what UTF-8 cannot represent escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _is_tensor(node: Any) -> bool:
    return isinstance(node, (TensorBase, np.ndarray))


def _array(tensor: Any, place: tuple[Any, ...]) -> Array:
    array = tensor._read("save") if isinstance(tensor, TensorBase) else tensor
    try:
        type_of(array)
    except TypeError as error:
        raise CheckpointError(f"cannot save {_spelled(place)}: {error}") from None
    return array


def _spelled(place: tuple[Any, ...]) -> str:
    return "obj" + "".join(f"[{key!r}]" for key in place)
