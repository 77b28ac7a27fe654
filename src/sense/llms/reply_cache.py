"""Replies on disk, by what was asked, so that a rerun pays for none twice. Only good replies are kept."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from sense.errors import DiskError
from sense.llms.batch_files import Reply

BUSY_TIMEOUT_S = 10.0  # another process writes one reply at a time


def request_key(url: str, custom_id: str, body: Mapping[str, object]) -> str:
    """Name a request by its server and all that is sent.

    Its id counts too: two requests of one wording are two samples, and one reply must not stand for both.
    """
    return hashlib.sha256(json.dumps([url, custom_id, body], sort_keys=True).encode()).hexdigest()


class ReplyCache:
    """The file of replies in a folder. A reply is there completely or not at all, even after kill -9."""

    def __init__(self, folder: Path) -> None:
        """Open the file; make it and its folder where they are not there.

        Raises:
            DiskError: it cannot be opened.
        """
        self._path = folder / "replies.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")  # a reply costs more than a write to disk
            self._connection.execute("CREATE TABLE IF NOT EXISTS reply (key TEXT PRIMARY KEY, reply TEXT)")
        except (sqlite3.Error, OSError) as error:
            raise DiskError(f"{self._path}: replies cannot be kept here: {error}") from None

    def __enter__(self) -> Self:
        """Return the cache itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._connection.close()

    def get(self, key: str) -> Reply | None:
        """Return the reply that was kept, None if none was."""
        try:
            row = self._connection.execute("SELECT reply FROM reply WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise DiskError(f"{self._path}: kept replies cannot be read: {error}") from None
        return Reply(**json.loads(row[0])) if row else None

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply.

        Raises:
            DiskError: it cannot be written.
        """
        text = json.dumps({name: getattr(reply, name) for name in Reply.__dataclass_fields__})
        try:
            self._connection.execute("INSERT OR REPLACE INTO reply VALUES (?, ?)", (key, text))
        except sqlite3.Error as error:
            raise DiskError(f"{self._path}: a reply could not be kept: {error}") from None
