"""Wrong answers beside the gold ones: both queries, and what each of them returns."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from sense.databases.spider import database_file
from sense.execution.outcome import Ending, Rows, describe
from sense.execution.pool import QueryJob, run_queries
from sense.execution.run import Limits
from sense.progress import meter
from sense.records import Score
from sense.report.comparison import Scored

MAX_ROWS = 5  # of a result; enough to see in what it differs
MAX_COLUMNS = 8
MAX_TEXT = 60  # characters of a value


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a query returned, cut to what the page shows; `message` stands where there are no rows to show."""

    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    more: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongAnswer:
    """A question that the last model got wrong, and which of the others got it right."""

    score: Score
    right: Mapping[str, bool | None]
    gold: Shown | None = None
    predicted: Shown | None = None


def draw_wrong(models: Mapping[str, Scored], *, most: int, seed: int) -> list[WrongAnswer]:
    """Draw wrong answers of the last model at random, and keep them in the order of the questions."""
    *others, last = models
    wrong = [score for score in models[last].scores.values() if score.ex == 0]
    drawn = sorted(random.Random(seed).sample(range(len(wrong)), min(most, len(wrong))))
    return [
        WrongAnswer(
            score=wrong[at], right={name: _right(models[name].scores[wrong[at].id]) for name in others}
        )
        for at in drawn
    ]


def check_databases(answers: Sequence[WrongAnswer], *, data: Path) -> None:
    """Raise DatabaseError where a database that is to be queried is missing."""
    for answer in answers:
        database_file(data, answer.score.db_id)


def run_both(
    answers: Sequence[WrongAnswer], *, data: Path, limits: Limits, workers: int
) -> list[WrongAnswer]:
    """Run the gold and the predicted query of every answer on its database."""
    jobs = [
        QueryJob(database=database_file(data, answer.score.db_id), sql=sql)
        for answer in answers
        for sql in (answer.score.gold_sql, answer.score.sql)
    ]
    with meter("side by side", total=len(jobs)) as progress:
        endings = run_queries(jobs, limits=limits, workers=workers, on_done=progress.advance)
        shown = [show(ending, sql=job.sql) for job, ending in zip(jobs, endings, strict=True)]
    return [
        WrongAnswer(score=answer.score, right=answer.right, gold=shown[2 * at], predicted=shown[2 * at + 1])
        for at, answer in enumerate(answers)
    ]


def show(ending: Ending, *, sql: str) -> Shown:
    """Cut what a query ended with to what the page has room for."""
    if not isinstance(ending, Rows):
        return Shown(message=describe(ending))
    if not ending.rows:
        return Shown(message="no rows")
    hidden_rows = len(ending.rows) - MAX_ROWS
    hidden_columns = ending.columns - MAX_COLUMNS
    more = [_more(hidden_rows, "row")] if hidden_rows > 0 else []
    more += [_more(hidden_columns, "column")] if hidden_columns > 0 else []
    return Shown(
        columns=column_names(sql, count=ending.columns)[:MAX_COLUMNS],
        rows=[[value_text(value) for value in row[:MAX_COLUMNS]] for row in ending.rows[:MAX_ROWS]],
        more=" and ".join(more),
    )


def column_names(sql: str, *, count: int) -> list[str]:
    """Name the columns of a result as its query writes them; number them where the query cannot tell.

    >>> column_names("SELECT name, count(*) AS n FROM singer", count=2)
    ['name', 'n']
    >>> column_names("SELECT * FROM singer", count=2)
    ['1', '2']
    """
    try:
        query = sqlglot.parse_one(sql, dialect="sqlite")
        selects = query.selects if isinstance(query, exp.Query) else []
        names = [_cut(each.alias_or_name or each.sql(dialect="sqlite")) for each in selects]
    except (SqlglotError, RecursionError):
        names = []
    known = len(names) == count and "*" not in names
    return names if known else [str(number) for number in range(1, count + 1)]


def value_text(value: object) -> str:
    """Write a database's value; NULL and bytes as SQL does.

    >>> value_text(None), value_text(b"\\x00A"), value_text(1.5)
    ('NULL', "x'0041'", '1.5')
    """
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return _cut(f"x'{value[:MAX_TEXT].hex()}'")
    return _cut(str(value))


def _right(score: Score) -> bool | None:
    return None if score.ex is None else score.ex == 1


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _more(number: int, noun: str) -> str:
    return f"{number} more {noun}{'' if number == 1 else 's'}"
