"""Says, for each kernel of a schedule, what was fused into it, and why nothing else was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

from graphc.ir.graph import Graph, Op, Value
from graphc.ir.schedule import Launch, Schedule
from graphc.ir.text.lexer import name_text
from graphc.ir.text.names import value_names
from graphc.passes.fusion.clusters import choose_kernels, why_no_siblings
from graphc.passes.fusion.partition import Cluster
from graphc.passes.fusion.program import Node
from graphc.passes.fusion.refusal import Elsewhere, Refusal
from graphc.passes.fusion.regions import build_graph

_SHOWN = 4  # names in a list


def explain(graph: Graph, schedule: Schedule) -> str:
    """For each kernel of `schedule`, which was made from the `optimized` graph `graph`: its ops with the user's lines;
    of a contraction, what is done to an operand while packing it, and what to the product; and for every kernel next to
    it (one that computes what it reads, reads what it computes, or reads the same, numbers aside) the rule that keeps
    them apart. Kernels have the numbers, and values the names, of the schedule's text."""
    return "\n\n".join("\n".join(lines) for lines in _Explainer(graph, schedule).kernels())


class _Explainer:
    """`number` is the launch of each cluster, and `names` what the values in memory are called. Values are those of the
    optimized graph."""

    def __init__(self, graph: Graph, schedule: Schedule):
        self.schedule = schedule
        self.partition = choose_kernels(graph)
        self.program = self.partition.program
        self.printed = value_names(schedule.graph)
        self.states = dict(zip(graph.args, schedule.graph.args, strict=True))
        self.names = {a: self.printed[b] for a, b in self.states.items()}
        self.number: dict[Cluster, int] = {}
        fused = build_graph(self.partition)
        stands_for = _matched(fused, schedule.graph)
        launches = {launch.op: i for i, launch in enumerate(schedule.launches)}
        kernels = (op for op in fused.ops if op.name == "fused")
        for cluster, op in zip(self.partition.ordered(), kernels, strict=True):
            results = [stands_for[v] for v in op.results]
            self.names.update((a, self.printed[b]) for a, b in zip(cluster.results, results, strict=True))
            self.number[cluster] = next(launches[v.op] for v in results if v.op is not None)

    def kernels(self) -> Iterator[list[str]]:
        """The lines on each kernel."""
        clusters = {number: cluster for cluster, number in self.number.items()}
        for number, launch in enumerate(self.schedule.launches):
            names = _listed(self.printed[v] for v in launch.op.results)
            head = f"kernel {number}: a {launch.op.attributes['kind']} that gives {names}"
            if number in clusters:
                cluster = clusters[number]
                yield [head, *self._holds(cluster), *self._updates(cluster, launch), *self._apart(cluster)]
            else:
                yield [head, f"  copies {_listed(self.printed[v] for v in launch.op.operands)}"]

    # --- what it holds

    def _holds(self, cluster: Cluster) -> Iterator[str]:
        ops = [node for node in cluster.members if node.name not in ("constant", "reshape")]
        root = next((node for node in ops if node.kind in ("contract", "scatter")), None)
        if root is None:
            yield from _by_line("", ops)
            return
        yield f"  {root.name} of {' and '.join(map(self._value, root.operands))}  ; {_line(root)}"
        before: set[Node] = set()
        for value in root.operands:
            leading = _leading_to(cluster, value)
            yield from _by_line(f"prologue, on {self._value(value)}: ", [node for node in ops if node in leading])
            before |= leading
        yield from _by_line("epilogue: ", [node for node in ops if node is not root and node not in before])

    def _updates(self, cluster: Cluster, launch: Launch) -> Iterator[str]:
        states = [self.program.written[v] for v in cluster.results if v in self.program.written]
        if not states:
            return
        written = {buffer.place for buffer in launch.writes}
        in_place = all(self.schedule.buffers[self.states[state]].place in written for state in states)
        text = f"updates {_listed(self.names[v] for v in states)}{' in place' if in_place else ''}"
        inner = [v for node in cluster.members for v in node.results if self.program.base(v) not in self.names]
        gradients = [self._name(v) for v in inner if (v.name or "").endswith(".grad")]
        if gradients:
            which = f"gradient {gradients[0]} is" if len(gradients) == 1 else f"gradients {_listed(gradients)} are"
            text += f": the optimizer's update; the {which} never written to memory"
        yield f"  {text}"

    # --- what it does not hold

    def _apart(self, cluster: Cluster) -> Iterator[str]:
        groups: dict[tuple[str, str], list[int]] = {}
        for other, (verb, values) in self._neighbours(cluster).items():
            what = f"{verb} {_listed(self._name(v) or 'a constant' for v in values)}"
            groups.setdefault((what, self._reason(cluster, other)), []).append(self.number[other])
        if groups:
            yield "  apart from"
        for (what, reason), numbers in sorted(groups.items(), key=lambda item: min(item[1])):
            yield f"    {_kernels(numbers)}, {what}: {reason}"

    def _neighbours(self, cluster: Cluster) -> dict[Cluster, tuple[str, list[Value]]]:
        """Every kernel next to one, in what way, and by which values."""
        partition = self.partition
        found: dict[Cluster, tuple[str, list[Value]]] = {}
        for other in partition.predecessors(cluster):
            found[other] = ("giving", [v for v in other.results if v in cluster.reads])
        for other in partition.successors(cluster):
            found[other] = ("reading", [v for v in cluster.results if v in other.reads])
        for value in (v for v in cluster.reads if v.type.size > 1):
            for other in dict.fromkeys(partition.cluster_of[node] for node in partition.readers[value]):
                if other is not cluster:
                    verb, values = found.setdefault(other, ("also reading", []))
                    if verb == "also reading":
                        values.append(value)
        return found

    def _reason(self, cluster: Cluster, other: Cluster) -> str:
        a, b = sorted((cluster, other), key=lambda c: c.index)
        is_handed_over = b in self.partition.successors(a) or a in self.partition.successors(b)
        no_siblings = None if is_handed_over else why_no_siblings(a, b)
        found = no_siblings or self.partition.merged(a, b, with_prologue=is_handed_over)
        if not isinstance(found, Refusal):
            return "nothing forbids it, but other kernels were merged first"
        return found.text.format(*(self._about(item, (a, b)) for item in found.about))

    def _about(self, item: object, pair: Sequence[Cluster]) -> str:
        if isinstance(item, Cluster):
            return _kernels([self.number[item]])
        if isinstance(item, Node):
            return f"{item.name} ({_line(item)})"
        if isinstance(item, Elsewhere):
            return self._elsewhere(item.value, pair)
        return self._value(item) if isinstance(item, Value) else str(item)

    def _elsewhere(self, value: Value, pair: Sequence[Cluster]) -> str:
        clusters = (self.partition.cluster_of[node] for node in self.partition.readers.get(value, ()))
        readers = dict.fromkeys(self.number[cluster] for cluster in clusters if cluster not in pair)
        if readers:
            return f"is also read by {_kernels(list(readers))}"
        return "is wanted in memory" if value in self.program.wanted else "is needed elsewhere in the kernel too"

    def _name(self, value: Value) -> str:
        """The name of a value, empty where it has none."""
        found = self.names.get(self.program.base(value))
        return found or (name_text("%", value.name) if value.name else "")

    def _value(self, value: Value) -> str:
        node = self.program.producer.get(value)
        name = self._name(value) or (f"the result of {node.name}" if node else "a constant")
        return f"{name} {value.type}"


