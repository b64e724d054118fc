"""What a kernel's text says: where it comes from, and that comments do not make kernels differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graphc.codegen.frontend import python_kernel
from graphc.codegen.host import host_target
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels import emit_kernel
from graphc.codegen.source import Source
from graphc.ir.builder import Builder
from graphc.ir.graph import Block, Op, Value
from graphc.ir.location import Location
from graphc.ir.types import TensorType, f32

TYPE = TensorType(f32, (4, 6))


def kernel_from(line: int, name: str) -> Kernel:
    x = Value(TYPE, name="images")
    block = Block([x])
    b = Builder(block, Location("/somewhere/private/train.py", line))
    y = b.exp(x)
    y.name = name
    block.results = [b.neg(y)]
    op = Op("fused", [Value(TYPE)], [TYPE], {"kind": "loop"}, [block])
    return emit_kernel(op, (0, 1), host_target())


def test_source_names_ops_values_and_the_users_lines() -> None:
    source = kernel_from(14, "hidden").source
    assert "# loop kernel" in source
    assert "p0 reads %images: f32[4,6]" in source
    assert "p1 writes f32[4,6]" in source
    assert "exp : f32[4,6]  (%hidden train.py:14)" in source
    assert "exp_0 = exp(x0_0)  # %hidden train.py:14" in source
    assert "/somewhere" not in source


def test_kernels_equal_but_for_comments_share_a_symbol() -> None:
    first, second = kernel_from(14, "hidden"), kernel_from(99, "x" * 90)
    assert first.source != second.source
    assert first.symbol == second.symbol
    assert replace(first, units=first.units + 1).symbol != first.symbol
    assert replace(first, source=first.source.replace("24", "23")).symbol != first.symbol


@pytest.mark.parametrize("text", ["x\nraise SystemExit\n#", "x\0", "x\r\u2028y", "\ud800", 'quo"te', "a b"])
def test_names_from_text_stay_in_their_comments(text: str) -> None:
    b = Builder(block := Block([Value(TYPE, name=text)]), Location(f"{text}.py", 3))
    y = b.neg(block.args[0])
    y.name = text
    block.results = [y]
    kernel = emit_kernel(Op("fused", [Value(TYPE)], [TYPE], {"kind": "loop"}, [block]), (0, 1), host_target())
    x, out = np.arange(24, dtype=np.float32), np.zeros(24, np.float32)
    python_kernel(kernel.source, kernel.symbol)(x, out, None, None, 0, kernel.units)
    np.testing.assert_array_equal(out, -x)


def test_traceback_of_an_uncompiled_kernel_shows_its_line() -> None:
    kernel = kernel_from(14, "hidden")
    function = python_kernel(kernel.source, kernel.symbol)
    with pytest.raises(IndexError) as error:
        function(np.zeros(3, np.float32), np.zeros(24, np.float32), None, None, 0, 1)
    assert str(error.traceback[-1].statement).strip() == "x0_0 = p0[i]"


def test_line_added_to_an_outer_block_comes_before_the_inner_one() -> None:
    source = Source("def kernel(lo, hi):")
    with source.block("for i in range(2):") as outer, source.block("for j in range(3):"):
        source.line("inner = 1")
        source.line("hoisted = 2", depth=outer)
    assert source.text().splitlines()[1:] == [
        "    for i in range(2):",
        "        hoisted = 2",
        "        for j in range(3):",
        "            inner = 1",
    ]


def test_what_is_remembered_in_a_block_is_forgotten_when_it_closes() -> None:
    source = Source("def kernel(lo, hi):")
    with source.block("for i in range(2):") as depth:
        source.remember("key", 1, depth)
        source.remember("outer", 2, 0)
        assert source.recall("key") == 1
    assert source.recall("key") is None
    assert source.recall("outer") == 2


def test_empty_block_is_dropped() -> None:
    source = Source("def kernel(lo, hi):")
    with source.block("for i in range(2):"):
        pass
    assert source.text() == "def kernel(lo, hi):\n    pass\n"


def test_open_block_has_no_text_yet() -> None:
    source = Source("def kernel(lo, hi):")
    source.begin("for i in range(2):")
    with pytest.raises(ValueError, match="still open"):
        source.text()
