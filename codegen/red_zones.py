"""Red zones: bytes around buffers that no kernel may write. Debug builds fill them before a step and look at them after
every kernel, since sanitizers do not see emitted code.

A zone is (offset, length), relative to a base address that the emitted functions take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llvmlite import ir as llvm

ZONE = 64  # bytes between two buffers, besides what alignment leaves
PATTERN = 0xA5

Zone = tuple[int, int]

_VOID = llvm.VoidType()
_BYTE = llvm.IntType(8)
_I1 = llvm.IntType(1)
_I32 = llvm.IntType(32)
_I64 = llvm.IntType(64)
_PTR = llvm.PointerType()


def zones_behind(buffers: Iterable[tuple[int, int]]) -> tuple[Zone, ...]:
    """A zone behind each (offset, size): up to the next multiple of 64, and `ZONE` bytes more. Raises ValueError where
    that is another buffer's memory."""
    spans = sorted(set(buffers))
    zones = []
    for i, (offset, size) in enumerate(spans):
        end = offset + size
        stop = -(-end // ZONE) * ZONE + ZONE
        if i + 1 < len(spans) and spans[i + 1][0] < stop:
            raise ValueError(f"no room for a red zone between the buffers at {spans[i]} and {spans[i + 1]}")
        zones.append((end, stop - end))
    return tuple(zones)


class RedZones:
    """Emits into `module` the functions that fill and check some zones."""

    def __init__(self, module: llvm.Module, prefix: str, zones: Sequence[Zone]):
        self._count = len(zones)
        table_type = llvm.ArrayType(_I64, 2 * len(zones))
        self._table = llvm.GlobalVariable(module, table_type, f"{prefix}.red_zones")
        self._table.linkage = "internal"
        self._table.global_constant = True
        self._table.initializer = llvm.Constant(table_type, [n for zone in zones for n in zone])
        self._memset = module.declare_intrinsic(
            "llvm.memset", [_PTR, _I64], llvm.FunctionType(_VOID, [_PTR, _BYTE, _I64, _I1])
        )
        self._fill = self._emit_fill(module, f"{prefix}.fill_red_zones")
        self._check = self._emit_check(module, f"{prefix}.check_red_zones")

    def fill(self, b: llvm.IRBuilder, base: llvm.Value) -> None:
        """Call what writes the pattern into every zone."""
        b.call(self._fill, [base])

    def broken(self, b: llvm.IRBuilder, base: llvm.Value) -> llvm.Value:
        """Call what looks at every zone: an i1, true where a byte has changed."""
        return b.icmp_unsigned("!=", b.call(self._check, [base]), _i32(0))

    def _emit_fill(self, module: llvm.Module, name: str) -> llvm.Function:
        function, b = _internal(module, name, _VOID)
        with _Loop(b, _i64(self._count)) as zone:
            offset, length = self._row(b, zone.index)
            place = b.gep(function.args[0], [offset], source_etype=_BYTE)
            b.call(self._memset, [place, _byte(PATTERN), length, llvm.Constant(_I1, 0)])
        b.ret_void()
        return function

    def _emit_check(self, module: llvm.Module, name: str) -> llvm.Function:
        function, b = _internal(module, name, _I32)
        seen = b.alloca(_I32)
        b.store(_i32(0), seen)
        with _Loop(b, _i64(self._count)) as zone:
            offset, length = self._row(b, zone.index)
            with _Loop(b, length) as byte:
                place = b.gep(function.args[0], [b.add(offset, byte.index)], source_etype=_BYTE)
                changed = b.icmp_unsigned("!=", b.load(place, typ=_BYTE), _byte(PATTERN))
                b.store(b.or_(b.load(seen, typ=_I32), b.zext(changed, _I32)), seen)
        b.ret(b.load(seen, typ=_I32))
        return function

    def _row(self, b: llvm.IRBuilder, zone: llvm.Value) -> tuple[llvm.Value, llvm.Value]:
        """Offset and length of one zone."""
        row = b.shl(zone, _i64(1))
        places = (b.gep(self._table, [i], source_etype=_I64) for i in (row, b.add(row, _i64(1))))
        offset, length = (b.load(place, typ=_I64) for place in places)
        return offset, length


class _Loop:
    """`with _Loop(b, count) as loop:` builds the body of a loop in which `loop.index` goes from 0 to `count` - 1; the
    count is at least 1."""

    def __init__(self, b: llvm.IRBuilder, count: llvm.Value):
        self._b = b
        self._count = count
        before = b.block
        self._body = b.append_basic_block("loop")
        b.branch(self._body)
        b.position_at_end(self._body)
        self.index = b.phi(_I64)
        self.index.add_incoming(_i64(0), before)

    def __enter__(self) -> _Loop:
        return self

    def __exit__(self, *_: object) -> None:
        b = self._b
        following = b.add(self.index, _i64(1))
        self.index.add_incoming(following, b.block)
        behind = b.append_basic_block("done")
        b.cbranch(b.icmp_unsigned("<", following, self._count), self._body, behind)
        b.position_at_end(behind)


def _internal(module: llvm.Module, name: str, result: llvm.Type) -> tuple[llvm.Function, llvm.IRBuilder]:
    function = llvm.Function(module, llvm.FunctionType(result, [_PTR]), name)
    function.linkage = "internal"
    return function, llvm.IRBuilder(function.append_basic_block("entry"))


def _byte(n: int) -> llvm.Constant:
    return llvm.Constant(_BYTE, n)


def _i32(n: int) -> llvm.Constant:
    return llvm.Constant(_I32, n)


def _i64(n: int) -> llvm.Constant:
    return llvm.Constant(_I64, n)
