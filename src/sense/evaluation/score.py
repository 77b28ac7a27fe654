"""The `score` stage: execution accuracy (EX) of predictions, by the official rule of Spider or BIRD.

On databases with many files each, the distilled test suites, the same rule gives test-suite accuracy (TS): a
prediction must agree on all of them.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from sense import jsonl
from sense.databases.hardness import hardness
from sense.databases.spider import (
    check_databases,
    check_split,
    database_files,
    load_difficulties,
    load_questions,
)
from sense.errors import DataError
from sense.evaluation.aggregate import mean_with_interval
from sense.evaluation.predictions import read_predictions
from sense.execution.outcome import Comparison, Match
from sense.execution.pool import CompareJob, compare_queries
from sense.execution.rules import Rule
from sense.execution.run import Limits
from sense.progress import meter
from sense.records import Question, Score
from sense.rundir import RunDir, write_json
from sense.stage import InputPath, Outcome, StageConfig, is_made

UNKNOWN = "unknown"  # the hardness of a gold query that cannot be parsed
MISSING = "missing"


class Config(StageConfig):
    """Settings of `score`."""

    benchmark: Literal["spider", "bird"] = Field(
        "spider",
        description="whose rule decides: spider (same rows, in any order unless the gold query sorts, "
        "columns in any order) or bird (same set of rows, columns in the gold query's order)",
    )
    data: InputPath = Field(
        description="folder with the questions and databases, laid out as Spider's or BIRD's"
    )
    split: str = Field("dev", description="which question file of the folder: dev means dev.json")
    predictions: InputPath = Field(
        description="what to score: predictions.jsonl of 'sense predict', a .sql or .txt file with one query "
        "a line, or BIRD's .json"
    )
    train_split: str | None = Field(
        None, description="the question file trained on; its databases are then reported apart, as seen"
    )
    only_predicted: bool = Field(
        False,
        description="score only questions that have a prediction; else a missing one counts as wrong",
    )
    timeout_s: float = Field(30, gt=0, le=86_400, description="how long one query may run, in seconds")
    workers: int = Field(0, ge=0, description="how many queries run at a time; 0: one for each processor")
    seed: int = Field(0, ge=0, description="seed of the bootstrap that gives the intervals")

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the questions and their databases."""
        if not is_made(self.data, made):
            check_split(self.data, self.split)


class Item(NamedTuple):
    """A question with what it is scored by; `sql` is None where there is no prediction."""

    question: Question
    sql: str | None
    hardness: str


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Score the predictions; write scores.jsonl, in the split's order, and summary.json.

    Raises:
        DataError: the questions or predictions cannot be read, or do not belong together.
        DatabaseError: a database is missing.
    """
    items = _read_items(config)
    seen = _seen_databases(config)
    check_databases(config.data, (item.question for item in items))
    run_dir.start()
    comparisons = _compare(config, items)
    scores = [_score(item, comparison) for item, comparison in zip(items, comparisons, strict=True)]
    jsonl.write(run_dir / "scores.jsonl", scores)
    summary = _describe(config, items) | summarize(scores, seen=seen, seed=config.seed)
    summary["reasons"] = _reasons(comparisons)
    write_json(run_dir / "summary.json", summary)
    unscored = summary["unscored"]
    shortfall = (
        f"{unscored} of {len(items)} questions are unscored: their gold query fails" if unscored else None
    )
    return Outcome(summary=summary, shortfall=shortfall)


def summarize(scores: Sequence[Score], *, seen: frozenset[str] | None, seed: int) -> dict[str, Any]:
    """Aggregate scores: overall, by hardness, by database, and by seen and new databases if `seen` is given.

    In each part `n` counts its questions, `scored` those that could be judged; `ex` is the mean over the
    latter, None where there are none.
    """
    parts: dict[str, Any] = {
        "by_hardness": _by(scores, lambda score: score.hardness, seed=seed),
        "by_database": _by(scores, lambda score: score.db_id, seed=seed),
    }
    if seen is not None:
        parts["by_group"] = _by(scores, lambda score: "seen" if score.db_id in seen else "new", seed=seed)
    whole = _part(scores, seed=seed)
    return whole | {"unscored": whole["n"] - whole["scored"]} | parts


def _by(scores: Iterable[Score], key: Callable[[Score], str], *, seed: int) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Score]] = {}
    for score in scores:
        groups.setdefault(key(score), []).append(score)
    return {name: _part(group, seed=seed) for name, group in groups.items()}


def _part(scores: Sequence[Score], *, seed: int) -> dict[str, Any]:
    judged = [score.ex for score in scores if score.ex is not None]
    estimate = mean_with_interval(judged, seed=seed)
    return {
        "ex": None if estimate is None else estimate.mean,
        "interval": None if estimate is None else [estimate.low, estimate.high],
        "n": len(scores),
        "scored": len(judged),
    }


def _read_items(config: Config) -> list[Item]:
    questions = load_questions(config.data, config.split)
    predicted = read_predictions(config.predictions, questions)
    own = load_difficulties(config.data, config.split) if config.benchmark == "bird" else {}
    items = [
        Item(question, sql, own.get(question.id) or str(hardness(question.gold_sql) or UNKNOWN))
        for question, sql in zip(questions, predicted, strict=True)
        if sql is not None or not config.only_predicted
    ]
    if not items:
        raise DataError(f"{config.predictions}: no question of split {config.split!r} has a prediction")
    return items


def _seen_databases(config: Config) -> frozenset[str] | None:
    if config.train_split is None:
        return None
    return frozenset(question.db_id for question in load_questions(config.data, config.train_split))


def _compare(config: Config, items: Sequence[Item]) -> list[Comparison | None]:
    """Run what is predicted; None stands for a missing prediction."""
    jobs = [
        CompareJob(
            databases=database_files(config.data, item.question.db_id),
            gold_sql=item.question.gold_sql,
            candidate_sql=item.sql,
            rule=Rule(config.benchmark),
        )
        for item in items
        if item.sql is not None
    ]
    limits = Limits(timeout_s=config.timeout_s)
    with meter("score", total=len(jobs)) as shown:
        done = compare_queries(jobs, limits=limits, workers=config.workers, on_done=shown.advance)
        return [None if item.sql is None else next(done) for item in items]


def _score(item: Item, comparison: Comparison | None) -> Score:
    return Score(
        id=item.question.id,
        db_id=item.question.db_id,
        ex=_verdict(comparison),
        reason="no prediction" if comparison is None else comparison.reason,
        hardness=item.hardness,
        question=item.question.question,
        gold_sql=item.question.gold_sql,
        sql=item.sql or "",
    )


def _verdict(comparison: Comparison | None) -> int | None:
    if comparison is None:
        return 0
    if comparison.match is Match.GOLD_FAILED:
        return None
    return int(comparison.match is Match.SAME)


def _reasons(comparisons: Iterable[Comparison | None]) -> dict[str, int]:
    return dict(Counter(MISSING if each is None else each.match.value for each in comparisons).most_common())


def _describe(config: Config, items: Sequence[Item]) -> dict[str, Any]:
    return {
        "metric": "TS" if all(len(files) > 1 for files in _files(config.data, items)) else "EX",
        "benchmark": config.benchmark,
        "split": config.split,
        "only_predicted": config.only_predicted,
        "missing": sum(item.sql is None for item in items),
        "limit_s": config.timeout_s,
        "seed": config.seed,
        "sqlite": sqlite3.sqlite_version,
    }


def _files(data: Path, items: Iterable[Item]) -> list[tuple[Path, ...]]:
    return [database_files(data, db_id) for db_id in {item.question.db_id for item in items}]
