"""What autotuning chose, on disk: how to cut a contraction on this machine, or that the estimated way is as good."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels.contraction_tiles import Tiling
from graphc.ir.target import Target
from graphc.runtime.cache import default_store
from graphc.runtime.cache_entry import key_of, short_hash
from graphc.runtime.cache_versions import KERNEL_CODE, code_is_unchanged, versions
from graphc.runtime.messages import log

KIND = "cuts"
_FIELDS = {field.name for field in fields(Tiling)}


def cached_cut(kernel: Kernel, target: Target) -> tuple[bool, Tiling | None]:
    """Whether `kernel`, as it is cut by estimates, has been measured before, and what was faster."""
    store = default_store()
    if store is None:
        return False, None
    key = key_of(_parts(kernel, target))
    payload = store.get(KIND, key)
    if payload is None:
        return False, None
    try:
        found = json.loads(payload)
        if found is not None and not (found.keys() == _FIELDS and all(type(n) is int for n in found.values())):
            raise ValueError("not a way to cut a contraction")
        return True, None if found is None else Tiling(**found)
    except (ValueError, AttributeError) as error:
        store.discard(KIND, key, str(error))
        return False, None


def cache_cut(kernel: Kernel, target: Target, best: Tiling | None) -> None:
    """Keep what was found."""
    log("cache", f"{kernel.symbol}: autotuned, {'the estimated cut stays' if best is None else best}")
    store = default_store()
    if store is not None and code_is_unchanged(KERNEL_CODE):
        parts = _parts(kernel, target)
        payload = json.dumps(None if best is None else asdict(best)).encode()
        store.put(KIND, key_of(parts), payload, kernel.symbol, parts)


def _parts(kernel: Kernel, target: Target) -> dict[str, Any]:
    machine = {name: str(value) for name, value in asdict(target).items()}
    machine["features"] = short_hash(target.features)
    return {"kernel": kernel.digest, "target": machine, "versions": versions(KERNEL_CODE)}
