"""The `filter` stage: what is kept of the strong model's data, and how it is split."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.databases.normal_form import normal_form
from sense.databases.schema import load_schema
from sense.databases.spider import check_databases, database_file, load_questions
from sense.errors import ConfigError, DataError
from sense.execution.outcome import Rows
from sense.execution.run import Limits, run_query
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.strong import filter as stage
from sense.strong import generate
from sense.strong.checks import Item

from .conftest import DATABASE, DEMO

Filtered = Callable[..., tuple[Outcome, Path]]
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
GOOD = "SELECT kind FROM bird"


def item(
    number: int, sql: str = GOOD, *, db_id: str = "mews", question: str = "", **more: Any
) -> dict[str, Any]:
    head = {"id": f"{db_id}/easy/{number:02d}", "db_id": db_id, "level": "easy"}
    return head | {"question": question or f"Question {number}?", "sql": sql} | more


def dropped(folder: Path) -> list[tuple[str, str]]:
    return [(line["check"], line["reason"]) for line in jsonl.read_objects(folder / "dropped.jsonl")]


@pytest.mark.parametrize(
    ("sql", "check", "reason"),
    [
        pytest.param("SELECT wing FROM bird", "runs", "no such column: wing", id="no such column"),
        pytest.param("which birds?", "parses", "Invalid expression / Unexpected token", id="prose"),
        pytest.param("", "one_statement", "there is no statement", id="empty"),
        pytest.param("DELETE FROM bird", "reads_only", "only reading is allowed, not DELETE", id="writes"),
        pytest.param("ATTACH 'x' AS y", "reads_only", "only reading is allowed, not ATTACH", id="attaches"),
        pytest.param(
            f"{GOOD}; DROP TABLE bird", "one_statement", "more than one statement", id="two statements"
        ),
        pytest.param(ENDLESS, "runs", "stopped after 0.3 s", id="hangs"),
        pytest.param("SELECT kind FROM bird WHERE id = 9", "returns_rows", "no rows", id="no rows"),
        pytest.param(
            "SELECT max(id) FROM bird WHERE id = 9", "says_something", "nothing but NULL", id="NULL"
        ),
        pytest.param("SELECT a.id FROM bird a, bird b", "bounded", "9 rows", id="too many rows"),
        pytest.param(
            "SELECT count(id) FROM bird WHERE id = 9", "says_something", "counts nothing", id="zero"
        ),
        pytest.param("VALUES (1)", "not_constant", "reads no table", id="no SELECT"),
        pytest.param(f"{GOOD} {' ' * 20_000}", "is_text", "over 20000 characters", id="too long"),
        pytest.param("SELECT '\ud800' FROM bird", "is_text", "not Unicode", id="half a character"),
        pytest.param("SELECT KIND FROM bird AS b;", "new_query", "same query as one before", id="same query"),
    ],
)
def test_what_does_not_hold_is_dropped_with_its_reason(
    filtered: Filtered, sql: str, check: str, reason: str
) -> None:
    outcome, folder = filtered([DATABASE], [item(1), item(2, sql)], timeout_s=0.3, max_rows=8)
    assert dropped(folder) == [(check, reason)]
    assert (outcome.summary["kept"], outcome.summary["dropped"]) == (1, {check: 1})


@pytest.mark.parametrize(
    ("question", "check"),
    [
        pytest.param(" which BIRDS", "new_question", id="asked before"),
        pytest.param("??\n", "is_text", id="empty"),
        pytest.param("Birds \udfff?", "is_text", id="half a character"),
    ],
)
def test_a_question_that_is_none_or_not_new_is_dropped(filtered: Filtered, question: str, check: str) -> None:
    items = [item(1, question="Which birds?"), item(2, "SELECT id FROM bird", question=question)]
    _, folder = filtered([DATABASE], items)
    assert [name for name, _ in dropped(folder)] == [check]


def test_nearly_the_same_question_about_another_database_is_not_new(filtered: Filtered) -> None:
    items = [item(1, question="Which birds?"), item(1, db_id="loft", question="which BIRDS")]
    _, folder = filtered([DATABASE, DATABASE | {"db_id": "loft"}], items)
    assert dropped(folder) == [("new_wording", "nearly the same as: Which birds?")]


def test_of_queries_that_differ_in_values_alone_two_are_kept(filtered: Filtered) -> None:
    same = [item(n, f"SELECT kind FROM bird WHERE id <> {n}") for n in range(4, 8)]
    elsewhere = item(1, "SELECT kind FROM bird WHERE id <> 9", db_id="loft", question="What kinds?")
    outcome, folder = filtered([DATABASE, DATABASE | {"db_id": "loft"}], [*same, elsewhere])
    assert dropped(folder) == [("new_skeleton", "2 before it differ in values alone")] * 2
    assert outcome.summary["kept"] == 3


def test_what_resembles_a_held_out_question_is_dropped(filtered: Filtered, tmp_path: Path) -> None:
    held = [
        {
            "db_id": "mews",
            "question": "Who keeps a merlin now?",
            "SQL": "SELECT id FROM bird WHERE kind = 'x'",
        }
    ]
    folder = tmp_path / "held"
    folder.mkdir()
    (folder / "dev.json").write_text(json.dumps(held))
    items = [
        item(1, "SELECT id FROM bird WHERE kind = 'hobby'"),
        item(2, "SELECT keeper FROM bird", question="Who keeps a MERLIN now?"),
        item(3),
    ]
    outcome, run_folder = filtered([DATABASE], items, against=[folder / "dev.json"])
    assert dropped(run_folder) == [
        ("query_not_held_out", "dev.json: SELECT id FROM bird WHERE kind = 'x'"),
        ("question_not_held_out", "dev.json: Who keeps a merlin now?"),
    ]
    against = outcome.summary["against"]
    assert against == {"questions": {"held/dev.json": 1}, "same_names": {"dev.json": ["mews"]}}


STRICT = [
    pytest.param(
        "SELECT kind FROM bird WHERE id < 3 AND id > 1",
        {"strict_hardness": True},
        "hardness_as_asked",
        id="level",
    ),
    pytest.param("SELECT kind FROM bird WHERE id < 5", {"literals": "drop"}, "values_said", id="literal"),
    pytest.param(
        "SELECT kind FROM bird WHERE keeper IS NULL", {"grammar": "spider"}, "in_spider_grammar", id="grammar"
    ),
]


@pytest.mark.parametrize(("sql", "settings", "measure"), STRICT)
def test_what_is_only_counted_drops_if_that_is_wanted(
    filtered: Filtered, sql: str, settings: dict[str, Any], measure: str
) -> None:
    items = [item(1, sql, question="Which kinds?")]
    counted, _ = filtered([DATABASE], items, name="counted")
    assert (counted.summary["kept"], counted.summary["reported"][measure]) == (1, 1)
    strict, _ = filtered([DATABASE], [*items, item(2)], name="strict", **settings)
    assert (strict.summary["kept"], strict.summary["dropped"]) == (1, {measure: 1})


def test_the_summary_shows_the_first_three_of_what_a_check_dropped(filtered: Filtered) -> None:
    outcome, _ = filtered([DATABASE], [item(n, f"SELECT a{n} FROM bird") for n in range(4)] + [item(9)])
    assert outcome.summary["dropped"] == {"runs": 4}
    assert [shown["reason"] for shown in outcome.summary["examples"]["runs"]] == [
        f"no such column: a{n}" for n in range(3)
    ]


def test_what_was_asked_of_a_question_goes_along_measured(filtered: Filtered) -> None:
    more = {"style": "vague", "evidence": "a falcon is a bird", "features": ["limit", "window"]}
    outcome, folder = filtered(
        [DATABASE], [item(1, "SELECT kind FROM bird LIMIT 2", **more), item(2)], test_share=0
    )
    plain, asked = sorted(json.loads((folder / "data/train.json").read_text()), key=len)
    assert set(asked) - set(plain) == {"style", "evidence", "features"}
    assert (asked["style"], asked["evidence"], asked["features"]) == (
        "vague",
        "a falcon is a bird",
        ["limit"],
    )
    assert outcome.summary["features"] == {
        "limit": {"asked": 1, "used": 1},
        "window": {"asked": 1, "used": 0},
    }
    assert load_questions(folder / "data", "train")[0].evidence == "a falcon is a bird"


def test_one_in_twenty_may_have_no_rows_if_it_says_so(filtered: Filtered) -> None:
    some = [item(n, f"SELECT kind FROM bird WHERE id < {n}") for n in range(2, 40)]
    none = [item(n, f"SELECT id FROM bird WHERE id = {n}", empty=True) for n in range(40, 43)]
    outcome, folder = filtered([DATABASE], some + none, max_per_skeleton=40)  # 5 % of 41 asked: two
    assert dropped(folder) == [("returns_rows", "more empty results than allowed")]
    assert outcome.summary["kept"] == 40


def test_a_database_that_cannot_be_built_takes_its_questions_along(filtered: Filtered) -> None:
    broken = DATABASE | {
        "db_id": "loft",
        "tables": [{"name": "a", "create": "CREATE VIEW a AS SELECT 1", "rows": []}],
    }
    outcome, folder = filtered([DATABASE, broken], [item(1), item(1, db_id="loft"), item(1, db_id="gone")])
    assert [check for check, _ in dropped(folder)] == ["builds"] * 3
    assert dropped(folder)[0] == ("builds", "table 'a': not a plain CREATE TABLE statement")
    assert (outcome.summary["databases"], outcome.summary["kept"]) == (1, 1)


def test_rows_left_out_are_listed(filtered: Filtered) -> None:
    tables = [DATABASE["tables"][0], DATABASE["tables"][1] | {"rows": [[1, "kestrel", 1], [2, "merlin", 9]]}]
    outcome, folder = filtered([DATABASE | {"tables": tables}], [item(1)])
    (line,) = jsonl.read_objects(folder / "rejected-rows.jsonl")
    assert line == {"db_id": "mews", "reason": "bird, row 2: its key is not in 'falconer'"}
    assert outcome.summary["rejected_rows"] == 1


def test_the_result_is_a_data_folder(filtered: Filtered) -> None:
    items = [item(n, f"SELECT kind FROM bird WHERE id <> {n}") for n in range(4, 8)]
    _, folder = filtered([DATABASE], items, max_per_skeleton=4)
    train, test = load_questions(folder / "data", "train"), load_questions(folder / "data", "test")
    assert (len(train), len(test)) == (3, 1)
    check_databases(folder / "data", train + test)
    schema = load_schema(folder / "data", "mews", database_file(folder / "data", "mews"))
    assert [(key.column, key.to_table, key.to_column) for key in schema.foreign_keys] == [
        ("keeper", "falconer", "id")
    ]


@pytest.mark.parametrize("db_id", ["../../etc/x", "/etc/x"])
def test_nothing_is_written_outside_of_the_folder(filtered: Filtered, tmp_path: Path, db_id: str) -> None:
    with pytest.raises(DataError, match="'db_id' must be"):
        filtered([DATABASE | {"db_id": db_id}], [item(1)])
    assert not (tmp_path / "filtered").exists()


def test_questions_still_awaited_are_named(filtered: Filtered) -> None:
    with pytest.raises(DataError, match="the replies to 'sense synthesize' are still awaited"):
        filtered([DATABASE], [])


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    config = stage.Config.parse({"source": tmp_path}, where="test")
    with pytest.raises(ConfigError, match="the run folder of 'sense synthesize' is expected"):
        stage.run(config, RunDir(tmp_path / "out", stage="filter", config=config))


def test_too_few_databases_leave_the_reasons_behind(filtered: Filtered, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 databases are to be held out whole, but only 0 have questions"):
        filtered([DATABASE], [item(1, "nonsense")], new_databases=1)
    assert dropped(tmp_path / "filtered") == [("runs", 'near "nonsense": syntax error')]


def test_a_split_takes_the_share_of_every_hardness() -> None:
    easy = [f"SELECT a FROM t WHERE b = {n}" for n in range(8)]
    hard = [f"SELECT a FROM t WHERE b IN (SELECT b FROM u WHERE c = {n})" for n in range(4)]
    items = [
        Item(id=f"{db_id}/{n}", db_id=db_id, level="x", question=str(n), sql=sql)
        for db_id in ("one", "two", "three")
        for n, sql in enumerate(easy + hard)
    ]
    splits = stage.split(items, test_share=0.25, new_databases=1, seed=0)
    (new,) = splits.new_databases
    assert Counter(each.db_id for each in splits.test)[new] == 12
    seen = [each for each in splits.test if each.db_id != new]
    assert Counter((each.db_id, "IN" in each.sql) for each in seen).most_common() == [
        ((db_id, nested), count)
        for nested, count in ((False, 2), (True, 1))
        for db_id in ("one", "two", "three")
        if db_id != new
    ]
    assert sorted(each.id for each in splits.train + splits.test) == sorted(each.id for each in items)
    assert splits == stage.split(items, test_share=0.25, new_databases=1, seed=0)


def contents(folder: Path) -> dict[str, bytes]:
    skipped = ("run.json", ".lock")
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in skipped)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_killed_and_run_again_it_gives_what_an_undisturbed_run_gives(
    filtered: Filtered, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    databases = [DATABASE, DATABASE | {"db_id": "loft"}]
    items = [item(1), item(2, "SELECT id FROM bird"), item(3, db_id="loft")]
    _, undisturbed = filtered(databases, items, name="undisturbed")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # A kill has to come at a known place: when the databases are there and the questions are not.
        patch.setattr(stage, "run_queries", killed)
        with pytest.raises(KeyboardInterrupt):
            filtered(databases, items)
    capsys.readouterr()
    _, again = filtered(databases, items)
    assert contents(again) == contents(undisturbed)
    assert "filter: 2 databases of an interrupted run made anew" in capsys.readouterr().err


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped replies, synthesized and filtered twice."""
    folder = tmp_path_factory.mktemp("demo")
    settings = {
        "plan": "fixed",
        "model": "strong-model",
        "seed": 1,
        "replies": sorted(DEMO.glob("replies-*.jsonl")),
        "more_questions": {"easy": 20, "medium": 20},
    }
    asked = generate.Config.parse(settings, where="test")
    generate.run(asked, RunDir(folder / "synth", stage="synthesize", config=asked))
    for name in ("one", "two"):
        config = stage.Config.parse({"source": folder / "synth", "seed": 1, "workers": 2}, where="test")
        stage.run(config, RunDir(folder / name, stage="filter", config=config))
    return folder


