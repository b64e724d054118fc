"""Typed Numba IR to LLVM IR, for what occurs in kernels.

Numba's IR is in SSA form, so a variable simply is an LLVM value: there are no stack slots, no reference counts, no
exceptions and no wrappers to be optimised away again.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from llvmlite import ir as llvm
from numba.core import ir, types
from numba.core.analysis import compute_cfg_from_blocks

from graphc.codegen.kernel_functions import FUNCTIONS, KernelFunction, llvm_type
from graphc.codegen.llvm_values import F32, F64, Value

_FLOAT_OPERATIONS = frozenset({"fadd", "fsub", "fmul", "fdiv", "frem", "fcmp"})


def lower(
    blocks: Mapping[int, Any],
    typemap: Mapping[str, Any],
    signatures: Mapping[Any, Any],
    arguments: Mapping[str, Any],
    symbol: str,
) -> llvm.Module:
    """A module that defines `void symbol(arguments)`, the pointers among which do not overlap. `typemap` (types of the
    variables) and `signatures` (of calls and operators) are what Numba inferred for the `blocks`."""
    module = llvm.Module(symbol)
    type_ = llvm.FunctionType(llvm.VoidType(), [llvm_type(t) for t in arguments.values()])
    function = llvm.Function(module, type_, symbol)
    for argument, name in zip(function.args, arguments, strict=True):
        argument.name = name
        if isinstance(argument.type, llvm.PointerType):
            argument.add_attribute("noalias")
    _Lowering(blocks, typemap, signatures, function).run()
    for each in module.functions:
        _allow_contraction(each)
    return module


class _Lowering:
    def __init__(
        self, blocks: Mapping[int, Any], typemap: Mapping[str, Any], signatures: Mapping[Any, Any], into: llvm.Function
    ):
        self._sources = blocks
        self._types = typemap
        self._signatures = signatures
        self._function = into
        self._values: dict[str, Value] = {}
        self._blocks: dict[int, llvm.Block] = {}
        self._ends: dict[int, llvm.Block] = {}  # some operations branch, so a block may end as another one
        self._phis: list[tuple[Value, Any, Any]] = []

    def run(self) -> None:
        order = compute_cfg_from_blocks(self._sources).topo_order()
        self.b = llvm.IRBuilder(self._function.append_basic_block("entry"))
        for label in order:
            self._blocks[label] = self._function.append_basic_block(f"b{label}")
        self.b.branch(self._blocks[order[0]])
        for label in order:
            self.b.position_at_end(self._blocks[label])
            for statement in self._sources[label].body:
                self._statement(statement)
            self._ends[label] = self.b.block
        for phi, type_, expression in self._phis:
            for variable, label in zip(expression.incoming_values, expression.incoming_blocks, strict=True):
                phi.add_incoming(self._incoming(variable, type_, self._ends[label]), self._ends[label])

    def _incoming(self, variable: Any, type_: Any, block: llvm.Block) -> Value:
        if variable is ir.UNDEFINED:
            return llvm.Constant(llvm_type(type_), llvm.Undefined)
        self.b.position_before(block.terminator)
        return self._operand(variable, type_)

    def _statement(self, statement: Any) -> None:
        if isinstance(statement, ir.Assign):
            name = statement.target.name
            self._values[name] = self._assigned(statement.value, self._types[name])
        elif isinstance(statement, (ir.SetItem, ir.StaticSetItem)):
            index = statement.index if isinstance(statement, ir.SetItem) else statement.index_var
            self._call(operator.setitem, statement, (statement.target, index, statement.value))
        elif isinstance(statement, ir.Branch):
            targets = (self._blocks[statement.truebr], self._blocks[statement.falsebr])
            self.b.cbranch(self._operand(statement.cond, types.boolean), *targets)
        elif isinstance(statement, ir.Jump):
            self.b.branch(self._blocks[statement.target])
        elif isinstance(statement, ir.Return):
            self.b.ret_void()
        elif not isinstance(statement, (ir.Del, ir.PopBlock)):
            raise NotImplementedError(f"{statement} in a kernel")

    def _assigned(self, value: Any, type_: Any) -> Value:
        if isinstance(value, ir.Var):
            return self._operand(value, type_)
        if isinstance(value, ir.Arg):
            return self._function.args[value.index]
        if isinstance(value, (ir.Const, ir.Global, ir.FreeVar)):
            return _constant(value.value, type_)
        if value.op == "phi":
            phi = self.b.phi(llvm_type(type_))
            self._phis.append((phi, type_, value))
            return phi
        if value.op == "cast":
            return self._operand(value.value, type_)
        return self._expression(value)

    def _expression(self, expression: Any) -> Value:
        match expression.op:
            case "call":
                return self._call(self._types[expression.func.name], expression, expression.args)
            case "binop":
                return self._call(expression.fn, expression, (expression.lhs, expression.rhs))
            case "unary":
                return self._call(expression.fn, expression, (expression.value,))
            case "getitem":
                return self._call(operator.getitem, expression, (expression.value, expression.index))
            case "static_getitem":
                return self._call(operator.getitem, expression, (expression.value, expression.index_var))
            case "getiter" | "iternext":
                return self._call(expression.op, expression, (expression.value,))
            case "pair_first" | "pair_second":
                return self._values[expression.value.name][expression.op == "pair_second"]
        raise NotImplementedError(f"{expression} in a kernel")

    def _call(self, function: Any, site: Any, operands: Sequence[Any]) -> Value:
        """Lower an operation at `site` (a call, an operator, a store) on the given variables."""
        lower = function.lower if isinstance(function, KernelFunction) else FUNCTIONS[function].lower
        wanted = self._signatures[site].args
        return lower(self.b, wanted, tuple(self._operand(x, t) for x, t in zip(operands, wanted, strict=True)))

    def _operand(self, variable: Any, wanted: Any) -> Value:
        value = self._values[variable.name]
        source: Any = types.unliteral(self._types[variable.name])
        target: Any = types.unliteral(wanted)
        if source == target:
            return value
        if not {source, target} <= types.integer_domain:
            raise NotImplementedError(f"{variable.name} is {source}, where a kernel needs {target}")
        if target.bitwidth <= source.bitwidth:
            return self.b.trunc(value, llvm_type(target))
        return (self.b.sext if source.signed else self.b.zext)(value, llvm_type(target))


def _constant(value: Any, type_: Any) -> Value:
    """A number as an LLVM constant; nothing for a function and for None."""
    if not isinstance(type_, (types.Number, types.Boolean, types.Literal)):
        return None
    return llvm.Constant(llvm_type(type_), value.item() if hasattr(value, "item") else value)


def _allow_contraction(function: llvm.Function) -> None:
    """Let LLVM fuse multiplications with additions; what has flags of its own keeps them."""
    for block in function.blocks:
        for instruction in block.instructions:
            if instruction.opname in _FLOAT_OPERATIONS:
                if not instruction.flags:
                    instruction.flags.append("contract")
            elif instruction.opname == "call" and instruction.type in (F32, F64):
                instruction.fastmath.add("contract")
