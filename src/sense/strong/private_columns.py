"""Columns whose values nobody outside may see: which they are, and SQL that pretends to know such a value."""

from __future__ import annotations

import difflib
import re
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from sqlglot import exp

from sense.databases.gold_facts import Names, Place, parse
from sense.databases.schema import Schema
from sense.errors import ConfigError, nearest

# What holds one thing against another.
_COMPARING = (
    exp.EQ, exp.NEQ, exp.NullSafeEQ, exp.NullSafeNEQ, exp.Is, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like,
    exp.Glob, exp.RegexpLike, exp.Match, exp.In, exp.Between, exp.Nullif, exp.StrPosition,
)  # fmt: skip
_CONSTANTS = (exp.Literal, exp.Boolean, exp.HexString)
# SQLite does not say which columns these joins compare.
_SILENT_JOIN = re.compile(r"\b(?:natural|using)\b", re.IGNORECASE)


def matching(entry: str, columns: Iterable[Place]) -> set[Place]:
    """List the columns that an entry like `person.ssn`, `person.*` or `*.email` names, in any case.

    >>> sorted(matching("*.Email", [Place("Person", "email"), Place("person", "age")]))
    [Place(table='Person', column='email')]
    """
    wanted = entry.lower()
    names = {place: f"{place.table}.{place.column}".lower() for place in columns}
    return {place for place, name in names.items() if name == wanted or fnmatchcase(name, wanted)}


def check_entries(entries: Sequence[str], columns: Collection[Place]) -> None:
    """Raise ConfigError for an entry that names no column: what is misspelled would be sent."""
    for entry in entries:
        if not matching(entry, columns):
            names = sorted({f"{place.table}.{place.column}" for place in columns})
            close = difflib.get_close_matches(entry, names, n=5, cutoff=0)
            raise ConfigError(f"private {entry!r}: no such column; {nearest(entry, close)}")


def with_referring(private: Iterable[Place], schema: Schema) -> frozenset[Place]:
    """Add the columns that hold the same values: those that refer to private ones, or that these refer to."""
    found = set(private)
    pairs = [
        {Place(key.table, key.column), Place(key.to_table, key.to_column)} for key in schema.foreign_keys
    ]
    while more := {place for pair in pairs if pair & found for place in pair} - found:
        found |= more
    return frozenset(found)


def compared_with_a_value(sql: str, private: Collection[Place], schema: Schema) -> str | None:
    """Name a private column that a query holds against a value; None if it does not, or cannot be parsed.

    In doubt a column counts as private: by its name alone where its table cannot be told, or where a subquery
    hands a private one on under another name. Counts are values of no column.
    """
    tree = parse(sql) if private else None
    if tree is None:
        return None
    finder = _Finder(tree, private, schema)
    for node in tree.find_all(*_COMPARING, exp.Case):
        if isinstance(node, exp.Case) and node.this is None:
            continue  # its conditions compare by themselves
        sides = list(_sides(node))
        if any(finder.is_value(side) for side in sides):
            for side in sides:
                if (name := finder.private_in(side)) is not None:
                    return name
    return None


def reads_only(sql: str, told: Collection[Place], connection: sqlite3.Connection) -> bool:
    """Tell whether a query reads no columns but these, as SQLite itself says; False if it cannot be prepared.

    To read the rows of a table without looking into them, as count(*) does, is to read no column of it.
    """
    if _SILENT_JOIN.search(sql):
        return False
    allowed = set(told) | {Place(place.table, "") for place in told}
    read: set[Place] = set()

    def note(action: int, table: str | None, column: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_READ:
            read.add(Place(table or "", column or ""))
        return sqlite3.SQLITE_OK

    connection.set_authorizer(note)
    try:
        connection.execute(f"EXPLAIN {sql}")
    except (sqlite3.Error, sqlite3.Warning, ValueError):  # no SQL, several statements, no Unicode
        return False
    finally:
        connection.set_authorizer(None)
    return read <= allowed


def _sides(node: exp.Expr) -> Iterable[exp.Expr]:
    if isinstance(node, exp.Case):
        return [node.this, *(branch.this for branch in node.args.get("ifs") or [])]
    parts = list(node.iter_expressions())
    pairs = [part for side in parts if isinstance(side, exp.Tuple) for part in side.expressions]
    return [*(part for part in parts if not isinstance(part, exp.Tuple)), *pairs]


class _Finder:
    """Finds private columns in parts of a query."""

    def __init__(self, tree: exp.Expr, private: Collection[Place], schema: Schema) -> None:
        self._private = private
        self._known = Names(schema)
        self._names = {place.column.lower() for place in private}
        while more := self._handed_on(tree) - self._names:
            self._names |= more

    def is_value(self, node: exp.Expr) -> bool:
        """Tell whether a part is made of constants alone; NULL is none."""
        parts = list(node.walk())
        texts = [part for part in parts if isinstance(part, exp.Column)]
        constants = [part for part in parts if isinstance(part, _CONSTANTS)]
        has_query = any(isinstance(part, exp.Query) for part in parts)
        return not has_query and bool(constants or texts) and all(map(self._known.is_text, texts))

    def private_in(self, node: exp.Expr) -> str | None:
        """Name a private column of a part; what is only counted is passed over."""
        for column in node.find_all(exp.Column):
            above = column.parent
            while above is not None and above is not node.parent and not isinstance(above, exp.Count):
                above = above.parent
            if not isinstance(above, exp.Count) and self._is_private(column):
                return column.sql(dialect="sqlite")
        return None

    def _is_private(self, column: exp.Column) -> bool:
        place = self._known.place(column)
        return place in self._private if place is not None else column.name.lower() in self._names

    def _handed_on(self, tree: exp.Expr) -> set[str]:
        """List the names under which subqueries hand private columns on."""
        found: set[str] = set()
        for select in tree.find_all(exp.Select):
            private = [
                part for part in select.expressions if any(map(self._is_private, part.find_all(exp.Column)))
            ]
            found |= {part.alias.lower() for part in private if isinstance(part, exp.Alias)}
            outer = select.find_ancestor(exp.CTE, exp.Subquery) if private else None
            if outer is not None:
                found |= {name.lower() for name in outer.alias_column_names}
        return found
