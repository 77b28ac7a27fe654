"""Plant rows for queries that find nothing, so that they find something.

What a query compares columns with is read off it; a row of each of its tables is drawn so that this holds,
each referring to the one before, in a copy of the database. If the query then returns rows, they are put into
the database itself. A query is run in a worker process that may only read, as everywhere.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlglot import exp

from sense.databases.gold_facts import Constant, gold_facts, parse
from sense.databases.schema import schema_of_file
from sense.databases.structure import StoredTable, read_structure
from sense.execution.filler import Source, insert_statement, parents_first, put, with_linked
from sense.execution.fuzz import satisfying
from sense.execution.outcome import Rows, Value
from sense.execution.pool import QueryJob, run_queries
from sense.execution.run import Limits
from sense.strong.fill_rows import Drawer, Drawn, open_to_fill

MOST_CHILDREN = 4  # rows of the last table in one try: a HAVING may want some


@dataclass(frozen=True, slots=True)
class Empty:
    """A query that returns nothing, and its database."""

    database: Path
    sql: str


def plant(
    queries: Sequence[Empty], *, tries: int, seed: str, limits: Limits, workers: int = 0
) -> list[Empty]:
    """Try so often to plant rows for each query; return those that still find nothing.

    What was planted for one query may serve another one.
    """
    returns_rows = partial(_returns_rows, limits=limits, workers=workers)
    left = list(queries)
    for attempt in range(tries):
        if not left:
            break
        with TemporaryDirectory() as folder:
            copies = [Path(folder) / f"{number}.sqlite" for number in range(len(left))]
            for query, copy in zip(left, copies, strict=True):
                shutil.copyfile(query.database, copy)
                _put_rows(copy, query.sql, seed=f"{seed}/{attempt}/{query.sql}")
            found = returns_rows(
                [QueryJob(copy, query.sql) for query, copy in zip(left, copies, strict=True)]
            )
        if not any(found):
            continue
        for query, is_found in zip(left, found, strict=True):
            if is_found:
                _put_rows(query.database, query.sql, seed=f"{seed}/{attempt}/{query.sql}")
        # Rows of another query may have taken a key meanwhile, or serve this one too.
        again = returns_rows([QueryJob(query.database, query.sql) for query in left])
        left = [query for query, is_found in zip(left, again, strict=True) if not is_found]
    return left


def _returns_rows(jobs: Sequence[QueryJob], *, limits: Limits, workers: int) -> list[bool]:
    # Each time in new processes: a file must not change while one has it open.
    endings = run_queries(jobs, limits=limits, workers=workers)
    return [isinstance(ending, Rows) and bool(ending.rows) for ending in endings]


def _put_rows(path: Path, sql: str, *, seed: str) -> None:
    """Draw and insert rows for one query; those that a key or check refuses stay out."""
    structure = read_structure(path)
    facts = gold_facts([sql], schema_of_file(path, path.stem))
    tree = parse(sql)
    if tree is None:
        return
    rng = random.Random(seed)
    named = {table.name.lower() for table in tree.find_all(exp.Table)}
    tables = [table for table in parents_first(structure.tables) if table.name.lower() in named]
    if len(tables) > 1 and rng.random() < 0.3:  # a row without partner is what NOT IN, EXCEPT look for
        tables.remove(rng.choice(tables))
    constants = [
        each
        for listed in with_linked(Source(structure=structure, samples={}, facts=facts))
        for each in listed
    ]
    # Not in time: then this try is in vain, and nothing of it stays.
    with contextlib.suppress(sqlite3.OperationalError), open_to_fill(path) as connection:
        drawer = Drawer(connection, structure, seed=seed)
        linked: dict[str, Drawn] = {}
        for table in tables:
            for _ in range(rng.randint(1, MOST_CHILDREN) if table is tables[-1] else 1):
                given = _meeting(table, constants, rng)
                for one, other in (pair[::step] for pair in facts.equal for step in (1, -1)):
                    if one.table == table.name and other.table in linked and one.column not in given:
                        given[one.column] = linked[other.table].get(other.column)
                row = drawer.draw(table, given=given, linked=linked)
                if _insert(connection, table, row):
                    drawer.rows[table.name].append(row)
                    linked[table.name] = row


def _meeting(table: StoredTable, constants: Sequence[Constant], rng: random.Random) -> dict[str, Value]:
    """Make values that meet what a query compares the columns of a table with."""
    by_column: dict[str, list[Constant]] = {}
    for constant in constants:
        if constant.place.table == table.name:
            by_column.setdefault(constant.place.column, []).append(constant)
    own = {column.name for column in table.columns}
    return {name: satisfying(rng.choice(listed), rng) for name, listed in by_column.items() if name in own}


def _insert(connection: sqlite3.Connection, table: StoredTable, row: Drawn) -> bool:
    return put(connection, insert_statement(table), [row[column.name] for column in table.columns])