def demo_questions(demo: Path, name: str = "one") -> list[dict[str, Any]]:
    splits = {
        split: json.loads((demo / name / "data" / f"{split}.json").read_text()) for split in ("train", "test")
    }
    return [question | {"split": split} for split, questions in splits.items() for question in questions]


def test_the_demo_has_eight_databases_with_enough_of_every_hardness(demo: Path) -> None:
    questions = demo_questions(demo)
    by_database = Counter(question["db_id"] for question in questions)
    assert len(by_database) == 8
    assert min(by_database.values()) >= 60
    shares = Counter(question["hardness"] for question in questions)
    assert set(shares) == {"easy", "medium", "hard", "extra"}
    assert min(shares.values()) >= 0.15 * len(questions)


def test_the_demo_asks_nothing_twice(demo: Path) -> None:
    questions = demo_questions(demo)
    texts = {(question["db_id"], question["question"].lower().strip(" ?.")) for question in questions}
    queries = {(question["db_id"], normal_form(question["query"])) for question in questions}
    assert (
        len(texts)
        == len(queries)
        == len({question["question_id"] for question in questions})
        == len(questions)
    )


def test_the_demo_holds_out_two_databases_and_a_quarter_of_the_others(demo: Path) -> None:
    questions = demo_questions(demo)
    seen = {question["db_id"] for question in questions if question["split"] == "train"}
    assert len({question["db_id"] for question in questions} - seen) == 2
    for db_id in seen:
        splits = Counter(question["split"] for question in questions if question["db_id"] == db_id)
        assert splits["test"] / splits.total() == pytest.approx(0.25, abs=0.01)


def test_every_gold_query_of_the_demo_returns_rows_but_the_marked_few(demo: Path) -> None:
    empty = 0
    for question in demo_questions(demo):
        path = database_file(demo / "one" / "data", question["db_id"])
        ending = run_query(path, question["query"], limits=Limits(timeout_s=5))
        assert isinstance(ending, Rows), question
        assert bool(ending.rows) != question.get("empty", False), question
        empty += not ending.rows
    assert empty <= 0.05 * len(demo_questions(demo))


def test_the_demo_is_the_same_twice(demo: Path) -> None:
    assert contents(demo / "one") == contents(demo / "two")
