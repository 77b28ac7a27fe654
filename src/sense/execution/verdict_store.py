"""What comparisons came to, on disk: a candidate that was judged in an earlier run is not run again.

Weak models write the same SQL round after round, and predictions are scored again. A verdict is found by all
that it depends on: the databases' content, both queries, the rule, SQLite's version and our own code. Only
verdicts that would come out the same are kept: nothing that a limit or an accident decided.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from sense.caches import file_digest, open_file
from sense.databases import sql_tokens
from sense.execution.gold_store import is_repeatable
from sense.execution.outcome import Comparison, Match

MAX_FILE_BYTES = 2**30  # some ten million verdicts; then the file is begun anew
_REPEATABLE = (Match.SAME, Match.DIFFERENT, Match.CANDIDATE_ERROR, Match.CANDIDATE_REFUSED)
KEPT = {match.value: match for match in _REPEATABLE}


def verdict_key(digests: Sequence[str], *, gold_sql: str, candidate_sql: str, rule: str) -> bytes | None:
    """Name a comparison by all that it depends on; None where it may come out otherwise each time."""
    if not (is_repeatable(gold_sql) and is_repeatable(candidate_sql)):
        return None
    parts = (_code_digest(), rule, *digests, gold_sql, candidate_sql)
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


class VerdictStore:
    """The file of verdicts. Where it cannot be read or written nothing is known, and nothing is kept."""

    def __init__(self, folder: Path) -> None:
        """Open the file in the folder, which is made if need be."""
        self._connection: sqlite3.Connection | None = None
        path = folder / "verdicts.sqlite"
        with contextlib.suppress(sqlite3.Error, OSError):
            if path.exists() and path.stat().st_size > MAX_FILE_BYTES:
                path.unlink()
            columns = "(key BLOB PRIMARY KEY, match TEXT, reason TEXT, value REAL)"
            self._connection = open_file(path, table=f"verdict {columns} WITHOUT ROWID")

    def get(self, keys: Iterable[bytes]) -> dict[bytes, Comparison]:
        """Find the verdicts that are kept."""
        found: dict[bytes, Comparison] = {}
        if self._connection is None:
            return found
        query = "SELECT match, reason, value FROM verdict WHERE key = ?"
        with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
            for key in keys:
                row = self._connection.execute(query, (key,)).fetchone()
                if row is not None and row[0] in KEPT:
                    found[key] = Comparison(KEPT[row[0]], str(row[1]), float(row[2]))
        return found

    def put(self, verdicts: Mapping[bytes, Comparison]) -> None:
        """Keep verdicts, those that would come out the same again."""
        rows = [
            (key, each.match.value, each.reason, each.value)
            for key, each in verdicts.items()
            if each.match.value in KEPT
        ]
        if self._connection is None or not rows:
            return
        with contextlib.suppress(sqlite3.Error, UnicodeError):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany("INSERT OR IGNORE INTO verdict VALUES (?, ?, ?, ?)", rows)
            finally:
                self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """Hash what judges: SQLite, and the code of this room."""
    sources = [*sorted(Path(__file__).parent.glob("*.py")), Path(sql_tokens.__file__)]
    code = "".join(map(file_digest, sources))
    return f"{sqlite3.sqlite_version} {hashlib.blake2b(code.encode(), digest_size=16).hexdigest()}"
