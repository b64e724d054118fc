"""Rules of `algebra.broadcasts`, `algebra.layouts` and `algebra.splats`."""

from __future__ import annotations

import numpy as np

from graphc.ir import f32, i64
from tests.passes.rules import X34, B, Case, F, X, splat

CASES = [
    Case("broadcast_to_its_shape", X34, lambda b, x: b.broadcast(x, shape=(3, 4), dims=(0, 1)), lambda b, x: x),
    Case(
        "broadcast_to_its_shape",
        X34,
        lambda b, x: b.broadcast(x, shape=(3, 1, 4), dims=(0, 2)),
        lambda b, x: b.reshape(x, shape=(3, 1, 4)),
    ),
    Case("broadcast_to_its_shape", [F(0, 3)], lambda b, x: b.broadcast(x, shape=(0, 3), dims=(0, 1)), lambda b, x: x),
    Case(
        "broadcast_ones",
        [F(3, 1)],
        lambda b, x: b.broadcast(x, shape=(3, 4), dims=(0, 1)),
        lambda b, x: b.broadcast(b.reshape(x, shape=(3,)), shape=(3, 4), dims=(0,)),
    ),
    Case(
        "broadcast_twice",
        [F(4)],
        lambda b, x: b.broadcast(b.broadcast(x, shape=(3, 4), dims=(1,)), shape=(2, 3, 5, 4), dims=(1, 3)),
        lambda b, x: b.broadcast(x, shape=(2, 3, 5, 4), dims=(3,)),
    ),
    Case(
        "reshape_broadcast",
        [F(6)],
        lambda b, x: b.reshape(b.broadcast(x, shape=(4, 6), dims=(1,)), shape=(2, 2, 1, 3, 2)),
        lambda b, x: b.broadcast(b.reshape(x, shape=(3, 2)), shape=(2, 2, 1, 3, 2), dims=(3, 4)),
    ),
    Case(
        "transpose_broadcast",
        X34,
        lambda b, x: b.transpose(b.broadcast(x, shape=(3, 2, 4), dims=(0, 2)), perm=(1, 2, 0)),
        lambda b, x: b.broadcast(b.transpose(x, perm=(1, 0)), shape=(2, 4, 3), dims=(1, 2)),
    ),
    Case(
        "slice_broadcast",
        [F(4)],
        lambda b, x: b.slice(b.broadcast(x, shape=(5, 4), dims=(1,)), start=(1, 1), stop=(4, 4), step=(1, 2)),
        lambda b, x: b.broadcast(b.slice(x, start=(1,), stop=(4,), step=(2,)), shape=(3, 2), dims=(1,)),
    ),
    Case(
        "flip_broadcast",
        [F(4)],
        lambda b, x: b.flip(b.broadcast(x, shape=(5, 4), dims=(1,)), axes=(0, 1)),
        lambda b, x: b.broadcast(b.flip(x, axes=(0,)), shape=(5, 4), dims=(1,)),
    ),
    Case(
        "pointwise_of_broadcasts",
        [F(4)],
        lambda b, x: b.exp(b.broadcast(x, shape=(3, 4), dims=(1,))),
        lambda b, x: b.broadcast(b.exp(x), shape=(3, 4), dims=(1,)),
    ),
    Case(
        "pointwise_of_broadcasts",
        [F(12), F(12)],
        lambda b, x, y: b.add(b.broadcast(x, shape=(3, 12), dims=(1,)), b.broadcast(y, shape=(3, 12), dims=(1,))),
        lambda b, x, y: b.broadcast(b.add(x, y), shape=(3, 12), dims=(1,)),
    ),
    Case(
        "pointwise_of_broadcasts",
        [F(2), F(3)],
        lambda b, x, y: b.mul(b.broadcast(x, shape=(2, 3, 4), dims=(0,)), b.broadcast(y, shape=(2, 3, 4), dims=(1,))),
        lambda b, x, y: b.broadcast(
            b.mul(b.broadcast(x, shape=(2, 3), dims=(0,)), b.broadcast(y, shape=(2, 3), dims=(1,))),
            shape=(2, 3, 4),
            dims=(0, 1),
        ),
    ),
    Case(
        "pointwise_of_broadcasts",
        [F()],
        lambda b, x: b.sub(b.broadcast(x, shape=(3,), dims=()), splat(b, (3,), 2.0)),
        lambda b, x: b.broadcast(b.sub(x, splat(b, (), 2.0)), shape=(3,), dims=()),
    ),
    Case(
        "op_of_splats",
        [],
        lambda b: b.transpose(splat(b, (3, 4), -0.0), perm=(1, 0)),
        lambda b: splat(b, (4, 3), -0.0),
    ),
    Case(
        "op_of_splats",
        [],
        lambda b: b.broadcast(splat(b, (3, 1), np.nan), shape=(3, 4), dims=(0, 1)),
        lambda b: splat(b, (3, 4), np.nan),
    ),
    Case(
        "op_of_splats",
        [],
        lambda b: b.pad(splat(b, (3,), 2.0), low=(1,), high=(1,), interior=(0,), value=2.0),
        lambda b: splat(b, (5,), 2.0),
    ),
    Case(
        "op_of_splats",
        [],
        lambda b: b.concat(splat(b, (3,), 2.0), splat(b, (1,), 2.0), axis=0),
        lambda b: splat(b, (4,), 2.0),
    ),
    Case(
        "op_of_splats",
        [],
        lambda b: b.add(splat(b, (3,), 0.1), splat(b, (3,), 0.2)),
        lambda b: splat(b, (3,), float(np.float32(0.1) + np.float32(0.2))),
    ),
    Case(
        "constant_of_one_number",
        [],
        lambda b: b.constant(np.full((2, 3), -0.0, np.float32), F(2, 3)),
        lambda b: splat(b, (2, 3), -0.0),
    ),
    Case(
        "pointwise_of_choice",
        [B(6)],
        lambda b, p: b.exp(b.sub(splat(b, (6,), 3.0), b.where(p, splat(b, (6,), 3.0), splat(b, (6,), np.inf)))),
        lambda b, p: b.where(p, splat(b, (6,), 1.0), splat(b, (6,), 0.0)),
    ),
    Case(
        "broadcast_iota",
        [],
        lambda b: b.broadcast(b.iota(dtype=i64, shape=(3,), axis=0), shape=(2, 3), dims=(1,)),
        lambda b: b.iota(dtype=i64, shape=(2, 3), axis=1),
    ),
    Case(
        "pointwise_of_reshapes",
        [F(3, 4), F(4), F(3, 4)],
        lambda b, x, y, z: b.clamp(
            b.reshape(x, shape=(3, 2, 2)),
            b.broadcast(b.reshape(y, shape=(2, 2)), shape=(3, 2, 2), dims=(1, 2)),
            b.reshape(z, shape=(3, 2, 2)),
        ),
        lambda b, x, y, z: b.reshape(b.clamp(x, b.broadcast(y, shape=(3, 4), dims=(1,)), z), shape=(3, 2, 2)),
    ),
    Case(  # what is computed is not reshaped before an op on arguments
        "pointwise_of_reshapes",
        [F(3, 4), F(12)],
        lambda b, x, y: b.add(b.reshape(b.exp(x), shape=(12,)), y),
        lambda b, x, y: b.reshape(b.add(b.exp(x), b.reshape(y, shape=(3, 4))), shape=(12,)),
    ),
    Case(  # a mask of labels
        "pointwise_of_reshapes",
        [F(2, 3, 4), F(6, dtype=i64)],
        lambda b, x, y: b.maximum(
            b.reshape(b.neg(x), shape=(6, 4)),
            b.cast(
                b.eq(b.broadcast(y, shape=(6, 4), dims=(0,)), b.iota(dtype=i64, shape=(6, 4), axis=1)),
                dtype=f32,
            ),
        ),
        lambda b, x, y: b.reshape(
            b.maximum(
                b.neg(x),
                b.cast(
                    b.eq(
                        b.broadcast(b.reshape(y, shape=(2, 3)), shape=(2, 3, 4), dims=(0, 1)),
                        b.iota(dtype=i64, shape=(2, 3, 4), axis=2),
                    ),
                    dtype=f32,
                ),
            ),
            shape=(6, 4),
        ),
    ),
    Case("iota_of_one", [], lambda b: b.iota(dtype=i64, shape=(3, 1), axis=1), lambda b: splat(b, (3, 1), 0, i64)),
    Case("reshape_to_its_shape", X34, lambda b, x: b.reshape(x, shape=(3, 4)), lambda b, x: x),
    Case(
        "reshape_twice",
        X34,
        lambda b, x: b.reshape(b.reshape(x, shape=(12,)), shape=(2, 6)),
        lambda b, x: b.reshape(x, shape=(2, 6)),
    ),
    Case("reshape_twice", X34, lambda b, x: b.reshape(b.reshape(x, shape=(12,)), shape=(3, 4)), lambda b, x: x),
    Case("transpose_ones", X34, lambda b, x: b.transpose(x, perm=(0, 1)), lambda b, x: x),
    Case(
        "transpose_ones",
        [F(3, 1, 4)],
        lambda b, x: b.transpose(x, perm=(1, 0, 2)),
        lambda b, x: b.reshape(x, shape=(1, 3, 4)),
    ),
    Case(
        "transpose_twice",
        [F(2, 3, 4)],
        lambda b, x: b.transpose(b.transpose(x, perm=(1, 2, 0)), perm=(2, 1, 0)),
        lambda b, x: b.transpose(x, perm=(0, 2, 1)),
    ),
    Case("transpose_twice", X34, lambda b, x: b.transpose(b.transpose(x, perm=(1, 0)), perm=(1, 0)), lambda b, x: x),
    Case("slice_everything", X34, lambda b, x: b.slice(x, start=(0, 0), stop=(3, 4), step=(1, 1)), lambda b, x: x),
    Case(
        "slice_twice",
        [F(20)],
        lambda b, x: b.slice(b.slice(x, start=(1,), stop=(19,), step=(2,)), start=(2,), stop=(8,), step=(3,)),
        lambda b, x: b.slice(x, start=(5,), stop=(12,), step=(6,)),
    ),
    Case(
        "slice_twice",
        [F(20)],
        lambda b, x: b.slice(b.slice(x, start=(10,), stop=(20,), step=(2,)), start=(5,), stop=(5,), step=(1,)),
        lambda b, x: b.slice(x, start=(0,), stop=(0,), step=(2,)),
    ),
    Case(
        "slice_concat",
        [F(3), F(5)],
        lambda b, x, y: b.slice(b.concat(x, y, axis=0), start=(4,), stop=(8,), step=(2,)),
        lambda b, x, y: b.slice(y, start=(1,), stop=(4,), step=(2,)),
    ),
    Case(
        "slice_pad",
        [F(6)],
        lambda b, x: b.slice(b.pad(x, low=(2,), high=(1,), interior=(0,), value=1.0), start=(2,), stop=(8,), step=(1,)),
        lambda b, x: x,
    ),
    Case(
        "pad_nothing", X34, lambda b, x: b.pad(x, low=(0, 0), high=(0, 0), interior=(0, 0), value=1.0), lambda b, x: x
    ),
    Case(
        "pad_twice",
        [F(3)],
        lambda b, x: b.pad(
            b.pad(x, low=(1,), high=(0,), interior=(1,), value=0.0), low=(1,), high=(2,), interior=(0,), value=0.0
        ),
        lambda b, x: b.pad(x, low=(2,), high=(2,), interior=(1,), value=0.0),
    ),
    Case("concat_one", X, lambda b, x: b.concat(x, axis=0), lambda b, x: x),
    Case(
        "concat_flat",
        [F(2), F(3)],
        lambda b, x, y: b.concat(b.concat(x, y, axis=0), x, axis=0),
        lambda b, x, y: b.concat(x, y, x, axis=0),
    ),
    Case(
        "concat_flat",
        [F(2), F(0), F(3)],
        lambda b, x, y, z: b.concat(x, y, z, axis=0),
        lambda b, x, y, z: b.concat(x, z, axis=0),
    ),
    Case(
        "concat_slices",
        [F(4, 6)],
        lambda b, x: b.concat(
            b.slice(x, start=(0, 1), stop=(4, 3), step=(1, 1)),
            b.slice(x, start=(0, 3), stop=(4, 5), step=(1, 1)),
            axis=1,
        ),
        lambda b, x: b.slice(x, start=(0, 1), stop=(4, 5), step=(1, 1)),
    ),
    Case(
        "concat_slices",
        [F(6)],
        lambda b, x: b.concat(
            b.slice(x, start=(0,), stop=(2,), step=(1,)), b.slice(x, start=(2,), stop=(6,), step=(1,)), axis=0
        ),
        lambda b, x: x,
    ),
    Case("flip_ones", [F(3, 1)], lambda b, x: b.flip(x, axes=(1,)), lambda b, x: x),
    Case("flip_ones", [F(3, 1)], lambda b, x: b.flip(x, axes=(0, 1)), lambda b, x: b.flip(x, axes=(0,))),
    Case("flip_twice", X34, lambda b, x: b.flip(b.flip(x, axes=(0,)), axes=(0, 1)), lambda b, x: b.flip(x, axes=(1,))),
]

