"""The worker's cache of gold results."""

from __future__ import annotations

from pathlib import Path

from sense.execution.outcome import Comparison, Match, Rows, Timeout
from sense.execution.protocol import Phase
from sense.execution.rules import Rule
from sense.execution.run import Limits
from sense.execution.worker import GoldCache, Judge

DATABASE = Path("a.sqlite")


def test_the_cache_drops_what_was_not_used_for_longest() -> None:
    row = Rows(1, (("x" * 1000,),))
    cache = GoldCache(max_bytes=2500)
    cache.put(DATABASE, "first", row)
    cache.put(DATABASE, "second", row)
    cache.get(DATABASE, "first")
    cache.put(DATABASE, "third", row)
    assert [cache.get(DATABASE, sql) for sql in ("first", "second", "third")] == [row, None, row]


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = GoldCache(max_bytes=100)
    cache.put(DATABASE, "small", Timeout(1.0))
    cache.put(DATABASE, "large", Rows(1, (("x" * 1000,),)))
    assert cache.get(DATABASE, "small") == Timeout(1.0)
    assert cache.get(DATABASE, "large") is None


def test_a_gold_query_is_run_once_for_all_its_candidates(shop: Path) -> None:
    phases: list[Phase] = []
    judge = Judge(Limits(), phases.append)
    for candidate in ("SELECT 3", "SELECT count(id) FROM item", "SELECT 4"):
        judge.compare([shop], gold_sql="SELECT count(*) FROM item", candidate_sql=candidate, rule=Rule.BIRD)
    assert phases.count(Phase.GOLD) == 1
    assert phases.count(Phase.CANDIDATE) == 3


def test_the_difference_is_the_reason(shop: Path) -> None:
    judge = Judge(Limits(), lambda _: None)
    found = judge.compare([shop], gold_sql="SELECT id FROM item", candidate_sql="SELECT 1, 2", rule=Rule.BIRD)
    assert found == Comparison(Match.DIFFERENT, "1 row of 2 columns, gold has 3 rows of 1 column")
