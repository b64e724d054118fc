"""Compiled kernels on disk, for other programs and processes: LLVM bitcode and object code."""

from __future__ import annotations

from typing import Any

from graphc.codegen.kernel import Kernel
from graphc.ir.target import Target
from graphc.runtime.cache import default_store
from graphc.runtime.cache_entry import key_of, short_hash
from graphc.runtime.cache_versions import KERNEL_CODE, code_is_unchanged, versions
from graphc.runtime.messages import log, wanted

KIND = "kernels"
_LENGTH = 8  # bytes of the length that precedes the bitcode


def cached_kernel(kernel: Kernel, target: Target) -> tuple[bytes, bytes] | None:
    """The bitcode and the object code of a kernel; None where they are not cached."""
    store = default_store()
    if store is None:
        return None
    parts = _parts(kernel, target)
    payload = store.get(KIND, key_of(parts))
    if wanted("cache"):
        found = "hit" if payload else f"miss, {store.why_missed(KIND, kernel.symbol, parts)}"
        log("cache", f"{kernel.symbol}: {found}")
    if payload is None:
        return None
    end = _LENGTH + int.from_bytes(payload[:_LENGTH], "little")
    return payload[_LENGTH:end], payload[end:]


def cache_kernel(kernel: Kernel, target: Target, bitcode: bytes, object_code: bytes) -> None:
    """Keep a compiled kernel."""
    store = default_store()
    if store is not None and code_is_unchanged(KERNEL_CODE):
        parts = _parts(kernel, target)
        payload = b"".join([len(bitcode).to_bytes(_LENGTH, "little"), bitcode, object_code])
        store.put(KIND, key_of(parts), payload, kernel.symbol, parts)


def _parts(kernel: Kernel, target: Target) -> dict[str, Any]:
    machine = {  # what of the target matters once the kernel has been written
        "triple": target.triple,
        "cpu": target.cpu,
        "features": short_hash(target.features),
        "vector_bytes": str(target.vector_bytes),
    }
    return {"kernel": kernel.digest, "target": machine, "versions": versions(KERNEL_CODE)}
