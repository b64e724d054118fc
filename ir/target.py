"""What passes and emitters need to know of the machine that a program is made for.

Plain data: finding out about the host is the code generator's business.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """`triple`, `cpu` and `features` are LLVM's. `vector_bytes` is the width of one vector register, `vector_registers`
    their number; cache sizes are bytes of the levels next to one core; `cores` counts physical ones."""

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    cores: int

    def lanes(self, itemsize: int) -> int:
        """How many elements of `itemsize` bytes one vector register holds."""
        return max(1, self.vector_bytes // itemsize)


_LINUX = "x86_64-unknown-linux-gnu"

# The x86-64 psABI's levels, in LLVM's names.
_V2 = "+cx16,+sahf,+popcnt,+sse3,+ssse3,+sse4.1,+sse4.2"
_V3 = f"{_V2},+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+xsave"
_V4 = f"{_V3},+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"

# Baselines that any machine of the level runs; cache sizes and cores are on the small side of what is common.
GENERIC_X86_64_V2 = Target("x86-64-v2", _LINUX, "x86-64-v2", _V2, 16, 16, 32 << 10, 256 << 10, 4 << 20, 4)
GENERIC_X86_64_V3 = Target("x86-64-v3", _LINUX, "x86-64-v3", _V3, 32, 16, 32 << 10, 512 << 10, 8 << 20, 4)
GENERIC_X86_64_V4 = Target("x86-64-v4", _LINUX, "x86-64-v4", _V4, 64, 32, 32 << 10, 1 << 20, 8 << 20, 4)
GENERIC_AARCH64 = Target(
    "aarch64", "aarch64-unknown-linux-gnu", "generic", "+neon", 16, 32, 32 << 10, 256 << 10, 4 << 20, 4
)

BASELINES: dict[str, Target] = {
    t.name: t for t in (GENERIC_X86_64_V2, GENERIC_X86_64_V3, GENERIC_X86_64_V4, GENERIC_AARCH64)
}
