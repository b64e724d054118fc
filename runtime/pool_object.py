"""The thread pool's machine code for this process, kept in the cache: to make it takes LLVM 14 ms of every start."""

from __future__ import annotations

import llvmlite
import llvmlite.binding as llvm

from graphc.runtime.cache import default_store
from graphc.runtime.cache_entry import key_of, short_hash
from graphc.runtime.loader import new_machine
from graphc.runtime.pool_ir import pool_ir

KIND = "pools"


def pool_object(name: str) -> bytes:
    """Object code that defines the visible symbol `name`, for this machine's kind of processor."""
    text = pool_ir(llvm.get_default_triple(), name)
    parts = {"code": short_hash(text), "versions": {"llvmlite": llvmlite.__version__}}
    store = default_store()
    found = None if store is None else store.get(KIND, key_of(parts))
    if found is None:
        found = new_machine().emit_object(llvm.parse_assembly(text))
        if store is not None:
            store.put(KIND, key_of(parts), found, name, parts)
    return bytes(found)
