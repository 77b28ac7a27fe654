"""The `suite build` stage on real databases."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.databases.spider import database_files, load_questions
from sense.errors import ConfigError, DatabaseError, DataError
from sense.evaluation.build_suite import Config, run
from sense.evaluation.score import Config as ScoreConfig
from sense.evaluation.score import run as score
from sense.execution.suite import SuiteCounts
from sense.rundir import RunDir
from sense.stage import Outcome

QUESTIONS = [
    {"db_id": "pets", "question": "Old ones?", "query": "SELECT name FROM pet WHERE age > 4"},
    {"db_id": "shop", "question": "Prices?", "query": "SELECT price, name FROM item ORDER BY price"},
    {"db_id": "pets", "question": "How many?", "query": "SELECT count(*) FROM pet"},
]
GOLDS = [question["query"] for question in QUESTIONS]
NEAR = ["SELECT name FROM pet WHERE age >= 4", *GOLDS[1:]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for db_id, script in (
        ("pets", "CREATE TABLE pet (name TEXT, age INT); INSERT INTO pet VALUES ('Rex', 3), ('Tom', 5)"),
        ("shop", "CREATE TABLE item (name TEXT, price REAL); INSERT INTO item VALUES ('pen', 2), ('cup', 4)"),
    ):
        path = folder / "dev_databases" / db_id / f"{db_id}.sqlite"
        path.parent.mkdir(parents=True)
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(script)
    (folder / "dev.json").write_text(json.dumps(QUESTIONS))
    return folder


def build(data: Path, out: str = "out", **settings: Any) -> tuple[Outcome, RunDir]:
    settings = {"data": data, "variants": 2, "tries": 4, "neighbors": 15, "workers": 1} | settings
    config = Config.parse(settings, where="test")
    config.check()
    run_dir = RunDir(data.parent / out, stage="suite", config=config)
    return run(config, run_dir), run_dir


def score_on(folder: Path, predicted: list[str]) -> dict[str, Any]:
    predictions = folder.parent / "predictions.sql"
    predictions.write_text("\n".join(predicted) + "\n")
    config = ScoreConfig.parse({"data": folder, "predictions": predictions, "workers": 1}, where="test")
    run_dir = RunDir(folder.parent / "scores", stage="score", config=config)
    run_dir.replace()
    return score(config, run_dir).summary


def contents(run_dir: RunDir) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run_dir / "database").rglob("*.sqlite"))}


def test_run_folder_is_a_data_folder_for_test_suite_accuracy(data: Path) -> None:
    (data / "tables.json").write_text("[]")
    _, run_dir = build(data)
    assert (run_dir / "tables.json").read_text() == "[]"
    assert (run_dir / "dev.json").read_bytes() == (data / "dev.json").read_bytes()
    right = score_on(run_dir.path, GOLDS)
    assert (right["metric"], right["ex"]) == ("TS", 1)
    assert score_on(data, NEAR)["ex"] == 1
    assert score_on(run_dir.path, NEAR)["ex"] == pytest.approx(2 / 3)


def test_a_line_for_each_database_and_their_sums(data: Path) -> None:
    outcome, run_dir = build(data)
    suites = jsonl.read(run_dir / "suites.jsonl", SuiteCounts)
    assert [(suite.db_id, suite.golds) for suite in suites] == [("pets", 2), ("shop", 1)]
    assert outcome.shortfall is None
    assert json.loads((run_dir / "summary.json").read_text()) == outcome.summary
    assert outcome.summary["variants"] == sum(
        len(database_files(run_dir.path, each.db_id)) - 1 for each in suites
    )
    told = sum(suite.by_suite for suite in suites) / sum(suite.neighbors for suite in suites)
    assert outcome.summary["told_apart_by_suite"] == told > outcome.summary["told_apart_by_original"]
    assert not (run_dir / ".building").exists()


def test_killed_run_goes_on_with_what_is_missing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, run_dir = build(data)
    whole = contents(run_dir)
    lines = (run_dir / "suites.jsonl").read_text().splitlines(keepends=True)
    # A kill before the second line was written whole; a mark shows that the first is not made anew.
    (run_dir / "suites.jsonl").write_text(lines[0].replace('"seconds": ', '"seconds": 4') + lines[1][:30])
    (run_dir / "database" / "shop" / "shop_v99.sqlite").touch()
    (run_dir / ".building" / "shop" / "candidates").mkdir(parents=True)
    _, again = build(data)
    assert contents(again) == whole
    after = jsonl.read(again / "suites.jsonl", SuiteCounts)
    assert [each.db_id for each in after] == ["pets", "shop"]
    assert after[0].seconds >= 4
    assert "suite: 1 databases are there already, 1 to go" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["dev.json", "dev.jsonl"])
def test_chosen_databases_keep_the_ids_of_their_questions(data: Path, name: str) -> None:
    (data / "dev.json").unlink()
    lines = "\n".join(json.dumps(question) for question in QUESTIONS)
    (data / name).write_text(json.dumps(QUESTIONS) if name == "dev.json" else lines)
    outcome, run_dir = build(data, databases=["pets"])
    assert outcome.summary["databases"] == 1
    assert load_questions(run_dir.path, "dev") == [
        question for question in load_questions(data, "dev") if question.db_id == "pets"
    ]
    assert [question.id for question in load_questions(run_dir.path, "dev")] == [0, 2]


def test_what_falls_short_is_said(data: Path) -> None:
    with closing(sqlite3.connect(data / "dev_databases/shop/shop.sqlite")) as connection:
        connection.execute("CREATE VIRTUAL TABLE notes USING fts5 (body)")
    broken = {"db_id": "pets", "question": "?", "query": "SELECT nothing FROM pet"}
    unknown = {"db_id": "pets", "question": "?", "query": ""}
    (data / "dev.json").write_text(json.dumps([*QUESTIONS, broken, unknown]))
    outcome, _ = build(data)
    assert outcome.shortfall == (
        "1 gold queries do not run on their databases and were left out; "
        "no variants of 'shop': 'notes' is a virtual table, which cannot be made anew"
    )


@pytest.mark.parametrize(
    ("change", "settings", "error", "message"),
    [
        pytest.param({}, {"databases": ["pet"]}, ConfigError, "did you mean 'pets'", id="unknown database"),
        pytest.param(
            {"query": ""}, {}, DataError, "no question about database 'shop' has a gold", id="no gold"
        ),
        pytest.param({"db_id": "gone"}, {}, DatabaseError, "'gone': no such file", id="no database"),
        pytest.param({}, {"split": "run"}, ConfigError, "a file of that name of its own", id="name of ours"),
    ],
)
def test_nothing_is_written_on_bad_input(
    data: Path, change: dict[str, str], settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    questions = [QUESTIONS[0], QUESTIONS[1] | change]
    (data / f"{settings.get('split', 'dev')}.json").write_text(json.dumps(questions))
    with pytest.raises(error, match=message):
        build(data, **settings)
    assert not (data.parent / "out").exists()
