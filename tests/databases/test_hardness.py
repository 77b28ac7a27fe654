"""Spider's hardness, on queries counted by hand and on the official answers."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense.databases.hardness import Hardness, hardness


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param("SELECT count(*) FROM t", "easy", id="one aggregate"),
        pytest.param("SELECT a FROM t WHERE b = 1", "easy", id="one clause"),
        pytest.param("SELECT a, b FROM t WHERE c = 1", "medium", id="two columns"),
        pytest.param("SELECT a FROM t JOIN u ON t.i = u.i WHERE u.b = 1", "medium", id="join and where"),
        pytest.param("SELECT a FROM t, u WHERE t.i = u.i", "medium", id="a comma joins too"),
        pytest.param("SELECT a FROM t WHERE b LIKE 'x%' LIMIT 1", "hard", id="like counts as a clause"),
        pytest.param("SELECT a FROM t WHERE b = 1 OR c = 2", "medium", id="or counts as a clause"),
        pytest.param("SELECT a FROM t WHERE b BETWEEN 1 AND 2", "easy", id="the AND of BETWEEN is none"),
        pytest.param(
            "SELECT a FROM t GROUP BY a HAVING count(*) > 1 AND sum(b) > 1", "easy", id="one AND in having"
        ),
        pytest.param(
            "SELECT a FROM t GROUP BY a HAVING count(*) > 1 AND sum(b) > 1 AND sum(b) < 9",
            "medium",
            id="two ANDs in having count as two aggregates",
        ),
        pytest.param("SELECT a FROM t WHERE b NOT IN (SELECT b FROM u)", "hard", id="nested"),
        pytest.param("SELECT a FROM t UNION SELECT a FROM u", "hard", id="set operation"),
        pytest.param(
            "SELECT a FROM t UNION SELECT a FROM u ORDER BY a LIMIT 1", "hard", id="tail is the right's"
        ),
        pytest.param(
            "SELECT a, b FROM t UNION SELECT a, b FROM u", "extra", id="set operation of two columns"
        ),
        pytest.param("SELECT count(*) FROM (SELECT a FROM t WHERE b = 1)", "easy", id="from is not nesting"),
        pytest.param(
            "SELECT a, count(*) FROM t GROUP BY a ORDER BY count(*) DESC LIMIT 1", "hard", id="three clauses"
        ),
        pytest.param("WITH x AS (SELECT 1) SELECT * FROM x", "hard", id="with is nesting"),
    ],
)
def test_class_is_spiders(sql: str, expected: str) -> None:
    assert hardness(sql) == expected


@pytest.mark.parametrize(
    "sql", ["", "SELECT", "how many singers", "DROP TABLE t", "SELECT 1; SELECT 2", "(" * 3000 + "SELECT 1"]
)
def test_what_is_no_single_query_has_no_class(sql: str) -> None:
    assert hardness(sql) is None


@given(st.text(alphabet="SELECTFROM abt(),'\"*;=1\x00\n", max_size=60))
def test_no_text_is_too_strange(sql: str) -> None:
    assert hardness(sql) is None or isinstance(hardness(sql), Hardness)


@pytest.mark.benchmark
def test_dev_has_the_published_counts() -> None:
    questions = json.loads((Path(os.environ["SENSE_DATA"]) / "spider" / "dev.json").read_text())
    counts = Counter(hardness(question["query"]) for question in questions)
    assert counts == {"easy": 248, "medium": 446, "hard": 174, "extra": 166}
