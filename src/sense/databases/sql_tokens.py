"""Cut SQL into tokens without a parser: all of it, to change the text, or only what is code, to read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""
      (?P<quoted>  '(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*(?:\]|\Z) )
    | (?P<comment> --[^\r\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<word>    [^\W\d][\w$]* )
    | (?P<end>     ; )
    | (?P<other>   \d[\w.]* | . )
    """,
    re.VERBOSE | re.DOTALL,
)
# A bracket that is never closed takes the rest: else each of a million of them would look to the end for its
# partner.
_QUOTED_NAME = r'"[^"]*"(?:"[^"]*")*+ | `[^`]*`(?:`[^`]*`)*+ | \[[^\]]*(?:\]|\Z)'
_CODE = re.compile(
    rf"""
      --[^\r\n]* | /\*.*?(?:\*/|\Z)
    | ( (?:[^\W\d][\w$]*+ | {_QUOTED_NAME}) (?:\s*+\.\s*+(?:[^\W\d][\w$]*+ | {_QUOTED_NAME} | \*))*+
      | '[^']*'(?:'[^']*')*+
      | \.?\d[\w.]*+(?:(?<=e)[+-]\d+)?
      | ->>? | \|\| | [<>=!]+ | \S )
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


def code_tokens(sql: str) -> list[str]:
    """List a query's words, literals and marks in lower case, without white space and comments.

    A name keeps its qualifier: no keyword has one, and names that look like keywords mostly do.

    >>> code_tokens("SELECT T1.Name -- who\\nFROM t AS T1 WHERE T1 . [the age]>=4")
    ['select', 't1.name', 'from', 't', 'as', 't1', 'where', 't1 . [the age]', '>=', '4']
    """
    return [token for token in _CODE.findall(sql.lower()) if token]
