"""The robust rule and its causes over all databases of a candidate; `robust` knows one database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sense.execution.compare import TooManyColumnOrders, difference
from sense.execution.outcome import Comparison, Ending, Match, Rows
from sense.execution.robust import (
    Cause,
    OfficialEndings,
    RobustComparison,
    judge_robust,
    why_bird_differs,
    why_they_differ,
)
from sense.execution.rules import RULES, Rule
from sense.execution.verdicts import Database, candidate_failed, gold_failed, where


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A candidate to judge, and how queries are run on a database."""

    databases: Sequence[Database]
    gold_sql: str
    candidate_sql: str
    run_gold: Callable[[Database, str], Ending]
    run_candidate: Callable[[Database, str], Ending]


def compare(asked: Asked) -> Comparison:
    """Compare on every database: the same only if the same on all."""
    for database in asked.databases:
        try:
            found = _judge(asked, database)
        except TooManyColumnOrders:
            return Comparison(Match.CANDIDATE_TOO_MUCH, "too many orders of the columns to try")
        except MemoryError:
            return Comparison(Match.CANDIDATE_TOO_MUCH, "out of memory in comparing the results")
        if not isinstance(found.gold, Rows):
            return gold_failed(found.gold, database, asked.databases)
        assert found.candidate is not None
        if not isinstance(found.candidate, Rows):
            return candidate_failed(found.candidate, database, asked.databases)
        if found.match is None or not found.match.same:
            reason = difference(found.gold, found.candidate)
            return Comparison(Match.DIFFERENT, where(reason, database, asked.databases))
    return Comparison(Match.SAME, "", 1.0)


def cause(asked: Asked, *, official: Rule) -> Cause:
    """Find the first database on which the robust verdict is not that of the rule, and say why."""
    steps = RULES[official]
    gold_sql = steps.prepare_gold(asked.gold_sql)
    (candidate_sql,) = steps.prepare_candidates(asked.gold_sql, asked.candidate_sql)
    unrewritten_sql = steps.prepare_gold(asked.candidate_sql)
    for database in asked.databases:
        try:
            robust = _judge(asked, database)
            gold = asked.run_gold(database, gold_sql)
            candidate = asked.run_candidate(database, candidate_sql)
            same = (
                isinstance(gold, Rows)
                and isinstance(candidate, Rows)
                and steps.value(gold, candidate, gold_sql) == 1
            )
            if official is Rule.BIRD:
                found = why_bird_differs(same, robust)
            else:
                unrewritten = asked.run_candidate(database, unrewritten_sql)
                endings = OfficialEndings(same=same, gold=gold, candidate=candidate, unrewritten=unrewritten)
                found = why_they_differ(
                    endings, robust, gold_sql=asked.gold_sql, candidate_sql=asked.candidate_sql
                )
        except (TooManyColumnOrders, MemoryError):
            return Cause.OTHER
        if found is not None:
            return found
    return Cause.OTHER


def _judge(asked: Asked, database: Database) -> RobustComparison:
    return judge_robust(
        asked.gold_sql,
        asked.candidate_sql,
        run_gold=lambda sql: asked.run_gold(database, sql),
        run_candidate=lambda sql: asked.run_candidate(database, sql),
    )
