"""A place in a token stream, and errors that point at tokens."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

from graphc.ir.errors import ParseError
from graphc.ir.text.lexer import Source, Token, tokenize


class Cursor:
    """Walks the tokens of one text. A token is asked for by its kind ("value") or, for marks and names, by its text
    ("{", "yield")."""

    def __init__(self, source: Source):
        self.source = source
        self.tokens, self.comments = tokenize(source)
        self.position = 0

    @property
    def token(self) -> Token:
        """The next token, which stays."""
        return self.tokens[self.position]

    def next(self) -> Token:
        """Take the next token. The end is never passed."""
        token = self.tokens[self.position]
        if token.kind != "end":
            self.position += 1
        return token

    def at(self, wanted: str) -> bool:
        """Whether the next token is of this kind or text."""
        token = self.token
        return token.kind == wanted or (token.kind in ("mark", "name") and token.text == wanted)

    def accept(self, wanted: str) -> Token | None:
        """Take the next token if it is the one wanted."""
        return self.next() if self.at(wanted) else None

    def expect(self, wanted: str, description: str = "") -> Token:
        """Take the next token, which must be the one wanted."""
        if not self.at(wanted):
            raise self.error(f"expected {description or repr(wanted)}, found {self.token}")
        return self.next()

    def error(self, message: str, token: Token | None = None) -> ParseError:
        """The error that points at `token`, by default the next one."""
        return self.source.error(message, (token or self.token).offset)

    def comment_after(self) -> str | None:
        """The comment on the line of the token last taken, if that token is the last on its line."""
        last = self.tokens[self.position - 1]
        following = self.token
        if following.line == last.line and following.kind != "end":
            return None
        return self.comments.get(last.line)


def suggestion(name: str, known: Iterable[str]) -> str:
    """The ending "; did you mean 'x'?" for the nearest known name, or nothing. Looks at the first thousand."""
    close = difflib.get_close_matches(name, islice(known, 1000), n=1) if len(name) <= 64 else []
    return f"; did you mean {close[0]!r}?" if close else ""
