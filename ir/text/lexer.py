"""Splits IR text into tokens.

`;` opens a comment that runs to the end of the line, except directly before `state %` and `update %`, where it is the
separator of the signature and of the `return` line. Comments are kept by line, because a comment after an op may hold
its location.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from graphc.ir.errors import ParseError
from graphc.ir.location import Location

PLAIN_NAME = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
_ESCAPED = {v: "\\" + k for k, v in _ESCAPES.items()}
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+)
  | (?P<separator>;(?=[ \t]*(?:state|update)[ \t]+%))
  | (?P<comment>;[^\n]*)
  | (?P<value>%(?:[A-Za-z_][\w.]*|[0-9]+|(?=")))
  | (?P<symbol>@(?:[A-Za-z_][\w.]*|(?=")))
  | (?P<name>[A-Za-z_][\w.]*)
  | (?P<float>-?[0-9]+(?:\.[0-9]*(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))
  | (?P<integer>-?[0-9]+)
  | (?P<negative>-(?=inf\b))
  | (?P<string>"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*")
  | (?P<mark>->|[(){}\[\],:=<>])
    """,
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True)
class Token:
    """`kind` is value, symbol, name, float, integer, negative, string, separator, mark or end. `text` is the content:
    of a string without its quotes and escapes, of a value or symbol without `%` or `@`. `quoted` tells `%"0"` from
    `%0`. `offset` is where it starts in the text."""

    kind: str
    text: str
    offset: int
    line: int
    quoted: bool = False

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the text"
        shown = self.text if len(self.text) <= 40 else self.text[:40] + "..."
        mark = {"value": "%", "symbol": "@"}.get(self.kind, "")
        return mark + quote(shown) if self.kind == "string" or self.quoted else f"'{mark}{shown}'"


class Source:
    """A text and its name, for pointing at places in it."""

    def __init__(self, text: str, filename: str):
        self.text = text
        self.filename = filename

    def error(self, message: str, offset: int) -> ParseError:
        """The error that points at `offset`."""
        start = self.text.rfind("\n", 0, offset) + 1
        end = self.text.find("\n", offset)
        line = self.text.count("\n", 0, offset) + 1
        source = self.text[start : end if end >= 0 else len(self.text)]
        return ParseError(message, Location(self.filename, line), offset - start + 1, source)


def quote(text: str) -> str:
    """`text` as a string literal on one line, readable by `unquote`."""
    return '"' + "".join(_ESCAPED.get(c) or (c if c.isprintable() else _numeric_escape(c)) for c in text) + '"'


def unquote(literal: str) -> str:
    """What a string literal (with its quotes) stands for. Raises ValueError for an unknown escape."""
    return _ESCAPE.sub(_unescape, literal[1:-1])


def name_text(mark: str, name: str) -> str:
    """A value or symbol as it is written: quoted unless it is plain."""
    return mark + (name if PLAIN_NAME.fullmatch(name) else quote(name))


def tokenize(source: Source) -> tuple[list[Token], dict[int, str]]:
    """The tokens, ended by one of kind "end", and the comment of each line that has one, without its `;`."""
    text = source.text
    tokens: list[Token] = []
    comments: dict[int, str] = {}
    offset, line = 0, 1
    while offset < len(text):
        found = _TOKEN.match(text, offset)
        if found is None:
            raise source.error(_unexpected(text, offset), offset)
        kind, content, start = str(found.lastgroup), found.group(), offset
        offset = found.end()
        if kind == "space":
            line += content.count("\n")
        elif kind == "comment":
            comments[line] = content[1:].strip()
        elif kind in ("value", "symbol") and len(content) == 1:
            literal = _TOKEN.match(text, offset)
            if literal is None or literal.lastgroup != "string":
                raise source.error("this string has no end on its line", offset)
            offset = literal.end()
            tokens.append(Token(kind, _string(source, literal.group(), start + 1), start, line, quoted=True))
        elif kind == "string":
            tokens.append(Token(kind, _string(source, content, start), start, line))
        else:
            tokens.append(Token(kind, content[1:] if kind in ("value", "symbol") else content, start, line))
    tokens.append(Token("end", "", len(text), line))
    return tokens, comments


def _string(source: Source, literal: str, offset: int) -> str:
    try:
        return unquote(literal)
    except ValueError as error:
        raise source.error(str(error), offset) from None


def _unescape(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    if code is None:
        if found[3] not in _ESCAPES:
            raise ValueError(f"unknown escape \\{found[3]} in a string")
        return _ESCAPES[found[3]]
    if int(code, 16) > 0x10FFFF:
        raise ValueError(f"\\U{code} is not a character")
    return chr(int(code, 16))


def _numeric_escape(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _unexpected(text: str, offset: int) -> str:
    if text[offset] == '"':
        return "this string has no end on its line"
    if text[offset] in "%@":
        return f"a name is missing after '{text[offset]}'"
    return f"unexpected character {text[offset]!r}"
