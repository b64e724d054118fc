"""Text -> Graph, by recursive descent. The grammar stands in `docs/ir.md`.

Parsing checks what a reader of the text can see: names, attributes against the op's schema, operand counts, and every
declared type against the op's own shape rule. The rules of a stage are the verifier's.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphc.ir.attributes import Attribute
from graphc.ir.errors import GraphcError
from graphc.ir.graph import STAGES, Block, Graph, Op, Value
from graphc.ir.location import Location
from graphc.ir.opdef import AttrSpec, OpDef, lookup, registered
from graphc.ir.text.cursor import Cursor, suggestion
from graphc.ir.text.lexer import Source, Token, unquote
from graphc.ir.text.literals import parse_attribute, parse_type, parse_types
from graphc.ir.types import DType, TensorType

_MAX_NESTING = 16  # of regions in regions
_Scope = dict[tuple[str, bool], Value]  # by name and whether it is a number


def parse(text: str, filename: str = "<text>", locate: bool = False) -> Graph:
    """The one graph that `text` holds. With `locate`, an op that names no location gets its line in the text.
    Raises ParseError, which points at the place in the text."""
    cursor = Cursor(Source(text, filename))
    graph = _GraphParser(cursor, locate).parse()
    if not cursor.at("end"):
        raise cursor.error(f"expected the end of the text after one graph, found {cursor.token}")
    return graph


def parse_all(text: str, filename: str = "<text>", locate: bool = False) -> list[Graph]:
    """Every graph of `text`, which may hold none. Otherwise as `parse`."""
    cursor = Cursor(Source(text, filename))
    graphs: list[Graph] = []
    while not cursor.at("end"):
        graphs.append(_GraphParser(cursor, locate).parse())
    return graphs


class _GraphParser:
    def __init__(self, cursor: Cursor, locate: bool):
        self.cursor = cursor
        self.locate = locate
        self.nesting = 0

    def parse(self) -> Graph:
        cursor = self.cursor
        cursor.expect("graph")
        name = cursor.expect("symbol", "the graph's name, such as @main").text
        stage = self.stage()
        scope: _Scope = {}
        inputs, states = self.signature(scope)
        cursor.expect("->")
        declared = [] if self.accept_nothing() else parse_types(cursor)
        cursor.expect("{")
        ops = self.ops(scope, "return")
        keyword = cursor.expect("return")
        results = self.operands(scope) if cursor.at("value") else []
        if len(results) != len(declared):
            raise cursor.error(f"{len(results)} values are returned, {len(declared)} declared", keyword)
        for (token, value), (_, type) in zip(results, declared, strict=True):
            if value.type != type:
                raise cursor.error(f"{token} has type {value.type}, the graph declares {type}", token)
        updates = self.updates(scope, states)
        cursor.expect("}")
        return Graph(name, inputs, states, ops, [v for _, v in results], updates, stage)

    def stage(self) -> str:
        if not self.cursor.accept("["):
            return STAGES[0]
        token = self.cursor.expect("name", "a stage")
        if token.text not in STAGES:
            raise self.cursor.error(f"unknown stage {token}; stages are {', '.join(STAGES)}", token)
        self.cursor.expect("]")
        return token.text

    def signature(self, scope: _Scope) -> tuple[list[Value], list[Value]]:
        cursor = self.cursor
        cursor.expect("(", "'(' and the arguments")
        inputs = self.arguments(scope) if cursor.at("value") else []
        states: list[Value] = []
        if cursor.accept("separator"):
            cursor.expect("state")
            states = self.arguments(scope)
        cursor.expect(")", "',' or ')'")
        return inputs, states

    def arguments(self, scope: _Scope) -> list[Value]:
        args = [self.argument(scope)]
        while self.cursor.accept(","):
            args.append(self.argument(scope))
        return args

    def argument(self, scope: _Scope) -> Value:
        token = self.cursor.expect("value", "an argument")
        self.cursor.expect(":", "':' and the argument's type")
        value = Value(parse_type(self.cursor))
        self.define(scope, token, value)
        return value

    def updates(self, scope: _Scope, states: list[Value]) -> dict[Value, Value]:
        cursor = self.cursor
        updates: dict[Value, Value] = {}
        if not cursor.accept("separator"):
            return updates
        cursor.expect("update")
        known = set(states)
        while True:
            target, state = self.operand(scope)
            cursor.expect("=")
            token, value = self.operand(scope)
            if state not in known:
                raise cursor.error(f"{target} is not a state", target)
            if state in updates:
                raise cursor.error(f"{target} is updated twice", target)
            if state.type != value.type:
                raise cursor.error(f"{target} has type {state.type}, its update {token} {value.type}", token)
            updates[state] = value
            if not cursor.accept(","):
                return updates

    def ops(self, scope: _Scope, ending: str) -> list[Op]:
        cursor = self.cursor
        ops: list[Op] = []
        while not cursor.at(ending):
            if cursor.at("separator"):
                raise cursor.error("a '; update' clause stands on the return line, a '; state' clause in the signature")
            if not cursor.at("value") and not cursor.at("name"):
                raise cursor.error(f"expected an op or {ending!r}, found {cursor.token}")
            ops.append(self.op(scope))
        return ops

    def op(self, scope: _Scope) -> Op:
        cursor = self.cursor
        targets: list[Token] = []
        if cursor.at("value"):
            targets.append(cursor.next())
            while cursor.accept(","):
                targets.append(cursor.expect("value", "the name of a result"))
            cursor.expect("=", "',' or '='")
        name = cursor.expect("name", "the name of an op")
        record = self.record(name)
        operands = self.operands(scope) if cursor.at("value") else []
        if record.n_operands is not None and len(operands) != record.n_operands:
            raise cursor.error(f"{record.name} takes {record.n_operands} operands, this one has {len(operands)}", name)
        attributes = self.attributes(record, name)
        regions = self.regions(record, name, operands)
        values = [value for _, value in operands]
        types = self.infer(record, name, values, attributes, regions)
        self.check_results(name, targets, types)
        op = Op(record.name, values, types, attributes, regions, self.location(name))
        for token, value in zip(targets, op.results, strict=True):
            self.define(scope, token, value)
        return op

    def record(self, name: Token) -> OpDef:
        try:
            return lookup(name.text)
        except KeyError:
            raise self.cursor.error(f"unknown op {name}{suggestion(name.text, registered())}", name) from None

    def attributes(self, record: OpDef, name: Token) -> dict[str, Attribute]:
        cursor = self.cursor
        found: dict[str, Attribute] = {}
        if cursor.accept("{"):
            self.attribute(record, found)
            while cursor.accept(","):
                self.attribute(record, found)
            cursor.expect("}", "',' or '}'")
        try:
            return record.complete(found)
        except GraphcError as error:
            raise cursor.error(error.message, name) from None

    def attribute(self, record: OpDef, into: dict[str, Attribute]) -> None:
        cursor = self.cursor
        key = cursor.expect("name", "an attribute")
        if key.text not in record.attrs:
            hint = suggestion(key.text, record.attrs) or f"; it takes: {', '.join(record.attrs) or 'none'}"
            raise cursor.error(f"{record.name} has no attribute {key}{hint}", key)
        if key.text in into:
            raise cursor.error(f"attribute {key} is given twice", key)
        cursor.expect("=")
        start = cursor.token
        value = parse_attribute(cursor)
        spec = record.attrs[key.text]
        if not spec.accepts(value):
            raise cursor.error(f"attribute {key} of {record.name} must be {_expected(spec)}", start)
        into[key.text] = value

    def regions(self, record: OpDef, name: Token, operands: Sequence[tuple[Token, Value]]) -> list[Block]:
        cursor = self.cursor
        if record.kind != "fused":
            if cursor.at("("):
                raise cursor.error(f"{record.name} takes no region")
            return []
        if self.nesting == _MAX_NESTING:
            raise cursor.error(f"regions nest deeper than {_MAX_NESTING}", name)
        self.nesting += 1
        scope: _Scope = {}
        cursor.expect("(", f"the region of {record.name}, '(arguments) {{ ops }}'")
        args = self.arguments(scope) if cursor.at("value") else []
        cursor.expect(")", "',' or ')'")
        if [a.type for a in args] != [v.type for _, v in operands]:
            raise cursor.error("a region takes one argument per operand, of the same type", name)
        cursor.expect("{")
        ops = self.ops(scope, "yield")
        cursor.expect("yield")
        results = self.operands(scope) if cursor.at("value") else []
        cursor.expect("}")
        self.nesting -= 1
        return [Block(args, ops, [value for _, value in results])]

    def infer(
        self,
        record: OpDef,
        name: Token,
        operands: Sequence[Value],
        attributes: dict[str, Attribute],
        regions: Sequence[Block],
    ) -> list[TensorType]:
        if regions:
            return [value.type for value in regions[0].results]
        try:
            return list(record.infer([v.type for v in operands], attributes))
        except GraphcError as error:
            raise self.cursor.error(error.message, name) from None
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # A rule that trips over nonsense instead of naming it: still the text's fault.
            raise self.cursor.error(f"{record.name} does not accept this: {error}", name) from error

    def check_results(self, name: Token, targets: Sequence[Token], types: Sequence[TensorType]) -> None:
        cursor = self.cursor
        if len(targets) != len(types):
            raise cursor.error(f"{name.text} has {len(types)} results, {len(targets)} are named", name)
        colon = cursor.accept(":") if not types else cursor.expect(":", "':' and the types of the results")
        declared = parse_types(cursor) if colon else []
        if len(declared) != len(types):
            raise cursor.error(f"{name.text} has {len(types)} results, {len(declared)} types are declared", name)
        for (token, type), inferred in zip(declared, types, strict=True):
            if type != inferred:
                raise cursor.error(f"{name.text} gives {inferred} here, not {type}", token)

    def operands(self, scope: _Scope) -> list[tuple[Token, Value]]:
        found = [self.operand(scope)]
        while self.cursor.accept(","):
            found.append(self.operand(scope))
        return found

    def operand(self, scope: _Scope) -> tuple[Token, Value]:
        token = self.cursor.expect("value", "a value")
        value = scope.get(_key(token))
        if value is None:
            hint = suggestion("%" + token.text, ["%" + name for name, _ in scope])
            if not hint and self.nesting:
                hint = "; a region sees its own arguments and values only"
            raise self.cursor.error(f"undefined value {token}{hint}", token)
        return token, value

    def define(self, scope: _Scope, token: Token, value: Value) -> None:
        key = _key(token)
        if key in scope:
            raise self.cursor.error(f"{token} is defined twice", token)
        scope[key] = value
        name, is_number = key
        value.name = None if is_number else name

    def location(self, name: Token) -> Location | None:
        comment = self.cursor.comment_after()
        found = _read_location(comment) if comment else None
        return Location(self.cursor.source.filename, name.line) if found is None and self.locate else found

    def accept_nothing(self) -> bool:
        """Take `()`, which stands for no types."""
        if self.cursor.accept("("):
            self.cursor.expect(")")
            return True
        return False


def _key(token: Token) -> tuple[str, bool]:
    return token.text, not token.quoted and token.text[0].isdigit()


def _read_location(comment: str) -> Location | None:
    """`file:line` with the file quoted where it is not plain; None for any other comment."""
    file, colon, line = comment.rpartition(":")
    if not colon or not (line.isascii() and line.isdigit() and len(line) <= 9) or file != file.strip() or not file:
        return None
    if file.startswith('"'):
        try:
            file = unquote(file)
        except ValueError:
            return None
    return Location(file, int(line))


def _expected(spec: AttrSpec) -> str:
    if spec.choices:
        return f"one of {', '.join(map(repr, spec.choices))}"
    words = {
        "ints": "a list of integers",
        "scalar": "a number, true or false",
        bool: "true or false",
        int: "an integer",
        float: "a number with a decimal point",
        str: "a string",
        DType: "an element type",
    }
    return words.get(spec.type, "dense<type, elements>")
