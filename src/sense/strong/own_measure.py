"""Measure questions about databases of the user's own: which `sense filter` would keep, and what they use.

Every query is run on the user's file itself, which is only read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sense.databases.features import sql_features
from sense.databases.hardness import hardness
from sense.execution.pool import QueryJob, run_queries
from sense.execution.run import Limits
from sense.progress import meter
from sense.strong.checks import CHECKS, Bounds, Case, Item, Kept
from sense.strong.coverage import Coverage, coverage
from sense.strong.decontaminate import HeldOut
from sense.strong.filter import MAX_RESULT_BYTES
from sense.strong.filter import Config as FilterConfig
from sense.strong.own_database import Told
from sense.strong.slots import Measured


class OwnMeasured(NamedTuple):
    """The questions that would be kept; `measured.by_database` counts them by part of a schema.

    `coverage` says for each database what they use of what was told.
    """

    measured: Measured
    coverage: Mapping[str, Coverage]


def part_of(item_id: str) -> str:
    """Name the part of a schema that an item was asked about.

    >>> part_of("shop/g02/1-07")
    'shop/g02'
    """
    return item_id.rpartition("/")[0]


class OwnMeasurer:
    """Measures, and remembers what it has measured: a later look at an earlier round costs nothing."""

    def __init__(self, held_out: HeldOut, *, workers: int) -> None:
        """Take what must not be resembled, and the number of processes that run queries; 0: one a core."""
        self._held_out = held_out
        self._workers = workers
        self._known: dict[tuple[str, ...], OwnMeasured] = {}

    def __call__(self, databases: Sequence[Told], items: Sequence[Mapping[str, Any]]) -> OwnMeasured:
        """Count the questions that would be kept, by hardness, feature and part of a schema."""
        key = tuple(str(item["id"]) for item in items)
        if key not in self._known:
            kept = self._kept({each.db_id: each for each in databases}, items)
            self._known[key] = OwnMeasured(
                _count(kept),
                {
                    each.db_id: coverage([item.sql for item in kept if item.db_id == each.db_id], each.schema)
                    for each in databases
                },
            )
        return self._known[key]

    def _kept(self, databases: Mapping[str, Told], items: Sequence[Mapping[str, Any]]) -> list[Item]:
        usable = [Item.model_validate(item) for item in items]
        settings = FilterConfig.parse({"source": Path()}, where="measure")
        bounds = Bounds(max_rows=settings.max_rows, max_per_skeleton=settings.max_per_skeleton)
        limits = Limits(
            timeout_s=settings.timeout_s, max_rows=10 * settings.max_rows, max_bytes=MAX_RESULT_BYTES
        )
        jobs = [QueryJob(databases[item.db_id].file, item.sql) for item in usable]
        memory = Kept(usable)
        kept: list[Item] = []
        with meter("measure", total=len(jobs)) as shown:
            endings = run_queries(jobs, limits=limits, workers=self._workers, on_done=shown.advance)
            for item, ending in zip(usable, endings, strict=True):
                case = Case(
                    item=item,
                    ending=ending,
                    schema=databases[item.db_id].schema,
                    kept=memory,
                    held_out=self._held_out,
                    bounds=bounds,
                )
                if all(check(case) is None for _, check in CHECKS):
                    memory.add(case)
                    kept.append(item)
        return kept


def _count(items: Sequence[Item]) -> Measured:
    levels = [level for item in items if (level := hardness(item.sql)) is not None]
    return Measured(
        hardness=Counter(levels),
        features=Counter(feature for item in items for feature in sql_features(item.sql)),
        by_database=Counter(part_of(item.id) for item in items),
    )
