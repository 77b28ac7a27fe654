"""The skeleton of a query and its template: what counts, and what does not."""

from __future__ import annotations

import pytest

from sense.databases.skeleton import skeleton, template

SAME = [
    pytest.param("SELECT a FROM t WHERE b = 'x'", "select A from T where B='y';", id="values, case, space"),
    pytest.param(
        'SELECT a FROM t WHERE b = "x y"', "SELECT a FROM t WHERE b = 'z'", id="text in double quotes"
    ),
    pytest.param("SELECT a FROM t WHERE b = 1", "SELECT a FROM t WHERE b = -2.5", id="negative number"),
    pytest.param("SELECT a FROM t LIMIT 1", "SELECT a FROM t LIMIT 10", id="limit"),
    pytest.param("SELECT a FROM t WHERE b IN (1)", "SELECT a FROM t WHERE b IN (2, 3)", id="list of values"),
    pytest.param("SELECT count(*) FROM t", "SELECT COUNT(1) FROM t", id="count(1)"),
    pytest.param("SELECT a FROM t ORDER BY b", "SELECT a AS x FROM t ORDER BY b ASC", id="ASC, unused name"),
    pytest.param(
        "SELECT a, count(*) FROM t GROUP BY a ORDER BY count(*)",
        "SELECT a, count(*) AS n FROM t GROUP BY a ORDER BY n",
        id="name of a result column",
    ),
    pytest.param(
        "SELECT a FROM t WHERE b > 1 AND (c = 2 OR d != 3)",
        "SELECT a FROM t WHERE ((5 <> d) OR c = 2) AND 9 < b",
        id="order of conditions and sides",
    ),
    pytest.param(
        "SELECT x.a FROM t AS x JOIN u AS y ON x.id = y.id WHERE y.b = 1",
        "SELECT t.a FROM u, t WHERE u.id = t.id AND u.b = 2",
        id="inner joins",
    ),
    pytest.param(
        "SELECT T1.a FROM t AS T1 JOIN t AS T2 ON T1.b = T2.id",
        "SELECT x.a FROM t x INNER JOIN t y ON y.id = x.b",
        id="self-join",
    ),
    pytest.param(
        "WITH x AS (SELECT a FROM t) SELECT a FROM x",
        "WITH y AS (SELECT a FROM t) SELECT a FROM y",
        id="WITH",
    ),
    pytest.param("SELECT FROM WHERE 1", "select from where 2 ;", id="what no parser reads"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_query_with_other_values_has_the_same_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)


DIFFERENT = [
    pytest.param("SELECT a FROM t", "SELECT b FROM t", id="column"),
    pytest.param("SELECT a FROM t", "SELECT a FROM u", id="table"),
    pytest.param("SELECT a FROM t WHERE b > 1", "SELECT a FROM t WHERE b < 1", id="direction"),
    pytest.param("SELECT a FROM t WHERE b = 1 AND c = 2", "SELECT a FROM t WHERE b = 1 OR c = 2", id="or"),
    pytest.param(
        "SELECT a FROM t WHERE (b = 1 OR c = 2) AND d = 3",
        "SELECT a FROM t WHERE b = 1 OR (c = 2 AND d = 3)",
        id="brackets that count",
    ),
    pytest.param("SELECT a FROM t ORDER BY b", "SELECT a FROM t ORDER BY b DESC", id="DESC"),
    pytest.param("SELECT a FROM t ORDER BY 1", "SELECT a FROM t ORDER BY 2", id="position"),
    pytest.param("SELECT strftime('%Y', a) FROM t", "SELECT strftime('%m', a) FROM t", id="format"),
    pytest.param("SELECT round(a, 1) FROM t", "SELECT round(a, 2) FROM t", id="digits"),
    pytest.param("SELECT a FROM t WHERE b IS NULL", "SELECT a FROM t WHERE b = 1", id="NULL"),
    pytest.param("SELECT a, b FROM t", "SELECT b, a FROM t", id="order of columns"),
    pytest.param(
        "SELECT x.a FROM t x LEFT JOIN u y ON x.id = y.id",
        "SELECT x.a FROM u y LEFT JOIN t x ON x.id = y.id",
        id="left join",
    ),
    pytest.param(
        "SELECT x.a FROM t x JOIN t y ON x.b = y.id",
        "SELECT y.a FROM t x JOIN t y ON x.b = y.id",
        id="which of two",
    ),
    pytest.param(
        "SELECT max(age) AS age FROM t WHERE age > 5",
        "SELECT max(weight) AS weight FROM t WHERE weight > 5",
        id="name of a column as an alias",
    ),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_query_has_another_skeleton(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param("SELECT a, B FROM x WHERE c LIKE 'q%'", "SELECT c, c FROM t WHERE c LIKE ?", id="names"),
        pytest.param(
            "SELECT T2.x, count(*) AS n FROM a AS T1 JOIN b AS T2 ON T2.id = T1.id GROUP BY T2.x ORDER BY n",
            "SELECT c, COUNT(*) FROM t AS t_1, t AS t_2 WHERE c = c GROUP BY c ORDER BY COUNT(*)",
            id="joined tables",
        ),
        pytest.param(
            "SELECT T1.* FROM a AS T1 JOIN b USING (id)",
            "SELECT * FROM t AS t_1 JOIN t AS t_2 USING (c)",
            id="star, USING",
        ),
    ],
)
def test_a_template_has_neither_values_nor_names(sql: str, expected: str) -> None:
    assert template(sql) == expected


def test_a_query_nested_too_deeply_is_answered_for_all_that() -> None:
    deep = f"SELECT {'(' * 5_000}1{')' * 5_000} FROM t"
    assert skeleton(deep) == skeleton(deep.replace("1", "2"))
