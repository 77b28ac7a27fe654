"""Building a data folder from a release."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sense.cli import main
from sense.databases.features import sql_features
from sense.databases.spider import database_file, load_questions
from sense.errors import ConfigError, DataError
from sense.execution.pool import QueryJob, run_queries
from sense.execution.run import Limits
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.strong.release import Config, run

MILL = {
    "domain": "tide mills",
    "db_id": "tide_mill",
    "tables": [
        {
            "name": "mill",
            "create": "CREATE TABLE mill (id INTEGER PRIMARY KEY, name TEXT)",
            "rows": [[1, "A"], [2, "B"]],
        },
        {
            "name": "run",
            "create": "CREATE TABLE run (id INTEGER PRIMARY KEY, mill_id INTEGER REFERENCES mill(id), kg)",
            "rows": [[1, 1, 2.5], [2, 2, None]],
        },
    ],
}
QUESTION = {
    "question_id": "tide_mill/1",
    "db_id": "tide_mill",
    "question": "How many?",
    "query": "SELECT count(*) FROM mill",
}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "databases.jsonl").write_text(json.dumps(MILL) + "\n")
    (folder / "train.json").write_text(json.dumps([QUESTION]))
    return folder


def build(release: Path, out: Path) -> Outcome:
    config = Config(source=release)
    return run(config, RunDir(out, stage="data", config=config))


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("run.json", ".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_the_folder_has_spiders_layout(release: Path, tmp_path: Path) -> None:
    outcome = build(release, tmp_path / "out")
    assert outcome.summary == {"databases": 1, "rows": 4, "questions": {"train": 1}}
    assert sorted(files(tmp_path / "out")) == [
        "database/tide_mill/tide_mill.sqlite",
        "tables.json",
        "train.json",
    ]
    assert [question.id for question in load_questions(tmp_path / "out", "train")] == ["tide_mill/1"]


def test_it_is_the_same_bytes_each_time(release: Path, tmp_path: Path) -> None:
    build(release, tmp_path / "one")
    build(release, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_the_command_takes_the_release_without_a_flag(release: Path, tmp_path: Path) -> None:
    assert main(["data", "build", str(release), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "tables.json").exists()


def test_the_second_word_is_asked_for(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(release)]) == 2
    assert "sense data: 'build' or 'split' is expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        pytest.param({"db_id": "other"}, "question 'tide_mill/1' is about 'other'", id="unknown-database"),
        pytest.param(None, "there is no question file", id="no-questions"),
    ],
)
def test_a_broken_release_is_refused_and_nothing_written(
    release: Path, tmp_path: Path, question: dict[str, Any] | None, complaint: str
) -> None:
    if question is None:
        (release / "train.json").unlink()
    else:
        (release / "train.json").write_text(json.dumps([QUESTION | question]))
    with pytest.raises(DataError, match=complaint):
        build(release, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_release_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no databases\.jsonl here"):
        build(tmp_path / "empty", tmp_path / "out")


STRONG_V1 = Path(__file__).parents[2] / "data" / "strong-v1"


def test_every_query_of_strong_v1_returns_rows(tmp_path: Path) -> None:
    build(STRONG_V1, tmp_path / "out")
    questions = load_questions(tmp_path / "out", "train")
    jobs = [QueryJob(database_file(tmp_path / "out", each.db_id), each.gold_sql) for each in questions]
    endings = list(run_queries(jobs, limits=Limits(timeout_s=20)))
    assert len(questions) == 3509
    assert [
        each.id for each, end in zip(questions, endings, strict=True) if not getattr(end, "rows", ())
    ] == []


def test_strong_v1_holds_what_its_card_says() -> None:
    questions = load_questions(STRONG_V1, "train")
    shares = Counter(item["hardness"] for item in json.loads((STRONG_V1 / "train.json").read_bytes()))
    features = Counter(feature for each in questions for feature in sql_features(each.gold_sql))
    assert len({each.db_id for each in questions}) == 130
    assert all(0.2 <= count / len(questions) <= 0.3 for count in shares.values())
    assert sum(count >= 40 for count in features.values()) >= 25
