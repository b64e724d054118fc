"""The machine that this process runs on, as a target."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm

from graphc.ir.errors import GraphcError
from graphc.ir.target import BASELINES, Target

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_SIBLINGS_ACTIVE = Path("/sys/devices/system/cpu/smt/active")
_USUAL_CACHE_BYTES = {1: 32 << 10, 2: 1 << 20, 3: 8 << 20}


def find_target(name: str = "host") -> Target:
    """The target of a name: "host", or a baseline of `graphc.ir.target`. Raises GraphcError for any other."""
    if name == "host":
        return host_target()
    if name not in BASELINES:
        raise GraphcError(f"no target {name!r}; use one of host, {', '.join(BASELINES)}")
    return BASELINES[name]


@cache
def host_target() -> Target:
    """What LLVM and the operating system say of this machine."""
    features = llvm.get_host_cpu_features()
    vector_bytes = 64 if features.get("avx512f") else 32 if features.get("avx2") else 16
    caches = _cache_bytes()
    return Target(
        name="host",
        triple=llvm.get_process_triple(),
        cpu=llvm.get_host_cpu_name(),
        features=features.flatten(),
        vector_bytes=vector_bytes,
        vector_registers=32 if vector_bytes == 64 or "aarch64" in llvm.get_process_triple() else 16,
        l1_bytes=caches[1],
        l2_bytes=caches[2],
        l3_bytes=caches[3],
        cores=_cores(),
    )


def _cores() -> int:
    """Physical cores of the whole machine, whichever of them this process may use: its programs are the same."""
    processors = os.cpu_count() or 1
    try:
        siblings = _SIBLINGS_ACTIVE.read_text().strip() == "1"
    except OSError:
        siblings = False
    return max(1, processors // 2) if siblings else processors


def _cache_bytes() -> dict[int, int]:
    """Level -> bytes of the data cache that CPU 0 sees; usual sizes where the system does not tell."""
    found = dict(_USUAL_CACHE_BYTES)
    for entry in sorted(_CACHES.glob("index*")):
        try:
            level, kind, size = ((entry / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction" and size.endswith("K") and int(level) in found:
            found[int(level)] = int(size[:-1]) << 10
    return found
