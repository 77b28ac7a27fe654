"""Labels with test suites: right candidates are judged again on variants of their real database."""

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.errors import DatabaseError, DataError
from sense.records import Candidate, Label, Verdict
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.weak.label import BEFORE_RETEST, Config, run

GOLD = "SELECT name FROM pet WHERE age > 4"
EQUAL = "SELECT p.name FROM pet AS p WHERE NOT p.age <= 4"
LUCKY = "SELECT name FROM pet WHERE age = 5"
# Of the smallest integer SQLite cannot take the absolute value.
BREAKS = "SELECT name FROM pet WHERE age > 4 AND abs(age) > 0 OR abs(age) < 0"
SLOW = (
    "SELECT name FROM pet WHERE age > 4 AND 0 < (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
    "FROM n WHERE i < (SELECT max(age) FROM pet)) SELECT count(*) FROM n)"
)
SAME = "CREATE TABLE pet (name, age); INSERT INTO pet VALUES ('Rex', 3), ('Tom', 5)"
MORE = "CREATE TABLE pet (name, age); INSERT INTO pet VALUES ('Rex', 5), ('Tom', 6)"
LEAST = "CREATE TABLE pet (name, age); INSERT INTO pet VALUES ('Rex', -9223372036854775808), ('Tom', 5)"
HUGE = "CREATE TABLE pet (name, age); INSERT INTO pet VALUES ('Rex', 3), ('Tom', 1000000000000)"
OTHER_TABLE = "CREATE TABLE cat (name, age)"


