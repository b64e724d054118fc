"""Philox 4x32-10: the published vectors, and the same words from the kernels and from the interpreter."""

from __future__ import annotations

import re

import numpy as np
import pytest
from llvmlite import ir

from graphc.codegen.philox import philox_words
from graphc.ir.ops.philox import philox
from graphc.ir.target import GENERIC_X86_64_V4
from graphc.ir.types import i64
from tests.codegen_primitives.language_loops import pointwise
from tests.codegen_primitives.vector_function import run_on_vectors

# Random123's kat_vectors: counter words, key words, result words.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
@pytest.mark.parametrize("word", range(4))
def test_known_answers(counter: tuple[int, ...], key: tuple[int, int], expected: tuple[int, ...], word: int) -> None:
    def emit(b: ir.IRBuilder, dtype: object, *values: ir.Value) -> ir.Value:
        return philox_words(b, list(values[:2]), list(values[2:]))[word]

    operands = [np.full(4, v, np.int64) for v in (*key, *counter)]
    result, _ = run_on_vectors(emit, i64, operands, np.dtype(np.int64), 4, False)
    assert result.tolist() == [expected[word]] * 4


@pytest.mark.parametrize("native", [True, False], ids=["native", "python"])
@pytest.mark.parametrize("key", [0, 1, -1, 0x299F31D0A4093822, -(2**63)])
def test_kernels_draw_what_the_interpreter_draws(key: int, native: bool) -> None:
    n = 1000 if native else 20
    counter = (np.arange(n) + np.array([[0], [-n // 2], [(1 << 32) - 5], [-(1 << 62)]])).ravel()
    keys, result = np.full_like(counter, key), np.empty_like(counter)
    loop = pointwise("philox(x, y)", (i64, i64), i64)
    (loop.run if native else loop.run_python)(keys, counter, result)
    low, high = philox(key, counter)
    assert (result.view(np.uint64) == (low | high << np.uint64(32))).all()


def test_a_loop_of_draws_is_vector_code() -> None:
    text = pointwise("philox(x, y)", (i64, i64), i64).compiled(GENERIC_X86_64_V4).llvm_text
    assert re.search(r"mul .*<8 x i64>", text)
