"""What is kept between runs in the user's cache folder: where it lies, and the hashes of files.

To read a file only to find that it has not changed is most of the time of a quick command. So a file's hash
is kept with its size, times and inode, and trusted while they stay.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

# A file that has just changed may change again within one tick of the file system's clock.
SETTLED_AFTER_NS = 2_000_000_000
BUSY_TIMEOUT_S = 1.0


def home() -> Path:
    """Where models and caches are kept: $SENSE_HOME, else $XDG_CACHE_HOME/sense, else ~/.cache/sense."""
    chosen = os.environ.get("SENSE_HOME")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "sense"


def file_digest(path: Path, *, first_bytes: int = 0) -> str:
    """Return the SHA-256 of a file in hexadecimal digits; of its first bytes alone if a number is given."""
    found = path.stat()
    name = f"{path.absolute()} {first_bytes}"
    stamp = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"
    hashes = _hashes(home())
    known = hashes.known.get(name)
    if known is not None and known[0] == stamp:
        return known[1]
    with path.open("rb") as file:
        if first_bytes:
            digest = hashlib.sha256(file.read(first_bytes)).hexdigest()
        else:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > SETTLED_AFTER_NS:
        hashes.keep(name, stamp, digest)
    return digest


def remembered(name: str, key: object, make: Callable[[], Any]) -> Any:
    """Return what `make` returned when last called for this name and key, in any process; else call it.

    Args:
        name: what is remembered.
        key: all that it depends on, as JSON can write it.
        make: makes it, as JSON can write it.
    """
    text = json.dumps([name, key])
    path = home() / "memo" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_bytes())
    made = make()
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(made))
        part.replace(path)
    return made


def open_file(path: Path, *, table: str) -> sqlite3.Connection:
    """Open a file of things that can be made again; make it, its folder and its one table if need be.

    Raises:
        sqlite3.Error, OSError: it cannot be opened or made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")  # what is lost with the power is made again
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
    return connection


class _Hashes:
    """The kept hashes. Where their file cannot be read or written they live as long as the process."""

    def __init__(self, file: Path) -> None:
        self.known: dict[str, tuple[str, str]] = {}
        self._connection: sqlite3.Connection | None = None
        with contextlib.suppress(sqlite3.Error, OSError):
            connection = open_file(file, table="hash (name TEXT PRIMARY KEY, stamp TEXT, digest TEXT)")
            rows = connection.execute("SELECT name, stamp, digest FROM hash").fetchall()
            self.known = {name: (stamp, digest) for name, stamp, digest in rows}
            self._connection = connection

    def keep(self, name: str, stamp: str, digest: str) -> None:
        self.known[name] = (stamp, digest)
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute(
                    "INSERT OR REPLACE INTO hash VALUES (?, ?, ?)", (name, stamp, digest)
                )


@lru_cache(maxsize=8)
def _hashes(folder: Path) -> _Hashes:
    return _Hashes(folder / "hashes.sqlite")
