"""Opening SQLite files for reading."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sense.databases.sqlite import open_read_only, quote
from sense.errors import DatabaseError


def make(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def test_nothing_can_be_written(tmp_path: Path) -> None:
    path = make(tmp_path / "a.sqlite", "CREATE TABLE t(a)")
    with (
        closing(open_read_only(path)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("INSERT INTO t VALUES (1)")


@pytest.mark.parametrize(
    "name", ["a b.sqlite", "50%.sqlite", "what?mode=rw.sqlite", "a#b.sqlite", "é.sqlite"]
)
def test_any_file_name_is_found(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name, "CREATE TABLE t(a)", "INSERT INTO t VALUES (7)")
    with closing(open_read_only(path)) as connection:
        assert connection.execute("SELECT a FROM t").fetchall() == [(7,)]
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="no such SQLite file"):
        open_read_only(tmp_path / "none.sqlite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(b"", "the file is empty", id="empty"),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\n" * 40, "it begins with b'version http'", id="text"
        ),
        pytest.param(b"SQLite format 3\0" + b"x" * 5000, "not a readable SQLite", id="only-the-beginning"),
    ],
)
def test_what_is_no_database_is_named(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(content)
    with pytest.raises(DatabaseError, match=complaint):
        open_read_only(path)


def test_bytes_that_are_not_utf8_are_dropped(tmp_path: Path) -> None:
    path = make(tmp_path / "a.sqlite", "CREATE TABLE t(a)", "INSERT INTO t VALUES (CAST(x'41ff42' AS TEXT))")
    with closing(open_read_only(path)) as connection:
        assert connection.execute("SELECT a FROM t").fetchall() == [("AB",)]


def test_changes_still_in_the_write_ahead_log_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE t(a)")
        writer.execute("INSERT INTO t VALUES (7)")
        writer.commit()
        with closing(open_read_only(path)) as connection:
            assert connection.execute("SELECT a FROM t").fetchall() == [(7,)]


def test_a_quoted_name_is_one_identifier(tmp_path: Path) -> None:
    name = 'odd "name"; --'
    path = make(tmp_path / "a.sqlite", f"CREATE TABLE {quote(name)}(a)")
    with closing(open_read_only(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [(name,)]
