"""The `filter` stage on questions about the user's own database: a folder in Spider's layout, with a copy."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sense.databases.spider import load_questions
from sense.errors import ConfigError, DataError
from sense.strong import push
from sense.strong.own_database import read_own

SCRIPT = """
CREATE TABLE boat (id INTEGER PRIMARY KEY, name TEXT, harbor TEXT);
INSERT INTO boat VALUES (1, 'Aga', 'Bergen'), (2, 'Bua', 'Bergen'), (3, 'Cod', 'Moss');
CREATE VIEW v AS SELECT name FROM boat;
"""
WRITTEN = {
    "How many boats are there?": "SELECT COUNT(*) FROM boat",
    "Which harbors are there?": "SELECT harbor FROM v",
}
GONE = (
    "PRAGMA writable_schema = ON;"
    "INSERT INTO sqlite_master VALUES ('table', 'z', 'z', 0, 'CREATE VIRTUAL TABLE z USING gone(q)');"
)
Filtered = Callable[..., tuple[Any, Path]]


@pytest.fixture
def lines(tmp_path: Path) -> Callable[[str], tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    def make(script: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        with closing(sqlite3.connect(tmp_path / "boats.sqlite")) as connection:
            connection.executescript(script)
        [told] = read_own([tmp_path / "boats.sqlite"], private=[], hide_private=False, with_values=True)
        items = [
            {"id": f"boats/g01/1-0{i}", "db_id": "boats", "level": "easy", "question": question, "sql": sql}
            for i, (question, sql) in enumerate(WRITTEN.items(), start=1)
        ]
        return [told.line().model_dump(mode="json")], items

    return make


@pytest.mark.parametrize(
    "script", [pytest.param(SCRIPT, id="plain"), pytest.param(SCRIPT + GONE, id="a module gone")]
)
def test_what_is_kept_stands_beside_a_copy(
    lines: Any, filtered: Filtered, tmp_path: Path, script: str
) -> None:
    outcome, out = filtered(*lines(script), test_share=0)
    assert (outcome.summary["kept"], outcome.summary["dropped"]) == (1, {"runs": 1})
    assert [question.gold_sql for question in load_questions(out / "data", "train")] == [
        "SELECT COUNT(*) FROM boat"
    ]
    copy = out / "data" / "database" / "boats" / "boats.sqlite"
    assert copy.stat().st_ino != (tmp_path / "boats.sqlite").stat().st_ino
    assert outcome.summary["by_database"]["boats"]["rows"] == {"boat": 3}


def test_a_copy_is_marked_so_that_it_is_not_sent(lines: Any, filtered: Filtered, tmp_path: Path) -> None:
    outcome, out = filtered(*lines(SCRIPT), test_share=0)
    assert outcome.summary["marked_private"] == ["boats"]
    config = push.Config(folder=out / "data", repo="ann/boats", dry_run=True)
    (out / "data" / "README.md").write_text("a card")
    with pytest.raises(DataError, match=r"database/boats: marked private by its file PRIVATE"):
        next(push.push(config))
    assert "delete this file" in (out / "data" / "database" / "boats" / "PRIVATE").read_text()


def test_rows_are_never_added_to_ones_own_database(lines: Any, filtered: Filtered) -> None:
    with pytest.raises(ConfigError, match="not for your own"):
        filtered(*lines(SCRIPT), fill_rows=20)
