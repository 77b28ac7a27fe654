"""What a strong model is asked."""

from __future__ import annotations

import hashlib
import sqlite3

import pytest

from sense.prompts.synthesis import LEVEL_TEXT, SHOTS, Shot, database_request, questions_request, rows_as_csv


@pytest.mark.parametrize("shot", SHOTS, ids=[shot.level for shot in SHOTS])
def test_an_example_runs_on_its_schema(shot: Shot) -> None:
    connection = sqlite3.connect(":memory:")
    for table in shot.schema.split("; "):
        connection.execute(f"CREATE TABLE {table}")
    assert connection.execute(shot.sql).fetchall() == []
    connection.close()


def test_a_database_is_asked_for_with_what_it_must_and_must_not_be() -> None:
    system, user = database_request(
        area="falconry", tables=5, main_rows=37, banned=["pets", "films"], shots=SHOTS[:2]
    )
    assert (system.role, user.role) == ("system", "user")
    for part in ("this area of life: falconry.", "5 tables", "About 37 rows", "too many of: pets; films."):
        assert part in user.content
    assert all(shot.sql in user.content for shot in SHOTS[:2])


@pytest.mark.parametrize("level", LEVEL_TEXT)
def test_questions_are_asked_for_with_schema_rows_and_level(level: str) -> None:
    _, user = questions_request(
        domain="falcons",
        schema=["CREATE TABLE a (b);"],
        rows="a:\nb\n1\n",
        level=level,
        count=18,
        shots=SHOTS[2:3],
    )
    for part in (
        "Write 18 new",
        LEVEL_TEXT[level],
        "CREATE TABLE a (b);",
        "a:\nb\n1\n",
        "(falcons)",
        SHOTS[2].sql,
    ):
        assert part in user.content


def test_the_wording_is_the_one_that_the_shipped_replies_answer() -> None:
    """A request's id holds a hash of its text: one letter changed here, and replies paid for are lost."""
    asked = [
        database_request(area="a", tables=3, main_rows=34, banned=["b"], shots=SHOTS),
        *(
            questions_request(domain="d", schema=["s"], rows="r", level=level, count=1, shots=SHOTS)
            for level in LEVEL_TEXT
        ),
    ]
    text = "\0".join(message.content for messages in asked for message in messages)
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "0443793b3d2c"


def test_rows_are_csv_under_the_tables_name() -> None:
    rows = [[1, None, 'a "b", c'], [2, True, "d"], [3, 0.5, "e"]]
    assert rows_as_csv("t", ["x", "y", "z"], rows, limit=2) == (
        't:\nx,y,z\n1,NULL,"a ""b"", c"\n2,True,d\n... and 1 more rows\n'
    )
    assert "more rows" not in rows_as_csv("t", ["x"], rows, limit=3)
