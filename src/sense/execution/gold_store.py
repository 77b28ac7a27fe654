"""Results of gold queries on disk, so that a gold query is run once for each state of a database.

A result is found by the database's content, the SQL as it was run and the version of SQLite: one file for
each content and version. Where it cannot be read or written the query is run again.
"""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections import OrderedDict
from itertools import chain
from pathlib import Path
from typing import Any

from sense.caches import open_file
from sense.execution.outcome import Rows
from sense.execution.protocol import hex_of_bytes, value_of_json
from sense.execution.run import size_bytes

MAX_RESULT_BYTES = 32 * 2**20  # a larger result costs more to keep than to make again
FORMAT = 1  # of the files; another number makes new ones
OPEN_FILES = 64  # each takes three descriptors
UNREADABLE = (sqlite3.Error, ValueError, TypeError, KeyError, RecursionError, MemoryError)
VALUE_TYPES = {type(None), int, float, str, bytes}

_SUSPECT = ("random", "current_", "now", "utc", "local", "date", "time", "julian")  # far faster to look for
# What makes a query give another result at another time or place.
_VOLATILE = re.compile(
    r"random|current_|now|localtime|utc|\b(?:date|time|datetime|julianday|unixepoch)\s*\(\s*\)"
    r"|\bstrftime\s*\(\s*(?:'[^']*'|\"[^\"]*\")\s*\)",
    re.IGNORECASE,
)


def is_repeatable(sql: str) -> bool:
    """Tell whether a query gives the same result whenever it is run; in doubt it does not.

    >>> is_repeatable("SELECT name FROM singer"), is_repeatable("SELECT date('now')")
    (True, False)
    """
    lower = sql.lower()
    return not any(word in lower for word in _SUSPECT) or _VOLATILE.search(sql) is None


class GoldStore:
    """The folder of results; a file in it is opened when its database is first asked about."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made when something is kept."""
        self._folder = folder
        self._open: OrderedDict[str, sqlite3.Connection | None] = OrderedDict()
        self._unsaved: list[sqlite3.Connection] = []

    def close(self) -> None:
        """Close the files."""
        for connection in self._open.values():
            if connection is not None:
                connection.close()
        self._open.clear()

    def get(self, digest: str, sql: str) -> Rows | None:
        """Return the result of a query on the database with this content, None if it is not kept."""
        connection = self._find(digest)
        if connection is None:
            return None
        with contextlib.suppress(*UNREADABLE):
            found = connection.execute(
                "SELECT columns, has_bytes, rows FROM result WHERE sql = ?", (sql,)
            ).fetchone()
            if found is not None:
                return _rows(*found)
        return None

    def has(self, digest: str, sql: str) -> bool:
        """Tell whether a result is kept."""
        connection = self._find(digest)
        if connection is None:
            return False
        with contextlib.suppress(*UNREADABLE):
            return connection.execute("SELECT 1 FROM result WHERE sql = ?", (sql,)).fetchone() is not None
        return False

    def put(self, digest: str, sql: str, rows: Rows) -> None:
        """Keep a result, unless it is very large or another time's would differ."""
        connection = self._find(digest) or self._open_file(digest)
        if connection is None or not is_repeatable(sql) or size_bytes(rows.rows) > MAX_RESULT_BYTES:
            return
        text = json.dumps(rows.rows, default=hex_of_bytes, separators=(",", ":"))
        has_bytes = '{"hex":' in text
        with contextlib.suppress(*UNREADABLE):
            if not connection.in_transaction:
                connection.execute("BEGIN IMMEDIATE")
                self._unsaved.append(connection)
            connection.execute(
                "INSERT OR IGNORE INTO result VALUES (?, ?, ?, ?)", (sql, rows.columns, has_bytes, text)
            )

    def save(self) -> None:
        """Make what was put since the last time lasting, and visible to other processes."""
        for connection in self._unsaved:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("COMMIT")
        self._unsaved.clear()

    def _find(self, digest: str) -> sqlite3.Connection | None:
        """Return the file of a database, None if there is none yet."""
        if digest in self._open:
            self._open.move_to_end(digest)
            return self._open[digest]
        return self._open_file(digest) if self._path(digest).exists() else None

    def _open_file(self, digest: str) -> sqlite3.Connection | None:
        if len(self._open) == OPEN_FILES:
            self.save()
            _, longest_unused = self._open.popitem(last=False)
            if longest_unused is not None:
                longest_unused.close()
        try:
            connection = _connect(self._path(digest))
        except (sqlite3.Error, OSError):
            connection = None
        self._open[digest] = connection
        return connection

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}-{sqlite3.sqlite_version}-{FORMAT}.sqlite"


def _connect(path: Path) -> sqlite3.Connection:
    columns = "(sql TEXT PRIMARY KEY, columns INTEGER, has_bytes INTEGER, rows TEXT)"
    connection = open_file(path, table=f"result {columns}")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 2 * MAX_RESULT_BYTES)
    connection.execute("PRAGMA journal_mode = WAL")  # one worker reads while another writes
    return connection


def _rows(columns: int, has_bytes: int, text: str) -> Rows:
    """Read a result; a file may hold anything by now, so it is looked at before it is believed."""
    rows: list[list[Any]] = json.loads(text)
    if not isinstance(rows, list) or {*map(type, rows)} - {list} or {*map(len, rows)} - {columns}:
        raise ValueError("these are no rows")
    if has_bytes:
        rows = [[*map(value_of_json, row)] for row in rows]
    if {*map(type, chain.from_iterable(rows))} - VALUE_TYPES:
        raise ValueError("these are no values of SQLite")
    return Rows(columns, tuple(map(tuple, rows)))
