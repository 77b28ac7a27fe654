"""Build the SQLite file of a database that a model wrote.

Its statements are as untrusted as any SQL: only CREATE TABLE is run, under an authorizer and a deadline; rows
are bound as parameters. A row that does not fit (wrong number of values, a key that exists twice or nowhere)
is left out and counted. Foreign keys are checked when all rows are in: tables may refer to each other.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sense.databases.sqlite import quote
from sense.strong.written import SynthDatabase, SynthTable

BUILD_SECONDS = 10.0  # a few hundred rows take milliseconds
MAX_VALUE_BYTES = 100_000  # of a text or a statement: a hundred times what a sensible one has
MAX_STATEMENT_CHARS = 20_000
MAX_COLUMNS = 200
_CREATING = {
    sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_CREATE_INDEX,  # SQLite makes one for UNIQUE and PRIMARY KEY
    sqlite3.SQLITE_INSERT,
    sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_REINDEX,
    sqlite3.SQLITE_TRANSACTION,
    sqlite3.SQLITE_FUNCTION,  # CHECK and DEFAULT may call them; none that SQLite has by itself writes files
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What became of a database: rows in by table, and what was left out."""

    rows: dict[str, int]
    rejected_rows: list[str]


@dataclass(frozen=True, slots=True)
class Unbuildable:
    """Why a database could not be built."""

    reason: str


def build(database: SynthDatabase, path: Path) -> Built | Unbuildable:
    """Write the database file; it appears whole or not at all."""
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    result = _build(database, part)
    if isinstance(result, Built):
        part.replace(path)
    else:
        part.unlink(missing_ok=True)
    return result


def _build(database: SynthDatabase, path: Path) -> Built | Unbuildable:
    deadline = time.monotonic() + BUILD_SECONDS

    def is_late() -> bool:
        return time.monotonic() > deadline

    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            _fence(connection, is_late)
            names: list[str] = []
            for table in database.tables:
                if not _is_plain_create(table.create):
                    return Unbuildable(f"table {table.name!r}: not a plain CREATE TABLE statement")
                connection.execute(table.create)
                created = [name for name in _table_names(connection) if name not in names]
                if not created:
                    return Unbuildable(f"table {table.name!r} is created twice")
                names += created
            connection.set_authorizer(None)  # what follows is ours
            unknown = _unknown_parent(connection, names)
            if unknown is not None:
                return Unbuildable(unknown)
            rejected = _fill(connection, list(zip(names, database.tables, strict=True)), is_late)
            rows = {name: _count_rows(connection, name) for name in names}
            connection.execute("COMMIT")
            return Built(rows=rows, rejected_rows=rejected)
    except (sqlite3.Error, UnicodeEncodeError, TimeoutError) as error:
        late = f"not built within {BUILD_SECONDS:g} s"
        return Unbuildable(late if is_late() else f"{type(error).__name__}: {error}")


def _fence(connection: sqlite3.Connection, is_late: Callable[[], bool]) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, MAX_COLUMNS)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.execute("PRAGMA journal_mode = MEMORY")  # a kill leaves no journal beside the next file
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN")
    connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_OK if action in _CREATING else sqlite3.SQLITE_DENY
    )
    connection.set_progress_handler(is_late, 100)  # a single function call may take long


def _is_plain_create(sql: str) -> bool:
    """Tell whether a text is one CREATE TABLE that lists its columns."""
    if len(sql) > MAX_STATEMENT_CHARS or "_rowid_" in sql.lower():  # the latter would hide SQLite's own
        return False
    try:
        statements = sqlglot.parse(sql, dialect="sqlite")
    except (SqlglotError, RecursionError):
        return False
    statements = [statement for statement in statements if not isinstance(statement, exp.Semicolon)]
    statement = statements[0] if len(statements) == 1 else None
    return isinstance(statement, exp.Create) and statement.kind == "TABLE" and statement.expression is None


def _table_names(connection: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    return [name for (name,) in connection.execute(query)]


def _unknown_parent(connection: sqlite3.Connection, names: Sequence[str]) -> str | None:
    """Say which table refers to one that is not there; None if none does."""
    there = {name.lower() for name in names}
    for name in names:
        for key in connection.execute(f"PRAGMA foreign_key_list({quote(name)})").fetchall():
            if key[2].lower() not in there:
                return f"table {name!r} refers to a table {key[2]!r} that is not there"
    return None


def _fill(
    connection: sqlite3.Connection, tables: Sequence[tuple[str, SynthTable]], is_late: Callable[[], bool]
) -> list[str]:
    """Insert the rows that fit; returns what was left out and why."""
    rejected: list[str] = []
    numbers: dict[tuple[str, int | None], int] = {}
    for name, table in tables:
        width = len(connection.execute(f"SELECT * FROM {quote(name)} LIMIT 0").description)
        insert = f"INSERT INTO {quote(name)} VALUES ({', '.join('?' * width)})"
        for number, row in enumerate(table.rows, start=1):
            if is_late():
                raise TimeoutError
            if len(row) != width:
                rejected.append(f"{name}, row {number}: {len(row)} values for {width} columns")
                continue
            try:
                cursor = connection.execute(insert, row)
            except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeEncodeError) as error:
                rejected.append(f"{name}, row {number}: {error}")
                continue
            if cursor.rowcount == 1:
                numbers[name, cursor.lastrowid] = number
            else:  # the table says ON CONFLICT IGNORE
                rejected.append(f"{name}, row {number}: its key exists already")
    return rejected + _drop_dangling(connection, numbers, is_late)


def _drop_dangling(
    connection: sqlite3.Connection, numbers: dict[tuple[str, int | None], int], is_late: Callable[[], bool]
) -> list[str]:
    """Delete rows whose key exists nowhere, then the rows that referred to these, until every key holds."""
    rejected: list[str] = []
    while found := connection.execute("PRAGMA foreign_key_check").fetchall():
        if is_late():
            raise TimeoutError
        parents = {(table, row_id): parent for table, row_id, parent, _ in found}
        for (table, row_id), parent in parents.items():
            connection.execute(f"DELETE FROM {quote(table)} WHERE _rowid_ = ?", [row_id])
            rejected.append(f"{table}, row {numbers[table, row_id]}: its key is not in {parent!r}")
    return rejected


def _count_rows(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {quote(name)}").fetchone()[0])
