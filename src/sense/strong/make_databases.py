"""Build all databases of a collection, and add rows to them where that is asked for."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from sense.databases.spider import database_file
from sense.databases.sqlite import open_read_only, quote
from sense.databases.structure import read_structure
from sense.execution.outcome import Rows
from sense.execution.pool import QueryJob, run_queries
from sense.execution.run import Limits
from sense.progress import say
from sense.strong.checks import Item
from sense.strong.fill_rows import top_up
from sense.strong.own_database import OwnDatabase, build_or_copy
from sense.strong.plant_rows import Empty, plant
from sense.strong.populate import Unbuildable
from sense.strong.written import SynthDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Rows by table of the databases that were built, reasons of the others, rows left out, rows added."""

    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    unbuildable: dict[str, str] = field(default_factory=dict)
    rejected: list[dict[str, str]] = field(default_factory=list)
    added: dict[str, int] = field(default_factory=dict)


def make_databases(
    databases: Sequence[SynthDatabase | OwnDatabase],
    items: Sequence[Item],
    data: Path,
    *,
    fill_rows: int,
    seed: int,
) -> Made:
    """Build every database anew; top its tables up to `fill_rows` rows, 0: leave them as written."""
    made = Made()
    reused = 0
    for database in databases:
        name = database.db_id
        path = data / "database" / name / f"{name}.sqlite"
        reused += path.exists()
        path.unlink(missing_ok=True)
        result = build_or_copy(database, path)
        if isinstance(result, Unbuildable):
            made.unbuildable[name] = result.reason
            continue
        if fill_rows:
            try:
                golds = [item.sql for item in items if item.db_id == name]
                made.added[name] = top_up(path, rows=fill_rows, seed=f"{seed}/{name}", golds=golds)
            except sqlite3.Error as error:
                path.unlink()
                made.unbuildable[name] = f"its rows could not be added: {error}"
                continue
        made.rows[name] = count_rows(path) if fill_rows else result.rows
        made.rejected.extend({"db_id": name, "reason": reason} for reason in result.rejected_rows)
    if reused:
        say(f"filter: {reused} databases of an interrupted run made anew")
    return made


def plant_for(
    items: Sequence[Item], data: Path, *, tries: int, seed: int, limits: Limits, workers: int
) -> Mapping[str, int]:
    """Plant rows for the queries that return nothing, but for those that are meant to."""
    asked = [item for item in items if not item.empty]
    jobs = [QueryJob(database_file(data, item.db_id), item.sql) for item in asked]
    endings = run_queries(jobs, limits=limits, workers=workers)
    empty = [
        Empty(job.database, job.sql)
        for job, ending in zip(jobs, endings, strict=True)
        if isinstance(ending, Rows) and not ending.rows
    ]
    left = plant(empty, tries=tries, seed=str(seed), limits=limits, workers=workers)
    return {"empty": len(empty), "still_empty": len(left)}


def as_built(database: SynthDatabase, path: Path) -> SynthDatabase:
    """Write a database down with the rows that its file holds by now."""
    with closing(open_read_only(path)) as connection:
        # The file has its tables in the order in which they were written.
        names = [table.name for table in read_structure(path).tables]
        tables = [
            table.model_copy(
                update={"rows": [list(row) for row in connection.execute(f"SELECT * FROM {quote(name)}")]}
            )
            for name, table in zip(names, database.tables, strict=True)
        ]
    return database.model_copy(update={"tables": tables})


def count_rows(path: Path) -> dict[str, int]:
    """Count the rows of every table."""
    with closing(open_read_only(path)) as connection:
        return {
            table.name: int(connection.execute(f"SELECT count(*) FROM {quote(table.name)}").fetchone()[0])
            for table in read_structure(path).tables
        }
