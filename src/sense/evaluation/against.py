"""Compare two systems on the same questions: the paired difference, and the questions that flipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sense import jsonl
from sense.errors import DataError
from sense.evaluation.aggregate import paired_difference
from sense.evaluation.items import Item
from sense.evaluation.metrics import compare_job, verdict
from sense.evaluation.predictions import read_predictions
from sense.execution.pool import CompareJob, Pool
from sense.execution.rules import Rule
from sense.records import QuestionId, Score

SCORES_FILE = "scores.jsonl"


class Other(NamedTuple):
    """The other system: its answers, and what is to be run to score them; `known` are scored already."""

    answers: dict[QuestionId, str]
    jobs: dict[QuestionId, CompareJob]
    known: dict[QuestionId, int | None]


class Against(NamedTuple):
    """The difference, ours - theirs, and the other system's answers and scores."""

    summary: dict[str, Any]
    answers: Mapping[QuestionId, str]
    ex: Mapping[QuestionId, int | None]


def read_other(path: Path, items: Sequence[Item], *, rule: Rule) -> Other:
    """Read another system's predictions, or the folder in which they were scored.

    Raises:
        DataError: it cannot be read, or is of other questions.
    """
    if path.is_dir():
        return _read_scores(path / SCORES_FILE, items)
    predicted = read_predictions(path, [item.question for item in items])
    pairs = list(zip(items, predicted, strict=True))
    return Other(
        answers={item.question.id: sql or "" for item, sql in pairs},
        jobs={item.question.id: compare_job(item, sql, rule) for item, sql in pairs if sql is not None},
        known={item.question.id: verdict(None) for item, sql in pairs if sql is None},
    )


def compare_with(other: Other, scores: Sequence[Score], *, pool: Pool, seed: int) -> Against:
    """Score what is not scored yet, and take the difference over the questions that both have scored."""
    found = zip(other.jobs, pool.compare(list(other.jobs.values())), strict=True)
    ex = dict(other.known) | {question: verdict(comparison) for question, comparison in found}
    both = [
        (score.ex, theirs)
        for score in scores
        if score.ex is not None and (theirs := ex.get(score.id)) is not None
    ]
    difference = paired_difference([ours for ours, _ in both], [theirs for _, theirs in both], seed=seed)
    summary: dict[str, Any] = {
        "ex": sum(theirs for _, theirs in both) / len(both) if both else None,
        "difference": None if difference is None else difference.mean,
        "interval": None if difference is None else [difference.low, difference.high],
        "p_value": None if difference is None else difference.p_value,
        "n": len(both),
        "gained": sum(ours > theirs for ours, theirs in both),
        "lost": sum(ours < theirs for ours, theirs in both),
    }
    return Against(summary, other.answers, ex)


def flips(against: Against, scores: Sequence[Score]) -> Iterator[dict[str, Any]]:
    """Yield the questions that one system has right and the other wrong, in their order."""
    for score in scores:
        theirs = against.ex.get(score.id)
        if score.ex is None or theirs is None or score.ex == theirs:
            continue
        yield {
            "id": score.id,
            "db_id": score.db_id,
            "ex": score.ex,
            "against_ex": theirs,
            "question": score.question,
            "gold_sql": score.gold_sql,
            "sql": score.sql,
            "against_sql": against.answers.get(score.id, ""),
            "reason": score.reason,
        }


def _read_scores(path: Path, items: Sequence[Item]) -> Other:
    if not path.is_file():
        raise DataError(
            f"{path}: no such file; a run folder of 'sense score' or a file of predictions is expected"
        )
    scores = {score.id: score for score in jsonl.read(path, Score)}
    for item in items:
        score = scores.get(item.question.id)
        if score is not None and score.gold_sql != item.question.gold_sql:
            raise DataError(
                f"{path}: question {score.id!r} has another gold query there; is it of another split?"
            )
    return Other(
        answers={question: score.sql for question, score in scores.items()},
        jobs={},
        known={question: score.ex for question, score in scores.items()},
    )
