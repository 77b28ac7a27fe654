"""Make an over-long schema text shorter by leaving out whole tables that no query at hand uses.

Works on the texts that `schema_text` writes. Nothing is ever cut within a line or a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_NAME = r'("(?:[^"]|"")*"|[^\s.("]+)'
_TABLE = re.compile(rf"^(?:table|CREATE TABLE) {_NAME} \(", re.MULTILINE)
_COMPACT_KEY = re.compile(rf"^{_NAME}\.{_NAME} = {_NAME}\.{_NAME}\n", re.MULTILINE)
_DDL_KEY = re.compile(rf"^  FOREIGN KEY \({_NAME}\) REFERENCES {_NAME}\({_NAME}\),\n", re.MULTILINE)
_DDL_END = "\n);\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A table's part of the text."""

    name: str
    start: int
    end: int


def prune(schema_text: str, queries: Iterable[str], *, fits: Callable[[str], bool]) -> str | None:
    """Leave out tables that no query names, the last first, until the text fits; None if it never does.

    >>> text = "database d\\ntable a ( x text )\\ntable b ( y text )\\ntable c ( z text )\\n"
    >>> prune(text, ["SELECT y FROM B"], fits=lambda text: len(text) < 50)
    'database d\\ntable a ( x text )\\ntable b ( y text )\\n'
    """
    if fits(schema_text):
        return schema_text
    tables = _tables(schema_text)
    words = {word.casefold() for sql in queries for word in _words(sql)}
    gone: set[str] = set()
    for table in reversed(tables):
        if table.name in words:
            continue
        gone.add(table.name)
        shorter = _without(schema_text, tables, gone)
        if fits(shorter):
            return shorter
    return None


def _tables(text: str) -> list[_Table]:
    found: list[_Table] = []
    for match in _TABLE.finditer(text):
        if match[0].startswith("table "):
            end = text.index("\n", match.end()) + 1
        else:
            end = text.index(_DDL_END, match.end()) + len(_DDL_END)
        found.append(_Table(name=_plain(match[1]), start=match.start(), end=end))
    return found


def _without(text: str, tables: list[_Table], gone: set[str]) -> str:
    """Take out tables, and the foreign keys that name them."""
    kept: list[str] = []
    at = 0
    for table in tables:
        if table.name in gone:
            kept.append(text[at : table.start])
            at = table.end
    shorter = "".join([*kept, text[at:]])
    shorter = _COMPACT_KEY.sub(lambda m: "" if {_plain(m[1]), _plain(m[3])} & gone else m[0], shorter)
    return _DDL_KEY.sub(lambda m: "" if _plain(m[2]) in gone else m[0], shorter)


def _words(sql: str) -> Iterable[str]:
    """Yield all that could be a table's name: bare words, and what stands in any kind of quotes."""
    yield from re.findall(r"\w+", sql)
    for quoted in re.findall(r'"((?:[^"]|"")*)"|`([^`]*)`|\[([^\]]*)\]|\'([^\']*)\'', sql):
        yield from (" ".join(part.replace('""', '"').split()) for part in quoted if part)


def _plain(name: str) -> str:
    return (name[1:-1].replace('""', '"') if name.startswith('"') else name).casefold()
