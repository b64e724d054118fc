"""Graph -> text. Prints broken graphs too, since error messages show them; only a valid one need parse back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from graphc.ir.attributes import DenseArray
from graphc.ir.graph import Block, Graph, Op, Value
from graphc.ir.location import Location
from graphc.ir.text.dense import dense_text
from graphc.ir.text.lexer import name_text, quote
from graphc.ir.text.names import Names, name_list, value_names
from graphc.ir.types import DType, TensorType

_INDENT = "  "
_WIDTH = 110  # a longer signature takes one line per argument


def print_graph(graph: Graph, locations: bool = True) -> str:
    """The text of a graph, without a newline at its end; `graphc.ir.parse` reads it back to an equal graph.
    `locations=False` leaves out the users' lines, so that equal graphs have equal texts."""
    names = value_names(graph)
    lines = [f"{_signature(graph, names)} {{"]
    for op in graph.ops:
        lines += _op_lines(op, names, _INDENT, locations)
    updates = ", ".join(f"{name_list([k], names)} = {name_list([v], names)}" for k, v in graph.updates.items())
    ending = f"return {name_list(graph.results, names)}".rstrip() + (f" ; update {updates}" if updates else "")
    return "\n".join([*lines, _INDENT + ending, "}"])


def print_op(op: Op, names: Names | None = None, locations: bool = True) -> str:
    """The text of one op. `names` come from `value_names` of its graph; without them its values show by their hints,
    or as `%_`."""
    if names is None:
        names = {v: name_text("%", v.name or "_") for v in (*op.operands, *op.results)}
        for region in op.regions:
            names |= value_names(region)
    return "\n".join(_op_lines(op, names, "", locations))


def print_attribute(value: object) -> str:
    """An attribute's value. What no attribute may hold prints as `<repr>`, which does not parse."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, DType):
        return value.name
    if isinstance(value, tuple):
        return f"[{', '.join(map(print_attribute, value))}]"
    if isinstance(value, DenseArray):
        return dense_text(value)
    return f"<{value!r}>"


def _signature(graph: Graph, names: Names) -> str:
    head = f"graph {name_text('@', graph.name)} [{graph.stage}] "
    results = ", ".join(str(v.type) for v in graph.results) or "()"
    inputs = [_argument(v, names) for v in graph.inputs]
    states = [_argument(v, names) for v in graph.states]
    arguments = ", ".join(inputs)
    if states:
        arguments += "; state " + ", ".join(states)
    line = f"{head}({arguments}) -> {results}"
    if len(line) <= _WIDTH:
        return line
    rows = [",\n".join(_INDENT + row for row in inputs)] if inputs else []
    if states:
        rows.append(f"{_INDENT}; state " + f",\n{_INDENT}".join(states))
    return f"{head}(\n" + "\n".join(rows) + f"\n) -> {results}"


def _argument(value: Value, names: Names) -> str:
    return f"{name_list([value], names)}: {value.type}"


def _op_lines(op: Op, names: Names, indent: str, locations: bool) -> list[str]:
    text = f"{name_list(op.results, names)} = {op.name}" if op.results else op.name
    if op.operands:
        text += f" {name_list(op.operands, names)}"
    if op.attributes:
        text += f" {{{', '.join(f'{k} = {print_attribute(v)}' for k, v in op.attributes.items())}}}"
    lines = [indent + text]
    for region in op.regions:
        lines[-1] += f" ({', '.join(_argument(v, names) for v in region.args)}) {{"
        lines += _region_lines(region, names, indent, locations)
    if op.results:
        lines[-1] += f" : {_types(v.type for v in op.results)}"
    if locations and op.location is not None:
        lines[-1] += f"  ; {_location(op.location)}"
    return lines


def _region_lines(region: Block, names: Names, indent: str, locations: bool) -> Iterator[str]:
    for op in region.ops:
        yield from _op_lines(op, names, indent + _INDENT, locations)
    yield f"{indent}{_INDENT}yield {name_list(region.results, names)}".rstrip()
    yield f"{indent}}}"


def _types(types: Iterable[TensorType]) -> str:
    return ", ".join(map(str, types))


def _location(location: Location) -> str:
    file = location.file
    plain = file.isprintable() and file == file.strip() and file[:1] not in ('"', "")
    return f"{file if plain else quote(file)}:{location.line}"
