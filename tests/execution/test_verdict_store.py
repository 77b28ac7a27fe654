"""Verdicts on disk: known again, and forgotten with anything that they depend on."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sense.execution.outcome import Comparison, Match
from sense.execution.pool import CompareJob, compare_queries
from sense.execution.rules import Rule
from sense.execution.run import Limits
from sense.execution.verdict_store import VerdictStore, verdict_key


def key(
    gold: str = "SELECT 1", candidate: str = "SELECT 2", rule: str = "spider", *digests: str
) -> bytes | None:
    return verdict_key(digests or ("abc",), gold_sql=gold, candidate_sql=candidate, rule=rule)


def test_a_verdict_is_known_again(tmp_path: Path) -> None:
    known, other = key(), key(candidate="SELECT 3")
    assert known is not None and other is not None
    verdict = Comparison(Match.DIFFERENT, "1 row", 0.25)
    VerdictStore(tmp_path).put({known: verdict})
    assert VerdictStore(tmp_path).get([known, other]) == {known: verdict}


def test_a_key_tells_apart_all_that_matters() -> None:
    keys = [
        key(), key(gold="SELECT 9"), key(candidate="SELECT 9"), key(rule="bird"),
        key("SELECT 1", "SELECT 2", "spider", "def"), key("SELECT 1", "SELECT 2", "spider", "abc", "def"),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("match", [Match.CANDIDATE_TIMEOUT, Match.WORKER_DIED, Match.GOLD_FAILED])
def test_what_a_limit_or_an_accident_decided_is_not_kept(tmp_path: Path, match: Match) -> None:
    known = key()
    assert known is not None
    store = VerdictStore(tmp_path)
    store.put({known: Comparison(match, "")})
    assert store.get([known]) == {}


def test_what_changes_by_itself_has_no_key() -> None:
    assert key(candidate="SELECT random()") is None
    assert key(gold="SELECT date('now')") is None


def judge(shop: Path, store: Path, candidate: str) -> Match:
    job = CompareJob((shop,), "SELECT count(*) FROM item", candidate, Rule.OWN)
    return next(compare_queries([job], limits=Limits(), workers=1, gold_store=store)).match


def test_a_changed_database_is_judged_anew(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENSE_HOME", str(tmp_path / "home"))
    store = tmp_path / "store"
    os.utime(shop, (1_000_000_000, 1_000_000_000))
    assert judge(shop, store, "SELECT 3") is Match.SAME
    with closing(sqlite3.connect(shop)) as connection:
        connection.execute("DELETE FROM item WHERE id = 1")
        connection.commit()
    os.utime(shop, (1_000_000_000, 1_000_000_000))  # the same time and size: the change shows elsewhere
    assert judge(shop, store, "SELECT 3") is Match.DIFFERENT


def test_a_broken_file_is_as_good_as_none(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "verdicts.sqlite").write_bytes(b"no database" * 1000)
    assert judge(shop, tmp_path / "store", "SELECT 3") is Match.SAME
