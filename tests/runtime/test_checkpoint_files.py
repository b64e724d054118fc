"""Named arrays in safetensors files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from graphc.runtime.checkpoint import CheckpointError, encode_arrays, read_arrays, write_arrays, write_atomically

ARRAYS = {
    "f64": np.arange(6.0).reshape(2, 3).T,
    "f32": np.asarray(-0.0, np.float32),
    "bf16": np.asarray([[1.5], [np.inf]], ml_dtypes.bfloat16),
    "f16": np.asarray([1.5, np.nan], np.float16),
    "i8": np.asarray([-128, 127], np.int8),
    "i16": np.asarray([-5], np.int16),
    "i32": np.empty((0, 3), np.int32),
    "i64": np.asarray(2**62),
    "u8": np.asarray([255], np.uint8),
    "bool": np.asarray([True, False]),
}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_arrays(path, ARRAYS, {"epoch": "3"})
    found, metadata = read_arrays(path)
    assert metadata == {"epoch": "3"}
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)


def test_any_other_library_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    plain = {name: array for name, array in ARRAYS.items() if name != "bf16"}
    write_arrays(path, plain)
    found = safetensors.numpy.load_file(path)
    for name, array in plain.items():
        np.testing.assert_array_equal(found[name], array)


def test_unsupported_dtypes(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="complex128 is not supported"):
        write_arrays(tmp_path / "a.safetensors", {"z": np.ones(2, complex)})
    assert not list(tmp_path.iterdir())
    safetensors.numpy.save_file({"n": np.ones(2, np.uint32)}, tmp_path / "b.safetensors")
    with pytest.raises(CheckpointError, match=r"b.safetensors: 'n' has dtype U32, which graphc does not support"):
        read_arrays(tmp_path / "b.safetensors")


def test_bools_are_zero_or_one(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(encode_arrays({"b": np.asarray([False, True])})[:-2] + b"\x00\x07")
    assert read_arrays(path)[0]["b"].view(np.uint8).tolist() == [0, 1]


GOOD = encode_arrays({"a": np.arange(4.0), "b": np.ones(3, np.float32)}, {"x": "y"})


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 50, len(GOOD) - 1])
def test_truncated(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(GOOD[:length])
    with pytest.raises(CheckpointError, match=r"a\.safetensors is not a whole safetensors file: "):
        read_arrays(path)


@pytest.mark.parametrize(
    "data",
    [
        GOOD + b"\0",
        b"\xff" * 200,
        (10**15).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        GOOD.replace(b'"F32"', b'"F99"'),
        GOOD.replace(b"[3]", b"[9]"),
    ],
    ids=["longer", "noise", "huge header", "no object", "dtype", "shape"],
)
def test_damaged(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"a\.safetensors is not a whole safetensors file"):
        read_arrays(path)


@pytest.mark.parametrize("rank", [33, 101])
def test_too_many_axes(tmp_path: Path, rank: int) -> None:
    path = tmp_path / "a.safetensors"
    text = json.dumps({"w": {"dtype": "F32", "shape": [0] * rank, "data_offsets": [0, 0]}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(CheckpointError, match=f"'w' has {rank} axes; graphc's limit is 32"):
        read_arrays(path)


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02}q\x00"], ids=["zip", "pickle"])
def test_pickled(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(start + b"." * 300)
    with pytest.raises(CheckpointError, match=r"model\.pt is a pickled PyTorch file, .* safetensors\.torch\.save_file"):
        read_arrays(path)


@pytest.mark.parametrize("length", [0x80, int.from_bytes(b"PK", "little")], ids=["like a pickle", "like a zip"])
def test_files_that_begin_like_a_pickled_one(tmp_path: Path, length: int) -> None:
    """The first bytes are the length of the header, which can be anything."""
    path = tmp_path / "a.safetensors"
    empty = b'{"__metadata__":{"x":""}}'
    text = empty.replace(b'""', b'"' + b"y" * (length - len(empty)) + b'"')
    path.write_bytes(length.to_bytes(8, "little") + text)
    assert read_arrays(path) == ({}, {"x": "y" * (length - len(empty))})


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.safetensors")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"old")

    def fail(*_: Any) -> None:
        raise OSError("disk on fire")

    for function in ("replace", "fsync", "chmod"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, fail)
            with pytest.raises(OSError, match="disk on fire"):
                write_atomically(path, b"new")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode
