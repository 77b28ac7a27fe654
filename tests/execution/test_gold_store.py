"""Results of gold queries on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from sense.execution.gold_store import GoldStore, is_repeatable
from sense.execution.outcome import Rows


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    rows = Rows(6, ((1, 2.5, "é\n", b"\x00\xff", None, float("inf")), (2**62, -0.0, "", b"", None, 1e-300)))
    first = GoldStore(tmp_path)
    first.put("abc", "SELECT 1", rows)
    first.save()
    assert GoldStore(tmp_path).get("abc", "SELECT 1") == rows
    assert GoldStore(tmp_path).has("abc", "SELECT 1")


def test_another_database_or_query_has_no_result(tmp_path: Path) -> None:
    store = GoldStore(tmp_path)
    store.put("abc", "SELECT 1", Rows(1, ((1,),)))
    assert store.get("abc", "SELECT 2") is None
    assert store.get("def", "SELECT 1") is None
    assert not store.has("def", "SELECT 1")


def test_a_broken_file_is_as_good_as_none(tmp_path: Path) -> None:
    store = GoldStore(tmp_path)
    store.put("abc", "SELECT 1", Rows(1, ((1,),)))
    store.save()
    store.close()
    (file,) = tmp_path.glob("*.sqlite")
    file.write_bytes(b"no database at all" * 500)
    again = GoldStore(tmp_path)
    assert again.get("abc", "SELECT 1") is None
    again.put("abc", "SELECT 1", Rows(1, ((1,),)))


@pytest.mark.parametrize(
    ("sql", "repeatable"),
    [
        pytest.param("SELECT name FROM t WHERE date(born) > '2000-01-01'", True, id="a-date-from-a-column"),
        pytest.param("SELECT strftime('%Y', born) FROM t", True, id="a-part-of-a-date"),
        pytest.param("SELECT date('now')", False, id="now"),
        pytest.param("SELECT DATE ( )", False, id="now-by-default"),
        pytest.param("SELECT strftime('%s')", False, id="now-in-strftime"),
        pytest.param("SELECT CURRENT_TIMESTAMP", False, id="timestamp"),
        pytest.param("SELECT 1 ORDER BY RANDOM()", False, id="random"),
        pytest.param("SELECT datetime(t, 'localtime') FROM t", False, id="the-time-zone-of-the-machine"),
    ],
)
def test_what_changes_by_itself_is_not_kept(tmp_path: Path, sql: str, repeatable: bool) -> None:
    store = GoldStore(tmp_path)
    store.put("abc", sql, Rows(1, ((1,),)))
    assert is_repeatable(sql) is repeatable
    assert store.has("abc", sql) is repeatable
