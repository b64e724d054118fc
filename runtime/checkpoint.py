"""Named arrays in safetensors files: read whole, written atomically, never pickled.

Format: https://github.com/huggingface/safetensors (8-byte little-endian header length, JSON header, raw data).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save

from graphc.ir.errors import GraphcError
from graphc.ir.types import MAX_RANK, bf16, bool_, f16, f32, f64, from_numpy_dtype, i8, i16, i32, i64, u8

Array = np.ndarray[Any, Any]

_STORED_NAMES = {  # safetensors' names
    "F32": f32,
    "F64": f64,
    "BF16": bf16,
    "F16": f16,
    "I8": i8,
    "I16": i16,
    "I32": i32,
    "I64": i64,
    "U8": u8,
    "BOOL": bool_,
}


class CheckpointError(GraphcError, ValueError):
    """A checkpoint file that is missing, damaged, or holds what graphc cannot represent."""


def encode_arrays(arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file. Raises TypeError for an array of an unsupported dtype."""
    for array in arrays.values():
        from_numpy_dtype(array.dtype)
    dense = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    return save(dense, dict(metadata) if metadata else None)


def write_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, Array], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file. The file appears whole or not at all; one that exists is replaced only then."""
    write_atomically(path, encode_arrays(arrays, metadata))


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write beside `path`, flush to disk, then rename over it."""
    path = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays and metadata of a safetensors file. Raises FileNotFoundError, or CheckpointError naming the file and
    what is wrong with it."""
    data = Path(path).read_bytes()
    try:
        tensors = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(_why_unreadable(path, data, error)) from None
    arrays: dict[str, Array] = {}
    for name, tensor in tensors:
        dtype = _STORED_NAMES.get(tensor["dtype"])
        if dtype is None:
            raise CheckpointError(f"{path}: {name!r} has dtype {tensor['dtype']}, which graphc does not support")
        if len(tensor["shape"]) > MAX_RANK:
            raise CheckpointError(f"{path}: {name!r} has {len(tensor['shape'])} axes; graphc's limit is {MAX_RANK}")
        array = np.frombuffer(tensor["data"], dtype.numpy).reshape(tensor["shape"])
        arrays[name] = array.view(np.uint8) != 0 if dtype.is_bool else array  # a true bool is 1 and nothing else
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return arrays, header.get("__metadata__") or {}


def _why_unreadable(path: str | os.PathLike[str], data: bytes, error: Exception) -> str:
    # A safetensors file may begin with the same bytes, so this is asked only of what cannot be read as one.
    if data[:2] == b"PK" or data[:1] == b"\x80":
        return (
            f"{os.fspath(path)} is a pickled PyTorch file, which graphc does not read (unpickling runs code); in "
            "PyTorch, write it with safetensors.torch.save_file(model.state_dict(), path)"
        )
    return f"{os.fspath(path)} is not a whole safetensors file: {error}"
