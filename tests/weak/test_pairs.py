"""The `pairs` stage: which queries are paired, and on a real database how the pairs read."""

import json
import sqlite3
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sense import jsonl
from sense.databases.normal_form import normal_form
from sense.errors import DataError
from sense.records import Label, PreferencePair, Question, Verdict
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.weak.pair_counts import Fate
from sense.weak.pairs import Config, Pairs, make_pairs, run, show

GOLD = "SELECT name FROM pet"
QUESTION = Question(id=7, db_id="pets", question="Names?", gold_sql=GOLD)


def verdicts(*queries: tuple[str, Label], question_id: int = 7) -> list[Verdict]:
    return [
        Verdict(
            candidate_id=f"{question_id}-{n}",
            question_id=question_id,
            db_id="pets",
            sql=sql,
            logprob=-float(n),
            label=label,
            reason=sql if label is Label.ERROR else "",
        )
        for n, (sql, label) in enumerate(queries)
    ]


def liked(one: float | None, other: float | None) -> str:
    """Return the wrong query that `hardest` takes of two."""
    own = verdicts((GOLD, Label.RIGHT), ("SELECT 1", Label.WRONG), ("SELECT 2", Label.WRONG))
    own = [own[0], replace(own[1], logprob=one), replace(own[2], logprob=other)]
    return rejected(make(own, strategy="hardest"))[0]


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_what_the_model_likes_is_preferred_to_what_is_not_known(unknown: float | None) -> None:
    assert (liked(-9.0, unknown), liked(unknown, -9.0)) == ("SELECT 1", "SELECT 2")


def make(own: list[Verdict], *questions: Question, **settings: Any) -> Pairs:
    config = Config.parse({"data": Path(), "verdicts": Path()} | settings, where="test")
    asked = questions or (QUESTION,)
    return make_pairs(asked, own, config=config, prompt=lambda question: f"PROMPT {question.id}")


def fates(made: Pairs) -> dict[Fate, int]:
    return {fate: n for fate in Fate if (n := getattr(made.counts, fate))}


def rejected(made: Pairs) -> list[str]:
    return [pair.rejected.strip() for pair in made.pairs]


def test_right_is_chosen_and_wrong_rejected() -> None:
    made = make(verdicts((GOLD, Label.RIGHT), ("SELECT age FROM pet", Label.WRONG)))
    expected = PreferencePair(
        id="7-0",
        db_id="pets",
        prompt="PROMPT 7",
        chosen=" SELECT name FROM pet",
        rejected=" SELECT age FROM pet",
        kind="wrong_result",
    )
    assert made.pairs == [expected]


@pytest.mark.parametrize("label", [Label.WRONG, Label.ERROR, Label.TIMEOUT, Label.REFUSED])
def test_whatever_failed_can_be_rejected(label: Label) -> None:
    assert make(verdicts((GOLD, Label.RIGHT), ("SELECT x", label))).counts.pairs == 1


