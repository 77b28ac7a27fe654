"""Build the SQLite file of a database that a model wrote.

Its statements are as untrusted as any SQL: only CREATE TABLE is run, under an authorizer and a deadline; rows are
bound as parameters. A row that does not fit (wrong number of values, a key that exists twice or nowhere) is left out
and counted.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sense.databases.sqlite import quote
from sense.strong.written import SynthDatabase, SynthTable

BUILD_SECONDS = 10.0  # a few hundred rows take milliseconds
MAX_VALUE_BYTES = 100_000
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
    sqlite3.SQLITE_FUNCTION,  # CHECK and DEFAULT may call them; none of those that SQLite has by itself writes files
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
    part.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(part, isolation_level=None)
    deadline = time.monotonic() + BUILD_SECONDS
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, MAX_COLUMNS)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_OK if action in _CREATING else sqlite3.SQLITE_DENY
    )
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
    try:
        connection.execute("BEGIN")
        names: list[str] = []
        for table in database.tables:
            name = _created_table(table)
            if name is None:
                return Unbuildable(f"table {table.name!r}: not a plain CREATE TABLE statement")
            connection.execute(table.create)
            names.append(name)
        built = _fill(connection, list(zip(names, database.tables, strict=True)))
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        return Unbuildable(f"{type(error).__name__}: {error}")
    finally:
        connection.close()
        if not path.exists() and part.exists():
            _settle(part, path)
    return built


def _settle(part: Path, path: Path) -> None:
    """Give a database that was committed its name; drop one that was not."""
    connection = sqlite3.connect(part)
    whole = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0
    connection.close()
    if whole:
        part.replace(path)
    else:
        part.unlink()


def _created_table(table: SynthTable) -> str | None:
    """Name the table that a statement creates; None if it does anything else."""
    try:
        statements = sqlglot.parse(table.create, dialect="sqlite")
    except (SqlglotError, RecursionError):
        return None
    statement = statements[0] if len(statements) == 1 else None
    if not isinstance(statement, exp.Create) or statement.kind != "TABLE" or statement.expression is not None:
        return None
    created = statement.find(exp.Table)
    return created.name if created is not None else None


def _fill(connection: sqlite3.Connection, tables: Sequence[tuple[str, SynthTable]]) -> Built:
    counts: dict[str, int] = {}
    rejected: list[str] = []
    for name, table in tables:
        counts[name] = 0
        width = len(connection.execute(f"SELECT * FROM {quote(name)} LIMIT 0").description)
        insert = f"INSERT INTO {quote(name)} VALUES ({', '.join('?' * width)})"
        for number, row in enumerate(table.rows, start=1):
            if len(row) != width:
                rejected.append(f"{name}, row {number}: {len(row)} values for {width} columns")
                continue
            try:
                connection.execute(insert, row)
                counts[name] += 1
            except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError) as error:
                rejected.append(f"{name}, row {number}: {error}")
    return Built(rows=counts, rejected_rows=rejected)
