"""Measure what was written so far: which questions `sense filter` would keep, and what they are.

The databases are built aside and every query is run, as there; nothing is kept. Of what a filter may be told
to drop beyond its defaults, only what resembles a benchmark is known here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sense.databases.features import sql_features
from sense.databases.hardness import hardness
from sense.databases.schema import schema_of_file
from sense.execution.pool import QueryJob, run_queries
from sense.execution.run import Limits
from sense.progress import meter
from sense.strong.checks import CHECKS, Bounds, Case, Item, Kept
from sense.strong.decontaminate import HeldOut
from sense.strong.filter import MAX_RESULT_BYTES
from sense.strong.filter import Config as FilterConfig
from sense.strong.populate import Built, Unbuildable, build
from sense.strong.slots import Measured
from sense.strong.written import SynthDatabase, Unreadable, parse_database


@lru_cache(maxsize=1_000)  # a plan is gone through after every batch of replies
def parse_buildable(text: str) -> SynthDatabase | Unreadable:
    """Read a reply that should hold a database that can be built."""
    database = parse_database(text)
    if isinstance(database, Unreadable):
        return database
    with TemporaryDirectory() as folder:
        result = build(database, Path(folder) / "database.sqlite")
    return Unreadable(result.reason) if isinstance(result, Unbuildable) else database


class Measurer:
    """Measures, and remembers what it has measured: a later look at an earlier round costs nothing."""

    def __init__(self, held_out: HeldOut, *, workers: int) -> None:
        """Take what must not be resembled, and the number of processes that run queries; 0: one a core."""
        self._held_out = held_out
        self._workers = workers
        self._known: dict[tuple[str, ...], Measured] = {}

    def __call__(self, databases: Sequence[SynthDatabase], items: Sequence[Mapping[str, Any]]) -> Measured:
        """Count the questions that would be kept, by hardness, feature and database."""
        key = tuple(str(item["id"]) for item in items)
        if key not in self._known:
            with TemporaryDirectory() as folder:
                self._known[key] = self._measure(Path(folder), databases, items)
        return self._known[key]

    def _measure(
        self, folder: Path, databases: Sequence[SynthDatabase], items: Sequence[Mapping[str, Any]]
    ) -> Measured:
        files = {each.db_id: folder / f"{each.db_id}.sqlite" for each in databases}
        built = [each.db_id for each in databases if isinstance(build(each, files[each.db_id]), Built)]
        schemas = {name: schema_of_file(files[name], name) for name in built}
        usable = [item for item in map(Item.model_validate, items) if item.db_id in schemas]
        settings = FilterConfig.parse({"source": folder}, where="measure")
        bounds = Bounds(max_rows=settings.max_rows, max_per_skeleton=settings.max_per_skeleton)
        limits = Limits(
            timeout_s=settings.timeout_s, max_rows=10 * settings.max_rows, max_bytes=MAX_RESULT_BYTES
        )
        jobs = [QueryJob(files[item.db_id], item.sql) for item in usable]
        kept = Kept(usable)
        measured = Measured(by_database=Counter(dict.fromkeys(built, 0)))
        with meter("measure", total=len(jobs)) as shown:
            endings = run_queries(jobs, limits=limits, workers=self._workers, on_done=shown.advance)
            for item, ending in zip(usable, endings, strict=True):
                case = Case(
                    item=item,
                    ending=ending,
                    schema=schemas[item.db_id],
                    kept=kept,
                    held_out=self._held_out,
                    bounds=bounds,
                )
                if all(check(case) is None for _, check in CHECKS):
                    kept.add(case)
                    _count(measured, item)
        return measured


def _count(measured: Measured, item: Item) -> None:
    level = hardness(item.sql)
    assert level is not None, "a check lets nothing through that has no hardness"
    measured.hardness[level] += 1
    measured.features.update(sql_features(item.sql))
    measured.by_database[item.db_id] += 1
