"""Run one query that nobody vouches for: it can read its database and nothing else, and it ends in time.

What it cannot do in its own process: stop SQLite inside one long instruction (a LIKE pattern made to explode,
say). `execution.pool` runs queries in processes that can be killed.
"""

from __future__ import annotations

import contextlib
import marshal
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from sense.databases.sqlite import decode_leniently, open_read_only, quote
from sense.errors import DatabaseError
from sense.execution.outcome import Ending, Refused, Row, Rows, SqlError, Timeout, TooMuch

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
SMALL_ROW_BYTES = 10_000
NOT_UTF8 = "Could not decode to UTF-8"  # how Python's sqlite3 begins to say it
MAX_SQL_BYTES = 1_000_000  # far above any query that a model writes
TOO_LONG = f"the query is longer than {MAX_SQL_BYTES:,} bytes"
MAX_MESSAGE = 1_000  # characters; SQLite repeats a name of any length
OUT_OF_MEMORY = TooMuch("out of memory")
# What CPython takes beside the text: it keeps a cap on bytes honest for a million small numbers.
ROW_OVERHEAD_BYTES, VALUE_OVERHEAD_BYTES = 56, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one query may use.

    `max_bytes` bounds a whole result in memory, `max_value_bytes` one value or stored row, `memory_bytes` the
    address space of a worker process. A worker that is silent for `grace_s` after the deadline is killed.
    Of gold queries the results of those that took `keep_from_s` are kept on disk: the others are as soon run.
    """

    timeout_s: float = 30.0
    max_rows: int = 1_000_000
    max_bytes: int = 256 * 2**20
    max_value_bytes: int = 16 * 2**20
    memory_bytes: int = 2 * 2**30
    grace_s: float = 0.75
    keep_from_s: float = 0.001


class Guard:
    """Decides while a statement is compiled, and watches the clock while it runs."""

    def __init__(self) -> None:
        """Refuse nothing yet, with no deadline; `refusal` says what was refused."""
        self.refusal: str | None = None
        self._is_select = False
        self._deadline = float("inf")

    def begin(self, timeout_s: float) -> None:
        """Forget the statement before, and set the deadline of the next."""
        self.refusal = None
        self._is_select = False
        self._deadline = time.monotonic() + timeout_s

    def authorize(self, action: int, *details: str | None) -> int:
        """Answer SQLite, which asks before it compiles each part of a statement."""
        if action == sqlite3.SQLITE_READ:  # far the most frequent
            return sqlite3.SQLITE_OK
        self._is_select |= action == sqlite3.SQLITE_SELECT
        # The full-text module asks for this by itself while it answers a SELECT.
        if action == sqlite3.SQLITE_PRAGMA and details[0] == "data_version" and self._is_select:
            return sqlite3.SQLITE_OK
        name = details[1]  # of the function; a table, file or setting comes first
        if action == sqlite3.SQLITE_FUNCTION and str(name).lower() in FORBIDDEN_FUNCTIONS:
            self.refusal = f"function {name} is not allowed"
        elif action not in ALLOWED:
            self.refusal = f"only reading is allowed, not {ACTION_NAMES.get(action, 'this')}"
        else:
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    def is_late(self) -> bool:
        """Tell whether the deadline has passed."""
        return time.monotonic() >= self._deadline


class Reader:
    """One database, opened to run statement after statement.

    A statement that may only read leaves nothing behind for the next one; after one that had to be stopped
    the connection is a new one all the same. The file must not change while it is open.
    """

    def __init__(self, database: Path, limits: Limits) -> None:
        """Open the file.

        Raises:
            DatabaseError: it is missing or not an SQLite file.
        """
        self._database, self._limits = database, limits
        self._guard = Guard()
        self._guard.begin(limits.timeout_s)
        self._was_used = False
        self._connection: sqlite3.Connection | None = self._connect()

    def run(self, sql: str) -> Ending:
        """Run one statement.

        Raises:
            DatabaseError: the file is no longer there.
        """
        if len(sql) > MAX_SQL_BYTES:
            return TooMuch(TOO_LONG)
        if "\0" in sql:
            return SqlError("the query holds a NUL character")
        self._guard.begin(self._limits.timeout_s)
        ending = self._run(sql)
        if ending == OUT_OF_MEMORY and self._was_used:
            # A connection remembers how its last queries were compiled: they may be to blame.
            self.close()
            ending = self._run(sql)
        self._was_used = True
        if not isinstance(ending, Rows | SqlError):
            self.close()
        return ending

    def _run(self, sql: str) -> Ending:
        try:
            connection = self._connection = self._connection or self._connect()
            ending = self._execute(connection, sql)
            if isinstance(ending, SqlError) and ending.message.startswith(NOT_UTF8):
                connection.text_factory = decode_leniently
                ending = self._execute(connection, sql)
        except MemoryError:
            return OUT_OF_MEMORY
        return ending

    def _execute(self, connection: sqlite3.Connection, sql: str) -> Ending:
        try:
            return _fetch(connection.execute(sql), self._guard, self._limits)
        except (sqlite3.Error, sqlite3.Warning, UnicodeError) as error:
            return ending_of(error, self._guard, self._limits)

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._was_used = False

    def _connect(self) -> sqlite3.Connection:
        connection = None
        try:
            connection = open_read_only(self._database)
            fence(connection, self._guard, self._limits)
        except (sqlite3.Error, UnicodeError) as error:  # the latter where SQLite names what is no text
            if connection is not None:
                connection.close()
            raise DatabaseError(f"{self._database}: cannot be read: {error}") from None
        connection.text_factory = str  # far faster; where a text is not UTF-8 its query is run again
        return connection


def run_query(database: Path, sql: str, *, limits: Limits) -> Ending:
    """Run one statement on a connection of its own.

    Raises:
        DatabaseError: the database is missing or not an SQLite file.
    """
    reader = Reader(database, limits)
    try:
        return reader.run(sql)
    finally:
        reader.close()


def size_bytes(rows: tuple[Row, ...] | list[Row]) -> int:
    """Estimate what rows take in memory: their values, and what Python adds to each."""
    # marshal walks the values in C, and takes 5 to 9 bytes for a number or a short text
    return (
        len(marshal.dumps(rows, 2))
        + sum(map(len, rows)) * VALUE_OVERHEAD_BYTES
        + len(rows) * ROW_OVERHEAD_BYTES
    )


def fence(connection: sqlite3.Connection, guard: Guard, limits: Limits) -> None:
    """Put up all bounds on a connection that statements of others are going to use."""
    # Sorting spills to files otherwise: gigabytes of them for a large join.
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.max_value_bytes)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, MAX_SQL_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0)
    found = connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%'")
    virtual_tables = [quote(name) for (name,) in found.fetchall()]
    connection.set_progress_handler(guard.is_late, CHECK_EVERY)
    _connect_virtual_tables(connection, virtual_tables)
    connection.set_authorizer(guard.authorize)


def _connect_virtual_tables(connection: sqlite3.Connection, names: list[str]) -> None:
    """Use each virtual table once: on first use a module declares its columns, which looks like a write."""
    for name in ["json_each", "json_tree", *names]:
        # Its module is not there, or its name is no text: a query that needs it will say so.
        with contextlib.suppress(sqlite3.Error, UnicodeError):
            connection.execute(f"SELECT 1 FROM {name} LIMIT 0")


def _fetch(cursor: sqlite3.Cursor, guard: Guard, limits: Limits) -> Ending:
    if cursor.description is None:
        return SqlError("there is no statement")
    rows: list[Row] = []
    used_bytes = 0
    # So many rows of the largest values allowed are all that can be over the cap; more where rows are small.
    fewest = at_once = max(1, min(CHUNK_ROWS, limits.max_bytes // limits.max_value_bytes))
    while chunk := cursor.fetchmany(at_once):
        rows += chunk
        chunk_bytes = size_bytes(chunk)
        used_bytes += chunk_bytes
        at_once = min(CHUNK_ROWS, 4 * at_once) if chunk_bytes < SMALL_ROW_BYTES * at_once else fewest
        if len(rows) > limits.max_rows:
            return TooMuch(f"more than {limits.max_rows} rows")
        if used_bytes > limits.max_bytes:
            return TooMuch(f"more than {limits.max_bytes / 2**20:g} MiB of rows")
        if guard.is_late():
            return Timeout(limits.timeout_s)
    return Rows(len(cursor.description), tuple(rows))


def ending_of(error: Exception, guard: Guard, limits: Limits) -> Ending:
    """Say what an exception of SQLite means for the statement that was run."""
    if guard.refusal is not None:
        return Refused(guard.refusal)
    # Python up to 3.11 calls it a Warning, later ones a ProgrammingError; SQLite itself has no code for it.
    if "one statement at a time" in str(error):
        return Refused("more than one statement")
    message = str(error)[:MAX_MESSAGE]
    if isinstance(error, sqlite3.DataError):  # a value, a row or the query itself is too long
        return TooMuch(message)
    match getattr(error, "sqlite_errorcode", None):
        case sqlite3.SQLITE_INTERRUPT:
            return Timeout(limits.timeout_s)
        case sqlite3.SQLITE_READONLY:
            return Refused(message)
        case _:
            return SqlError(message)
