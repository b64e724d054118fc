"""Runs a loaded program on NumPy arrays."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.ir.errors import DTypeError, ShapeError
from graphc.ir.types import type_of
from graphc.runtime.loader import LoadedProgram
from graphc.runtime.memory import ALIGNMENT, address_of, aligned_bytes
from graphc.runtime.program import FAULTS, Port, Program

Array = np.ndarray[Any, Any]


class _Context(ctypes.Structure):
    _fields_ = (
        ("arena", ctypes.c_void_p),
        ("inputs", ctypes.c_void_p),
        ("states", ctypes.c_void_p),
        ("outputs", ctypes.c_void_p),
        ("fault", ctypes.c_int32),
    )


class Executor:
    """A program bound to its states. Calls are serialised: the arena belongs to one call at a time.

    states: one array per state port, dense row-major, aligned to 64 bytes; the program updates them in place.
    Raises ShapeError or DTypeError where a state does not fit its port.
    """

    def __init__(self, program: Program, states: Sequence[Array]):
        self.program = program
        self.states = list(states)
        _check_arrays("state", program.states, self.states)
        for port, array in zip(program.states, self.states, strict=True):
            if array.size and address_of(array) % ALIGNMENT:
                raise ValueError(f"state {port.name!r} is not aligned to {ALIGNMENT} bytes")
        self._lock = threading.Lock()
        self._loaded = LoadedProgram(program)
        self._arena = aligned_bytes(program.arena_bytes)
        self._inputs = (ctypes.c_void_p * len(program.inputs))()
        self._outputs = (ctypes.c_void_p * len(program.outputs))()
        self._states = (ctypes.c_void_p * len(program.states))(*map(address_of, self.states))
        self._output_kinds = [(port.type.shape, port.type.dtype.numpy) for port in program.outputs]
        self._context = _Context(
            address_of(self._arena),
            ctypes.addressof(self._inputs),
            ctypes.addressof(self._states),
            ctypes.addressof(self._outputs),
            0,
        )
        self._address = ctypes.addressof(self._context)

    def __call__(self, *inputs: Array) -> list[Array]:
        """Run once: one array per input port in, one fresh array per output port out. Inputs that are not dense
        row-major are copied. Raises ShapeError or DTypeError for an input that does not fit, OutOfRangeError for an
        index out of range; no state has changed then."""
        _check_arrays("input", self.program.inputs, inputs, dense=False)
        return self.run([np.ascontiguousarray(array) for array in inputs])

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """As a call, without the checks: `inputs` are dense arrays of exactly the ports' types."""
        with self._lock:
            for i, array in enumerate(inputs):
                self._inputs[i] = array.__array_interface__["data"][0]
            outputs = [np.empty(shape, dtype) for shape, dtype in self._output_kinds]
            for i, array in enumerate(outputs):
                self._outputs[i] = array.__array_interface__["data"][0]
            status = self._loaded.entry(self._address)
        if status:
            fault = self.program.faults[status - 1]
            raise FAULTS[fault.kind](fault.message)
        return outputs


def _check_arrays(role: str, ports: Sequence[Port], arrays: Sequence[Array], dense: bool = True) -> None:
    if len(arrays) != len(ports):
        names = ", ".join(port.name for port in ports) or "none"
        raise ShapeError(f"the program takes {len(ports)} {role}s ({names}), got {len(arrays)}")
    for port, array in zip(ports, arrays, strict=True):
        found = type_of(array)
        if found.dtype != port.type.dtype:
            raise DTypeError(f"{role} {port.name!r} must be {port.type}, got {found}; cast it with astype")
        if found.shape != port.type.shape:
            raise ShapeError(f"{role} {port.name!r} must be {port.type}, got {found}")
        if dense and not array.flags.c_contiguous:
            raise ValueError(f"{role} {port.name!r} is not dense row-major")
