"""Cut SQL into the few kinds of tokens that matter where text is changed: what is quoted stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
      (?P<quoted>  '(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] )
    | (?P<comment> --[^\r\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<word>    [^\W\d][\w$]* )
    | (?P<end>     ; )
    | (?P<other>   \d[\w.]* | . )
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """A piece of SQL. `kind` is one of quoted, comment, word, end (a semicolon), other."""

    kind: str
    text: str


def tokens(sql: str) -> Iterator[Token]:
    """Yield the tokens of a query; joined, they are the query.

    >>> [token.text for token in tokens("SELECT 'a;b'; x") if token.kind != "other"]
    ['SELECT', "'a;b'", ';', 'x']
    """
    for match in _TOKEN.finditer(sql):
        assert match.lastgroup is not None
        yield Token(match.lastgroup, match.group())
