"""A database's schema: tables, columns, keys; from an SQLite file or Spider's `tables.json`, and back."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sense.databases.sqlite import open_read_only, quote
from sense.errors import DatabaseError, DataError

TABLES_FILE = "tables.json"
SPIDER_TYPES = ("text", "number", "time", "boolean", "others")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column; `type` is one of Spider's five: text, number, time, boolean, others."""

    name: str
    type: str
    primary_key: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table and its columns in the order of the database."""

    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignKey:
    """`table.column` refers to `to_table.to_column`."""

    table: str
    column: str
    to_table: str
    to_column: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What a model has to know of a database's structure."""

    db_id: str
    tables: tuple[Table, ...]
    foreign_keys: tuple[ForeignKey, ...]


def schema_of_file(path: Path, db_id: str) -> Schema:
    """Read the schema of an SQLite file.

    Raises:
        DatabaseError: the file is missing, no SQLite database, or has no tables.
    """
    connection = open_read_only(path)
    try:
        names = [
            row[0]
            for row in connection.execute(
                "SELECT name FROM sqlite_master "
                "WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            )
        ]
        tables = tuple(Table(name=name, columns=_columns(connection, name)) for name in names)
        foreign_keys = tuple(key for table in tables for key in _foreign_keys(connection, table, tables))
    except sqlite3.DatabaseError as error:
        raise DatabaseError(f"{path}: not readable as an SQLite database: {error}") from None
    finally:
        connection.close()
    if not tables:
        raise DatabaseError(f"{path}: the database has no tables")
    return Schema(db_id=db_id, tables=tables, foreign_keys=foreign_keys)


def load_schema(data: Path, db_id: str, database: Path) -> Schema:
    """Take a schema from the folder's tables.json if it has one, else from the database file itself."""
    entry = _entries(data / TABLES_FILE).get(db_id)
    return schema_of_file(database, db_id) if entry is None else schema_of_entry(entry)


def schema_of_entry(entry: dict[str, Any]) -> Schema:
    """Read one entry of Spider's tables.json.

    Raises:
        DataError: the entry lacks a field or refers to a column that it does not list.
    """
    try:
        names: list[str] = entry["table_names_original"]
        columns: list[tuple[int, str]] = [(int(t), str(c)) for t, c in entry["column_names_original"]]
        types = [
            str(name) if name in SPIDER_TYPES else spider_type(str(name)) for name in entry["column_types"]
        ]
        primary = {i for key in entry["primary_keys"] for i in (key if isinstance(key, list) else [key])}
        tables = tuple(
            Table(
                name=name,
                columns=tuple(
                    Column(name=column, type=types[i], primary_key=i in primary)
                    for i, (owner, column) in enumerate(columns)
                    if owner == t
                ),
            )
            for t, name in enumerate(names)
        )
        foreign_keys = tuple(
            ForeignKey(table=table, column=column, to_table=to_table, to_column=to_column)
            for (table, column), (to_table, to_column) in (
                (_place(names, columns, a), _place(names, columns, b)) for a, b in entry["foreign_keys"]
            )
        )
        return Schema(db_id=entry["db_id"], tables=tables, foreign_keys=foreign_keys)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(f"{TABLES_FILE}: database {entry.get('db_id')!r}: {error!r}") from None


def _place(names: list[str], columns: list[tuple[int, str]], index: int) -> tuple[str, str]:
    """Name the table and column that an index of tables.json stands for; 0 is `*`, which is no column."""
    if not 0 < index < len(columns) or not 0 <= columns[index][0] < len(names):
        raise IndexError(f"no column {index}")
    owner, column = columns[index]
    return names[owner], column


def entry_of_schema(schema: Schema) -> dict[str, Any]:
    """Write a schema as an entry of Spider's tables.json."""
    columns: list[list[Any]] = [[-1, "*"]]
    types = ["text"]
    position: dict[tuple[str, str], int] = {}
    primary: list[int] = []
    for t, table in enumerate(schema.tables):
        for column in table.columns:
            position[table.name, column.name] = len(columns)
            if column.primary_key:
                primary.append(len(columns))
            columns.append([t, column.name])
            types.append(column.type)
    return {
        "db_id": schema.db_id,
        "table_names_original": [table.name for table in schema.tables],
        "table_names": [_plain(table.name) for table in schema.tables],
        "column_names_original": columns,
        "column_names": [[t, _plain(name)] for t, name in columns],
        "column_types": types,
        "primary_keys": primary,
        "foreign_keys": [
            [position[key.table, key.column], position[key.to_table, key.to_column]]
            for key in schema.foreign_keys
        ],
    }


def spider_type(declared: str) -> str:
    """Map a declared SQL type to Spider's five.

    >>> spider_type("VARCHAR(20)"), spider_type("decimal(10,2)"), spider_type("DATETIME"), spider_type("bool")
    ('text', 'number', 'time', 'boolean')
    """
    name = declared.lower()
    for kind, marks in _TYPE_MARKS:
        if any(mark in name for mark in marks):
            return kind
    return "others"


_TYPE_MARKS = (
    ("boolean", ("bool", "bit")),
    ("text", ("char", "text", "clob", "string", "enum")),
    ("time", ("date", "time", "year")),
    ("number", ("int", "real", "floa", "doub", "num", "dec", "money", "serial")),
)


def _columns(connection: sqlite3.Connection, table: str) -> tuple[Column, ...]:
    rows = connection.execute(f"PRAGMA table_info({quote(table)})").fetchall()
    return tuple(Column(name=row[1], type=spider_type(row[2] or ""), primary_key=row[5] > 0) for row in rows)


def _foreign_keys(
    connection: sqlite3.Connection, table: Table, tables: tuple[Table, ...]
) -> list[ForeignKey]:
    """Read the keys of one table, names spelled as the tables spell them; dangling ones are passed over."""
    by_name = {other.name.lower(): other for other in tables}
    keys: list[ForeignKey] = []
    for row in connection.execute(f"PRAGMA foreign_key_list({quote(table.name)})").fetchall():
        target = by_name.get(row[2].lower())
        if target is None:
            continue
        # No column named: the primary key of the other table is meant, part by part.
        to_name = row[4] or dict(enumerate(_primary_key(connection, target.name))).get(row[1], "")
        own = next((c.name for c in table.columns if c.name.lower() == row[3].lower()), None)
        other = next((c.name for c in target.columns if c.name.lower() == to_name.lower()), None)
        if own is not None and other is not None:
            keys.append(ForeignKey(table=table.name, column=own, to_table=target.name, to_column=other))
    return sorted(keys, key=lambda key: (key.table, key.column, key.to_table))


def _primary_key(connection: sqlite3.Connection, table: str) -> list[str]:
    rows = connection.execute(f"PRAGMA table_info({quote(table)})").fetchall()
    return [row[1] for row in sorted(rows, key=lambda row: int(row[5])) if row[5] > 0]


@lru_cache(maxsize=8)
def _entries(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {entry["db_id"]: entry for entry in entries}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    except (KeyError, TypeError):
        raise DataError(f"{path}: a list of objects with 'db_id' is expected") from None


def _plain(name: str) -> str:
    return name.replace("_", " ").lower()
