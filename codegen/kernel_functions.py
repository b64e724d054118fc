"""What a kernel may call or write as an operator: for each, a Numba type that says how it is typed and lowered.

They are kept apart from Numba's own registries, which serve the user's Numba code: nothing is added there, and none of
Numba's hundreds of overloads is loaded or tried here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.errors import TypingError
from numba.core.typing.templates import signature

from graphc.codegen.llvm_values import F32, F64, Value

Types = tuple[Any, ...]  # Numba types, which have no stubs
Rule = Callable[[Types], Any]  # operand types, literal ones as such -> Numba's signature; raises TypingError
Lower = Callable[[ir.IRBuilder, Types, tuple[Value, ...]], Value]  # builder, the signature's operand types, operands


class KernelFunction(types.Callable, types.Opaque):
    """The type of one function of the kernel language. Types of the same name are one type to Numba."""

    def __init__(self, name: str, rule: Rule, lower: Lower):
        super().__init__(f"kernel function {name}")
        self.lower = lower
        self._rule = rule
        self._display = name

    def get_call_type(self, context: Any, args: Types, keywords: Any) -> Any:
        if keywords:
            raise TypingError(f"{self._display} takes its operands by position")
        return self._rule(tuple(args))

    def get_call_signatures(self) -> tuple[list[Any], bool]:
        return [], True

    def get_impl_key(self, sig: Any) -> Any:
        return self


# By the Python object, or by what Numba's IR calls the operation.
FUNCTIONS: dict[Any, KernelFunction] = {}


def teach(key: Any, name: str, rule: Rule, lower: Lower) -> None:
    """Let kernels use `key`: a function that they call, an operator, or an operation of Numba's IR."""
    FUNCTIONS[key] = KernelFunction(name, rule, lower)


def plain(result: Callable[[Types], Any]) -> Rule:
    """The rule of a function that takes its operands as they are: `result` gives the result's type."""

    def rule(operands: Types) -> Any:
        operands = tuple(map(types.unliteral, operands))
        return signature(result(operands), *operands)

    return rule


def llvm_type(numba_type: Any) -> ir.Type:
    """The LLVM type of a number, a boolean or a pointer."""
    if isinstance(numba_type, types.CPointer):
        return llvm_type(numba_type.dtype).as_pointer()
    kind: Any = types.unliteral(numba_type)
    if isinstance(kind, types.Boolean):
        return ir.IntType(1)
    return ir.IntType(kind.bitwidth) if kind in types.integer_domain else {32: F32, 64: F64}[kind.bitwidth]
