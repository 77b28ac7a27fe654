"""Why wrong predictions are wrong: from how the query ended, and from how it differs from the gold query.

A difference tells what to look at. A query can be wrong for another reason than the one that shows first, and
one that is written quite differently may be only a little wrong.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sense.evaluation.query_differences import Difference, column_order, differences
from sense.evaluation.query_differences import ErrorKind as ErrorKind
from sense.evaluation.query_reader import Unreadable, parse, take_apart
from sense.execution.outcome import Match
from sense.records import Score

MAX_DETAIL_CHARS = 200
PRECEDENCE = {kind: place for place, kind in enumerate(ErrorKind)}
_RESULTS = re.compile(r"\d+ rows? of (\d+) columns?(?:, gold has \d+ rows? of (\d+) columns?| as in gold)")
# What a query ended with, by the words that describe it; the first that fits.
ENDINGS: tuple[tuple[ErrorKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (ErrorKind.MISSING, r"no prediction"),
        (ErrorKind.TIMEOUT, r"stopped after "),
        (
            ErrorKind.REFUSED,
            r"only reading is allowed|more than one statement|function \S+ is not allowed|.*readonly",
        ),
        (ErrorKind.TOO_MUCH, r"more than [\d.]+ |out of memory|too many orders|.*too (?:big|long|large)"),
        (ErrorKind.UNKNOWN_TABLE, r"no such table"),
        (ErrorKind.UNKNOWN_COLUMN, r"no such column"),
        (ErrorKind.AMBIGUOUS_COLUMN, r"ambiguous column"),
        (
            ErrorKind.DOES_NOT_PARSE,
            r"near |incomplete input|unrecognized token|there is no statement|.*syntax error",
        ),
    )
)
KIND_OF_MATCH = {
    "missing": ErrorKind.MISSING,
    Match.CANDIDATE_TIMEOUT: ErrorKind.TIMEOUT,
    Match.CANDIDATE_REFUSED: ErrorKind.REFUSED,
    Match.CANDIDATE_TOO_MUCH: ErrorKind.TOO_MUCH,
    Match.WORKER_DIED: ErrorKind.EXECUTION_ERROR,
}


class ErrorDiagnosis(NamedTuple):
    """Why a prediction is wrong: its primary kind, all that were found, and one line for a person."""

    kind: ErrorKind
    all_kinds: frozenset[ErrorKind]
    detail: str


def error_kind(gold_sql: str, predicted_sql: str, *, match: str = "", reason: str = "") -> ErrorDiagnosis:
    """Say why a wrong prediction is wrong.

    How the query ended goes first, then what is certain to change the result (a wrong number of columns;
    another text in a condition of a query that is built differently), then the most fundamental difference,
    in the order of `ErrorKind`. Whatever the queries are, there is an answer.

    Args:
        gold_sql: the right query.
        predicted_sql: the wrong one; blank where there is none.
        match: what the comparison came to, as `Match` has it; "" where it is not known.
        reason: how the comparison describes it; it decides alone where `match` is not given.

    >>> error_kind("SELECT name FROM singer", "SELECT age FROM singer AS T1")[::2]
    (<ErrorKind.WRONG_COLUMN: 'wrong_column'>, 'column singer.age instead of singer.name')
    """
    ending = _ending(predicted_sql, match=match, reason=reason)
    if ending in (ErrorKind.MISSING, ErrorKind.DOES_NOT_PARSE):
        return ErrorDiagnosis(ending, frozenset({ending}), _one_line(reason))
    found: list[Difference] = [] if ending is None else [Difference(ending, reason, is_certain=True)]
    try:
        found += _differences(gold_sql, predicted_sql, reason=reason)
    except (Unreadable, RecursionError) as error:
        if not found:
            has_run = match == Match.DIFFERENT or _RESULTS.match(reason) is not None
            kind = ErrorKind.OTHER if has_run or not _is_readable(gold_sql) else ErrorKind.DOES_NOT_PARSE
            why = error if isinstance(error, Unreadable) else "nested too deeply"
            found = [Difference(kind, f"not compared: {why}")]
    if not found:
        found = [Difference(ErrorKind.OTHER, "no part of the query differs from gold")]
    first = min(found, key=lambda difference: (not difference.is_certain, PRECEDENCE[difference.kind]))
    details = dict.fromkeys(each.detail for each in found if each.kind is first.kind)
    kinds = frozenset(difference.kind for difference in found)
    return ErrorDiagnosis(first.kind, kinds, _one_line("; ".join(details)))


def diagnose(scores: Iterable[Score]) -> list[tuple[Score, ErrorDiagnosis]]:
    """Say of each wrong prediction why it is wrong, in the order of the scores."""
    return [
        (score, error_kind(score.gold_sql, score.sql, match=score.match, reason=score.reason))
        for score in scores
        if score.ex == 0
    ]


def count_errors(errors: Sequence[tuple[Score, ErrorDiagnosis]], *, examples: int) -> dict[str, Any]:
    """Count wrong predictions by primary kind, and show some of each, as plain data.

    Returns:
        `wrong` in all; `by_kind`, the most frequent first; `touched`, how often a kind is among all that were
        found; `by_hardness` and `by_database`, each with its kinds; `examples` by kind, at most `examples` of
        each, from all over the questions.
    """
    by_kind: dict[ErrorKind, list[tuple[Score, ErrorDiagnosis]]] = {}
    for error in errors:
        by_kind.setdefault(error[1].kind, []).append(error)
    kinds = sorted(by_kind, key=lambda kind: (-len(by_kind[kind]), PRECEDENCE[kind]))
    touched = Counter(kind for _, diagnosis in errors for kind in diagnosis.all_kinds)
    return {
        "wrong": len(errors),
        "by_kind": {kind.value: len(by_kind[kind]) for kind in kinds},
        "by_hardness": _by(errors, lambda score: score.hardness),
        "by_database": _by(errors, lambda score: score.db_id),
        "touched": {kind.value: touched[kind] for kind in ErrorKind if kind in touched},
        "examples": {
            kind.value: [_example(*error) for error in _spread(by_kind[kind], most=examples)]
            for kind in kinds
        },
    }


def _ending(predicted_sql: str, *, match: str, reason: str) -> ErrorKind | None:
    """Tell the kind from how the query ended; None where it ran and returned something else."""
    if match in KIND_OF_MATCH:
        return KIND_OF_MATCH[match]
    if not predicted_sql.strip():
        return ErrorKind.MISSING
    if match == Match.DIFFERENT or not reason or _RESULTS.match(reason):
        return None
    found = (kind for kind, pattern in ENDINGS if pattern.match(reason))
    return next(found, ErrorKind.EXECUTION_ERROR)


def _differences(gold_sql: str, predicted_sql: str, *, reason: str) -> list[Difference]:
    gold, predicted = parse(gold_sql), parse(predicted_sql)
    found = differences(*take_apart(gold, predicted))
    if {each.kind for each in found} <= {ErrorKind.DISTINCT}:
        pair = take_apart(gold, predicted, exactly=True)
        found += [*differences(*pair), *column_order(*pair)]
    counts = _RESULTS.match(reason)
    if counts is not None and counts[2] is not None and counts[1] != counts[2]:
        details = [f"{counts[1]} {'column' if counts[1] == '1' else 'columns'} instead of {counts[2]}"]
        details += [
            each.detail for each in found if each.kind in (ErrorKind.WRONG_COLUMN, ErrorKind.AGGREGATION)
        ]
        found.append(Difference(ErrorKind.COLUMN_COUNT, "; ".join(details), is_certain=True))
    return found


def _is_readable(sql: str) -> bool:
    try:
        parse(sql)
    except (Unreadable, RecursionError):
        return False
    return True


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_DETAIL_CHARS else line[: MAX_DETAIL_CHARS - 1] + "…"


def _by(
    errors: Iterable[tuple[Score, ErrorDiagnosis]], key: Callable[[Score], str]
) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[ErrorKind]] = {}
    for score, diagnosis in errors:
        counts.setdefault(key(score), Counter())[diagnosis.kind] += 1
    return {
        name: {kind.value: counted[kind] for kind in ErrorKind if kind in counted}
        for name, counted in counts.items()
    }


def _spread(
    errors: Sequence[tuple[Score, ErrorDiagnosis]], *, most: int
) -> list[tuple[Score, ErrorDiagnosis]]:
    if len(errors) <= most:
        return list(errors)
    return [errors[len(errors) * at // most] for at in range(most)]


def _example(score: Score, diagnosis: ErrorDiagnosis) -> dict[str, Any]:
    return {
        "id": score.id,
        "db_id": score.db_id,
        "hardness": score.hardness,
        "question": score.question,
        "gold_sql": score.gold_sql,
        "sql": score.sql,
        "detail": diagnosis.detail,
    }