@pytest.mark.parametrize(
    ("own", "settings", "fate"),
    [
        pytest.param(verdicts(("SELECT x", Label.WRONG)), {}, Fate.WITHOUT_RIGHT, id="no right one"),
        pytest.param(verdicts((GOLD, Label.RIGHT)), {}, Fate.WITHOUT_WRONG, id="no wrong one"),
        pytest.param(
            verdicts((GOLD, Label.RIGHT), ("SELECT x", Label.UNJUDGED)), {}, Fate.WITHOUT_WRONG, id="unjudged"
        ),
        pytest.param(
            verdicts((GOLD, Label.RIGHT), ("select NAME  from pet;", Label.TIMEOUT)),
            {},
            Fate.ONLY_EQUAL,
            id="equal to a right one",
        ),
        pytest.param(
            verdicts(("SELECT name FROM pet LIMIT 9", Label.RIGHT), (GOLD, Label.TIMEOUT)),
            {},
            Fate.ONLY_EQUAL,
            id="equal to gold",
        ),
        pytest.param(
            verdicts((GOLD, Label.RIGHT), ("SELECT x", Label.ERROR)),
            {"rejected": "runs"},
            Fate.ONLY_FILTERED,
            id="none runs",
        ),
        pytest.param(
            verdicts((GOLD, Label.RIGHT), ("SELECT x", Label.WRONG)),
            {"rejected": "fails"},
            Fate.ONLY_FILTERED,
            id="none fails",
        ),
    ],
)
def test_question_without_a_pair_is_counted_by_its_cause(
    own: list[Verdict], settings: dict[str, Any], fate: Fate
) -> None:
    assert fates(make(own, **settings)) == {fate: 1}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"rejected": "all"}, {"SELECT 1", "no such column: x", "SELECT 2", "DROP"}, id="all"),
        pytest.param({"rejected": "runs"}, {"SELECT 1"}, id="runs"),
        pytest.param({"rejected": "fails"}, {"no such column: x", "SELECT 2", "DROP"}, id="fails"),
    ],
)
def test_what_may_be_rejected(settings: dict[str, Any], expected: set[str]) -> None:
    wrong = [("SELECT 1", Label.WRONG), ("no such column: x", Label.ERROR)]
    stopped = [("SELECT 2", Label.TIMEOUT), ("DROP", Label.REFUSED)]
    made = make(verdicts((GOLD, Label.RIGHT), *wrong, *stopped), per_question=9, **settings)
    assert set(rejected(made)) == expected
    kinds = {pair.rejected.strip(): pair.kind for pair in made.pairs}
    told = {"SELECT 1": "wrong_result", "no such column: x": "no_such_column"}
    assert kinds == {sql: (told | {"SELECT 2": "timeout", "DROP": "refused"})[sql] for sql in expected}


@pytest.mark.parametrize(
    ("settings", "with_right", "without_right"),
    [
        pytest.param({"chosen": "right"}, {"SELECT 1"}, set(), id="right"),
        pytest.param({"chosen": "gold"}, {GOLD}, {GOLD}, id="gold"),
        pytest.param({"strategy": "gold"}, {GOLD}, {GOLD}, id="strategy gold"),
        pytest.param({"chosen": "right_or_gold"}, {"SELECT 1"}, {GOLD}, id="right or gold"),
    ],
)
def test_what_is_chosen(settings: dict[str, Any], with_right: set[str], without_right: set[str]) -> None:
    wrong = verdicts(("SELECT x", Label.WRONG), ("SELECT  Name FROM pet", Label.TIMEOUT))
    right = verdicts(("SELECT x", Label.WRONG), ("SELECT 1", Label.RIGHT))
    for own, chosen in ((right, with_right), (wrong, without_right)):
        assert {pair.chosen.strip() for pair in make(own, per_question=9, **settings).pairs} == chosen


@pytest.mark.parametrize("sql", ["", " ; "])
def test_an_answer_without_a_query_is_no_side_of_a_pair(sql: str) -> None:
    made = make(verdicts((GOLD, Label.RIGHT), (sql, Label.ERROR)))
    assert fates(made) == {Fate.WITHOUT_WRONG: 1}
    assert made.counts.wrong["blank"] == 1


@given(per_question=st.integers(1, 9), seed=st.integers(0, 99))
def test_no_pair_comes_twice(per_question: int, seed: int) -> None:
    own = verdicts(*[(f"SELECT {n}", Label.RIGHT if n < 2 else Label.WRONG) for n in range(5)])
    pairs = make(own, per_question=per_question, seed=seed).pairs
    # two right and three wrong ones make six pairs
    assert len({(pair.chosen, pair.rejected) for pair in pairs}) == len(pairs) == min(per_question, 6)
    assert [pair.id for pair in pairs] == [f"7-{n}" for n in range(len(pairs))]
    assert pairs == make(own, per_question=per_question, seed=seed).pairs


