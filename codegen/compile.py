"""A schedule to a program: emit each launch's kernel, compile the kernels, add the driver."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from llvmlite import ir as llvm

from graphc.codegen.autotune import tune
from graphc.codegen.c_api import SUFFIXES, emit_c_api, pool_name
from graphc.codegen.c_header import c_name
from graphc.codegen.driver import Layout, emit_driver, plan_layout, slots_of
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels import emit_kernel
from graphc.codegen.llvm import CompiledKernel, compile_all, link, target_machine
from graphc.codegen.spmd import Worth, partition, worth_of
from graphc.ir.graph import Value
from graphc.ir.schedule import Launch, Schedule
from graphc.ir.target import Target
from graphc.runtime.pool_ir import pool_ir
from graphc.runtime.program import Fault, MachineTarget, Port, Program, state_header

_RESERVED = "__metadata__"  # what a state cannot be called in a safetensors file


@dataclass(frozen=True)
class Emitted:
    """A schedule's kernels as source, one per launch (equal ones are one object), before anything is compiled. The
    launches of `schedule` have their partitions."""

    schedule: Schedule
    target: Target
    kernels: tuple[Kernel, ...]
    debug: bool = False

    @property
    def distinct(self) -> list[Kernel]:
        """Each kernel once, in the order of first launch."""
        return list({kernel.symbol: kernel for kernel in self.kernels}.values())

    def source_text(self) -> str:
        """Every kernel's source."""
        return "\n\n".join(f"# {kernel.symbol}, {kernel.units} units\n{kernel.source}" for kernel in self.distinct)

    def llvm_text(self) -> str:
        """Every kernel's optimised LLVM IR, then the driver's."""
        driver, _ = self._driver(_entry(self.schedule.graph.name))
        return "\n\n".join([*(k.llvm_text for k in self._compiled()), str(driver)])

    def assembly_text(self) -> str:
        """Every kernel's assembly."""
        return "\n\n".join(kernel.assembly for kernel in self._compiled())

    def compile(self) -> Program:
        """The program as objects for this process: the driver, and one per kernel, shared between programs."""
        name = self.schedule.graph.name
        entry = _entry(name)
        driver, faults = self._driver(entry)
        kernels, (image,) = compile_all(self._needed(), (str(driver),), self.target)
        return self._program(name, entry, (image, *(k.object_code for k in kernels)), faults)

    def compile_library(self, name: str, outputs: Sequence[str] = ()) -> Program:
        """The program as one object with the C interface `name`_init, `name`_step, ...; besides that, only its entry
        `name`_run is visible. `name` must be a C identifier. `outputs` are names for the outputs."""
        entry = f"{name}_run"
        driver, faults = self._driver(entry)
        described = self._program(name, entry, (), faults, outputs)
        interface = emit_c_api(described, name, state_header(described.states), self.debug)
        self._prepare(interface)
        pool = pool_ir(self.target.triple, pool_name(name))
        visible = {entry, *(f"{name}_{suffix}" for suffix in SUFFIXES)}
        image = link(self._compiled(), [str(driver), str(interface), pool], visible, self.target)
        return dataclasses.replace(described, objects=(image,))

    def _compiled(self) -> list[CompiledKernel]:
        return compile_all(self._needed(), (), self.target)[0]

    def _needed(self) -> list[Kernel]:
        return [kernel for kernel in self.distinct if kernel.units]

    def _driver(self, entry: str) -> tuple[llvm.Module, tuple[Fault, ...]]:
        module, faults = emit_driver(self.schedule, self.kernels, self._layout(), entry, self._worth.wake)
        self._prepare(module)
        return module, faults

    @cached_property
    def _worth(self) -> Worth:
        return worth_of(self.schedule)

    def _layout(self) -> Layout:
        return plan_layout(self.schedule, self.kernels, self.debug)

    def _prepare(self, module: llvm.Module) -> None:
        module.triple = self.target.triple
        module.data_layout = str(target_machine(self.target).target_data)

    def _program(
        self,
        name: str,
        entry: str,
        objects: tuple[bytes, ...],
        faults: tuple[Fault, ...],
        outputs: Sequence[str] = (),
    ) -> Program:
        graph = self.schedule.graph
        layout = self._layout()
        return Program(
            name=name,
            entry=entry,
            objects=objects,
            inputs=_ports(graph.inputs, "input"),
            states=tuple(
                dataclasses.replace(port, updated=state in graph.updates)
                for port, state in zip(_ports(graph.states, "state"), graph.states, strict=True)
            ),
            outputs=_ports(graph.results, "output", outputs),
            arena_bytes=layout.arena_bytes,
            scratch_bytes=layout.scratch_bytes,
            parallelism=1 if self.debug else self._worth.threads,
            faults=faults,
            target=MachineTarget(self.target.triple, self.target.cpu, self.target.features),
        )


def emit(schedule: Schedule, target: Target, debug: bool = False, tuned: bool = False) -> Emitted:
    """Emit every kernel of a schedule for `target`. debug: red zones around the buffers, checked after each kernel;
    the schedule must have been planned with room for them (`graphc.passes.pipeline.lower(..., red_zone=ZONE)`). tuned:
    contractions are cut as `graphc.codegen.autotune` finds best; `target` is this machine then."""
    cuts = tune(schedule, target) if tuned else {}

    def kernel_of(launch: Launch) -> Kernel:
        slots = slots_of(launch)[0]
        kernel = emit_kernel(launch.op, slots, target)
        return emit_kernel(launch.op, slots, target, cuts[kernel.symbol]) if kernel.symbol in cuts else kernel

    kernels = tuple(map(kernel_of, schedule.launches))
    schedule, kernels = partition(schedule, kernels, target)
    return Emitted(schedule, target, kernels, debug)


def _entry(name: str) -> str:
    return f"graphc_{c_name(name)}"


def _ports(values: Sequence[Value], role: str, names: Sequence[str] = ()) -> tuple[Port, ...]:
    """A port for each value, called as `names` says, or else as the value is; otherwise by its role and, among several,
    its number. No name occurs twice."""
    taken = {_RESERVED}
    ports = []
    for i, value in enumerate(values):
        name = base = (names[i] if names else value.name) or (f"{role}{i}" if len(values) > 1 else role)
        number = 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        ports.append(Port(name, value.type))
    return tuple(ports)
