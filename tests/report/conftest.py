"""A whole recipe's run folders, small, written with the functions that the stages write with."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import create_model

from sense import jsonl
from sense.records import Score
from sense.rundir import RunDir, write_json
from sense.stage import InputPath, Outcome, StageConfig

QUESTIONS = (
    ("How many singers are there?", "easy", "SELECT count(*) FROM singer"),
    ("Which singers are older than 40?", "medium", "SELECT name FROM singer WHERE age > 40"),
    ("<script>alert('question')</script> & \"more\"", "hard", "SELECT name FROM singer ORDER BY age"),
    ("Who has no song?", "extra", "SELECT name FROM singer WHERE id NOT IN (SELECT singer FROM song)"),
)
WRONG_SQL = "SELECT nowhere FROM singer"
# Right (1), wrong (0) or not judged (None), in the order of QUESTIONS.
ANSWERS: Mapping[str, tuple[int | None, ...]] = {
    "base": (1, 0, 0, None),
    "sft": (1, 1, 0, None),
    "sense": (0, 1, 0, None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """The folders that a report is made from."""

    scores: dict[str, Path]
    runs: tuple[Path, ...]
    data: Path


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    """Build data, run folders of four stages, and scores of three models."""
    data = make_data(tmp_path / "data")
    filtered = make_run(
        tmp_path / "filter", "filter", inputs={"data": data}, seconds=75.0,
        summary={"read": 1200, "kept": 230, "dropped": {"duplicate": 900, "empty_result": 70}},
    )  # fmt: skip
    sft = make_run(tmp_path / "sft", "sft", inputs={"train": filtered}, seconds=3700.0, summary={"steps": 60})
    jsonl.write(sft / "metrics.jsonl", ({"step": n, "loss": 2.0 / n, "tokens": 10} for n in range(1, 61)))
    pairs = make_run(tmp_path / "pairs", "pairs", inputs={}, summary={"pairs": 12})
    dpo = make_run(tmp_path / "dpo", "dpo", inputs={"model": sft, "pairs": pairs}, summary={"steps": 3})
    jsonl.write(
        dpo / "metrics.jsonl",
        (
            {"step": n, "loss": 0.7 / n, "reward_margin": 0.1 * n, "reward_accuracy": 0.5 + 0.1 * n,
             "logp_chosen": -5.0 - n, "logp_rejected": -5.0 - 2 * n}
            for n in range(1, 4)
        ),
    )  # fmt: skip
    scores = {name: make_scores(tmp_path / f"score-{name}", answers) for name, answers in ANSWERS.items()}
    return Workplace(scores=scores, runs=(filtered, sft, pairs, dpo), data=data)


def make_data(folder: Path) -> Path:
    database = folder / "database" / "concert" / "concert.sqlite"
    database.parent.mkdir(parents=True)
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE singer (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)")
        connection.execute("CREATE TABLE song (id INTEGER PRIMARY KEY, singer INTEGER)")
        names = ["<b>Ann</b>", "Bo", "Cy", "Di", "Ed", "Flo", "Gus"]
        connection.executemany("INSERT INTO singer (name, age) VALUES (?, ?)", [(n, 20) for n in names])
    connection.close()
    return folder


def make_run(
    folder: Path, stage: str, *, inputs: Mapping[str, Path], summary: Mapping[str, Any], seconds: float = 1.0
) -> Path:
    fields: dict[str, Any] = dict.fromkeys(inputs, (InputPath, ...))
    config_type = create_model("Config", __base__=StageConfig, rate=(float, 0.5), **fields)
    run_dir = RunDir(folder, stage=stage, config=config_type(**inputs))
    run_dir.start()
    run_dir.finish(Outcome(summary=dict(summary)), seconds=seconds)
    return folder


def make_scores(folder: Path, answers: tuple[int | None, ...]) -> Path:
    judged = [ex for ex in answers if ex is not None]
    part = {"ex": sum(judged) / len(judged), "interval": [0.1, 0.9], "n": 4, "scored": len(judged)}
    summary = part | {
        "metric": "EX",
        "benchmark": "spider",
        "by_hardness": {
            hardness: {
                "ex": ex,
                "interval": None if ex is None else [ex, ex],
                "n": 1,
                "scored": int(ex is not None),
            }
            for (_, hardness, _), ex in zip(QUESTIONS, answers, strict=True)
        },
        "by_group": {"new": part},
    }
    make_run(folder, "score", inputs={}, summary=summary)
    write_json(folder / "summary.json", summary)
    jsonl.write(
        folder / "scores.jsonl",
        (
            Score(
                id=at, db_id="concert", ex=ex, reason="" if ex else "no such column", hardness=hardness,
                question=question, gold_sql=gold_sql, sql=gold_sql if ex else WRONG_SQL,
            )
            for at, ((question, hardness, gold_sql), ex) in enumerate(zip(QUESTIONS, answers, strict=True))
        ),
    )  # fmt: skip
    return folder
