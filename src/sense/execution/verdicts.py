"""What judging one candidate needs, whatever the rule: its databases, and words for how it failed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sense.execution.outcome import (
    Comparison,
    Ending,
    Match,
    Refused,
    Rows,
    SqlError,
    Timeout,
    TooMuch,
    WorkerDied,
    describe,
)

CANDIDATE_FAILURES = {
    SqlError: Match.CANDIDATE_ERROR,
    Refused: Match.CANDIDATE_REFUSED,
    Timeout: Match.CANDIDATE_TIMEOUT,
    TooMuch: Match.CANDIDATE_TOO_MUCH,
    WorkerDied: Match.WORKER_DIED,
}


class Database(NamedTuple):
    """A database file, and the hash of its content; None where results are not to be kept on disk."""

    path: str
    digest: str | None


def gold_failed(ending: Ending, database: Database, databases: Sequence[Database]) -> Comparison:
    """Say that nothing can be judged, because the gold query did not end in rows."""
    return Comparison(Match.GOLD_FAILED, where(f"gold query: {describe(ending)}", database, databases))


def candidate_failed(ending: Ending, database: Database, databases: Sequence[Database]) -> Comparison:
    """Say how a candidate did not end in rows."""
    assert not isinstance(ending, Rows)
    return Comparison(CANDIDATE_FAILURES[type(ending)], where(describe(ending), database, databases))


def where(reason: str, database: Database, databases: Sequence[Database]) -> str:
    """Add to a reason on which of several databases it came up."""
    return reason if len(databases) == 1 else f"{reason} (on {Path(database.path).name})"