def test_of_one_query_in_many_spellings_the_likeliest_is_taken() -> None:
    spellings = ["SELECT a FROM pet WHERE b = 1 AND c > 2", "SELECT p.a FROM pet p WHERE 2 < p.c AND p.b = 1"]
    right, first, second = verdicts((GOLD, Label.RIGHT), *[(sql, Label.WRONG) for sql in spellings])
    made = make([right, first, replace(second, logprob=-0.1)], per_question=9)
    assert rejected(made) == spellings[1:]
    assert made.counts.wrong == {"kept": 1, "blank": 0, "equal": 0, "filtered": 0, "repeated": 1}


@pytest.mark.parametrize("strategy", ["any", "nearest", "balanced", "hardest"])
@settings(max_examples=20)
@given(order=st.permutations(range(8)), seed=st.integers(0, 9))
def test_order_of_the_verdicts_does_not_count(strategy: str, order: list[int], seed: int) -> None:
    marks = [Label.RIGHT, Label.WRONG, Label.TIMEOUT, Label.WRONG]
    own = verdicts(*[(f"SELECT {n}", marks[n % 4]) for n in range(8)])
    settings = {"strategy": strategy, "seed": seed, "per_question": 3}
    assert make([own[n] for n in order], **settings) == make(own, **settings)


def many(*databases: str) -> tuple[list[Question], list[Verdict]]:
    """Make a question on each database, with four possible pairs of its own."""
    questions = [
        Question(id=n, db_id=db_id, question="?", gold_sql=GOLD) for n, db_id in enumerate(databases)
    ]
    sides = [(GOLD, Label.RIGHT), *[(f"SELECT {n}", Label.WRONG) for n in range(4)]]
    return questions, [each for n in range(len(databases)) for each in verdicts(*sides, question_id=n)]


@pytest.mark.parametrize(
    ("settings", "pairs", "expected"),
    [
        pytest.param({"per_database": 2}, [2, 2], {Fate.WITH_PAIRS: 4, Fate.CAPPED: 1}, id="capped"),
        pytest.param({"per_database": 3, "per_question": 2}, [3, 3], {Fate.WITH_PAIRS: 5}, id="in turns"),
        pytest.param({"per_database": 0, "per_question": 9}, [12, 8], {Fate.WITH_PAIRS: 5}, id="no cap"),
    ],
)
def test_no_database_has_more_pairs_than_it_may(
    settings: dict[str, Any], pairs: list[int], expected: dict[Fate, int]
) -> None:
    questions, own = many("pets", "pets", "pets", "zoo", "zoo")
    made = make(own, *questions, **settings)
    of_database = [sum(pair.db_id == db_id for pair in made.pairs) for db_id in ("pets", "zoo")]
    assert of_database == pairs
    assert fates(made) == expected


def test_each_question_has_a_draw_of_its_own() -> None:
    questions, own = many(*["pets"] * 8)
    alone = [rejected(make(own, question)) for question in questions]
    assert len({sql for (sql,) in alone}) > 1
    assert rejected(make(own, *questions)) == [sql for (sql,) in alone]


def test_counts_and_means_of_lengths_are_shown() -> None:
    sides = [(GOLD, Label.RIGHT), ("SELECT 1", Label.WRONG), ("SELECT 2 ", Label.TIMEOUT)]
    made = make(verdicts(*sides), per_question=2)
    # with the space before each: 21 and 9 characters
    assert (made.counts.mean_chosen_chars, made.counts.mean_rejected_chars) == (21.0, 9.0)
    assert made.counts.kinds == {
        "wrong_result": {"wrong": 1, "pairs": 1},
        "timeout": {"wrong": 1, "pairs": 1},
    }
    lines = show(asdict(made.counts)).splitlines()
    assert lines[0] == "2 pairs, of 21.0 characters chosen and 9.0 rejected on average"
    assert "      1    with pairs" in lines
    assert "      1        1  timeout" in lines


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
