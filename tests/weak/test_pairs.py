"""The `pairs` stage: which queries are paired, and on a real database how the pairs read."""

import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense import jsonl
from sense.databases.normal_form import normal_form
from sense.errors import DataError
from sense.records import Label, PreferencePair, Question, Verdict
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.weak.pairs import Config, Pairs, Strategy, make_pairs, run

GOLD = "SELECT name FROM pet"
QUESTION = Question(id=7, db_id="pets", question="Names?", gold_sql=GOLD)


def verdicts(*queries: tuple[str, Label], question_id: int = 7) -> list[Verdict]:
    return [
        Verdict(
            candidate_id=f"{question_id}-{n}",
            question_id=question_id,
            db_id="pets",
            sql=sql,
            logprob=0,
            label=label,
        )
        for n, (sql, label) in enumerate(queries)
    ]


def make(own: list[Verdict], *, strategy: Strategy = "any", per_question: int = 1, seed: int = 0) -> Pairs:
    return make_pairs(
        [QUESTION],
        own,
        prompt=lambda question: f"PROMPT {question.id}",
        strategy=strategy,
        per_question=per_question,
        rng=random.Random(seed),
    )


def test_right_is_chosen_and_wrong_rejected() -> None:
    made = make(verdicts((GOLD, Label.RIGHT), ("SELECT age FROM pet", Label.WRONG)))
    expected = PreferencePair(
        id="7-0",
        db_id="pets",
        prompt="PROMPT 7",
        chosen=" SELECT name FROM pet",
        rejected=" SELECT age FROM pet",
    )
    assert made.pairs == [expected]


@pytest.mark.parametrize("label", [Label.WRONG, Label.ERROR, Label.TIMEOUT, Label.REFUSED])
def test_whatever_failed_can_be_rejected(label: Label) -> None:
    assert make(verdicts((GOLD, Label.RIGHT), ("SELECT x", label))).counts.pairs == 1


@pytest.mark.parametrize(
    ("own", "counts"),
    [
        pytest.param(verdicts(("SELECT x", Label.WRONG)), (0, 1, 0, 1, 0, 0), id="no right one"),
        pytest.param(verdicts((GOLD, Label.RIGHT)), (0, 1, 0, 0, 1, 0), id="no wrong one"),
        pytest.param(
            verdicts((GOLD, Label.RIGHT), ("SELECT x", Label.UNJUDGED)), (0, 1, 0, 0, 1, 0), id="unjudged"
        ),
        pytest.param(
            verdicts((GOLD, Label.RIGHT), ("select NAME  from pet;", Label.TIMEOUT)),
            (0, 1, 0, 0, 0, 1),
            id="equal",
        ),
    ],
)
def test_question_without_a_pair_is_counted_by_its_cause(own: list[Verdict], counts: tuple[int, ...]) -> None:
    assert make(own).counts == counts


def test_gold_is_chosen_where_no_candidate_is_right() -> None:
    made = make(
        verdicts(("SELECT x", Label.WRONG), ("SELECT  Name FROM pet", Label.TIMEOUT)), strategy="gold"
    )
    assert [(pair.chosen, pair.rejected) for pair in made.pairs] == [(" " + GOLD, " SELECT x")]


@pytest.mark.parametrize("sql", ["", " ; "])
def test_an_answer_without_a_query_is_no_side_of_a_pair(sql: str) -> None:
    assert make(verdicts((GOLD, Label.RIGHT), (sql, Label.ERROR))).counts == (0, 1, 0, 0, 1, 0)


