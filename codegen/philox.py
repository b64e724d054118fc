"""Philox 4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3" (SC 2011). As in graphc's random ops: a 64-bit key (words 0 and 1 of the key), a 64-bit counter (words 0 and 1
of the counter, words 2 and 3 zero), and words 0 (low) and 1 (high) of the result."""

from __future__ import annotations

from llvmlite import ir

from graphc.codegen.llvm_values import I64, Value, constant, reshape_type

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1
_LOW = 0xFFFFFFFF


def philox_words(b: ir.IRBuilder, key: list[Value], counter: list[Value]) -> list[Value]:
    """The four 32-bit result words of two key words and four counter words, each in the low half of an i64 lane (so
    that a product is one widening multiplication per lane)."""
    type_ = reshape_type(I64, key[0].type)
    low, half = constant(type_, _LOW), constant(type_, 32)
    k0, k1 = key
    c0, c1, c2, c3 = counter
    for step in range(ROUNDS):
        if step:
            k0 = b.and_(b.add(k0, constant(type_, WEYL[0])), low)
            k1 = b.and_(b.add(k1, constant(type_, WEYL[1])), low)
        product0 = b.mul(c0, constant(type_, MULTIPLIERS[0]))
        product1 = b.mul(c2, constant(type_, MULTIPLIERS[1]))
        c0, c1 = b.xor(b.xor(b.lshr(product1, half), c1), k0), b.and_(product1, low)
        c2, c3 = b.xor(b.xor(b.lshr(product0, half), c3), k1), b.and_(product0, low)
    return [c0, c1, c2, c3]


def emit_philox(b: ir.IRBuilder, key: Value, counter: Value) -> Value:
    """Words 0 (low half) and 1 (high half) of Philox for i64 key and counter, as i64."""
    type_ = key.type
    low, half, zero = constant(type_, _LOW), constant(type_, 32), constant(type_, 0)

    def words(x: Value) -> list[Value]:
        return [b.and_(x, low), b.lshr(x, half)]

    first, second, _, _ = philox_words(b, words(key), [*words(counter), zero, zero])
    return b.or_(first, b.shl(second, half))
