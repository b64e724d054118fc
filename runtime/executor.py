"""Runs a loaded program on NumPy arrays."""

from __future__ import annotations

import ctypes
import struct
import threading
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from graphc.ir.errors import DTypeError, ShapeError
from graphc.runtime.forks import Level, whole_at_fork
from graphc.runtime.loader import LoadedProgram
from graphc.runtime.memory import address_of, aligned_bytes
from graphc.runtime.messages import log
from graphc.runtime.outputs import Outputs
from graphc.runtime.pool import checked_threads, follow, pool_address
from graphc.runtime.program import ALIGNMENT, Port, Program

Array = np.ndarray[Any, Any]


class _Context(ctypes.Structure):
    _fields_ = (
        ("arena", ctypes.c_size_t),
        ("inputs", ctypes.c_size_t),
        ("states", ctypes.c_size_t),
        ("outputs", ctypes.c_size_t),
        ("pool", ctypes.c_size_t),
        ("threads", ctypes.c_int64),
    )


class Executor:
    """A program bound to its states. Calls take turns; another thread may run Python meanwhile.

    states: one array per state port, dense row-major, aligned to 64 bytes; the program updates them in place. Who
        gives the same array to two executors sees to it that they do not run at the same time.
    threads: on how many threads to run; None for as many as `set_num_threads` says, or fewer where the program gains
        nothing from more.
    Raises ShapeError or DTypeError where a state does not fit its port, and ValueError where its memory does not.
    """

    def __init__(self, program: Program, states: Sequence[Array], threads: int | None = None):
        self.program = program
        self.states = tuple(states)
        _check_count("state", program.states, self.states)
        for port, array in zip(program.states, self.states, strict=True):
            _check_array("state", port, array)
        _check_memory(program.states, self.states)
        self._kinds = [(port.type.shape, port.type.dtype.numpy, port) for port in program.inputs]
        self._loaded = LoadedProgram(program)
        self._lock = whole_at_fork(threading.Lock(), Level.PROGRAM)
        self._context = _Context()
        self._hot = self._precomputed()
        self._asked = None if threads is None else checked_threads(threads)
        follow(self)

    @property
    def threads(self) -> int:
        """On how many threads a call runs."""
        return int(self._context.threads)

    def use_threads(self, count: int) -> None:
        """The process's number of threads is `count` from now on."""
        self._run_on(self._asked or min(count, self.program.parallelism))

    def _run_on(self, count: int) -> None:
        if count == self._context.threads:
            return
        with self._lock:
            self._arena = aligned_bytes(self.program.memory_bytes(count))
            self._context.arena = address_of(self._arena)
            self._context.pool = pool_address() if count > 1 else 0
            self._context.threads = count

    def _precomputed(self) -> tuple[Any, ...]:
        """Everything that `run` needs, so that it looks nothing up."""
        program = self.program
        pointers = (ctypes.c_size_t * (len(program.inputs) + len(program.outputs)))()
        scalars = (ctypes.c_double * len(program.inputs))()
        states = (ctypes.c_size_t * len(self.states))(*map(address_of, self.states))
        inputs_at = ctypes.addressof(pointers)
        outputs_at = inputs_at + len(program.inputs) * ctypes.sizeof(ctypes.c_size_t)
        context = self._context
        context.inputs, context.states, context.outputs = inputs_at, ctypes.addressof(states), outputs_at
        updated = sorted(
            _span(array)
            for port, array in zip(program.states, self.states, strict=True)
            if port.updated and array.nbytes
        )
        return (
            self._lock,
            self._loaded.entry,
            ctypes.addressof(context),
            struct.Struct(f"{len(pointers)}N").pack_into,
            pointers,
            scalars,
            [ctypes.addressof(scalars) + i * ctypes.sizeof(ctypes.c_double) for i in range(len(scalars))],
            [first for first, _ in updated],
            [end for _, end in updated],
            Outputs(program.outputs).take,
            states,  # which the context points to
        )

    def __call__(self, *inputs: Array | float) -> list[Array]:
        """Run once: one array per input port in, one fresh array per output port out. A Python number may stand for an
        array without dimensions. Raises ShapeError or DTypeError for an input that does not fit, and a FaultError
        (OutOfRangeError, ...) for a value that does not; no state has changed then."""
        _check_count("input", self.program.inputs, inputs)
        checked: list[Array | float] = []
        for array, (shape, dtype, port) in zip(inputs, self._kinds, strict=True):
            if not isinstance(array, np.ndarray):
                array = _as_array(array, port)
            if array.shape != shape or array.dtype != dtype:
                _check_array("input", port, array)
            checked.append(array)
        return self.run(checked)

    def run(self, inputs: Sequence[Array | float]) -> list[Array]:
        """As a call, without the checks: `inputs` holds as many arrays as there are input ports, of exactly their
        types; for one without dimensions a NumPy scalar will do, and for an f64[] a Python float. An array that is not
        dense row-major, or that overlaps a state that the program updates, is copied."""
        lock, entry, context, pack, pointers, scalars, scalars_at, starts, ends, take_outputs, _ = self._hot
        with lock:
            addresses = []
            copies = []  # kept until the call is over
            for i, array in enumerate(inputs):
                if not isinstance(array, np.ndarray):
                    if isinstance(array, float):
                        scalars[i] = array
                        addresses.append(scalars_at[i])
                        continue
                    array = np.asarray(array)  # of a NumPy scalar
                    copies.append(array)
                address, flags = address_of(array), array.flags
                near = bisect_right(ends, address)
                overlaps = near < len(ends) and starts[near] < address + array.nbytes
                if overlaps or not (flags.c_contiguous and flags.aligned):
                    if not overlaps:
                        kind = self.program.inputs[i].type
                        log("copy", f"{self.program.name}: an input of type {kind} is not dense and was copied")
                    copied = array.copy(order="C")
                    copies.append(copied)
                    address = address_of(copied)
                addresses.append(address)
            outputs = take_outputs()
            addresses += map(address_of, outputs)
            pack(pointers, 0, *addresses)
            status = entry(context)
        if status:
            raise self.program.faults[status - 1].error()
        return outputs


