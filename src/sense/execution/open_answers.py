"""Find gold queries that leave their answer open on a database: queries of the same meaning may differ there.

Rows that tie may come in any order, and LIMIT may take any of them; a bare column beside GROUP BY, or LIMIT
without ORDER BY, takes what is stored first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sense.execution.compare import TooManyColumnOrders
from sense.execution.outcome import Ending, Row, Rows, Value
from sense.execution.pool import QueryJob, run_queries
from sense.execution.rules import RULES, Rule
from sense.execution.run import Limits
from sense.execution.ties import OrderProbe, order_probe


def open_golds(
    databases: Mapping[Path, Path | None], golds: Sequence[str], *, rule: Rule, limits: Limits, workers: int
) -> dict[Path, frozenset[str]]:
    """Find the golds that leave their answer open on each database; one on which a gold fails is left out.

    Args:
        databases: each with a file of the same rows in another order; with None, only ties are looked for.
        golds: the gold queries.
        rule: how they are prepared, and whether two answers are the same.
        limits: what a query may use.
        workers: processes; 0 for one on each core.
    """
    prepared = [RULES[rule].prepare_gold(gold) for gold in golds]
    probes = [order_probe(sql) for sql in prepared]
    jobs: list[QueryJob] = []
    for database, turned in databases.items():
        for sql, probe in zip(prepared, probes, strict=True):
            asked = [(database, sql), (turned, sql), (database, None if probe is None else probe.sql)]
            jobs += [QueryJob(file, text) for file, text in asked if file is not None and text is not None]
    endings = run_queries(jobs, limits=limits, workers=workers)
    found: dict[Path, frozenset[str]] = {}
    for database, turned in databases.items():
        is_open = [
            _is_open(endings, sql, probe, is_twice=turned is not None, rule=rule)
            for sql, probe in zip(prepared, probes, strict=True)
        ]
        if None not in is_open:
            found[database] = frozenset(gold for gold, flag in zip(golds, is_open, strict=True) if flag)
    return found


def _is_open(
    endings: Iterator[Ending], sql: str, probe: OrderProbe | None, *, is_twice: bool, rule: Rule
) -> bool | None:
    """Take one gold query's endings off the iterator and judge them; None where the query failed."""
    one = next(endings)
    other = next(endings) if is_twice else one
    tie = None if probe is None else next(endings)
    if not isinstance(one, Rows) or not isinstance(other, Rows):
        return None
    if probe is not None and isinstance(tie, Rows) and _has_tie(tie, probe):
        return True
    try:
        return RULES[rule].value(one, other, sql) != 1
    except TooManyColumnOrders:
        return True


def _has_tie(answer: Rows, probe: OrderProbe) -> bool:
    """Tell whether rows that differ share a rank."""
    by_rank: dict[Value, set[Row]] = {}
    for row in answer.rows:
        by_rank.setdefault(row[-1], set()).add(row[: -probe.keys - 1])
    return any(len(rows) > 1 for rows in by_rank.values())
