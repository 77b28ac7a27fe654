"""One query: it can read and nothing else, and it ends in time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sense.errors import DatabaseError
from sense.execution.outcome import Ending, Refused, Rows, SqlError, Timeout, TooMuch
from sense.execution.run import Limits, run_query

QUICK = Limits(timeout_s=0.4, max_rows=50_000, max_bytes=20 * 2**20, max_value_bytes=2**20)


def run(database: Path, sql: str) -> Ending:
    return run_query(database, sql, limits=QUICK)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        pytest.param("SELECT id, price FROM item ORDER BY id", ((1, 1.0), (2, 2.5), (3, 2.5)), id="select"),
        pytest.param("SELECT 1 -- the end;", ((1,),), id="comment"),
        pytest.param("SELECT 1;", ((1,),), id="semicolon"),
        pytest.param("VALUES (1, 'a')", ((1, "a"),), id="values"),
        pytest.param(
            "SELECT x'00ff', NULL, 9223372036854775807", ((b"\x00\xff", None, 2**63 - 1),), id="types"
        ),
        pytest.param("SELECT a FROM odd", (("AB",),), id="invalid-utf8"),
        pytest.param("SELECT 1 WHERE 0", (), id="no-rows"),
        pytest.param("SELECT value FROM json_each('[4, 5]')", ((4,), (5,)), id="json"),
        pytest.param("SELECT body FROM notes WHERE notes MATCH 'blue'", (("a blue pen",),), id="full-text"),
        pytest.param(
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 3) SELECT n FROM c",
            ((1,), (2,), (3,)),
            id="recursive",
        ),
    ],
)
def test_reading_is_allowed(shop: Path, sql: str, rows: tuple[object, ...]) -> None:
    ending = run(shop, sql)
    assert isinstance(ending, Rows)
    assert ending.rows == rows


def test_columns_are_counted_without_rows(shop: Path) -> None:
    assert run(shop, "SELECT 1, 2 WHERE 0") == Rows(columns=2, rows=())


WRITES = [
    "DROP TABLE item",
    "DELETE FROM item",
    "WITH x AS (SELECT 1) DELETE FROM item RETURNING id",
    "INSERT INTO item(name) VALUES ('x') RETURNING id",
    "UPDATE item SET price = 0",
    "REPLACE INTO item(id) VALUES (1)",
    "CREATE TABLE t(a)",
    "CREATE TEMP TABLE t(a)",
    "ALTER TABLE item RENAME TO it",
    "ATTACH 'new.sqlite' AS new",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO 'new.sqlite'",
    "REINDEX",
    "ANALYZE",
    "BEGIN",
    "SAVEPOINT s",
    "EXPLAIN DELETE FROM item",
    "PRAGMA journal_mode = WAL",
    "PRAGMA table_info(item)",
    "PRAGMA data_version",
    "PRAGMA writable_schema = ON",
    "SELECT * FROM pragma_table_info('item')",
    "SELECT load_extension('x')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT 1; DELETE FROM item",
    "SELECT 1; SELECT 2",
]


@pytest.mark.parametrize("sql", WRITES)
def test_nothing_on_disk_can_be_changed(shop: Path, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.parent)
    before = shop.read_bytes()
    assert isinstance(run(shop, sql), Refused)
    assert shop.read_bytes() == before
    assert [file.name for file in shop.parent.iterdir()] == ["shop.sqlite"]


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("", id="nothing"),
        pytest.param(" \n", id="blank"),
        pytest.param("-- a comment", id="comment"),
        pytest.param("/* a comment", id="open-comment"),
        pytest.param(";", id="semicolon"),
        pytest.param("SELEC 1", id="syntax"),
        pytest.param("SELECT nothing FROM item", id="column"),
        pytest.param("SELECT ?", id="parameter"),
        pytest.param("SELECT 1\0; DROP TABLE item", id="nul"),
        pytest.param("SELECT '\ud800'", id="surrogate"),
        pytest.param("SELECT writefile('a', 'b')", id="function"),
        pytest.param("SELECT " + "(" * 5000 + "1" + ")" * 5000, id="nesting"),
        pytest.param("SELECT 1" + " + 1" * 5000, id="depth"),
        pytest.param("SELECT 1 FROM item" + " NATURAL JOIN item" * 100, id="join-of-many"),
    ],
)
def test_what_makes_no_sense_is_an_error(shop: Path, sql: str) -> None:
    assert isinstance(run(shop, sql), SqlError)


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param(
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c",
            id="recursion",
        ),
        pytest.param("SELECT count(*) FROM many a, many b, many c, many d", id="cross-join"),
        pytest.param("SELECT 1 FROM many a, many b, many c ORDER BY a.n * b.n * c.n", id="sort"),
    ],
)
def test_an_endless_query_ends_in_time(shop: Path, sql: str) -> None:
    start = time.monotonic()
    assert run_query(shop, sql, limits=Limits(timeout_s=0.3)) == Timeout(seconds=0.3)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT 1 FROM many a, many b", id="million-rows"),
        pytest.param("SELECT zeroblob(1000000) FROM many", id="bytes"),
        pytest.param("SELECT zeroblob(1000000000)", id="zeroblob"),
        pytest.param("SELECT randomblob(1000000000)", id="randomblob"),
        pytest.param("SELECT replace(hex(zeroblob(100000)), '0', hex(zeroblob(100000)))", id="replace"),
        pytest.param("SELECT group_concat(hex(zeroblob(10000))) FROM many", id="group-concat"),
        pytest.param(
            "WITH RECURSIVE c(a) AS (SELECT 'a' UNION ALL SELECT a || a FROM c) SELECT a FROM c",
            id="doubling",
        ),
        pytest.param("SELECT '" + "a" * 2_000_000 + "'", id="long-query"),
    ],
)
def test_a_huge_result_is_cut_off(shop: Path, sql: str) -> None:
    limits = Limits(timeout_s=10, max_rows=50_000, max_bytes=20 * 2**20, max_value_bytes=2**20)
    assert isinstance(run_query(shop, sql, limits=limits), TooMuch)


def test_a_result_at_the_cap_is_whole(shop: Path) -> None:
    ending = run_query(shop, "SELECT n FROM many", limits=Limits(max_rows=1000))
    assert isinstance(ending, Rows)
    assert len(ending.rows) == 1000


def test_a_missing_database_is_no_ending(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="no such SQLite file"):
        run(tmp_path / "none.sqlite", "SELECT 1")
