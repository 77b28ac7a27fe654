"""Run one query that nobody vouches for: it can read its database and nothing else, and it ends in time.

What it cannot do in its own process: stop SQLite inside one long instruction (a LIKE pattern made to explode,
say). `execution.pool` runs queries in processes that can be killed.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from sense.databases.sqlite import open_read_only, quote
from sense.execution.outcome import Ending, Refused, Row, Rows, SqlError, Timeout, TooMuch, Value

ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
FORBIDDEN_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}
ACTION_NAMES = {
    sqlite3.SQLITE_ATTACH: "ATTACH",
    sqlite3.SQLITE_DELETE: "DELETE",
    sqlite3.SQLITE_INSERT: "INSERT or CREATE",  # a new table is a new row of sqlite_master
    sqlite3.SQLITE_PRAGMA: "PRAGMA",
    sqlite3.SQLITE_TRANSACTION: "a transaction",
    sqlite3.SQLITE_UPDATE: "UPDATE",
}

CHECK_EVERY = 10_000  # SQLite instructions between two looks at the clock: well under a millisecond
CHUNK_ROWS = 1_000  # rows between two looks at the clock and the caps; a chunk is all that can be over them
MAX_SQL_BYTES = 1_000_000  # far above any query that a model writes
# What CPython takes beside the text: it keeps a cap on bytes honest for a million small numbers.
ROW_OVERHEAD_BYTES, VALUE_OVERHEAD_BYTES = 56, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one query may use.

    `max_bytes` bounds a whole result in memory, `max_value_bytes` one value or stored row, `memory_bytes` the
    address space of a worker process. A worker that is silent for `grace_s` after the deadline is killed.
    """

    timeout_s: float = 30.0
    max_rows: int = 1_000_000
    max_bytes: int = 256 * 2**20
    max_value_bytes: int = 16 * 2**20
    memory_bytes: int = 2 * 2**30
    grace_s: float = 5.0


class _Guard:
    """Decides while a statement is compiled, and watches the clock while it runs."""

    def __init__(self, timeout_s: float) -> None:
        self.refusal: str | None = None
        self._is_select = False
        self._deadline = time.monotonic() + timeout_s

    def authorize(self, action: int, *details: str | None) -> int:
        name = details[1]  # of the function; a table, file or setting comes first
        self._is_select |= action == sqlite3.SQLITE_SELECT
        # The full-text module asks for this by itself while it answers a SELECT.
        if action == sqlite3.SQLITE_PRAGMA and details[0] == "data_version" and self._is_select:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and str(name).lower() in FORBIDDEN_FUNCTIONS:
            self.refusal = f"function {name} is not allowed"
        elif action not in ALLOWED:
            self.refusal = f"only reading is allowed, not {ACTION_NAMES.get(action, 'this')}"
        else:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    def is_late(self) -> bool:
        return time.monotonic() >= self._deadline


def run_query(database: Path, sql: str, *, limits: Limits) -> Ending:
    """Run one statement on a fresh, read-only connection.

    Raises:
        DatabaseError: the database is missing or not an SQLite file.
    """
    if "\0" in sql:
        return SqlError("the query holds a NUL character")
    connection = open_read_only(database)
    guard = _Guard(limits.timeout_s)
    try:
        _fence(connection, guard, limits)
        return _fetch(connection.execute(sql), guard, limits)
    except MemoryError:
        return TooMuch("out of memory")
    except (sqlite3.Error, sqlite3.Warning, UnicodeError) as error:
        return _ending_of(error, guard, limits)
    finally:
        connection.close()


def size_bytes(rows: tuple[Row, ...] | list[Row]) -> int:
    """Estimate what rows take in memory."""
    return sum(ROW_OVERHEAD_BYTES + sum(map(_value_bytes, row)) for row in rows)


def _fence(connection: sqlite3.Connection, guard: _Guard, limits: Limits) -> None:
    # Sorting spills to files otherwise: gigabytes of them for a large join.
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.max_value_bytes)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, MAX_SQL_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0)
    connection.set_progress_handler(guard.is_late, CHECK_EVERY)
    _connect_virtual_tables(connection)
    connection.set_authorizer(guard.authorize)


def _connect_virtual_tables(connection: sqlite3.Connection) -> None:
    """Use each virtual table once: on first use a module declares its columns, which looks like a write."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%'")
    for name in ["json_each", "json_tree", *(quote(name) for (name,) in found.fetchall())]:
        with contextlib.suppress(sqlite3.Error):  # its module is not there; a query that needs it will say so
            connection.execute(f"SELECT 1 FROM {name} LIMIT 0")


def _fetch(cursor: sqlite3.Cursor, guard: _Guard, limits: Limits) -> Ending:
    if cursor.description is None:
        return SqlError("there is no statement")
    rows: list[Row] = []
    used_bytes = 0
    # So many rows of the largest values allowed are all that can be over the cap.
    at_once = max(1, min(CHUNK_ROWS, limits.max_bytes // limits.max_value_bytes))
    while chunk := cursor.fetchmany(at_once):
        rows += chunk
        used_bytes += size_bytes(chunk)
        if len(rows) > limits.max_rows:
            return TooMuch(f"more than {limits.max_rows} rows")
        if used_bytes > limits.max_bytes:
            return TooMuch(f"more than {limits.max_bytes / 2**20:g} MiB of rows")
        if guard.is_late():
            return Timeout(limits.timeout_s)
    return Rows(len(cursor.description), tuple(rows))


def _ending_of(error: Exception, guard: _Guard, limits: Limits) -> Ending:
    if guard.refusal is not None:
        return Refused(guard.refusal)
    # Python up to 3.11 calls it a Warning, later ones a ProgrammingError; SQLite itself has no code for it.
    if "one statement at a time" in str(error):
        return Refused("more than one statement")
    if isinstance(error, sqlite3.DataError):  # a value, a row or the query itself is too long
        return TooMuch(str(error))
    match getattr(error, "sqlite_errorcode", None):
        case sqlite3.SQLITE_INTERRUPT:
            return Timeout(limits.timeout_s)
        case sqlite3.SQLITE_READONLY:
            return Refused(str(error))
        case _:
            return SqlError(str(error))


def _value_bytes(value: Value) -> int:
    return VALUE_OVERHEAD_BYTES + len(value) if isinstance(value, str | bytes) else VALUE_OVERHEAD_BYTES
