"""How the execution of a query ended, and what a comparison with the gold query says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Value = None | int | float | str | bytes
Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """The query ran to its end."""

    columns: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class SqlError:
    """The database could not make sense of the query, or failed in running it."""

    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The query wanted more than to read: to write, to attach a file, to run two statements."""

    message: str


@dataclass(frozen=True, slots=True)
class Timeout:
    """The query was stopped at its deadline."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TooMuch:
    """The query passed a cap on rows, bytes or memory."""

    message: str


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """The process that ran the query died with it."""

    message: str


Ending = Rows | SqlError | Refused | Timeout | TooMuch | WorkerDied


def describe(ending: Ending) -> str:
    """Say in one line how a query ended.

    >>> describe(Timeout(seconds=30.0))
    'stopped after 30 s'
    """
    match ending:
        case Rows():
            return f"{_count(len(ending.rows), 'row')} of {_count(ending.columns, 'column')}"
        case Timeout():
            return f"stopped after {ending.seconds:g} s"
        case _:
            return ending.message


class Match(StrEnum):
    """What comparing a candidate with the gold query came to."""

    SAME = "same"
    DIFFERENT = "different"
    CANDIDATE_ERROR = "candidate_error"
    CANDIDATE_TIMEOUT = "candidate_timeout"
    CANDIDATE_REFUSED = "candidate_refused"
    CANDIDATE_TOO_MUCH = "candidate_too_much"
    WORKER_DIED = "worker_died"
    GOLD_FAILED = "gold_failed"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate held against the gold query.

    `reason` is empty for SAME. `value` is what the rule gives it: 1 for SAME, else 0, or a degree between
    where the rule knows degrees.
    """

    match: Match
    reason: str
    value: float = 0.0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
