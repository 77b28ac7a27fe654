"""The form that tells duplicates."""

from __future__ import annotations

import time

import pytest

from sense.databases.normal_form import normal_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("select A from T", "SELECT a\nFROM t;", id="case and space"),
        pytest.param("SELECT T1.a FROM t AS T1", "SELECT a FROM t", id="alias of the only table"),
        pytest.param(
            "SELECT x.a FROM t AS x JOIN u AS y ON x.i = y.i",
            "SELECT T1.a FROM t T1 JOIN u T2 ON T1.i = T2.i",
            id="aliases of a join",
        ),
        pytest.param("SELECT count(*) AS n FROM t", "SELECT COUNT(*) FROM t", id="name of a result"),
        pytest.param("SELECT a FROM t -- why", "SELECT a FROM t", id="comment"),
        pytest.param(
            "SELECT a FROM t AS o WHERE EXISTS (SELECT 1 FROM u AS i WHERE i.x = o.x)",
            "SELECT a FROM t AS p WHERE EXISTS (SELECT 1 FROM u AS q WHERE q.x = p.x)",
            id="correlated",
        ),
    ],
)
def test_the_same_query_has_one_form(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("SELECT a FROM t WHERE b = 'x'", "SELECT a FROM t WHERE b = 'X'", id="literal"),
        pytest.param("SELECT a FROM t LIMIT 1", "SELECT a FROM t LIMIT 2", id="number"),
        pytest.param(
            'SELECT a FROM t WHERE b = "x"', 'SELECT a FROM t WHERE b = "X"', id="text in double quotes"
        ),
        pytest.param("SELECT a FROM t", "SELECT DISTINCT a FROM t", id="distinct"),
        pytest.param("SELECT a, b FROM t", "SELECT b, a FROM t", id="order of columns"),
        pytest.param(
            "SELECT a AS x, b AS y FROM t ORDER BY x",
            "SELECT a AS x, b AS y FROM t ORDER BY y",
            id="named order",
        ),
        pytest.param(
            "SELECT x.a FROM t AS x JOIN t AS y ON x.i = y.j",
            "SELECT y.a FROM t AS x JOIN t AS y ON x.i = y.j",
            id="which of two",
        ),
    ],
)
def test_different_queries_have_different_forms(one: str, other: str) -> None:
    assert normal_form(one) != normal_form(other)


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("", id="empty"),
        pytest.param("how many singers are there", id="prose"),
        pytest.param("SELECT 'a", id="open quote"),
        pytest.param("SELECT " + "(" * 5_000, id="deep"),
        pytest.param("SELECT a FROM t; DROP TABLE t", id="two statements"),
        pytest.param("SELECT '\ud800'", id="half a character"),
        pytest.param("\0", id="NUL"),
        pytest.param("SELECT * FROM (VALUES (1)), json_each('[1]')", id="odd sources"),
        pytest.param(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n", id="recursive"
        ),
    ],
)
def test_any_text_has_a_form(sql: str) -> None:
    assert normal_form(sql) == normal_form(sql)


def test_much_prose_takes_no_minute() -> None:
    started = time.monotonic()
    normal_form("a " * 100_000)
    assert time.monotonic() - started < 20
