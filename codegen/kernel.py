"""What an emitter hands on: one kernel's source in the kernel language."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from graphc.ir.types import DType

_COMMENT = re.compile(r"[ \t]*#.*")


@dataclass(frozen=True)
class Kernel:
    """`source` defines `def kernel(p0, ..., pn, scratch, fault, lo, hi)`: typed pointers to distinct buffers, a
    64-byte-aligned byte pointer to `scratch_bytes` of working memory, a pointer to one i32 that a failed range check
    sets to 1, and the range of work units to run, out of `units`. Units are independent of one another."""

    source: str
    params: tuple[DType, ...]
    units: int
    scratch_bytes: int = 0

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the code: kernels that are equal but for comments share it."""
        code = "\n".join(filter(None, _COMMENT.sub("", self.source).split("\n")))
        key = f"{code}\n{self.params}\n{self.units}\n{self.scratch_bytes}"
        return hashlib.sha256(key.encode()).hexdigest()

    @property
    def symbol(self) -> str:
        """A name derived from the code."""
        return "kernel_" + self.digest[:16]