@given(per_question=st.integers(1, 9), seed=st.integers(0, 99))
def test_no_pair_comes_twice(per_question: int, seed: int) -> None:
    own = verdicts(*[(f"SELECT {n}", Label.RIGHT if n < 2 else Label.WRONG) for n in range(5)])
    pairs = make(own, per_question=per_question, seed=seed).pairs
    # two right and three wrong ones make six pairs
    assert len({(pair.chosen, pair.rejected) for pair in pairs}) == len(pairs) == min(per_question, 6)
    assert [pair.id for pair in pairs] == [f"7-{n}" for n in range(len(pairs))]
    assert pairs == make(own, per_question=per_question, seed=seed).pairs


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("select a  from t;", "SELECT A FROM T", id="case and space"),
        pytest.param("SELECT x.a FROM t AS x", "SELECT a FROM t", id="alias of a table"),
        pytest.param("SELECT count(*) AS n FROM t", "SELECT COUNT(*) FROM t", id="alias of a column"),
        pytest.param(
            "SELECT x.a FROM t AS x JOIN u AS y ON x.i = y.i",
            "SELECT t.a FROM t JOIN u ON t.i = u.i",
            id="join",
        ),
        pytest.param(
            "SELECT a FROM t AS x WHERE EXISTS (SELECT 1 FROM u AS x WHERE x.i = 1)",
            "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u AS y WHERE y.i = 1)",
            id="an inner alias hides the outer one",
        ),
        pytest.param("no  sql (at", "no sql (at", id="what cannot be parsed"),
    ],
)
def test_spelling_does_not_count(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE b = 'X'", id="text"),
        pytest.param(
            'SELECT a FROM t WHERE b = "x"', 'SELECT a FROM t WHERE b = "X"', id="text in double quotes"
        ),
        pytest.param("SELECT a AS n FROM t ORDER BY n", "SELECT a AS n FROM t ORDER BY m", id="alias in use"),
        pytest.param("SELECT a, b FROM t", "SELECT b, a FROM t", id="order of columns"),
        pytest.param(
            "SELECT x.a FROM t AS x JOIN t AS y ON x.i = y.j",
            "SELECT y.a FROM t AS x JOIN t AS y ON x.i = y.j",
            id="which of two",
        ),
        pytest.param(
            "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE t.i = 1)",
            "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.i = 1)",
            id="inner or outer",
        ),
    ],
)
def test_meaning_counts(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)


@given(st.text(alphabet="SELECTFROM abt.(),'\"*;=1\x00\n", max_size=60))
def test_no_text_is_too_strange(sql: str) -> None:
    assert normal_form(sql) == normal_form(sql)


def run_stage(tmp_path: Path, own: list[Verdict], **settings: Any) -> tuple[Outcome, list[PreferencePair]]:
    path = tmp_path / "data" / "database" / "pets" / "pets.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE IF NOT EXISTS pet (name TEXT, age INTEGER)")
    connection.close()
    question = {"id": 7, "db_id": "pets", "question": "Names?", "query": GOLD}
    (tmp_path / "data" / "train.json").write_text(json.dumps([question]))
    jsonl.write(tmp_path / "verdicts.jsonl", own)
    settings = {"data": tmp_path / "data", "verdicts": tmp_path / "verdicts.jsonl"} | settings
    config = Config.parse(settings, where="test")
    outcome = run(config, RunDir(tmp_path / "out", stage="pairs", config=config))
    return outcome, jsonl.read(tmp_path / "out" / "pairs.jsonl", PreferencePair)


def test_prompt_is_that_of_the_question(tmp_path: Path) -> None:
    outcome, pairs = run_stage(tmp_path, verdicts((GOLD, Label.RIGHT), ("SELECT x", Label.ERROR)))
    assert "pet" in pairs[0].prompt
    assert pairs[0].prompt.endswith("question: Names?\nsql:")
    assert (outcome.summary["pairs"], outcome.shortfall) == (1, None)


def test_no_pairs_are_an_empty_file_and_a_shortfall(tmp_path: Path) -> None:
    outcome, pairs = run_stage(tmp_path, verdicts((GOLD, Label.RIGHT)))
    assert pairs == []
    assert outcome.shortfall is not None
    assert outcome.shortfall.startswith("there are no pairs")


@pytest.mark.parametrize(
    ("own", "message"),
    [
        pytest.param([], "there are no verdicts in it", id="none"),
        pytest.param(
            verdicts((GOLD, Label.RIGHT), question_id=3), "no question with id 3 in the split", id="question"
        ),
    ],
)
def test_nothing_is_written_on_bad_input(tmp_path: Path, own: list[Verdict], message: str) -> None:
    with pytest.raises(DataError, match=message):
        run_stage(tmp_path, own)
    assert not (tmp_path / "out").exists()
