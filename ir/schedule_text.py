"""The scheduled stage as text: the graph, where each of its values lies, and in which order its kernels run.

    graph @step [fused] (...) -> f32[] { ... }

    schedule @step arena 32832 {
      %x = input 0         ; f32[64,784]
      %fc.weight = state 0 ; f32[128,784]
      %0 = arena 0         ; f32[64,128], launches 0 to 4
      launch %0 units 8 cost 3100 strand 0 ; 0: contraction of contract, add, relu; reads %x, %fc.weight
      barrier
      launch %1 ...
    }

A launch is named by the results of its kernel. What follows is its partition, once kernels are emitted: into how many
units its work is cut, what one costs in estimated nanoseconds, and its strand (see `graphc.ir.schedule.Partition`).
Comments are for the reader.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphc.ir.graph import Graph, Op, Value, same_graph
from graphc.ir.schedule import SPACES, Barrier, Buffer, Launch, Node, Partition, Schedule
from graphc.ir.text.cursor import Cursor, suggestion
from graphc.ir.text.lexer import Source, Token, name_text
from graphc.ir.text.names import Names, name_list, value_names
from graphc.ir.text.parser import parse
from graphc.ir.text.printer import print_graph

_HEAD = "\nschedule "


def print_schedule(schedule: Schedule, locations: bool = True) -> str:
    """The text of a schedule, without a newline at its end; `parse_schedule` reads it back."""
    graph = schedule.graph
    names = value_names(graph)
    rows = [*_buffer_rows(schedule, names), *_body_rows(schedule, names)]
    width = max((len(row) for row, comment in rows if comment), default=0)
    lines = [f"  {row:<{width}} ; {comment}" if comment else f"  {row}" for row, comment in rows]
    head = f"schedule {name_text('@', graph.name)} arena {schedule.arena_bytes} {{"
    return "\n".join([print_graph(graph, locations), "", head, *lines, "}"])


def parse_schedule(text: str, filename: str = "<text>") -> Schedule:
    """The schedule that `text` holds. Raises ParseError, which points at the place in the text. Whether the schedule
    is sound is the verifier's to say."""
    at = text.find(_HEAD)
    if at < 0:
        raise Source(text, filename).error("there is no schedule after the graph", len(text))
    graph = parse(text[:at], filename)
    # The graph's text is blanked, so that errors point at the right line.
    return _ScheduleParser(Cursor(Source("\n" * text.count("\n", 0, at) + text[at:], filename)), graph).parse()


def same_schedule(a: Schedule, b: Schedule) -> bool:
    """Structural equality: equal graphs, the same place for every value, the same launches, with the same partitions,
    and barriers in order."""
    return (
        same_graph(a.graph, b.graph)
        and a.arena_bytes == b.arena_bytes
        and _places(a) == _places(b)
        and _order(a) == _order(b)
        and [a.graph.ops.index(op) for op in a.constants] == [b.graph.ops.index(op) for op in b.constants]
    )


def values_of(graph: Graph) -> Iterator[Value]:
    """Every value of the top level, in order."""
    yield from graph.args
    for op in graph.ops:
        yield from op.results


def _places(schedule: Schedule) -> list[tuple[str, int] | None]:
    buffers = schedule.buffers
    return [buffers[v].place if v in buffers else None for v in values_of(schedule.graph)]


def _order(schedule: Schedule) -> list[tuple[int, Partition | None] | None]:
    position = {op: i for i, op in enumerate(schedule.graph.ops)}
    return [(position[node.op], node.partition) if isinstance(node, Launch) else None for node in schedule.body]


def _buffer_rows(schedule: Schedule, names: Names) -> Iterator[tuple[str, str]]:
    first, last = _lifetimes(schedule)
    for value, buffer in schedule.buffers.items():
        comment = str(value.type)
        if buffer.space == "arena" and value in first:
            comment += f", launches {first[value]} to {last.get(value, first[value])}"
        yield f"{names[value]} = {buffer.space} {buffer.place[1]}", comment


def _lifetimes(schedule: Schedule) -> tuple[dict[Value, int], dict[Value, int]]:
    first: dict[Value, int] = {}
    last: dict[Value, int] = {}
    for i, launch in enumerate(schedule.launches):
        first.update((v, i) for v in launch.op.results)
        for value in launch.op.operands:
            last[value] = i
            while value.op is not None and value.op.name == "reshape":
                value = value.op.operands[0]
                last[value] = i
    return first, last


