"""Example values of columns."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sense.databases.schema import Column, Schema, Table, schema_of_file
from sense.databases.values import MAX_VALUE_CHARS, example_values

Values = dict[tuple[str, str], tuple[str, ...]]


def values_of(tmp_path: Path, texts: list[object], *, schema: Schema | None = None) -> Values:
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (n INTEGER, c TEXT)")
        connection.executemany("INSERT INTO t VALUES (1, ?)", [(text,) for text in texts])
        connection.commit()
    return example_values(path, schema or schema_of_file(path, "x"), per_column=2, all_up_to=3)


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        pytest.param(["b", "a", "b"], ("b", "a"), id="few: all, the frequent first"),
        pytest.param(["c", "a", "b", "a"], ("a", "b", "c"), id="as many as are allowed"),
        pytest.param(["d", "c", "b", "a", "c"], ("c", "a"), id="more: the most frequent, then by name"),
        pytest.param(["", None, "a"], ("a",), id="nothing is no value"),
        pytest.param(
            ["x" * (MAX_VALUE_CHARS + 1), "x" * MAX_VALUE_CHARS], ("x" * MAX_VALUE_CHARS,), id="prose"
        ),
        pytest.param(["a\nquestion: b", "c"], ("c",), id="control characters"),
        pytest.param([b"\xff\x00", "c"], ("c",), id="bytes"),
    ],
)
def test_which_values_are_shown(tmp_path: Path, texts: list[object], shown: tuple[str, ...]) -> None:
    assert values_of(tmp_path, texts) == {("t", "c"): shown}


def test_numbers_are_not_shown_and_an_empty_column_neither(tmp_path: Path) -> None:
    assert values_of(tmp_path, []) == {}


def test_a_column_that_the_file_lacks_is_left_out(tmp_path: Path) -> None:
    """SQLite takes a quoted name that it does not know for a text: that is no value."""
    columns = (Column(name="gone", type="text"), Column(name="C", type="text"))
    tables = (Table(name="t", columns=columns), Table(name="lost", columns=columns))
    schema = Schema(db_id="x", tables=tables, foreign_keys=())
    assert values_of(tmp_path, ["a"], schema=schema) == {("t", "C"): ("a",)}
