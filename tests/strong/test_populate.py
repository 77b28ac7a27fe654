"""Building databases whose statements nobody vouches for."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sense.strong import populate
from sense.strong.populate import Built, Unbuildable, build
from sense.strong.written import SynthDatabase, SynthTable

Row = list[Any]


def database(*tables: tuple[str, list[Row]]) -> SynthDatabase:
    made = [
        SynthTable(name=f"table {n}", create=create, rows=rows) for n, (create, rows) in enumerate(tables)
    ]
    return SynthDatabase(domain="d", db_id="x", tables=made)


def built(tmp_path: Path, *tables: tuple[str, list[Row]]) -> Built:
    result = build(database(*tables), tmp_path / "x" / "x.sqlite")
    assert isinstance(result, Built), result
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["x.sqlite"]
    return result


def rows_of(tmp_path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(tmp_path / "x" / "x.sqlite")) as connection:
        return connection.execute(sql).fetchall()


def reason(tmp_path: Path, *tables: tuple[str, list[Row]]) -> str:
    result = build(database(*tables), tmp_path / "x" / "x.sqlite")
    assert isinstance(result, Unbuildable), result
    assert list((tmp_path / "x").iterdir()) == []
    return result.reason


def test_tables_and_rows_are_there(tmp_path: Path) -> None:
    result = built(
        tmp_path,
        ("CREATE TABLE a (i INTEGER, t TEXT, r REAL);", [[1, "x", 0.5], [None, "é", 2], [True, "", 0]]),
    )
    assert result == Built(rows={"a": 3}, rejected_rows=[])
    assert rows_of(tmp_path, "SELECT * FROM a") == [(1, "x", 0.5), (None, "é", 2.0), (1, "", 0.0)]


@pytest.mark.parametrize(
    "create",
    [
        pytest.param("-- falcons\nCREATE TABLE a (b INT); -- done", id="comments"),
        pytest.param("CREATE TABLE IF NOT EXISTS main.a (b INT CHECK (b > 0), UNIQUE (b))", id="checked"),
        pytest.param("CREATE TABLE a (b INTEGER PRIMARY KEY AUTOINCREMENT)", id="counted"),
        pytest.param('CREATE TABLE "a" ("b" INT DEFAULT 1) STRICT', id="strict"),
    ],
)
def test_plain_statements_of_every_kind_are_taken(tmp_path: Path, create: str) -> None:
    assert built(tmp_path, (create, [[1]])).rows == {"a": 1}


def test_odd_names_are_names(tmp_path: Path) -> None:
    result = built(tmp_path, ('CREATE TABLE "or""der ; --" ("select" INT, [first name] TEXT)', [[1, "x"]]))
    assert result.rows == {'or"der ; --': 1}


@pytest.mark.parametrize(
    "create",
    [
        pytest.param("", id="empty"),
        pytest.param("a table of birds", id="prose"),
        pytest.param("CREATE TABLE a (b); DROP TABLE a", id="two statements"),
        pytest.param(
            "CREATE TABLE a AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n",
            id="endless select",
        ),
        pytest.param("CREATE TEMP TABLE a (b)", id="temporary"),
        pytest.param("CREATE VIEW a AS SELECT 1", id="view"),
        pytest.param("CREATE TRIGGER a AFTER INSERT ON b BEGIN DELETE FROM b; END", id="trigger"),
        pytest.param("CREATE VIRTUAL TABLE a USING fts5(b)", id="virtual"),
        pytest.param("CREATE INDEX a ON b(c)", id="index"),
        pytest.param("ATTACH '/tmp/evil.sqlite' AS evil", id="attach"),
        pytest.param("PRAGMA writable_schema = ON", id="pragma"),
        pytest.param("DROP TABLE good", id="drop"),
        pytest.param("INSERT INTO good VALUES (1)", id="insert"),
        pytest.param("CREATE TABLE good (c)", id="a name again"),
        pytest.param("CREATE TABLE IF NOT EXISTS GOOD (c, d)", id="a name again, forgiven by SQLite"),
        pytest.param("CREATE TABLE sqlite_a (b)", id="name that is SQLite's"),
        pytest.param("CREATE TABLE evil.a (b)", id="another database"),
        pytest.param("CREATE TABLE a (b CHECK (load_extension('x')))", id="extension"),
        pytest.param("CREATE TABLE a (b CHECK (" + "(" * 10_000 + "1", id="deep"),
        pytest.param("CREATE TABLE a (b TEXT DEFAULT '" + "x" * 1_000_000 + "')", id="a megabyte"),
        pytest.param("CREATE TABLE a (" + ", ".join(f"c{i}" for i in range(500)) + ")", id="500 columns"),
        pytest.param("CREATE TABLE a (b\ud800)", id="half a character"),
        pytest.param("CREATE TABLE a (b)\0", id="NUL"),
        pytest.param("CREATE TABLE a (b REFERENCES gone(id))", id="key to no table"),
    ],
)
def test_anything_else_leaves_no_file(tmp_path: Path, create: str) -> None:
    good = ("CREATE TABLE good (b INTEGER PRIMARY KEY)", [[1]])
    assert reason(tmp_path, good, (create, [[1]]))


def test_a_key_to_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    told = reason(
        tmp_path,
        ("CREATE TABLE a (i INTEGER PRIMARY KEY)", [[1]]),
        ("CREATE TABLE b (a REFERENCES a(j))", [[1]]),
    )
    assert "foreign key mismatch" in told


@pytest.mark.parametrize(
    ("row", "why"),
    [
        pytest.param([2], "1 values for 2 columns", id="too short"),
        pytest.param([2, "x", 3], "3 values for 2 columns", id="too long"),
        pytest.param([], "0 values for 2 columns", id="empty"),
        pytest.param([1, "x"], "UNIQUE constraint failed: a.i", id="key that exists"),
        pytest.param(["two", "x"], "datatype mismatch", id="text for an integer key"),
        pytest.param([2, None], "NOT NULL constraint failed: a.t", id="NULL"),
        pytest.param([2, "bad"], "CHECK constraint failed", id="check"),
        pytest.param([2**63, "x"], "int too large", id="huge integer"),
        pytest.param([2, "x" * 200_000], "string or blob too big", id="huge text"),
        pytest.param([2, "\ud800"], "surrogates not allowed", id="half a character"),
    ],
)
def test_a_row_that_does_not_fit_is_left_out_and_counted(tmp_path: Path, row: Row, why: str) -> None:
    create = "CREATE TABLE a (i INTEGER PRIMARY KEY, t TEXT NOT NULL CHECK (t <> 'bad'))"
    result = built(tmp_path, (create, [[1, "x"], row, [3, "y"]]))
    assert result.rows == {"a": 2}
    (told,) = result.rejected_rows
    assert told.startswith("a, row 2: ")
    assert why.lower() in told.lower()


def test_a_row_that_the_table_ignores_is_counted_too(tmp_path: Path) -> None:
    result = built(tmp_path, ("CREATE TABLE a (i INT, UNIQUE (i) ON CONFLICT IGNORE)", [[1], [1], [2]]))
    assert result == Built(rows={"a": 2}, rejected_rows=["a, row 2: its key exists already"])


def test_a_row_whose_key_is_nowhere_is_left_out_and_what_hangs_on_it(tmp_path: Path) -> None:
    result = built(
        tmp_path,
        ("CREATE TABLE a (i INTEGER PRIMARY KEY)", [[1]]),
        ("CREATE TABLE b (i INTEGER PRIMARY KEY, a INT REFERENCES a(i))", [[1, 1], [2, 9], [3, None]]),
        ("CREATE TABLE c (b INT REFERENCES b(i))", [[1], [2]]),
    )
    assert result.rows == {"a": 1, "b": 2, "c": 1}
    assert result.rejected_rows == ["b, row 2: its key is not in 'a'", "c, row 2: its key is not in 'b'"]


def test_a_child_may_come_before_its_parent(tmp_path: Path) -> None:
    tables = [
        ("CREATE TABLE b (a INT REFERENCES a(i))", [[1]]),
        ("CREATE TABLE a (i INTEGER PRIMARY KEY)", [[1]]),
    ]
    assert built(tmp_path, *tables) == Built(rows={"b": 1, "a": 1}, rejected_rows=[])


def test_tables_may_refer_to_each_other_and_to_themselves(tmp_path: Path) -> None:
    result = built(
        tmp_path,
        ("CREATE TABLE club (i INTEGER PRIMARY KEY, head INT REFERENCES member(i))", [[1, 2]]),
        ("CREATE TABLE member (i INTEGER PRIMARY KEY, club REFERENCES club(i), boss REFERENCES member(i))",
         [[1, 1, 2], [2, 1, None]]),
    )  # fmt: skip
    assert result == Built(rows={"club": 1, "member": 2}, rejected_rows=[])


def test_sixty_columns_are_taken(tmp_path: Path) -> None:
    columns = ", ".join(f"c{i} INT" for i in range(60))
    assert built(tmp_path, (f"CREATE TABLE a ({columns})", [list(range(60))])).rows == {"a": 1}


def test_a_file_that_is_there_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "x.sqlite.part").write_bytes(b"half of an earlier run")
    (tmp_path / "x" / "x.sqlite").write_bytes(b"old")
    built(tmp_path, ("CREATE TABLE a (b)", [[1]]))
    assert rows_of(tmp_path, "SELECT b FROM a") == [(1,)]


def test_a_database_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The real limit is ten seconds.
    monkeypatch.setattr(populate, "BUILD_SECONDS", 0.2)
    slow = "CREATE TABLE a (b CHECK (instr(hex(zeroblob(40000)), hex(zeroblob(20000)) || '1') = 0))"
    assert reason(tmp_path, (slow, [[n] for n in range(1_000)])) == "not built within 0.2 s"
