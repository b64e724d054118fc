"""Runs a schedule on real memory, op by op, so that a planning mistake shows as a wrong number.

There is one arena, filled with noise; states are updated where they lie; and everything a schedule leaves open is
decided at random: the order of launches between two barriers and, where a kernel updates an operand in place, the
order of elements of each piece of it, each of which is computed from what memory holds at that moment.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.ir import evaluate_block
from graphc.ir.attributes import DenseArray
from graphc.ir.kernel_facts import can_fault, loop_pieces
from graphc.ir.schedule import Barrier, Buffer, Launch, Schedule

Array = np.ndarray[Any, Any]


def run_schedule(
    schedule: Schedule, inputs: Sequence[Array], states: Sequence[Array], seed: int = 0
) -> tuple[list[Array], list[Array]]:
    """Outputs and new states, as `interpret` gives them."""
    return _Machine(schedule, inputs, states, seed).run()


class _Machine:
    def __init__(self, schedule: Schedule, inputs: Sequence[Array], states: Sequence[Array], seed: int):
        self.schedule = schedule
        self.random = random.Random(seed)
        self.memory: dict[tuple[str, int], bytearray] = {}
        self.arena = self._noise(schedule.arena_bytes)
        for space, arrays in (("input", inputs), ("state", states)):
            for i, array in enumerate(arrays):
                self.memory[space, i] = bytearray(np.ascontiguousarray(array).tobytes())
        for i, op in enumerate(schedule.constants):
            payload = op.attributes["value"]
            assert isinstance(payload, DenseArray)
            self.memory["constant", i] = bytearray(payload.array.tobytes())
        for i, value in enumerate(schedule.graph.results):
            self.memory["output", i] = self._noise(value.type.nbytes)

    def run(self) -> tuple[list[Array], list[Array]]:
        group: list[Launch] = []
        for node in (*self.schedule.body, Barrier()):
            if isinstance(node, Launch):
                group.append(node)
                continue
            self.random.shuffle(group)
            for launch in group:
                self._launch(launch)
            group = []
        graph = self.schedule.graph
        outputs = [self._array("output", i, v.type) for i, v in enumerate(graph.results)]
        return outputs, [self._array("state", i, v.type) for i, v in enumerate(graph.states)]

    def _launch(self, launch: Launch) -> None:
        places = {b.place for b in launch.reads}
        # A kernel that can fault is computed at once: elements that were overwritten already might fault.
        if can_fault(launch.op) or not any(b.place in places for b in launch.writes):
            for buffer, result in zip(launch.writes, self._compute(launch), strict=True):
                self._view(buffer)[...] = result
            return
        region = launch.op.regions[0]
        is_loop = launch.op.attributes["kind"] == "loop"
        pieces = loop_pieces(region) if is_loop else [tuple(range(len(region.results)))]
        elements = [(piece, i) for piece in pieces for i in range(region.results[piece[0]].type.size)]
        self.random.shuffle(elements)
        for piece, i in elements:
            results = self._compute(launch)
            for number in piece:
                self._view(launch.writes[number]).reshape(-1)[i] = results[number].reshape(-1)[i]

    def _compute(self, launch: Launch) -> list[Array]:
        results = evaluate_block(launch.op.regions[0], [self._view(b) for b in launch.reads])
        return [np.array(r, copy=True) for r in results]

    def _view(self, buffer: Buffer) -> Array:
        dtype, size = buffer.type.dtype.numpy, buffer.type.size
        if buffer.space == "arena":
            memory, offset = self.arena, buffer.offset
        else:
            memory, offset = self.memory[buffer.place], 0
        if size == 0:
            return np.empty(buffer.type.shape, dtype)
        return np.frombuffer(memory, dtype, size, offset).reshape(buffer.type.shape)

    def _array(self, space: str, index: int, type: Any) -> Array:
        return self._view(Buffer("", type, space, index)).copy()

    def _noise(self, n: int) -> bytearray:
        return bytearray(self.random.randbytes(n))
