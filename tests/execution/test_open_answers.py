"""Gold queries that leave their answer open."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sense.execution.open_answers import open_golds
from sense.execution.rules import Rule
from sense.execution.run import Limits

ROWS = [("Rex", "dog", 3), ("Tom", "cat", 3), ("Ada", "cat", 9)]


def database(path: Path, rows: list[tuple[str, str, int]]) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE pet (name TEXT, kind TEXT, age INT)")
        connection.executemany("INSERT INTO pet VALUES (?, ?, ?)", rows)
        connection.commit()
    return path


def found(tmp_path: Path, golds: list[str], *, is_turned: bool = True) -> list[frozenset[str]]:
    one = database(tmp_path / "one", ROWS)
    other = database(tmp_path / "other", ROWS[::-1]) if is_turned else None
    return list(open_golds({one: other}, golds, rule=Rule.OWN, limits=Limits(), workers=1).values())


@pytest.mark.parametrize(
    ("sql", "is_open"),
    [
        pytest.param("SELECT name FROM pet ORDER BY age LIMIT 1", True, id="tie at the limit"),
        pytest.param("SELECT name FROM pet ORDER BY age DESC LIMIT 1", False, id="tie below the limit"),
        pytest.param("SELECT name FROM pet ORDER BY age", True, id="tie that is sorted"),
        pytest.param("SELECT age FROM pet ORDER BY age LIMIT 1", False, id="tie of equal rows"),
        pytest.param("SELECT kind FROM pet GROUP BY kind ORDER BY count(*) DESC LIMIT 1", False, id="group"),
        pytest.param("SELECT name FROM pet LIMIT 1", True, id="limit of what is not sorted"),
        pytest.param("SELECT name, kind FROM pet GROUP BY kind", True, id="bare column"),
        pytest.param("SELECT name FROM pet", False, id="any order will do"),
    ],
)
def test_open_answers_are_found(tmp_path: Path, sql: str, is_open: bool) -> None:
    assert found(tmp_path, [sql]) == [frozenset({sql} if is_open else ())]


def test_ties_are_found_without_another_order(tmp_path: Path) -> None:
    tied, unsorted = "SELECT name FROM pet ORDER BY age LIMIT 1", "SELECT name FROM pet LIMIT 1"
    assert found(tmp_path, [tied, unsorted], is_turned=False) == [frozenset({tied})]


def test_database_on_which_a_gold_fails_is_left_out(tmp_path: Path) -> None:
    assert found(tmp_path, ["SELECT name FROM pet", "SELECT nothing FROM pet"]) == []