def _body_rows(schedule: Schedule, names: Names) -> Iterator[tuple[str, str]]:
    number = 0
    phases = iter(schedule.phases[1:])
    for node in schedule.body:
        if isinstance(node, Barrier):
            cost = sum(p.cost * p.units for launch in next(phases) if (p := launch.partition) is not None)
            yield "barrier", f"then about {cost / 1000:.1f} us of one thread" if cost else ""
            continue
        inside = ", ".join(dict.fromkeys(op.name for op in node.op.regions[0].ops)) or "a copy"
        reads = name_list(node.op.operands, names)
        comment = f"{number}: {node.op.attributes['kind']} of {inside}" + (f"; reads {reads}" if reads else "")
        places = {b.place for b in node.reads}
        updated = [names[v] for v, b in zip(node.op.results, node.writes, strict=True) if b.place in places]
        share = node.partition
        partition = f" units {share.units} cost {share.cost} strand {share.strand}" if share else ""
        yield (
            f"launch {name_list(node.op.results, names)}{partition}",
            comment + (f"; {', '.join(updated)} in place" if updated else ""),
        )
        number += 1


class _ScheduleParser:
    def __init__(self, cursor: Cursor, graph: Graph):
        self.cursor = cursor
        self.graph = graph
        self.names = value_names(graph)
        self.values = {self.names[value]: value for value in values_of(graph)}

    def parse(self) -> Schedule:
        cursor = self.cursor
        cursor.expect("schedule")
        name = cursor.expect("symbol", "the graph's name")
        if name.text != self.graph.name:
            raise cursor.error(f"{name} is not the name of the graph above, @{self.graph.name}", name)
        cursor.expect("arena")
        arena_bytes = self.number("the size of the arena")
        cursor.expect("{")
        buffers: dict[Value, Buffer] = {}
        while cursor.at("value"):
            self.buffer(buffers)
        body: list[Node] = []
        while not cursor.at("}"):
            body.append(self.node(buffers))
        end = cursor.next()
        if not cursor.at("end"):
            raise cursor.error(f"expected the end of the text after the schedule, found {cursor.token}")
        for value in values_of(self.graph):
            if value not in buffers:
                raise cursor.error(f"there is no place for {self.names[value]}", end)
        constants = [op for op in self.graph.ops if op.name == "constant"]
        constants.sort(key=lambda op: buffers[op.result].index)
        return Schedule(self.graph, buffers, tuple(constants), tuple(body), arena_bytes)

    def buffer(self, buffers: dict[Value, Buffer]) -> None:
        cursor = self.cursor
        token, value = self.value()
        if value in buffers:
            raise cursor.error(f"{token} has two places", token)
        cursor.expect("=")
        space = cursor.expect("name", f"one of {', '.join(SPACES)}")
        if space.text not in SPACES:
            raise cursor.error(f"unknown space {space}{suggestion(space.text, SPACES)}", space)
        number = self.number("an index, or an offset into the arena")
        in_arena = space.text == "arena"
        buffers[value] = Buffer(
            _spelled(token), value.type, space.text, 0 if in_arena else number, number if in_arena else 0
        )

    def node(self, buffers: dict[Value, Buffer]) -> Node:
        cursor = self.cursor
        if cursor.accept("barrier"):
            return Barrier()
        keyword = cursor.expect("launch", "'launch', 'barrier' or '}'")
        token, value = self.value()
        op = value.op
        if op is None or op.name != "fused":
            raise cursor.error(f"{token} is not a result of a kernel", token)
        named = [value]
        while cursor.accept(","):
            named.append(self.value()[1])
        if tuple(named) != op.results:
            text = f"a launch names all results of its kernel, in order: {name_list(op.results, self.names)}"
            raise cursor.error(text, keyword)
        missing = next((v for v in (*op.operands, *op.results) if v not in buffers), None)
        if missing is not None:
            raise cursor.error(f"there is no place for {self.names[missing]}", keyword)
        return _launch(op, buffers, self.partition())

    def partition(self) -> Partition | None:
        if not self.cursor.accept("units"):
            return None
        units = self.number("how many units of work")
        self.cursor.expect("cost")
        cost = self.number("the cost of a unit in nanoseconds")
        self.cursor.expect("strand")
        return Partition(units, cost, self.number("the number of the strand"))

    def value(self) -> tuple[Token, Value]:
        token = self.cursor.expect("value", "a value")
        found = self.values.get(_spelled(token))
        if found is None:
            raise self.cursor.error(f"undefined value {token}", token)
        return token, found

    def number(self, description: str) -> int:
        token = self.cursor.expect("integer", description)
        if len(token.text) > 18 or token.text.startswith("-"):
            raise self.cursor.error(f"{token} is out of range", token)
        return int(token.text)


def _launch(op: Op, buffers: dict[Value, Buffer], partition: Partition | None) -> Launch:
    return Launch(op, tuple(buffers[v] for v in op.operands), tuple(buffers[v] for v in op.results), partition)


def _spelled(token: Token) -> str:
    is_number = not token.quoted and token.text.isdigit()
    return f"%{token.text}" if is_number else name_text("%", token.text)