def _check_count(role: str, ports: Sequence[Port], found: Sequence[object]) -> None:
    if len(found) != len(ports):
        names = ", ".join(port.name for port in ports) or "none"
        raise ShapeError(f"the program takes {len(ports)} {role}s ({names}), got {len(found)}")


def _check_array(role: str, port: Port, array: Array) -> None:
    if array.dtype != port.type.dtype.numpy:
        raise DTypeError(
            f"{role} {port.name!r} must be {port.type}, got an array of {array.dtype}; "
            f"convert it with astype({port.type.dtype.numpy.name!r})"
        )
    if array.shape != port.type.shape:
        raise ShapeError(f"{role} {port.name!r} must be {port.type}, got an array of shape {list(array.shape)}")


def _check_memory(ports: Sequence[Port], states: Sequence[Array]) -> None:
    """Raises ValueError for memory that a program cannot work in."""
    for port, array in zip(ports, states, strict=True):
        if not array.flags.carray or (array.nbytes and address_of(array) % ALIGNMENT):
            raise ValueError(f"state {port.name!r} must be writable, dense and aligned to {ALIGNMENT} bytes")
    spans = sorted((*_span(array), port.name) for port, array in zip(ports, states, strict=True) if array.nbytes)
    for (_, end, name), (start, _, other) in pairwise(spans):
        if start < end:
            raise ValueError(f"states {name!r} and {other!r} share memory")


def _span(array: Array) -> tuple[int, int]:
    """The addresses of a dense array's first byte and of the one after its last."""
    start = address_of(array)
    return start, start + array.nbytes


def _as_array(value: Any, port: Port) -> Array:
    """What is not an array: a Python number becomes one of the port's type, if it is a number of that kind."""
    dtype = port.type.dtype
    kinds = (int, float) if dtype.is_float else int if dtype.is_integer else bool
    if isinstance(value, kinds) and port.type.rank == 0:
        return np.asarray(value, dtype.numpy)
    return np.asarray(value)
