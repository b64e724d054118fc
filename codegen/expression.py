"""Emits what one element of a value takes to compute, pulled from a region's results towards its arguments.

`Elements` is the emitter that all kinds of kernel share. It is asked for the element of a value at an index, writes the
statements that are missing, each into the outermost loop that it depends on, and remembers them for as long as that
loop is open. Nothing under a condition is hoisted out of it, so no load ever leaves its buffer.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Sequence
from typing import Any

from graphc.codegen.index import Condition, Index, ravel
from graphc.codegen.scalar_text import HALVES, Expression, ScalarText, Term
from graphc.codegen.source import Source
from graphc.ir.graph import Block, Op, Value
from graphc.ir.opdef import Access, lookup
from graphc.ir.text.lexer import name_text, quote
from graphc.ir.types import DType, bool_, i64

At = tuple[Index, ...]
Element = Callable[[At], "Expression | None"]

# How a buffer of a dtype is read and written; plain indexing for the rest.
_LOAD = {bool_: "load_bool", **{d: f"load_{d}" for d in HALVES}}
_STORE = {bool_: "store_bool", **{d: f"store_{d}" for d in HALVES}}


class Elements:
    """The elements of one region's values. `slots` numbers the pointer of each argument, then of each result.
    `used` collects every index that was written, `places` those of them that are places in memory."""

    def __init__(self, region: Block, slots: Sequence[int], source: Source):
        self.region = region
        self.source = source
        self.used: list[Index] = []
        self.places: list[Index] = []
        self.scalars = ScalarText(source, self.used.append)
        self._argument_slots = dict(zip(region.args, slots, strict=False))
        self._result_slots = list(slots[len(region.args) :])
        self._position = {op: i for i, op in enumerate(region.ops)}
        self._bound: dict[Value, Element] = {}
        self._bound_depth = 0

    # --- what emitters call

    def bind(self, value: Value, element: Element, depth: int) -> None:
        """From now on, `element(index)` gives the elements of `value`, except those for which it returns None. They
        need the block at `depth` to be open."""
        self._bound[value] = element
        self._bound_depth = max(self._bound_depth, depth)

    def of(self, value: Value, index: Sequence[Index | int]) -> Expression:
        """The element of `value` at an index of its shape."""
        at = tuple(Index.of(i) for i in index)
        texts = tuple(i.text for i in at)
        for op in self._missing(value, texts):
            self._remember(op.result, texts, self._pointwise(op, at))
        found = self.source.recall((value, texts))
        if found is None:
            found = self._remember(value, texts, self._computed(value, at))
        return found

    def load(self, slot: int, dtype: DType, place: Index) -> Expression:
        """Read the element at a linear index of a pointer parameter."""
        return self.load_from(f"p{slot}", dtype, place, f"x{slot}")

    def load_from(self, pointer: str, dtype: DType, place: Index, hint: str, depth: int = 0) -> Expression:
        """Read an element through a pointer variable, no further out than the block at `depth`."""
        self._note(place)
        text = f"{_LOAD[dtype]}({pointer}, {place.text})" if dtype in _LOAD else f"{pointer}[{place.text}]"
        return self.scalars.assign(Expression(text, dtype, max(place.depth, depth)), dtype, hint)

    def load_result(self, value: Value, index: Sequence[Index], depth: int) -> Expression:
        """Read back an element of a result that is already stored, no further out than the block at `depth`."""
        slot = self._result_slots[self.region.results.index(value)]
        return self.load_from(f"p{slot}", value.type.dtype, ravel(index, value.type.shape), f"x{slot}", depth)

    def store(self, result: int, index: Sequence[Index | int], element: Expression) -> None:
        """Write an element of the region's result of that number."""
        type_ = self.region.results[result].type
        place = ravel([Index.of(i) for i in index], type_.shape)
        self.store_to(f"p{self._result_slots[result]}", type_.dtype, place, element)

    def store_to(self, pointer: str, dtype: DType, place: Index, element: Expression) -> None:
        """Write an element through a pointer variable."""
        self._note(place)
        if element.index is not None:
            self.used.append(element.index)
        if dtype in _STORE:
            self.source.line(f"{_STORE[dtype]}({pointer}, {place.text}, {element.text})")
        else:
            self.source.line(f"{pointer}[{place.text}] = {element.text}")

    def apply(
        self, function: Callable[..., Term], operands: Sequence[Expression], dtype: DType, hint: str
    ) -> Expression:
        """`function(scalars, *operands)`, rounded to `dtype` if that is a half precision."""
        term = function(self.scalars, *map(self.scalars.leaf, operands))
        return self.scalars.write(term, dtype, hint)

    def constant(self, value: float | int | bool, dtype: DType) -> Expression:
        """A constant of the register type of `dtype`."""
        return self.scalars.constant(value, dtype)

    def checked_index(self, element: Expression, size: int) -> Index:
        """An integer element as an index of an axis: a fault is raised unless 0 <= element < size."""
        known = element.index
        if known is not None and known.low >= 0 and known.high < size:
            return known
        if known is not None:
            self.used.append(known)
        wide = element.text if element.dtype == i64 else f"cast_i64({element.text})"
        depth = max(element.depth, self.source.guard_depth)
        name = self.source.fresh("at")
        self.source.line(f"{name} = check_range({wide}, 0, {size}, fault)", depth=depth)
        return Index.variable(name, 0, size - 1, depth)

    def _note(self, place: Index) -> None:
        self.places.append(place)
        self.used.append(place)

    # --- how elements come about

    def _missing(self, value: Value, texts: tuple[str, ...]) -> list[Op]:
        """The pointwise ops that lead to `value` and have no element at this index yet, in order. Going through them
        one by one keeps the depth of recursion to that of the layout ops."""
        found: set[Op] = set()
        pending = [value]
        while pending:
            current = pending.pop()
            op = current.op
            if op is None or op in found or current in self._bound or lookup(op.name).kind != "pointwise":
                continue
            if self.source.recall((current, texts)) is None:
                found.add(op)
                pending.extend(op.operands)
        return sorted(found, key=self._position.__getitem__)

    def _remember(self, value: Value, texts: tuple[str, ...], element: Expression) -> Expression:
        self.source.remember((value, texts), element, max(element.depth, self.source.guard_depth))
        return element

    def _computed(self, value: Value, at: At) -> Expression:
        if value in self._bound:
            found = self._bound[value](at)
            if found is not None:
                return found
        if value.op is None:
            return self.load(self._argument_slots[value], value.type.dtype, ravel(at, value.type.shape))
        kind = lookup(value.op.name).kind
        if kind == "pointwise":
            return self._pointwise(value.op, at)
        if kind == "generate":
            return self._generate(value.op, at)
        if kind == "layout":
            return self._layout(value.op, at)
        if kind == "gather":
            return self._gather(value.op, at)
        raise NotImplementedError(
            f"{value.op.name} ({kind}) has no element of its own; the emitter must bind its result"
        )

    def _pointwise(self, op: Op, at: At) -> Expression:
        operands = [self.scalars.leaf(self.of(v, at)) for v in op.operands]
        return self._scalar(op, operands)

    def _generate(self, op: Op, at: At) -> Expression:
        linear = Expression.of_index(ravel(at, op.result.type.shape))
        operands = [self.scalars.leaf(x) for x in (linear, *(self.of(v, ()) for v in op.operands))]
        return self._scalar(op, operands)

    def _scalar(self, op: Op, operands: Sequence[Term]) -> Expression:
        record = lookup(op.name)
        assert record.scalar is not None
        term = record.scalar(self.scalars, op, *operands)
        return self.scalars.write(term, op.result.type.dtype, op.name, origin(op))

    def _layout(self, op: Op, at: At) -> Expression:
        accesses: list[Access] = []
        for access in _accesses(op, at):
            if access.when is not False:
                accesses.append(access)
            if access.when is None or access.when is True:
                break
        if accesses and not isinstance(accesses[0].when, Condition):
            return self._accessed(op, accesses[0])
        return self._chosen(op, accesses)

    def _chosen(self, op: Op, accesses: Sequence[Access]) -> Expression:
        """The first access whose condition holds, else the fill value."""
        dtype = op.result.type.dtype
        fill = self._fill(op)
        if not accesses:
            assert fill is not None
            return fill
        conditions = [a.when for a in accesses if isinstance(a.when, Condition)]
        compared = [i for c in conditions for i in c.indices]
        self.used += compared
        read = [Index.of(i) for a in accesses for i in a.index]
        needed = max(self.source.guard_depth, self._bound_depth, *(i.depth for i in (*compared, *read)))
        depth = min(needed, self.source.depth)  # elements bound in a block that is closed by now are not asked for
        name = self.source.fresh(op.name)
        comment = origin(op)
        with self.source.at(depth):
            for number, access in enumerate(accesses):
                keyword = "elif" if number else "if"
                header = f"{keyword} {access.when.text}:" if isinstance(access.when, Condition) else "else:"
                with self.source.block(header, guard=True):
                    self.source.line(f"{name} = {self._accessed(op, access).text}", comment)
            if len(conditions) == len(accesses):
                assert fill is not None, f"{op.name} does not say what stands where no operand does"
                with self.source.block("else:", guard=True):
                    self.source.line(f"{name} = {fill.text}")
        return Expression(name, dtype, depth)

    def _fill(self, op: Op) -> Expression | None:
        """What stands where a layout op has no operand's element."""
        value: Any = op.attributes.get("value")
        if value is None:
            return None
        dtype = op.result.type.dtype
        return self.apply(lambda s: s.const(value, dtype.accumulator), (), dtype, op.name)

    def _accessed(self, op: Op, access: Access) -> Expression:
        operand = op.operands[access.operand]
        within = [Index.of(i).within(0, n - 1) for i, n in zip(access.index, operand.type.shape, strict=True)]
        return self.of(operand, within)

    def _gather(self, op: Op, at: At) -> Expression:
        indices, data = _accesses(op, at)
        source = op.operands[data.operand]
        axis = data.index.index(None)
        place = self.checked_index(self.of(op.operands[indices.operand], indices.index), source.type.shape[axis])
        if source.type.size == 0:
            return self.constant(0, source.type.dtype.accumulator)
        return self.of(source, (*data.index[:axis], place, *data.index[axis + 1 :]))


def _accesses(op: Op, at: At) -> Sequence[Access]:
    record = lookup(op.name)
    assert record.index_map is not None
    return record.index_map(op, at)


def origin(op: Op) -> str:
    """Where an op came from, for a comment: the name of its value and the user's line. It stays on one line whatever
    they hold: names may come from text, and the comment stands in source that is executed."""
    name = name_text("%", op.results[0].name) if op.results and op.results[0].name else ""
    place = f"{_on_one_line(os.path.basename(op.location.file))}:{op.location.line}" if op.location else ""
    return " ".join(filter(None, (name, place)))


def _on_one_line(text: str) -> str:
    return text if text.isprintable() else quote(text)
