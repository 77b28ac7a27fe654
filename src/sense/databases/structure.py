"""How an SQLite file is built: its CREATE statements, and what a row of each table has to keep to.

`databases.schema` is what a model is told of a database; this is what is needed to make another one like it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sense.databases.schema import spider_type
from sense.databases.sqlite import open_read_only, quote
from sense.errors import DatabaseError

_ORDINARY = 0  # `hidden` in PRAGMA table_xinfo: a generated column has no value of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredColumn:
    """A column that has values of its own; `kind` is one of Spider's five types."""

    name: str
    kind: str
    not_null: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Columns that hold the values of another table's columns, in the same order."""

    columns: tuple[str, ...]
    to_table: str
    to_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTable:
    """A table; `keys` are the sets of columns of which no two rows may agree, the primary key first."""

    name: str
    columns: tuple[StoredColumn, ...]
    keys: tuple[tuple[str, ...], ...]
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """The statements that make an empty copy, in order, and its tables. Triggers are left out.

    `virtual` names the virtual tables, whose rows only the modules that made them can store.
    """

    create: tuple[str, ...]
    tables: tuple[StoredTable, ...]
    virtual: tuple[str, ...]


def read_structure(path: Path) -> Structure:
    """Read how a database is built.

    Raises:
        DatabaseError: the file is missing or no SQLite database.
    """
    with closing(open_read_only(path)) as connection:
        try:
            found = connection.execute(
                "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND type <> 'trigger' "
                "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
                "ORDER BY CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 ELSE 2 END, rowid"
            ).fetchall()
            virtual = tuple(name for _, name, sql in found if sql.upper().startswith("CREATE VIRTUAL"))
            names = {name.lower(): name for kind, name, _ in found if kind == "table" and name not in virtual}
            tables = tuple(_table(connection, name, names) for name in names.values())
        except sqlite3.DatabaseError as error:
            raise DatabaseError(f"{path}: not readable as an SQLite database: {error}") from None
    create = tuple(sql for _, name, sql in found if name not in virtual)
    return Structure(create=create, tables=tables, virtual=virtual)


def _table(connection: sqlite3.Connection, name: str, names: dict[str, str]) -> StoredTable:
    rows = connection.execute(f"PRAGMA table_xinfo({quote(name)})").fetchall()
    columns = tuple(
        StoredColumn(name=row[1], kind=spider_type(row[2] or ""), not_null=bool(row[3]) or row[5] > 0)
        for row in rows
        if row[6] == _ORDINARY
    )
    primary = tuple(row[1] for row in sorted(rows, key=lambda row: int(row[5])) if row[5] > 0)
    keys = [primary] if primary else []
    for index in connection.execute(f"PRAGMA index_list({quote(name)})").fetchall():
        parts = connection.execute(f"PRAGMA index_info({quote(index[1])})").fetchall()
        key = tuple(part[2] for part in parts)
        # A part without a name is an expression.
        if index[2] and None not in key and key not in keys:
            keys.append(key)
    return StoredTable(
        name=name, columns=columns, keys=tuple(keys), references=_references(connection, name, names)
    )


def _references(connection: sqlite3.Connection, name: str, names: dict[str, str]) -> tuple[Reference, ...]:
    """Read a table's foreign keys, names spelled as the tables spell them; dangling ones are passed over."""
    parts: dict[int, list[tuple[int, str, str, str | None]]] = {}
    for row in connection.execute(f"PRAGMA foreign_key_list({quote(name)})").fetchall():
        parts.setdefault(row[0], []).append((row[1], row[2], row[3], row[4]))
    own = _spelled(connection, name)
    found: dict[Reference, None] = {}
    for _, listed in sorted(parts.items()):
        listed.sort()
        to_table = names.get(listed[0][1].lower())
        if to_table is None:
            continue
        theirs = _spelled(connection, to_table)
        primary = _primary_key(connection, to_table)
        to = [part[3] or (primary[part[0]] if part[0] < len(primary) else "") for part in listed]
        mine = [own.get(part[2].lower()) for part in listed]
        other = [theirs.get(column.lower()) for column in to]
        columns = tuple(column for column in mine if column is not None)
        to_columns = tuple(column for column in other if column is not None)
        if len(columns) == len(to_columns) == len(listed):
            found[Reference(columns=columns, to_table=to_table, to_columns=to_columns)] = None
    return tuple(found)


def _spelled(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    rows = connection.execute(f"PRAGMA table_xinfo({quote(table)})").fetchall()
    return {row[1].lower(): row[1] for row in rows}


def _primary_key(connection: sqlite3.Connection, table: str) -> list[str]:
    rows = connection.execute(f"PRAGMA table_info({quote(table)})").fetchall()
    return [row[1] for row in sorted(rows, key=lambda row: int(row[5])) if row[5] > 0]
