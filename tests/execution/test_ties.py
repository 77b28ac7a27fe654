"""What ties in a sorted query; every class was worked out by hand from the table below."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sense.execution import compare
from sense.execution.compare import TooManyColumnOrders
from sense.execution.outcome import Row, Rows
from sense.execution.run import Limits, run_query
from sense.execution.ties import (
    Budget,
    OrderProbe,
    TieClass,
    TieClasses,
    both_sides,
    column_orders,
    order_probe,
    sorts_at_top,
    tie_classes,
)

LIMITS = Limits(timeout_s=5)


@pytest.fixture
def team(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "team.sqlite")) as connection:
        connection.executescript(
            """
            CREATE TABLE p(name TEXT, nick TEXT COLLATE NOCASE, age INT, town TEXT);
            INSERT INTO p VALUES ('Ann', 'x', 30, 'Rome'), ('Bob', 'X', 30, 'Oslo'), ('Cy', 'y', 20, 'Rome'),
              ('Di', 'z', NULL, 'Rome'), ('Ed', NULL, 20, 'Oslo');
            """
        )
    return tmp_path / "team.sqlite"


def rows_of(database: Path, sql: str) -> Rows:
    ending = run_query(database, sql, limits=LIMITS)
    assert isinstance(ending, Rows), ending
    return ending


def classes_of(database: Path, sql: str) -> TieClasses | None:
    probe = order_probe(sql)
    assert probe is not None
    return tie_classes(probe, rows_of(database, probe.sql), rows_of(database, sql))


def told(classes: TieClasses | None) -> list[str]:
    """Name the rows of each class, and how many are taken where not all are."""
    assert classes is not None
    names = [" ".join(sorted(str(value) for (value,) in tied.rows)) for tied in classes]
    return [
        name if tied.taken == len(tied.rows) else f"{tied.taken} of {name}"
        for name, tied in zip(names, classes, strict=True)
    ]


CLASSES = {  # id: query, classes
    "plain": ("SELECT name FROM p ORDER BY age", ["Di", "Cy Ed", "Ann Bob"]),
    "descending": ("SELECT name FROM p ORDER BY age DESC", ["Ann Bob", "Cy Ed", "Di"]),
    "nulls-last": ("SELECT name FROM p ORDER BY age NULLS LAST", ["Cy Ed", "Ann Bob", "Di"]),
    "nulls-first": ("SELECT name FROM p ORDER BY age DESC NULLS FIRST", ["Di", "Ann Bob", "Cy Ed"]),
    "two-keys": ("SELECT name FROM p ORDER BY age, name", ["Di", "Cy", "Ed", "Ann", "Bob"]),
    "two-directions": ("SELECT name FROM p ORDER BY town DESC, age", ["Di", "Cy", "Ann", "Ed", "Bob"]),
    "expression": ("SELECT name FROM p ORDER BY 0 * age", ["Di", "Ann Bob Cy Ed"]),
    "declared-collation": ("SELECT name FROM p ORDER BY nick", ["Ed", "Ann Bob", "Cy", "Di"]),
    "collate": ("SELECT name FROM p WHERE age > 20 ORDER BY nick COLLATE BINARY", ["Bob", "Ann"]),
    "aggregate": ("SELECT town FROM p GROUP BY town ORDER BY count(*)", ["Oslo", "Rome"]),
    "tied-groups": ("SELECT town FROM p GROUP BY town ORDER BY max(age)", ["Oslo Rome"]),
    "aggregates-have-no-collation": (
        "SELECT town FROM p GROUP BY town HAVING count(*) > 1 ORDER BY min(nick)",
        ["Oslo", "Rome"],
    ),
    "alias": ("SELECT name AS n FROM p ORDER BY n DESC LIMIT 2", ["Ed", "Di"]),
    "alias-of-an-aggregate": ("SELECT count(*) AS n FROM p GROUP BY town ORDER BY n", ["2", "3"]),
    "alias-before-column": ("SELECT -age AS age FROM p ORDER BY age", ["None", "-30 -30", "-20 -20"]),
    "alias-within": ("SELECT name AS n FROM p ORDER BY n = 'Cy'", ["Ann Bob Di Ed", "Cy"]),
    "position": ("SELECT name FROM p ORDER BY 1 LIMIT 1", ["Ann"]),
    "constant": ("SELECT name FROM p ORDER BY 1.5, '1'", ["Ann Bob Cy Di Ed"]),
    "distinct": ("SELECT DISTINCT town FROM p ORDER BY p.town DESC", ["Rome", "Oslo"]),
    "distinct-alias": ("SELECT DISTINCT town AS c FROM p ORDER BY C", ["Oslo", "Rome"]),
    "distinct-collate": ("SELECT DISTINCT nick FROM p ORDER BY nick COLLATE RTRIM", ["None", "x", "y", "z"]),
    "union-by-position": ("SELECT name FROM p UNION SELECT town FROM p ORDER BY 1 DESC LIMIT 1", ["Rome"]),
    "except-by-name": ("SELECT name AS n FROM p EXCEPT SELECT town AS m FROM p ORDER BY m LIMIT 1", ["Ann"]),
    "union-collate": ("SELECT 'a' AS x UNION ALL SELECT 'A' ORDER BY x COLLATE nocase", ["A a"]),
    "with": ("WITH o AS (SELECT * FROM p WHERE age > 20) SELECT name FROM o ORDER BY age", ["Ann Bob"]),
    "subquery-as-key": ("SELECT name FROM p ORDER BY (SELECT max(age) FROM p) -- x", ["Ann Bob Cy Di Ed"]),
    "no-rows": ("SELECT name FROM p WHERE age > 99 ORDER BY age", []),
    "limit-between-classes": ("SELECT name FROM p ORDER BY age LIMIT 1", ["Di"]),
    "limit-within": ("SELECT name FROM p ORDER BY age LIMIT 2", ["Di", "1 of Cy Ed"]),
    "limit-and-offset": ("SELECT name FROM p ORDER BY age LIMIT 2 OFFSET 2", ["1 of Cy Ed", "1 of Ann Bob"]),
    "offset-before-a-comma": ("SELECT name FROM p ORDER BY age LIMIT 1, 2", ["Cy Ed"]),
    "limit-past-the-end": ("SELECT name FROM p ORDER BY age LIMIT 9 OFFSET 4", ["1 of Ann Bob"]),
    "no-limit": ("SELECT name FROM p ORDER BY age LIMIT -1 OFFSET 3", ["Ann Bob"]),
    "limit-zero": ("SELECT name FROM p ORDER BY age LIMIT 0", []),
}  # fmt: skip


@pytest.mark.parametrize(("sql", "classes"), CLASSES.values(), ids=CLASSES)
def test_rows_with_equal_keys_tie(team: Path, sql: str, classes: list[str]) -> None:
    assert told(classes_of(team, sql)) == classes


def test_rows_that_a_limit_cannot_let_through_are_not_fetched(team: Path) -> None:
    probe = order_probe("SELECT name FROM p ORDER BY age DESC LIMIT 1")
    assert probe is not None
    assert {row[0] for row in rows_of(team, probe.sql).rows} == {"Ann", "Bob"}


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT name FROM p", id="no-order"),
        pytest.param("SELECT name FROM (SELECT name FROM p ORDER BY age)", id="inner-order"),
        pytest.param("SELECT DISTINCT town FROM p ORDER BY age", id="distinct-by-another-key"),
        pytest.param("SELECT *, age AS a FROM p ORDER BY 5", id="position-behind-a-star"),
        pytest.param("SELECT * FROM p UNION SELECT * FROM p ORDER BY 1", id="union-of-stars"),
        pytest.param("VALUES (1) UNION VALUES (2) ORDER BY 1", id="values"),
        pytest.param("SELECT name FROM p UNION SELECT town FROM p ORDER BY age", id="union-by-no-column"),
        pytest.param("SELECT name FROM p ORDER BY 7", id="no-such-position"),
        pytest.param("SELECT name FROM p ORDER BY age LIMIT (SELECT 1)", id="computed-limit"),
        pytest.param("how old is Ann?", id="no-sql"),
        pytest.param("SELECT " + "(" * 5000, id="nested-too-deep"),
    ],
)
def test_what_is_not_understood_gets_no_probe(sql: str) -> None:
    assert order_probe(sql) is None


def test_a_probe_that_contradicts_the_query_is_not_believed(team: Path) -> None:
    gold = rows_of(team, "SELECT name FROM p ORDER BY name LIMIT 2")
    wrong = OrderProbe("SELECT name, 1, rank() OVER (ORDER BY age) FROM p", keys=1, limit=2, offset=0)
    assert tie_classes(wrong, rows_of(team, wrong.sql), gold) is None
    assert tie_classes(wrong._replace(keys=2), rows_of(team, wrong.sql), gold) is None
    assert tie_classes(wrong, Rows(3, ()), gold) is None


@pytest.mark.parametrize(
    ("sql", "sorts"),
    [
        pytest.param("SELECT a FROM t\nORDER\n BY a", True, id="line-breaks"),
        pytest.param("SELECT a FROM t ORDER /* x */ BY a", True, id="comment-between"),
        pytest.param("SELECT a FROM (SELECT a FROM t ORDER BY a)", False, id="subquery"),
        pytest.param("WITH s AS (SELECT a FROM t ORDER BY a) SELECT a FROM s", False, id="with"),
        pytest.param("SELECT rank() OVER (ORDER BY a) FROM t", False, id="window"),
        pytest.param("SELECT a FROM t WHERE b = 'order by' -- order by", False, id="text-and-comment"),
        pytest.param('SELECT "order" by FROM t', False, id="name"),
        pytest.param("SELECT a FROM t UNION SELECT b FROM u ORDER BY 1", True, id="union"),
    ],
)
def test_a_query_sorts_if_its_outermost_part_does(sql: str, sorts: bool) -> None:
    assert sorts_at_top(sql) is sorts


def orders(classes: TieClasses, *rows: Row) -> list[list[int]]:
    numbers = {
        value: n for n, value in enumerate({v for tied in classes for r in (*tied.rows, *rows) for v in r})
    }
    return list(column_orders(*both_sides(classes, rows, numbers), Budget(1)))


def test_columns_are_found_in_every_order_that_fits_and_as_they_are_first() -> None:
    tied = TieClass(((1, 2), (2, 1), (3, 4)), 1)
    assert orders((tied,), (1, 2)) == [[0, 1], [1, 0]]
    assert orders((TieClass(((1, 2, 3), (2, 1, 3), (3, 1, 3)), 1),), (1, 2, 3)) == [[0, 1, 2], [1, 0, 2]]
    assert orders((tied,), (4, 3)) == [[1, 0]]
    assert orders((tied,), (1, 4)) == []


def test_a_row_fills_a_place_in_its_own_class_only_and_each_place_once() -> None:
    first, second = TieClass(((1,), (2,)), 2), TieClass(((3,), (4,), (5,)), 1)
    assert orders((first, second), (2,), (1,), (5,)) == [[0]]
    assert orders((first, second), (2,), (5,), (1,)) == []
    assert orders((first, second), (2,), (2,), (5,)) == []


@pytest.mark.parametrize("width", [12, 200])
def test_many_equal_columns_do_not_blow_up(width: int) -> None:
    nulls: Row = (None,) * (width - 1)
    tied = TieClass(((*nulls, 1), (*nulls, 2)), 1)
    assert len(orders((tied,), (2, *nulls))) == 1
    assert orders((tied,), (3, *nulls)) == []


def test_a_search_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # A smaller budget in place of a table of gigabytes.
    monkeypatch.setattr(compare, "SEARCH_BUDGET_ROWS", 0)
    with pytest.raises(TooManyColumnOrders):
        orders((TieClass(((1, 2), (2, 1)), 2),), (1, 2), (2, 1))
