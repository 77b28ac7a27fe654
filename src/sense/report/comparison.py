"""Several models on the same questions: their scores side by side, and what changed from one to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sense import jsonl
from sense.errors import ConfigError, DataError
from sense.evaluation.aggregate import paired_difference
from sense.records import QuestionId, Score
from sense.report.runs import read_json
from sense.report.tables import GROUP_LABELS, HARDNESS_ORDER, in_order

SCORES_FILE, SUMMARY_FILE = "scores.jsonl", "summary.json"


class Slice(BaseModel):
    """Accuracy on some of the questions, `scored` of `n` of them judged; None where none was."""

    ex: float | None
    interval: tuple[float, float] | None
    n: int
    scored: int


class ScoreSummary(Slice):
    """What the page takes from the summary of a `score` stage."""

    metric: str
    benchmark: str
    by_hardness: dict[str, Slice] = {}
    by_group: dict[str, Slice] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One model's scores by question, in the order of its file, and their summary."""

    scores: Mapping[QuestionId, Score]
    summary: ScoreSummary


def read_scored(folders: Mapping[str, Path]) -> dict[str, Scored]:
    """Read the scores of every model.

    Raises:
        ConfigError: no folder is given.
        DataError: a folder holds no scores, or two hold scores of different questions or by different rules.
    """
    if not folders:
        raise ConfigError("scores: at least one run folder of 'score' is needed, as name: folder")
    models = {name: _read(folder) for name, folder in folders.items()}
    first = next(iter(models))
    for name in models:
        _check_comparable(folders, models, first=first, other=name)
    return models


def compare(models: Mapping[str, Scored], *, seed: int) -> dict[str, Any]:
    """Compute the report's summary.

    Args:
        models: in the order of the page; each is compared with the one before, the last also with the first.
        seed: of the bootstrap.
    """
    some = next(iter(models.values()))
    return {
        "metric": some.summary.metric,
        "ex": {name: model.summary.ex for name, model in models.items()},
        "intervals": {name: model.summary.interval for name, model in models.items()},
        "n": len(some.scores),
        "scored": {name: model.summary.scored for name, model in models.items()},
        "by_hardness": _by_part(
            {name: model.summary.by_hardness for name, model in models.items()}, HARDNESS_ORDER
        ),
        "by_group": _by_part(
            {name: model.summary.by_group for name, model in models.items()}, tuple(GROUP_LABELS)
        ),
        "differences": {
            f"{new} - {old}": difference
            for old, new in pairs_of(list(models))
            if (difference := _difference(models[old], models[new], seed=seed)) is not None
        },
    }


def pairs_of(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pair each name with the next, and the first with the last.

    >>> pairs_of(["base", "sft", "sense"])
    [('base', 'sft'), ('sft', 'sense'), ('base', 'sense')]
    """
    ends = [(names[0], names[-1])] if len(names) > 2 else []
    return [*pairwise(names), *ends]


def _read(folder: Path) -> Scored:
    path = folder / SCORES_FILE
    if not path.is_file():
        raise DataError(f"{folder}: {SCORES_FILE} is missing; a run folder of 'sense score' is expected")
    scores: dict[QuestionId, Score] = {}
    for score in jsonl.read(path, Score):
        if score.id in scores:
            raise DataError(f"{path}: question {score.id!r} is scored twice")
        scores[score.id] = score
    if not scores:
        raise DataError(f"{path}: no scores")
    return Scored(scores=scores, summary=read_json(folder / SUMMARY_FILE, ScoreSummary))


def _check_comparable(
    folders: Mapping[str, Path], models: Mapping[str, Scored], *, first: str, other: str
) -> None:
    ours, theirs = models[first].scores, models[other].scores
    rules = [(models[name].summary.metric, models[name].summary.benchmark) for name in (first, other)]
    if rules[0] != rules[1]:
        (metric, benchmark), (other_metric, other_benchmark) = rules
        raise DataError(
            f"{folders[first]} holds {metric} by the rule of {benchmark}, {folders[other]} {other_metric} "
            f"by that of {other_benchmark}; one report is about one metric"
        )
    where = f"{folders[first]} and {folders[other]} hold scores of different questions"
    alone = ours.keys() ^ theirs.keys()
    if alone:
        raise DataError(f"{where}: {len(alone)} of them are in one only, {min(alone, key=str)!r} for one")
    for question_id, score in ours.items():
        twin = theirs[question_id]
        if (score.db_id, score.question, score.gold_sql) != (twin.db_id, twin.question, twin.gold_sql):
            raise DataError(f"{where}: {question_id!r} is not the same question in both")


def _by_part(parts: Mapping[str, Mapping[str, Slice]], order: Sequence[str]) -> dict[str, Any]:
    names = in_order([name for by_name in parts.values() for name in by_name], order)
    return {
        name: {
            model: by_name[name].model_dump(mode="json")
            for model, by_name in parts.items()
            if name in by_name
        }
        for name in names
    }


def _difference(old: Scored, new: Scored, *, seed: int) -> dict[str, Any] | None:
    both = [
        (before.ex, after.ex)
        for question_id, before in old.scores.items()
        if before.ex is not None and (after := new.scores[question_id]).ex is not None
    ]
    difference = paired_difference([after for _, after in both], [before for before, _ in both], seed=seed)
    if difference is None:
        return None
    return {
        "mean": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "mcnemar_p": difference.p_value,
        "gained": sum(after > before for before, after in both),
        "lost": sum(after < before for before, after in both),
        "n": difference.n,
    }