def database(folder: Path, name: str, script: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(folder / f"{name}.sqlite")
    connection.executescript(script)
    connection.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for db_id in ("pets", "zoo"):
        database(tmp_path / "data/database" / db_id, db_id, SAME)
    questions = [{"db_id": db_id, "question": "Old?", "query": GOLD} for db_id in ("pets", "zoo")]
    (tmp_path / "data/train.json").write_text(json.dumps(questions))
    return tmp_path / "data"


def suites(data: Path, *variants: str) -> Path:
    folder = data.parent / "suites/database/pets"
    shutil.rmtree(folder, ignore_errors=True)
    database(folder, "pets", SAME)
    for number, script in enumerate(variants, start=1):
        database(folder, f"pets_v{number:02d}", script)
    return data.parent / "suites"


def candidate(number: int, sql: str, db_id: str = "pets") -> Candidate:
    question_id = ["pets", "zoo"].index(db_id)
    return Candidate(
        id=str(number), question_id=question_id, db_id=db_id, sample=0, sql=sql, logprob=-1.0, tokens=5
    )


def label(data: Path, candidates: list[Candidate], **settings: Any) -> tuple[Outcome, list[Verdict]]:
    jsonl.write(data.parent / "candidates.jsonl", candidates)
    settings = {"data": data, "candidates": data.parent / "candidates.jsonl", "workers": 1} | settings
    config = Config.parse(settings, where="test")
    outcome = run(config, RunDir(data.parent / "out", stage="label", config=config))
    return outcome, jsonl.read(data.parent / "out/verdicts.jsonl", Verdict)


def test_what_is_right_by_luck_is_overturned_and_says_where(data: Path) -> None:
    queries = [LUCKY, EQUAL, "SELECT age FROM pet", "SELECT nme FROM pet"]
    folder = suites(data, SAME, MORE)
    outcome, verdicts = label(data, [candidate(n, sql) for n, sql in enumerate(queries)], suites=folder)
    assert [each.label.value for each in verdicts] == ["wrong", "right", "wrong", "error"]
    assert [each.overturned for each in verdicts] == [True, False, False, False]
    assert verdicts[0].reason == "1 row of 1 column, gold has 2 rows of 1 column (on pets_v02.sqlite)"
    told = {name: outcome.summary[name] for name in ("retested", "overturned", "share_overturned")}
    assert told == {"retested": 2, "overturned": 1, "share_overturned": 0.5}
    assert outcome.summary["labels"] == {"wrong": 2, "right": 1, "error": 1}
    assert not (data.parent / "out" / BEFORE_RETEST).exists()


@pytest.mark.parametrize(
    ("variants", "sql", "mark", "reason"),
    [
        pytest.param([LEAST], BREAKS, Label.WRONG, "integer overflow (on pets_v01.sqlite)", id="breaks"),
        pytest.param([HUGE], SLOW, Label.RIGHT, "stopped after 0.3 s (on pets_v01.sqlite)", id="stopped"),
        pytest.param(
            [HUGE, MORE],
            SLOW.replace("> 4", "= 5").replace("FROM n)", "FROM n) OR age > 9"),
            Label.WRONG,
            "1 row of 1 column, gold has 2 rows of 1 column (on pets_v02.sqlite)",
            id="stopped on one, differs on another",
        ),
        pytest.param([OTHER_TABLE, SAME], EQUAL, Label.RIGHT, "", id="gold fails on one"),
        pytest.param(
            [OTHER_TABLE],
            EQUAL,
            Label.RIGHT,
            "gold query: no such table: pet (on pets_v01.sqlite)",
            id="gold fails on all",
        ),
        pytest.param([OTHER_TABLE, MORE], LUCKY, Label.WRONG, None, id="gold fails, then a difference"),
    ],
)
def test_only_an_honest_difference_overturns(
    data: Path, variants: list[str], sql: str, mark: Label, reason: str | None
) -> None:
    outcome, (verdict,) = label(data, [candidate(0, sql)], suites=suites(data, *variants), timeout_s=0.3)
    assert (verdict.label, verdict.overturned) == (mark, mark is Label.WRONG)
    assert reason in (None, verdict.reason)
    assert outcome.summary["retest_unclear"] == (mark is Label.RIGHT and verdict.reason != "")


def test_database_without_a_suite_keeps_its_labels(data: Path) -> None:
    candidates = [candidate(0, LUCKY), candidate(1, LUCKY, db_id="zoo")]
    outcome, verdicts = label(data, candidates, suites=suites(data, MORE))
    assert [each.label for each in verdicts] == [Label.WRONG, Label.RIGHT]
    counts = ("retested", "overturned", "not_retested", "databases_without_suite")
    assert [outcome.summary[name] for name in counts] == [1, 1, 1, 1]


@pytest.mark.parametrize("kept_before", [0, 1, 2, 3])
@pytest.mark.parametrize("kept_after", [0, 1, 2, 3])
def test_killed_anywhere_it_goes_on(data: Path, kept_before: int, kept_after: int) -> None:
    candidates = [candidate(0, LUCKY), candidate(1, EQUAL), candidate(2, "SELECT age FROM pet")]
    _, plain = label(data, candidates)
    (data.parent / "out").rename(data.parent / "plain")
    folder = suites(data, MORE)
    first = label(data, candidates, suites=folder)
    out = data.parent / "out"
    told = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(told | {"status": "running"}))
    # Another log-probability in what is there shows that it is kept and not made anew.
    for name, records, kept, mark in (
        (BEFORE_RETEST, plain, kept_before, -7.0),
        ("verdicts.jsonl", first[1], kept_after, -9.0),
    ):
        lines = [jsonl.to_line(replace(each, logprob=mark)) for each in records[:kept]]
        (out / name).write_text("".join(lines) + jsonl.to_line(records[-1])[:20])
    outcome, verdicts = label(data, candidates, suites=folder)
    assert outcome == first[0]
    assert [replace(each, logprob=-1.0) for each in verdicts] == first[1]
    marks = [-9.0] * kept_after + [-7.0] * (kept_before - kept_after)
    assert [each.logprob for each in verdicts] == marks + [-1.0] * (3 - len(marks))
    assert not (out / BEFORE_RETEST).exists()


def test_command_given_again_adds_nothing(data: Path) -> None:
    folder = suites(data, MORE)
    first = label(data, [candidate(0, LUCKY), candidate(1, EQUAL)], suites=folder)
    assert label(data, [candidate(0, LUCKY), candidate(1, EQUAL)], suites=folder) == first


def test_nothing_is_written_without_suites(data: Path) -> None:
    with pytest.raises(DataError, match=r"train\.json: a folder of test suites is expected"):
        label(data, [candidate(0, LUCKY)], suites=data / "train.json")
    with pytest.raises(DataError, match="no variants in it of the candidates' databases, such as 'pets'"):
        label(data, [candidate(0, LUCKY)], suites=suites(data))
    folder = suites(data, SAME)
    (folder / "database/pets/pets_v01.sqlite").write_text("no database")
    with pytest.raises(DatabaseError, match="pets_v01"):
        label(data, [candidate(0, LUCKY)], suites=folder)
    assert not (data.parent / "out").exists()
