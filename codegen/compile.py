"""A schedule to a program: emit each launch's kernel, compile the kernels, add the driver."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir as llvm

from graphc.codegen.c_api import c_name, emit_c_api
from graphc.codegen.driver import emit_driver, plan_layout, slots_of
from graphc.codegen.kernel import Kernel
from graphc.codegen.kernels import emit_kernel
from graphc.codegen.llvm import CompiledKernel, compile_kernel, compile_module, link, target_machine
from graphc.ir.graph import Graph, Value
from graphc.ir.schedule import Schedule
from graphc.ir.target import Target
from graphc.runtime.artifact import state_header
from graphc.runtime.program import Fault, MachineTarget, Port, Program


@dataclass(frozen=True)
class Emitted:
    """A schedule's kernels as source, one per launch (equal ones are one object), before anything is compiled."""

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
        driver, _ = self._driver(_entry(self.schedule.graph))
        return "\n\n".join([*(k.llvm_text for k in self._compiled()), str(driver)])

    def assembly_text(self) -> str:
        """Every kernel's assembly."""
        return "\n\n".join(kernel.assembly for kernel in self._compiled())

    def compile(self) -> Program:
        """The program as objects for this process: one per kernel, shared between programs, and the driver."""
        graph = self.schedule.graph
        driver, faults = self._driver(_entry(graph))
        objects = [k.object_code for k in self._compiled()]
        return self._program(graph.name, _entry(graph), (compile_module(str(driver), self.target), *objects), faults)

    def compile_library(self, name: str) -> Program:
        """The program as one object with the C interface `name`_init, `name`_step, ... and nothing else visible."""
        entry = f"{name}_run"
        driver, faults = self._driver(entry)
        described = self._program(name, entry, (), faults)
        interface = emit_c_api(described, name, state_header(described.states))
        self._prepare(interface)
        visible = {f"{name}_{suffix}" for suffix in ("run", "init", "step", "state", "save", "message", "free")}
        image = link(self._compiled(), [str(driver), str(interface)], visible, self.target)
        return self._program(name, entry, (image,), faults)

    def _compiled(self) -> list[CompiledKernel]:
        return [compile_kernel(kernel, self.target) for kernel in self.distinct if kernel.units]

    def _driver(self, entry: str) -> tuple[llvm.Module, tuple[Fault, ...]]:
        layout = plan_layout(self.schedule, self.kernels, self.debug)
        module, faults = emit_driver(self.schedule, self.kernels, layout, entry)
        self._prepare(module)
        return module, faults

    def _prepare(self, module: llvm.Module) -> None:
        module.triple = self.target.triple
        module.data_layout = str(target_machine(self.target).target_data)

    def _program(self, name: str, entry: str, objects: tuple[bytes, ...], faults: tuple[Fault, ...]) -> Program:
        graph = self.schedule.graph
        return Program(
            name=name,
            entry=entry,
            objects=objects,
            inputs=tuple(Port(_name(v, i, "input"), v.type) for i, v in enumerate(graph.inputs)),
            states=tuple(Port(_name(v, i, "state"), v.type, v in graph.updates) for i, v in enumerate(graph.states)),
            outputs=tuple(Port(_name(v, i, "output"), v.type) for i, v in enumerate(graph.results)),
            arena_bytes=plan_layout(self.schedule, self.kernels, self.debug).arena_bytes,
            faults=faults,
            target=MachineTarget(self.target.triple, self.target.cpu, self.target.features),
        )


def emit(schedule: Schedule, target: Target, debug: bool = False) -> Emitted:
    """Emit every kernel of a schedule for `target`. debug: red zones around the buffers, checked after each kernel;
    the schedule must have been planned with room for them."""
    kernels = tuple(emit_kernel(launch.op, slots_of(launch)[0], target) for launch in schedule.launches)
    return Emitted(schedule, target, kernels, debug)


def _entry(graph: Graph) -> str:
    return f"graphc_{c_name(graph.name)}"


def _name(value: Value, index: int, role: str) -> str:
    return value.name or f"{role}{index}"
