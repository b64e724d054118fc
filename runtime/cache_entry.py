"""What a file of the cache holds: a readable header, a payload, and a checksum over both.

    graphc cache 1\\n                             the format
    length of the header, length of the payload    u64 each, little-endian
    header                                         JSON: kind, key, name, created, parts
    payload
    SHA-256 of everything before                   32 bytes

A flipped byte in machine code would load without a word, so every byte is checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

_MAGIC = b"graphc cache 1\n"
_LENGTHS = struct.Struct("<QQ")
_START = len(_MAGIC) + _LENGTHS.size
_DIGEST = 32
_LONGEST_HEADER = 1 << 20


class DamagedEntryError(ValueError):
    """An entry that is not whole, or not the one that its place says."""


@dataclass(frozen=True)
class Header:
    """What can be read of an entry without its payload.

    kind, key: its place. name: what it belongs to, such as the compiled function. created: seconds since 1970.
    parts: what the key was made of; texts (hashes of what is long), and records of texts.
    """

    kind: str
    key: str
    name: str
    created: float
    parts: dict[str, Any]


def key_of(parts: Mapping[str, Any]) -> str:
    """The key of what is determined by `parts`: their SHA-256, in hexadecimal."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def short_hash(text: str) -> str:
    """For a part that is too long to read."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def encode_entry(kind: str, key: str, name: str, parts: Mapping[str, Any], payload: bytes) -> bytes:
    """The bytes of a file."""
    header = json.dumps(asdict(Header(kind, key, name, time.time(), dict(parts)))).encode()
    data = b"".join([_MAGIC, _LENGTHS.pack(len(header), len(payload)), header, payload])
    return data + hashlib.sha256(data).digest()


def decode_entry(data: bytes, kind: str, key: str) -> bytes:
    """The payload of the entry that belongs at a place. Raises DamagedEntryError."""
    if not data.startswith(_MAGIC):
        raise DamagedEntryError("it is no entry of this cache" if data else "it is empty")
    end = len(data) - _DIGEST
    if end < _START or sum(_LENGTHS.unpack_from(data, len(_MAGIC))) != end - _START:
        raise DamagedEntryError("it is not whole")
    view = memoryview(data)
    if hashlib.sha256(view[:end]).digest() != data[end:]:
        raise DamagedEntryError("it does not match its checksum")
    length, _ = _LENGTHS.unpack_from(data, len(_MAGIC))
    header = _header(data[_START : _START + length])
    if (header.kind, header.key) != (kind, key):
        raise DamagedEntryError(f"it belongs to {header.kind}/{header.key}")
    return bytes(view[_START + length : end])


def read_header(file: BinaryIO) -> Header:
    """The header at the beginning of a file, unchecked but for its form. Raises DamagedEntryError."""
    start = file.read(_START)
    if len(start) < _START or not start.startswith(_MAGIC):
        raise DamagedEntryError("it is no entry of this cache")
    length, _ = _LENGTHS.unpack_from(start, len(_MAGIC))
    return _header(file.read(min(length, _LONGEST_HEADER)))


def _header(text: bytes) -> Header:
    try:
        found = Header(**json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedEntryError(f"its header cannot be read: {error}") from None
    texts = isinstance(found.kind, str) and isinstance(found.key, str) and isinstance(found.name, str)
    if not (texts and isinstance(found.created, float) and isinstance(found.parts, dict)):
        raise DamagedEntryError("its header holds something else")
    return found
