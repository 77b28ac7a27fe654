"""The `score` stage on real databases: four questions, every kind of ending."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.errors import ConfigError, DatabaseError, DataError
from sense.evaluation.score import Config, run
from sense.records import Score
from sense.rundir import RunDir
from sense.stage import Outcome

QUESTIONS = [
    {"db_id": "pets", "question": "Names?", "query": "SELECT name FROM pet"},
    {"db_id": "pets", "question": "Old ones?", "query": "SELECT name FROM pet WHERE age > 4"},
    {"db_id": "shop", "question": "How many?", "query": "SELECT count(*) FROM item"},
    {"db_id": "shop", "question": "Prices?", "query": "SELECT price, name FROM item ORDER BY price"},
]
RIGHT = [question["query"] for question in QUESTIONS]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    make_database(
        folder, "pets", "CREATE TABLE pet (name, age); INSERT INTO pet VALUES ('Rex', 3), ('Tom', 5)"
    )
    make_database(
        folder, "shop", "CREATE TABLE item (name, price); INSERT INTO item VALUES ('pen', 2), ('cup', 4)"
    )
    (folder / "dev.json").write_text(json.dumps(QUESTIONS))
    (folder / "train.json").write_text(json.dumps(QUESTIONS[:1]))
    return folder


def make_database(data: Path, db_id: str, script: str, *, file: str = "") -> None:
    path = data / "database" / db_id / f"{file or db_id}.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def score(data: Path, lines: list[str], **settings: Any) -> tuple[Outcome, list[Score]]:
    predictions = data.parent / "predictions.sql"
    predictions.write_text("\n".join(lines) + "\n")
    settings = {"data": data, "predictions": predictions, "workers": 1} | settings
    config = Config.parse(settings, where="test")
    folder = data.parent / "out"
    outcome = run(config, RunDir(folder, stage="score", config=config))
    assert json.loads((folder / "summary.json").read_text()) == outcome.summary
    return outcome, jsonl.read(folder / "scores.jsonl", Score)


def test_gold_scores_one(data: Path) -> None:
    outcome, scores = score(data, RIGHT)
    assert [each.ex for each in scores] == [1, 1, 1, 1]
    assert outcome.shortfall is None
    summary = outcome.summary
    assert (summary["ex"], summary["interval"], summary["n"], summary["metric"]) == (1.0, [1.0, 1.0], 4, "EX")
    # SELECT name | WHERE | count(*) | two columns and ORDER BY
    assert [each.hardness for each in scores] == ["easy", "easy", "easy", "medium"]


def test_every_ending_is_counted(data: Path) -> None:
    outcome, scores = score(data, ["SELECT age FROM pet", "SELECT nme FROM pet", "DROP TABLE item"])
    assert [each.ex for each in scores] == [0, 0, 0, 0]
    assert "nme" in scores[1].reason
    assert (scores[3].sql, scores[3].reason) == ("", "no prediction")
    assert outcome.summary["reasons"] == {
        "different": 1, "candidate_error": 1, "candidate_refused": 1, "missing": 1,
    }  # fmt: skip
    assert outcome.summary["missing"] == 1


def test_parts_are_scored_apart(data: Path) -> None:
    summary = score(data, [RIGHT[0], "SELECT 1", RIGHT[2], RIGHT[3]], train_split="train")[0].summary
    ex = {
        name: {key: part["ex"] for key, part in summary[name].items()}
        for name in summary
        if name[:3] == "by_"
    }
    assert ex == {
        "by_hardness": {"easy": 2 / 3, "medium": 1.0},
        "by_database": {"pets": 0.5, "shop": 1.0},
        "by_group": {"seen": 0.5, "new": 1.0},
    }


def test_only_predicted_leaves_out_the_rest(data: Path) -> None:
    outcome, scores = score(data, ["", RIGHT[1]], only_predicted=True)
    assert [each.id for each in scores] == [1]
    assert (outcome.summary["n"], outcome.summary["missing"], outcome.summary["only_predicted"]) == (
        1,
        0,
        True,
    )


def test_failing_gold_is_unscored_and_not_wrong(data: Path) -> None:
    broken = [QUESTIONS[0], QUESTIONS[1] | {"query": "SELECT nothing FROM pet"}]
    (data / "dev.json").write_text(json.dumps(broken))
    outcome, scores = score(data, [RIGHT[0], RIGHT[1]])
    assert [each.ex for each in scores] == [1, None]
    assert (outcome.summary["ex"], outcome.summary["scored"], outcome.summary["unscored"]) == (1.0, 1, 1)
    assert outcome.shortfall == "1 of 2 questions are unscored: their gold query fails"


def test_rule_is_the_benchmarks(data: Path) -> None:
    twice = "SELECT name FROM pet UNION ALL SELECT name FROM pet"
    swapped = "SELECT name, price FROM item ORDER BY price"
    lines = [twice, RIGHT[1], RIGHT[2], swapped]
    assert [each.ex for each in score(data, lines)[1]] == [0, 1, 1, 1]
    (data.parent / "out").rename(data.parent / "spider")
    assert [each.ex for each in score(data, lines, benchmark="bird")[1]] == [1, 1, 1, 0]


def test_birds_difficulty_takes_the_place_of_hardness(data: Path) -> None:
    (data / "dev.json").write_text(json.dumps([QUESTIONS[0] | {"difficulty": "challenging"}, QUESTIONS[1]]))
    assert [each.hardness for each in score(data, RIGHT[:2], benchmark="bird")[1]] == ["challenging", "easy"]


def test_many_files_of_a_database_make_it_test_suite_accuracy(data: Path) -> None:
    make_database(
        data, "pets", "CREATE TABLE pet (name, age); INSERT INTO pet VALUES ('Kit', 1)", file="pets_1"
    )
    (data / "dev.json").write_text(json.dumps(QUESTIONS[:2]))
    outcome, scores = score(data, ["SELECT name FROM pet WHERE age > 2", RIGHT[1]])
    assert [each.ex for each in scores] == [0, 1]
    assert outcome.summary["metric"] == "TS"


def test_nothing_is_written_on_bad_input(data: Path) -> None:
    with pytest.raises(DataError):
        score(data, [*RIGHT, "SELECT 1"])
    with pytest.raises(DataError, match="no question of split 'dev' has a prediction"):
        score(data, [""], only_predicted=True)
    (data / "database" / "shop" / "shop.sqlite").unlink()
    with pytest.raises(DatabaseError, match="database 'shop'"):
        score(data, RIGHT)
    assert not (data.parent / "out").exists()


@pytest.mark.parametrize(("name", "value"), [("timeout_s", 0), ("workers", -1), ("benchmark", "wikisql")])
def test_settings_are_checked(data: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        score(data, RIGHT, **{name: value})
