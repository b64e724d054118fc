"""Debug builds notice a kernel that writes outside its buffers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from graphc.codegen.compile import Emitted, emit
from graphc.codegen.driver import plan_layout
from graphc.codegen.host import find_target
from graphc.codegen.kernel import Kernel
from graphc.codegen.red_zones import ZONE, zones_behind
from graphc.ir import Graph
from graphc.ir.location import Location
from graphc.passes.pipeline import lower
from graphc.runtime.executor import Executor
from graphc.runtime.program import RedZoneError
from tests.fusion.training_graphs import mlp, transformer_block
from tests.runtime.programs import emitted

# Two products with a sum between them: the middle kernel's operands and result lie in the arena.
TEXT = """
graph @chain [traced] (%x: f32[5,5]) -> f32[5,5] {
  %p = contract %x, %x {spec = "mk,kn->mn"} : f32[5,5]
  %q = contract %p, %x {spec = "mk,kn->mn"} : f32[5,5]
  %r = contract %q, %p {spec = "mk,kn->mn"} : f32[5,5]  ; user.py:5
  %s = contract %r, %q {spec = "mk,kn->mn"} : f32[5,5]
  return %s
}
"""
X = np.eye(5, dtype=np.float32)


def broken(code: Emitted, number: int, line: str) -> Emitted:
    """`code` with one more line at the end of one kernel."""
    kernels = list(code.kernels)
    kernels[number] = dataclasses.replace(kernels[number], source=f"{kernels[number].source.rstrip()}\n    {line}\n")
    return dataclasses.replace(code, kernels=tuple(kernels))


def test_the_sound_program_passes() -> None:
    code = emitted(TEXT, debug=True)
    assert len(code.kernels) == 4
    np.testing.assert_array_equal(Executor(code.compile(), []).run([X])[0], X)


@pytest.mark.parametrize("index", ["25", "40", "-1", "-16"])
@pytest.mark.parametrize("parameter", ["p0", "p1", "p2"])
def test_a_write_beside_a_buffer(parameter: str, index: str) -> None:
    code = broken(emitted(TEXT, debug=True), 2, f"{parameter}[{index}] = p0[0]")
    with pytest.raises(RedZoneError, match=r"^user.py:5: the kernel of contract wrote outside") as caught:
        Executor(code.compile(), []).run([X])
    assert caught.value.location == Location("user.py", 5)


@pytest.mark.parametrize("index", ["{}", "{} + 63", "-1"])
def test_a_write_beside_the_scratch_memory(index: str) -> None:
    code = emitted(TEXT, debug=True)
    size = max(kernel.scratch_bytes for kernel in code.kernels)
    with pytest.raises(RedZoneError):
        Executor(broken(code, 1, f"scratch[{index.format(size)}] = scratch[0]").compile(), []).run([X])


def test_a_release_build_does_not_look() -> None:
    code = broken(emitted(TEXT), 2, "p0[-1] = p0[-1]")
    assert not code.compile().faults
    Executor(code.compile(), []).run([X])


def test_a_fault_of_the_kernel_is_told_first() -> None:
    text = """
    graph @take [traced] (%x: f32[4], %i: i64[2]) -> f32[2] {
      %y = take %x, %i {axis = 0} : f32[2]
      return %y
    }
    """
    program = Executor(emitted(text, debug=True).compile(), [])
    with pytest.raises(IndexError):
        program.run([np.ones(4, np.float32), np.asarray([0, 4])])


@pytest.mark.parametrize("graph", [mlp("adam", (20, 16, 3), 8), transformer_block()], ids=["mlp", "transformer"])
def test_zones_surround_every_buffer(graph: Graph) -> None:
    host = find_target("host")
    emitted = emit(lower(graph, host, red_zone=ZONE).schedule, host, debug=True)
    schedule, kernels = emitted.schedule, emitted.kernels
    layout = plan_layout(schedule, kernels, debug=True)
    total = layout.arena_bytes + layout.scratch_bytes
    zone = np.zeros(total, bool)
    for offset, length in layout.red_zones:
        assert not zone[offset : offset + length].any()
        zone[offset : offset + length] = True
    scratch = max(kernel.scratch_bytes for kernel in kernels)
    spans = {(layout.buffers + b.offset, b.type.nbytes) for b in schedule.buffers.values() if b.space == "arena"}
    assert spans
    for offset, size in {*spans, (layout.scratch, scratch)}:
        assert not zone[offset : offset + size].any()
        assert zone[offset - ZONE : offset].all()
        assert zone[offset + size : offset + size + ZONE].all()
    assert total == sum(layout.red_zones[-1])


def test_a_schedule_without_room() -> None:
    host = find_target("host")
    graph = mlp("adam", (20, 16, 3), 8)
    with pytest.raises(ValueError, match="no room for a red zone"):
        emit(lower(graph, host).schedule, host, debug=True).compile()


def test_zones_behind() -> None:
    assert zones_behind([(64, 100), (320, 0), (64, 100)]) == ((164, 28 + 64), (320, 64))
    with pytest.raises(ValueError, match="between the buffers at"):
        zones_behind([(0, 65), (128, 4)])


def test_kernels_differ_by_their_code() -> None:
    code = emitted(TEXT, debug=True)
    kernel: Kernel = code.kernels[2]
    assert broken(code, 2, "p0[25] = p0[0]").kernels[2].symbol != kernel.symbol
    assert broken(code, 2, "# a comment").kernels[2].symbol == kernel.symbol
