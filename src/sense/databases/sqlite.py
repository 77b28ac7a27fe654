"""Open SQLite files so that reading leaves no trace. What a query may do is limited in `execution.run`."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sense.errors import DatabaseError

MAGIC = b"SQLite format 3\0"
UNFINISHED = ("-wal", "-journal")  # beside a database: changes that are not in the file itself yet


def check_file(path: Path) -> None:
    """Look at the first bytes of a database.

    Raises:
        DatabaseError: there is no such file, or it is not an SQLite database.
    """
    if not path.is_file():
        raise DatabaseError(f"{path}: no such SQLite file")
    with path.open("rb") as file:
        begin = file.read(len(MAGIC))
    if begin != MAGIC:
        found = "the file is empty" if not begin else f"it begins with {begin[:12]!r}"
        raise DatabaseError(f"{path}: an SQLite database is expected, {found}")


def has_unfinished_changes(path: Path) -> bool:
    """Tell whether changes lie beside a database that are not in the file itself yet."""
    real = path.resolve()  # SQLite looks beside the file that a link leads to
    return any(real.with_name(real.name + suffix).exists() for suffix in UNFINISHED)


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a database that cannot be written through this connection.

    Bytes of a text that are not UTF-8 are dropped. The connection is in autocommit mode.

    Raises:
        DatabaseError: there is no such file, or it is not an SQLite database.

    Source: taoyds/test-suite-sql-eval, exec_eval.py, get_cursor_from_path (the decoding).
    """
    check_file(path)
    # An immutable file is read without locks and without the -shm file that SQLite would put beside it.
    address = f"{path.absolute().as_uri()}?mode=ro{'' if has_unfinished_changes(path) else '&immutable=1'}"
    try:
        connection = sqlite3.connect(address, uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise DatabaseError(f"{path}: cannot be opened: {error}") from None
    connection.text_factory = decode_leniently
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except (sqlite3.Error, UnicodeError, MemoryError) as error:
        connection.close()
        raise DatabaseError(f"{path}: not a readable SQLite database: {error}") from None
    return connection


def quote(identifier: str) -> str:
    """Quote the name of a table or column.

    >>> quote('odd "name"')
    '"odd ""name\"""'
    """
    return '"' + identifier.replace('"', '""') + '"'


def decode_leniently(text: bytes) -> str:
    """Decode UTF-8, dropping the bytes that are none."""
    return text.decode(errors="ignore")
