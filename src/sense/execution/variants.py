"""Variants of a database: the same tables and keys, other rows.

Rows are drawn from the original's values and from what gold queries compare them with, so that conditions are
met, nearly met and missed; foreign keys mostly point at rows that are there. Of the original only its CREATE
TABLE, INDEX and VIEW statements are run, under an authorizer and a deadline; rows are bound as parameters.
Triggers and virtual tables are not made.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sense.databases.gold_facts import gold_facts
from sense.databases.schema import schema_of_file
from sense.databases.sqlite import open_read_only, quote
from sense.databases.structure import StoredTable, Structure, read_structure
from sense.errors import DatabaseError
from sense.execution.filler import Filler, Source, insert_statement
from sense.execution.outcome import Row
from sense.execution.run import FORBIDDEN_FUNCTIONS

BUILD_SECONDS = 20.0  # a few hundred rows take milliseconds; a CHECK or an expression may take long
SCANNED_ROWS = 50_000  # rows of a table that are looked at for values
SAMPLED_ROWS = 300  # rows of a table that are kept to copy from
MAX_VALUE_CHARS = 500  # a longer text tells no more and makes every variant large
MAX_VALUE_BYTES = 1_000_000
MAX_COLUMNS = 2_000  # SQLite's own
PAGE_BYTES = 1024  # each table and index takes a page at least
CREATES = ("CREATE TABLE", "CREATE INDEX", "CREATE UNIQUE INDEX", "CREATE VIEW")
_CREATING = {
    sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_CREATE_INDEX,
    sqlite3.SQLITE_CREATE_VIEW,
    sqlite3.SQLITE_INSERT,  # the schema's own table is written so
    sqlite3.SQLITE_UPDATE,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_REINDEX,
    sqlite3.SQLITE_TRANSACTION,
}


@dataclass(frozen=True, slots=True)
class Unbuildable:
    """Why a variant could not be built."""

    reason: str


def read_source(database: Path, golds: Sequence[str]) -> Source:
    """Read what variants are drawn from: the database and what gold queries ask of it.

    Raises:
        DatabaseError: the database cannot be read, or has no tables.
    """
    structure = read_structure(database)
    with closing(open_read_only(database)) as connection:
        try:
            samples = {table.name: _sample(connection, table) for table in structure.tables}
        except sqlite3.DatabaseError as error:
            raise DatabaseError(f"{database}: not readable as an SQLite database: {error}") from None
    # The file's own schema: that of tables.json may spell names otherwise.
    facts = gold_facts(golds, schema_of_file(database, database.stem))
    return Source(structure=structure, samples=samples, facts=facts)


def make_variant(source: Source, path: Path, *, rng: random.Random) -> Unbuildable | None:
    """Write one variant to a path where there is no file yet; None if that went well."""
    if source.structure.virtual:
        return Unbuildable(f"{source.structure.virtual[0]!r} is a virtual table, which cannot be made anew")
    return _build(source.structure, path, lambda connection: Filler(connection, source, rng).fill())


def reverse_variant(source: Source, variant: Path, path: Path) -> Unbuildable | None:
    """Write a variant's rows in reverse: what a query leaves open shows in that the two answers differ.

    A table with an INTEGER PRIMARY KEY, or without row ids, keeps its order.
    """

    def fill(connection: sqlite3.Connection) -> None:
        with closing(open_read_only(variant)) as before:
            for table in source.structure.tables:
                listed = ", ".join(quote(column.name) for column in table.columns)
                rows = before.execute(f"SELECT {listed} FROM {quote(table.name)}").fetchall()
                connection.executemany(insert_statement(table), reversed(rows))

    return _build(source.structure, path, fill)


def _sample(connection: sqlite3.Connection, table: StoredTable) -> tuple[Row, ...]:
    """Take rows at even distances; long values are cut."""
    listed = ", ".join(
        f"CASE WHEN length({name}) > {MAX_VALUE_CHARS} AND typeof({name}) IN ('text', 'blob') "
        f"THEN substr({name}, 1, {MAX_VALUE_CHARS}) ELSE {name} END"
        for name in (quote(column.name) for column in table.columns)
    )
    rows = connection.execute(f"SELECT {listed} FROM {quote(table.name)} LIMIT {SCANNED_ROWS}").fetchall()
    step = max(1, len(rows) // SAMPLED_ROWS)
    return tuple(rows[::step])


def _build(
    structure: Structure, path: Path, fill: Callable[[sqlite3.Connection], None]
) -> Unbuildable | None:
    deadline = time.monotonic() + BUILD_SECONDS

    def is_late() -> bool:
        return time.monotonic() > deadline

    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
            connection.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, MAX_COLUMNS)
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            # Before each other: a journal would lie beside the file, and the page size is set once.
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("BEGIN")
            connection.set_progress_handler(is_late, 1_000)
            connection.set_authorizer(_authorize)
            for statement in structure.create:
                if not " ".join(statement.upper().split()[:3]).startswith(CREATES):
                    raise sqlite3.Warning(f"not a plain CREATE statement: {statement[:60]!r}")
                connection.execute(statement)
            connection.set_authorizer(_authorize_rows)
            fill(connection)
            connection.set_authorizer(None)
            connection.execute("COMMIT")
    except (sqlite3.Error, sqlite3.Warning, UnicodeError) as error:
        path.unlink(missing_ok=True)
        return Unbuildable(f"not built within {BUILD_SECONDS:g} s" if is_late() else str(error))
    return None


def _authorize(action: int, *details: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:  # CHECK, DEFAULT and generated columns may call them
        return sqlite3.SQLITE_DENY if str(details[1]).lower() in FORBIDDEN_FUNCTIONS else sqlite3.SQLITE_OK
    return sqlite3.SQLITE_OK if action in _CREATING else sqlite3.SQLITE_DENY


def _authorize_rows(action: int, *details: str | None) -> int:
    if action in (sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_CREATE_VIEW):
        return sqlite3.SQLITE_DENY
    return _authorize(action, *details)