def _matched(fused: Graph, scheduled: Graph) -> dict[Value, Value]:
    """The value that stands for each value of `fused` in `scheduled`, which has the same kernels in another order, and
    perhaps copies between them."""
    found: dict[Value, Value] = {}
    states = dict(zip(fused.args, scheduled.args, strict=True))
    pending = list(zip(fused.results, scheduled.results, strict=True))
    pending += [(new, scheduled.updates[states[state]]) for state, new in fused.updates.items()]
    while pending:
        before, after = pending.pop()
        if before in found:
            continue
        while after.op is not None and _is_copy(after.op) and not (before.op is not None and _is_copy(before.op)):
            (after,) = after.op.operands
        found[before] = after
        if before.op is not None and after.op is not None:
            found.update(zip(before.op.results, after.op.results, strict=True))
            pending += zip(before.op.operands, after.op.operands, strict=True)
    return found


def _is_copy(op: Op) -> bool:
    return op.name == "fused" and not op.regions[0].ops


def _leading_to(cluster: Cluster, value: Value) -> set[Node]:
    """The nodes of a kernel that compute one value."""
    found: set[Node] = set()
    wanted = {value}
    for node in reversed(cluster.members):
        if not wanted.isdisjoint(node.results):
            found.add(node)
            wanted.update(node.operands)
    return found


def _by_line(what: str, nodes: Iterable[Node]) -> Iterator[str]:
    """Ops, how often each, by the user's lines."""
    lines: dict[str, Counter[str]] = {}
    for node in nodes:
        lines.setdefault(_line(node), Counter())[node.name] += 1
    for line, counts in lines.items():
        yield f"  {what}{', '.join(f'{n} {name}' if n > 1 else name for name, n in counts.items())}  ; {line}"


def _line(node: Node) -> str:
    location = node.op.location if node.op is not None else None
    return f"{PurePath(location.file).name}:{location.line}" if location else "no line"


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return ", ".join(found[:_SHOWN]) + more


def _kernels(numbers: Sequence[int]) -> str:
    *first, last = map(str, sorted(numbers))
    return f"kernels {', '.join(first)} and {last}" if first else f"kernel {last}"
