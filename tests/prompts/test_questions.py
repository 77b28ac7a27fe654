"""What a strong model is asked about a database, slot by slot."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from sense.databases.features import sql_features
from sense.databases.hardness import Hardness, hardness
from sense.databases.query_counts import Parts, count_parts
from sense.prompts.questions import (
    EXAMPLE_SCHEMA,
    EXAMPLES,
    FEATURE_TEXT,
    STYLE_TEXT,
    Example,
    slot_line,
    slots_request,
)
from sense.strong.slots import ASKED, Style

SLOTS = ["1. easy; style: formal", "2. extra; uses: a CTE (WITH ... AS); style: vague"]


def request(known: tuple[str, ...] = ()) -> str:
    _, user = slots_request(
        domain="falcons", schema=["CREATE TABLE a (b);"], rows="a:\nb\n1\n", slots=SLOTS, known=known
    )
    return user.content


def test_each_level_has_two_examples() -> None:
    assert Counter(example.hardness for example in EXAMPLES) == dict.fromkeys(Hardness, 2)


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.sql[:50] for example in EXAMPLES])
def test_an_example_runs_and_is_of_its_level_by_the_counts_it_tells(example: Example) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        for create in EXAMPLE_SCHEMA:
            connection.execute(create)
        connection.execute(example.sql)
    told = Parts(**{
        name: int(re.search(rf"{letter} = (\d)", example.counts)[1])  # type: ignore[index]
        for name, letter in (("clauses", "C"), ("others", "O"), ("nested", "N"))
    })  # fmt: skip
    assert count_parts(example.sql) == told
    assert hardness(example.sql) is example.hardness


# What the rule says of queries that one could count otherwise.
@pytest.mark.parametrize(
    ("sql", "clauses", "others", "nested"),
    [
        ("SELECT a FROM t WHERE a BETWEEN 1 AND 2 OR b LIKE 'x'", 3, 1, 0),
        ("SELECT a FROM t WHERE a IN (1, 2)", 1, 0, 0),
        ("SELECT a FROM t WHERE a NOT IN (1) AND b NOT BETWEEN 1 AND 2", 1, 2, 0),
        ("SELECT a FROM t WHERE a IS NOT NULL", 1, 0, 0),
        ("SELECT a FROM t GROUP BY a HAVING COUNT(*) > 1 AND SUM(b) > 2 OR MAX(b) = 1", 2, 1, 0),
        ("SELECT a FROM t GROUP BY a HAVING COUNT(*) > 1 AND SUM(b) > 2", 1, 0, 0),
        ("SELECT COUNT(*) FROM t GROUP BY a ORDER BY SUM(b)", 2, 1, 0),
        ("SELECT a, SUM(b) OVER (ORDER BY c), AVG(b) OVER () FROM t", 0, 2, 0),
        ("SELECT a, RANK() OVER (ORDER BY b DESC) FROM t", 0, 1, 0),
        ("SELECT a FROM t WHERE b = (SELECT MAX(b) FROM t WHERE c IN (SELECT d FROM u))", 1, 0, 1),
        ("SELECT AVG(n) FROM (SELECT COUNT(*) AS n FROM t WHERE a = 1 GROUP BY b)", 0, 0, 0),
        ("SELECT (SELECT MAX(b) FROM t)", 0, 0, 0),
        ("SELECT a FROM t UNION SELECT b FROM u WHERE c = 1 UNION SELECT d FROM v ORDER BY 1", 0, 0, 1),
        ("WITH x AS (SELECT a FROM t WHERE b = 1) SELECT a FROM x", 0, 0, 1),
        ("SELECT DISTINCT a FROM t ORDER BY a LIMIT 1 OFFSET 2", 2, 0, 0),
        ("SELECT SUM(CASE WHEN a = 1 OR b LIKE 'x' THEN 1 END) FROM t", 0, 0, 0),
        ("SELECT a FROM t JOIN u ON t.b = u.b AND u.c LIKE 'x'", 2, 0, 0),
    ],
)  # fmt: skip
def test_the_rule_counts_as_hardness_does(sql: str, clauses: int, others: int, nested: int) -> None:
    assert count_parts(sql) == Parts(clauses=clauses, others=others, nested=nested)


def test_every_feature_and_style_that_is_asked_for_has_its_words() -> None:
    assert FEATURE_TEXT.keys() == ASKED.keys()
    assert STYLE_TEXT.keys() == set(Style)


def test_the_words_of_a_feature_are_measured_as_it() -> None:
    """Where they are SQL themselves, in a query around them."""
    for feature, text in FEATURE_TEXT.items():
        if re.fullmatch(r"(COUNT|SUM|AVG|MIN|MAX)", text):
            assert feature in sql_features(f"SELECT {text}(a) FROM t")
        elif text in ("LIKE", "OR", "<>"):
            assert feature in sql_features(f"SELECT a FROM t WHERE b {text} 'x'")
        elif text in ("UNION", "INTERSECT", "EXCEPT"):
            assert feature in sql_features(f"SELECT a FROM t {text} SELECT b FROM u")


def test_a_request_shows_schema_rows_and_slots() -> None:
    content = request()
    for part in ("Write 2 new", "CREATE TABLE a (b);", "a:\nb\n1\n", "(falcons)", "\n".join(SLOTS)):
        assert part in content
    assert "asked already" not in content


def test_known_questions_are_not_asked_again() -> None:
    assert "ask for other things:\n- How many?\n- Who?\n" in request(("How many?", "Who?"))


def test_a_slot_without_features_names_none() -> None:
    assert slot_line(1, hardness=Hardness.HARD, features=[], style="vague") == "1. hard; style: vague"


def test_the_wording_is_the_one_that_the_released_replies_answer() -> None:
    """A request's id holds a hash of its text: one letter changed here, and replies paid for are lost."""
    lines = [slot_line(1, hardness=Hardness.EASY, features=[each], style="formal") for each in FEATURE_TEXT]
    text = "\0".join([request(), request(("q",)), *lines])
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "046a7229fd69"