# Graphs in which no rule may fire: the rewrite that suggests itself would change a result.
UNTOUCHED = {
    "an array of two zeros": ([], lambda b: b.constant(np.array([0.0, -0.0, 0.0], np.float32), F(3))),
    "an array without elements": ([], lambda b: b.constant(np.zeros((0, 2), np.float32), F(0, 2))),
    "a slice of the padding": (
        [F(3)],
        lambda b, x: b.slice(b.pad(x, low=(1,), high=(0,), interior=(0,), value=0.0), start=(0,), stop=(2,), step=(1,)),
    ),
    "pads of two values": (
        [F(3)],
        lambda b, x: b.pad(
            b.pad(x, low=(1,), high=(0,), interior=(0,), value=0.0), low=(1,), high=(0,), interior=(0,), value=-0.0
        ),
    ),
    "slices that do not adjoin": (
        [F(6)],
        lambda b, x: b.concat(
            b.slice(x, start=(0,), stop=(2,), step=(1,)), b.slice(x, start=(3,), stop=(5,), step=(1,)), axis=0
        ),
    ),
    "a slice over two pieces": (
        [F(3), F(3)],
        lambda b, x, y: b.slice(b.concat(x, y, axis=0), start=(2,), stop=(5,), step=(1,)),
    ),
}
