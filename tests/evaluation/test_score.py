"""The `score` stage on real databases: four questions, every kind of ending."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.errors import ConfigError, DatabaseError, DataError
from sense.evaluation.score import Config, run, show
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
        "by_feature": {"where": 0.0, "count": 1.0, "several_columns": 1.0, "order_by": 1.0},
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


def test_metrics_stand_side_by_side(data: Path) -> None:
    lines = [
        "SELECT DISTINCT name FROM pet",  # right by every rule: names differ
        "WITH old AS (SELECT name FROM pet WHERE age > 4) SELECT name FROM old",  # EM cannot read it
        "SELECT count(DISTINCT name) FROM item",  # EM wants count(*)
        "SELECT name FROM item ORDER BY price",
    ]
    outcome, scores = score(data, lines, metrics=("ex", "robust", "em"))
    assert [(each.ex, each.robust, each.em) for each in scores] == [
        (1, 1, 1), (1, 1, 0), (1, 1, 0), (0, 0, 0),
    ]  # fmt: skip
    assert outcome.summary["metrics"]["em"]["mean"] == 0.25


def test_a_disagreement_of_the_rules_has_its_cause(data: Path) -> None:
    make_database(data, "twin", "CREATE TABLE t (a, value); INSERT INTO t VALUES (1, 2), (1, 2), (0, 3)")
    golds = ["SELECT count(a) FROM t", "SELECT value FROM t", "SELECT a FROM t ORDER BY a DESC LIMIT 1"]
    questions = [{"db_id": "twin", "question": "?", "query": gold} for gold in golds]
    (data / "dev.json").write_text(json.dumps(questions))
    lines = ["SELECT count(DISTINCT a) FROM t", "SELECT value FROM t", "SELECT a FROM t LIMIT 1"]
    outcome, scores = score(data, lines, metrics=("robust",))
    assert [(each.ex, each.robust, each.cause) for each in scores] == [
        (1, 0, "distinct_stripped"), (0, 1, "value_rewriting"), (1, 1, ""),
    ]  # fmt: skip
    assert outcome.summary["official_and_robust_differ"] == {"distinct_stripped": 1, "value_rewriting": 1}


def test_birds_metrics_give_degrees(data: Path) -> None:
    lines = [RIGHT[0], RIGHT[1], "SELECT 3", "SELECT price, 'pen' FROM item ORDER BY price"]
    outcome, scores = score(data, lines, benchmark="bird", metrics=("soft_f1", "r_ves", "ves"), repeats=3)
    # two rows of two cells, three of the four cells agree: precision and recall 3 / 4
    assert [each.soft_f1 for each in scores] == [1.0, 1.0, 0.0, 0.75]
    assert all(
        each.r_ves in (50.0, 100 * 0.5**0.5, 100 * 0.75**0.5, 100.0, 100 * 1.25**0.5) for each in scores[:2]
    )
    assert [each.ves for each in scores[2:]] == [0.0, 0.0]
    assert outcome.summary["timing"]["ves"]["repeats"] == 3


def test_a_missing_prediction_is_wrong_by_every_metric(data: Path) -> None:
    _, scores = score(data, [""] * 4, metrics=("robust", "em"))
    assert {(each.ex, each.robust, each.em, each.match) for each in scores} == {(0, 0, 0, "missing")}


def test_against_other_predictions(data: Path) -> None:
    other = data.parent / "other.sql"
    other.write_text("\n".join(["SELECT 1", RIGHT[1], RIGHT[2], "SELECT 2"]) + "\n")
    outcome, _ = score(data, [RIGHT[0], RIGHT[1], "SELECT 5", RIGHT[3]], against=other)
    found = outcome.summary["against"]
    assert (found["ex"], found["difference"], found["gained"], found["lost"], found["p_value"]) == (
        0.5, 0.25, 2, 1, 1.0,
    )  # fmt: skip
    flipped = jsonl.read_objects(data.parent / "out" / "flips.jsonl")
    assert [(each["id"], each["ex"], each["against_sql"]) for each in flipped] == [
        (0, 1, "SELECT 1"), (2, 0, RIGHT[2]), (3, 1, "SELECT 2"),
    ]  # fmt: skip


def test_against_a_run_folder_runs_nothing_again(data: Path) -> None:
    score(data, ["SELECT 1", *RIGHT[1:]])
    (data.parent / "out").rename(data.parent / "first")
    outcome, _ = score(data, RIGHT, against=data.parent / "first")
    assert outcome.summary["against"]["difference"] == 0.25


def test_the_table_says_it_all(data: Path) -> None:
    shown = show(score(data, [*RIGHT[:3], "SELECT 1"], metrics=("em",))[0].summary)
    assert "EX on split 'dev' by Spider's rule" in shown
    assert "endings: same 3, different 1" in shown
    assert any(line.split()[:3] == ["all", "4", "75.0"] for line in shown.splitlines())


def test_results_of_gold_queries_are_kept_for_the_next_run(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = data.parent / "home"
    monkeypatch.setenv("SENSE_HOME", str(home))
    score(data, RIGHT, gold_cache=False)
    assert not list(home.glob("gold/*"))
    (data.parent / "out").rename(data.parent / "first")
    score(data, RIGHT)
    assert (home / "gold" / "verdicts.sqlite").exists()


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        pytest.param({"metrics": ("ves",)}, "metric 'ves' is of --benchmark bird", id="metric"),
        pytest.param({"benchmark": "bird", "plug_value": True}, "of --benchmark spider", id="option"),
        pytest.param({"keep_distinct": True, "plug_value": True}, "together", id="two-options"),
    ],
)
def test_what_does_not_go_together_is_refused(data: Path, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        score(data, RIGHT, **settings)


@pytest.mark.parametrize(("name", "value"), [("timeout_s", 0), ("workers", -1), ("benchmark", "wikisql")])
def test_settings_are_checked(data: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        score(data, RIGHT, **{name: value})
