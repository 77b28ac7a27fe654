"""The `score` stage: how good predictions are, by the official rules of Spider and BIRD, or on own data.

Execution accuracy (EX) is always there. On databases with many files each, the test suites, the same rule
gives test-suite accuracy (TS): a prediction must agree on all of them. What cannot be judged, for its gold
query fails, is unscored and counted apart; a missing prediction is wrong.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from sense import jsonl
from sense.databases.spider import check_databases, check_split, database_files, load_questions
from sense.evaluation.against import Other, compare_with, flips, read_other
from sense.evaluation.gold_facts import gold_facts
from sense.evaluation.items import Item, read_items
from sense.evaluation.metrics import METRICS, Metric, measure
from sense.evaluation.score_table import table
from sense.evaluation.summary import summarize
from sense.execution.pool import Pool, default_gold_store
from sense.execution.rules import Rule
from sense.execution.run import Limits
from sense.rundir import RunDir, write_json
from sense.stage import InputPath, Outcome, StageConfig, is_made


class Config(StageConfig):
    """Settings of `score`."""

    SPEED_ONLY = StageConfig.SPEED_ONLY | {"gold_cache"}

    benchmark: Literal["spider", "bird", "own"] = Field(
        "spider",
        description="whose rule decides: spider (same rows, in any order unless the gold query sorts, "
        "columns in any order, DISTINCT ignored, 'value' in a prediction replaced by 1), bird (same set of "
        "rows, columns in the gold query's order), or own (Spider's without the replacement, for own data)",
    )
    data: InputPath = Field(
        description="folder with the questions and databases, laid out as Spider's or BIRD's"
    )
    split: str = Field("dev", description="which question file of the folder: dev means dev.json")
    predictions: InputPath = Field(
        description="what to score: predictions.jsonl of 'sense predict', a .sql or .txt file with one query "
        "a line, or BIRD's .json"
    )
    metrics: tuple[Metric, ...] = Field(
        ("ex",),
        description="what to measure beside ex: robust (EX by a stricter and fairer rule, see "
        "docs/metrics.md), em (Spider's exact set match), soft_f1, ves, r_ves (BIRD's)",
    )
    against: InputPath | None = Field(
        None,
        description="other predictions for the same questions, or the run folder of another 'sense score': "
        "the paired difference, and the questions that flipped",
    )
    keep_distinct: bool = Field(
        False, description="spider: compare DISTINCT too, as the official --keep_distinct"
    )
    plug_value: bool = Field(
        False,
        description="spider: put the gold query's values into predictions, as the official --plug_value",
    )
    train_split: str | None = Field(
        None, description="the question file trained on; its databases are then reported apart, as seen"
    )
    only_predicted: bool = Field(
        False,
        description="score only questions that have a prediction; else a missing one counts as wrong",
    )
    timeout_s: float = Field(30, gt=0, le=86_400, description="how long one query may run, in seconds")
    repeats: int = Field(100, ge=1, description="ves and r_ves: how often a query is timed; 100 officially")
    workers: int = Field(0, ge=0, description="how many queries run at a time; 0: one for each processor")
    gold_cache: bool = Field(
        True, description="keep the results of gold queries in the user's cache folder, for later runs"
    )
    seed: int = Field(0, ge=0, description="seed of the bootstrap that gives the intervals")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for metric in self.metrics:
            if self.benchmark not in METRICS[metric].benchmarks:
                raise ValueError(
                    f"metric {metric!r} is of --benchmark {' or '.join(METRICS[metric].benchmarks)}"
                )
        if self.benchmark != "spider" and (self.keep_distinct or self.plug_value):
            raise ValueError("keep_distinct and plug_value are of --benchmark spider")
        if self.keep_distinct and self.plug_value:
            raise ValueError("keep_distinct and plug_value cannot be had together")
        return self

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the questions and their databases."""
        if not is_made(self.data, made):
            check_split(self.data, self.split)


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Score the predictions; write scores.jsonl, in the split's order, summary.json, and flips.jsonl.

    Raises:
        DataError: the questions or predictions cannot be read, or do not belong together.
        DatabaseError: a database is missing.
    """
    limits = Limits(timeout_s=config.timeout_s)
    store = default_gold_store() if config.gold_cache else None
    with (
        Pool(limits, workers=config.workers, gold_store=store) as pool,  # gets ready while files are read
        ThreadPoolExecutor(1) as aside,
    ):
        items = _read(config)
        other = _other(config, items)
        run_dir.start()
        is_bird = config.benchmark == "bird"
        facts = aside.submit(gold_facts, config.data, config.split, has_difficulties=is_bird)
        scores, timing = measure(
            items,
            metrics=config.metrics,
            rule=_rule(config),
            pool=pool,
            limits=limits,
            repeats=config.repeats,
            hardness=lambda: facts.result().hardness,
        )
        difference = None if other is None else compare_with(other, scores, pool=pool, seed=config.seed)
    jsonl.write(run_dir / "scores.jsonl", scores)
    summary = _describe(config, items)
    seen = _seen_databases(config)
    features = facts.result().features
    summary |= summarize(scores, metrics=config.metrics, features=features, seen=seen, seed=config.seed)
    summary |= timing
    if difference is not None:
        jsonl.write(run_dir / "flips.jsonl", flips(difference, scores))
        summary["against"] = {"predictions": str(config.against)} | difference.summary
    write_json(run_dir / "summary.json", summary)
    unscored = summary["unscored"]
    shortfall = (
        f"{unscored} of {len(items)} questions are unscored: their gold query fails" if unscored else None
    )
    return Outcome(summary=summary, shortfall=shortfall)


def show(summary: dict[str, Any]) -> str:
    """Write the summary for a terminal."""
    return table(summary)


def _read(config: Config) -> list[Item]:
    items = read_items(
        config.data,
        config.split,
        predictions=config.predictions,
        only_predicted=config.only_predicted,
    )
    check_databases(config.data, (item.question for item in items))
    return items


def _other(config: Config, items: Sequence[Item]) -> Other | None:
    return None if config.against is None else read_other(config.against, items, rule=_rule(config))


def _rule(config: Config) -> Rule:
    if config.keep_distinct:
        return Rule.SPIDER_KEEP_DISTINCT
    return Rule.SPIDER_PLUG_VALUE if config.plug_value else Rule(config.benchmark)


def _seen_databases(config: Config) -> frozenset[str] | None:
    if config.train_split is None:
        return None
    return frozenset(question.db_id for question in load_questions(config.data, config.train_split))


def _describe(config: Config, items: Sequence[Item]) -> dict[str, Any]:
    files = [database_files(config.data, db_id) for db_id in {item.question.db_id for item in items}]
    return {
        "metric": "TS" if all(len(each) > 1 for each in files) else "EX",
        "benchmark": config.benchmark,
        "rule": _rule(config).value,
        "split": config.split,
        "only_predicted": config.only_predicted,
        "missing": sum(item.sql is None for item in items),
        "database_files": sum(map(len, files)),
        "limit_s": config.timeout_s,
        "seed": config.seed,
        "sqlite": sqlite3.sqlite_version,
        "processors": os.cpu_count(),
    }
