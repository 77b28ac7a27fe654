"""Comparing inside a worker: what is run, what is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from sense.execution.gold_store import GoldStore
from sense.execution.judge import Judge, ResultCache
from sense.execution.outcome import Comparison, Match, Rows, Timeout
from sense.execution.protocol import Board, Phase
from sense.execution.rules import Rule
from sense.execution.run import Limits
from sense.execution.verdicts import Database


class Notes(Board):
    """A board that nobody else sees, and that remembers all that was noted."""

    def __init__(self) -> None:
        self.phases: list[Phase] = []

    def note(self, index: int, phase: Phase) -> None:
        self.phases.append(phase)


def make_judge(store: GoldStore | None = None) -> tuple[Judge, Notes]:
    notes = Notes()
    return Judge(Limits(keep_from_s=0), notes, store), notes


def compare(
    judge: Judge,
    database: Path,
    gold: str,
    candidate: str,
    *,
    rule: Rule = Rule.BIRD,
    digest: str | None = None,
) -> Comparison:
    databases = [Database(str(database), digest)]
    return judge.compare(0, databases, gold_sql=gold, candidate_sql=candidate, rule=rule)


def test_the_cache_drops_what_was_not_used_for_longest() -> None:
    row = Rows(1, (("x" * 1000,),))
    cache = ResultCache(max_bytes=2500)
    cache.put("a", "first", row)
    cache.put("a", "second", row)
    cache.get("a", "first")
    cache.put("a", "third", row)
    assert [cache.get("a", sql) for sql in ("first", "second", "third")] == [row, None, row]


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = ResultCache(max_bytes=100)
    cache.put("a", "small", Timeout(1.0))
    cache.put("a", "large", Rows(1, (("x" * 1000,),)))
    assert cache.get("a", "small") == Timeout(1.0)
    assert cache.get("a", "large") is None


def test_a_result_on_disk_is_used_by_the_next_run(shop: Path, tmp_path: Path) -> None:
    first, _ = make_judge(GoldStore(tmp_path / "gold"))
    compare(first, shop, "SELECT count(*) FROM item", "SELECT 1", digest="abc")
    first.save()
    elsewhere = tmp_path / "none.sqlite"  # were the gold query run, it would be missed
    second, _ = make_judge(GoldStore(tmp_path / "gold"))
    candidate = "select  COUNT( * ) from item"
    assert (
        compare(second, elsewhere, "SELECT count(*) FROM item", candidate, digest="abc").match is Match.SAME
    )


def test_a_result_belongs_to_the_content_of_its_database(shop: Path, tmp_path: Path) -> None:
    judge, _ = make_judge(GoldStore(tmp_path / "gold"))
    gold, candidate = "SELECT count(*) FROM item", "SELECT 3"
    assert compare(judge, shop, gold, candidate, digest="abc").match is Match.SAME
    judge.save()
    other = tmp_path / "other.sqlite"
    other.write_bytes(shop.read_bytes())
    run_sql(other, "DELETE FROM item")
    fresh, _ = make_judge(GoldStore(tmp_path / "gold"))
    assert compare(fresh, other, gold, candidate, digest="def").match is Match.DIFFERENT


def run_sql(database: Path, sql: str) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(database)) as connection:
        connection.execute(sql)
        connection.commit()


@pytest.mark.parametrize(
    "candidate",
    [
        pytest.param("SELECT name FROM item WHERE name = 'a  B'", id="equal"),
        pytest.param("select NAME\nfrom Item where name='a  B'", id="white-space-and-case"),
    ],
)
def test_a_candidate_with_the_text_of_gold_is_not_run(shop: Path, candidate: str) -> None:
    judge, notes = make_judge()
    assert compare(judge, shop, "SELECT name FROM item WHERE name = 'a  B'", candidate).match is Match.SAME
    assert Phase.CANDIDATE not in notes.phases


@pytest.mark.parametrize(
    ("gold", "candidate"),
    [
        pytest.param("SELECT 'a b'", "SELECT 'ab'", id="blank-in-a-string"),
        pytest.param("SELECT 'a'", "SELECT 'A'", id="case-in-a-string"),
        pytest.param("SELECT 1 FROM item", "SELECT 1 -- FROM item", id="comment"),
        pytest.param("SELECT 1 AS a, 2", "SELECT 1 ASa, 2", id="blank-between-words"),
        pytest.param("SELECT random()", "SELECT random()", id="another-result-each-time"),
    ],
)
def test_a_candidate_that_only_looks_like_gold_is_run(shop: Path, gold: str, candidate: str) -> None:
    judge, notes = make_judge()
    compare(judge, shop, gold, candidate)
    assert Phase.CANDIDATE in notes.phases


def test_a_gold_query_is_run_once_for_all_its_candidates(shop: Path) -> None:
    judge, _ = make_judge()
    gold = "SELECT abs(random()) FROM item LIMIT 1"
    reasons = {compare(judge, shop, gold, f"SELECT {n} WHERE {n} < 0").reason for n in range(3)}
    assert reasons == {"0 rows of 1 column, gold has 1 row of 1 column"}
    assert judge.run(0, Database(str(shop), None), "SELECT 1") == Rows(1, ((1,),))


def test_the_difference_is_the_reason(shop: Path) -> None:
    judge, _ = make_judge()
    found = compare(judge, shop, "SELECT id FROM item", "SELECT 1, 2")
    assert found == Comparison(Match.DIFFERENT, "1 row of 2 columns, gold has 3 rows of 1 column")


def test_a_degree_is_kept_where_a_rule_knows_one(shop: Path) -> None:
    judge, _ = make_judge()
    found = compare(judge, shop, "SELECT 1, 2", "SELECT 1, 3", rule=Rule.BIRD_SOFT_F1)
    assert (found.match, found.value) == (Match.DIFFERENT, 0.5)
