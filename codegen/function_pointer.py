"""Calls through an address, which llvmlite's builder cannot type: its pointers say nothing of what they point to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir as llvm


@dataclass(frozen=True, eq=False)
class _Callee:
    """What a call instruction asks of a function."""

    pointer: llvm.Value
    function_type: llvm.FunctionType

    def get_reference(self) -> str:
        return str(self.pointer.get_reference())


def call_pointer(
    b: llvm.IRBuilder, pointer: llvm.Value, result: llvm.Type, arguments: Sequence[llvm.Value]
) -> llvm.Value:
    """Call the function at an address."""
    type_ = llvm.FunctionType(result, [argument.type for argument in arguments])
    return b.call(_Callee(pointer, type_), arguments)
