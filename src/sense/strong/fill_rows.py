"""Top up the tables of a built database with rows like those that the model wrote.

A new row starts from a seen one, so that what goes together in a row stays together: its categories, its
NULLs, the order of its days. Foreign keys point at rows that are there: a few parents have many children, and
some stay without. Keys and checks are left to SQLite: a row that it refuses is drawn again.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sense.databases.gold_facts import Constant, Place, gold_facts
from sense.databases.schema import schema_of_file
from sense.databases.sqlite import quote
from sense.databases.structure import Reference, StoredTable, Structure, read_structure
from sense.execution.filler import TRIES, insert_statement, parents_first, put
from sense.execution.outcome import Value
from sense.strong.fill_values import Seen, Sort, beside, day_number, look_at, more, moved, unlike

if TYPE_CHECKING:
    from faker import Faker

Drawn = dict[str, Value]

MIXED_SHARE = 0.25  # of categories: drawn by themselves, so that new combinations come up too
CHILDLESS_SHARE = 0.3  # of the parents without children: they stay so
BESIDE_SHARE = 0.2  # of the values of columns that queries compare with something
NOT_DRAWN = ("LIKE", "<>")  # what meets these may be any text, and mostly is no sensible one
NAMES_FROM = 6  # in fewer rows, different texts may be chance; in more, they are the names of things
FILL_SECONDS = 20.0  # thousands of rows take a second; a CHECK may take long


def top_up(path: Path, *, rows: int, seed: str, golds: Sequence[str] = ()) -> int:
    """Add rows to every table that has fewer than `rows`; return how many were added.

    Args:
        path: the database.
        rows: of each table.
        seed: the same one gives the same rows.
        golds: queries; some values are drawn beside what they compare columns with.

    Raises:
        sqlite3.OperationalError: it took longer than `FILL_SECONDS`.
    """
    structure = read_structure(path)
    facts = gold_facts(golds, schema_of_file(path, path.stem))
    constants = [each for listed in facts.conditions for each in listed if each.operator not in NOT_DRAWN]
    added = 0
    with open_to_fill(path) as connection:
        drawer = Drawer(connection, structure, seed=seed, constants=constants)
        for table in parents_first(structure.tables):
            insert = insert_statement(table)
            for _ in range(rows - len(drawer.rows[table.name])):
                for _ in range(TRIES):
                    row = drawer.draw(table)
                    if put(connection, insert, [row[column.name] for column in table.columns]):
                        drawer.rows[table.name].append(row)
                        added += 1
                        break
    return added


@contextmanager
def open_to_fill(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database in one transaction: CHECKs are a model's SQL, so they run under a deadline."""
    deadline = time.monotonic() + FILL_SECONDS
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.set_progress_handler(lambda: time.monotonic() > deadline, 1_000)
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")


class Drawer:
    """Draws rows like those that a database holds; `rows` has those of each table, and takes the new ones."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        structure: Structure,
        *,
        seed: str,
        constants: Sequence[Constant] = (),
    ) -> None:
        """Read all rows; some values are drawn beside the constants."""
        from faker import Faker  # here, for it is slow to load, and not installed with everything

        self._rng = random.Random(seed)
        self._fake: Faker = Faker("en_US")
        self._fake.seed_instance(seed)
        self._number = 0
        self._constants: dict[Place, list[Constant]] = {}
        for constant in constants:
            self._constants.setdefault(constant.place, []).append(constant)
        self.rows: dict[str, list[Drawn]] = {
            table.name: _rows(connection, table) for table in structure.tables
        }
        self._samples = {name: list(rows) for name, rows in self.rows.items()}
        self._seen = {
            table.name: {
                column.name: look_at(
                    table.name,
                    column.name,
                    column.kind,
                    values=[row[column.name] for row in self.rows[table.name]],
                )
                for column in table.columns
            }
            for table in structure.tables
        }
        self._unique = {table.name: self._unique_columns(table) for table in structure.tables}
        self._parents: dict[tuple[str, Reference], list[Drawn]] = {}

    def draw(
        self,
        table: StoredTable,
        *,
        given: Mapping[str, Value] | None = None,
        linked: Mapping[str, Drawn] | None = None,
    ) -> Drawn:
        """Draw a row.

        Args:
            table: whose row.
            given: values that are settled, by column.
            linked: rows to refer to, by table, in place of any others.
        """
        samples = self._samples[table.name]
        template = self._rng.choice(samples) if samples else {}
        days = self._shift(template, samples, given or {})
        row: Drawn = {}
        for reference in table.references:
            row |= self._refer(table, reference, template, linked=linked or {})
        row |= given or {}
        for column in table.columns:
            if column.name in row:
                continue
            seen = self._seen[table.name][column.name]
            constants = self._constants.get(Place(table.name, column.name))
            if column.name in self._unique[table.name]:
                row[column.name] = self._new(table.name, seen)
            elif template.get(column.name) is None and samples and not column.not_null:
                row[column.name] = None
            elif constants and self._rng.random() < BESIDE_SHARE:
                row[column.name] = beside(self._rng.choice(constants), self._rng)
            elif seen.sort is Sort.DAY:
                row[column.name] = moved(template[column.name], days)
            elif seen.sort is Sort.CATEGORY and self._rng.random() >= MIXED_SHARE:
                row[column.name] = template[column.name]
            else:
                row[column.name] = self._more(seen)
        return row

    def _unique_columns(self, table: StoredTable) -> set[str]:
        """Name the columns of which no two rows agree: keys of one column, and the names of things."""
        referring = {name for reference in table.references for name in reference.columns}
        found = {key[0] for key in table.keys if len(key) == 1}
        for name, seen in self._seen[table.name].items():
            is_name = seen.sort in (Sort.TEXT, Sort.CODE) and name not in referring
            if is_name and len(seen.values) >= NAMES_FROM and len(set(seen.values)) == len(seen.values):
                found.add(name)
        return found

    def _more(self, seen: Seen) -> Value:
        self._number += 1
        return more(seen, number=self._number, rng=self._rng, fake=self._fake)

    def _new(self, table: str, seen: Seen) -> Value:
        taken = [value for row in self.rows[table] if (value := row[seen.column]) is not None]
        if seen.sort in (Sort.TEXT, Sort.CODE):
            used = set(taken)
            for _ in range(TRIES):
                value = self._more(seen)
                if value not in used:
                    return value
        if seen.sort is Sort.DAY:
            return moved(max(taken, key=str), self._rng.randint(1, 5))
        return unlike(seen, taken, rng=self._rng)

    def _shift(self, template: Drawn, samples: Sequence[Drawn], given: Mapping[str, Value]) -> int:
        """Draw by how many days all days of a row move: its first one falls where those of other rows do.

        Where one of them is given, the others move along.
        """
        for name, value in given.items():
            before, after = day_number(template.get(name)), day_number(value)
            if before is not None and after is not None:
                return after - before
        firsts = sorted(first for row in samples if (first := _first_day(row)) is not None)
        own = _first_day(template)
        if own is None or len(firsts) < 2:
            return 0
        place = self._rng.randrange(len(firsts) - 1)
        return self._rng.randint(firsts[place], firsts[place + 1]) - own

    def _refer(
        self, table: StoredTable, reference: Reference, template: Drawn, *, linked: Mapping[str, Drawn]
    ) -> Drawn:
        pairs = list(zip(reference.columns, reference.to_columns, strict=True))
        nullable = {column.name for column in table.columns if not column.not_null}
        if reference.to_table in linked:
            return {own: linked[reference.to_table][to] for own, to in pairs}
        parents = self._parents_of(table, reference)
        is_null = bool(template) and all(template[own] is None for own, _ in pairs)
        if not parents or (is_null and nullable >= set(reference.columns)):
            return dict.fromkeys(reference.columns)
        parent = parents[int(len(parents) * self._rng.random() ** 2)]
        return {own: parent[to] for own, to in pairs}

    def _parents_of(self, table: StoredTable, reference: Reference) -> list[Drawn]:
        """List the rows that may get children, the first ones more; some of the childless are left out."""
        key = (table.name, reference)
        if key not in self._parents:
            referred = {tuple(row[own] for own in reference.columns) for row in self._samples[table.name]}
            parents = list(self.rows[reference.to_table])
            childless = [
                number
                for number, parent in enumerate(parents)
                if tuple(parent[to] for to in reference.to_columns) not in referred
            ]
            left = set(self._rng.sample(childless, -int(-CHILDLESS_SHARE * len(childless) // 1)))
            chosen = [parent for number, parent in enumerate(parents) if number not in left]
            self._rng.shuffle(chosen)
            self._parents[key] = chosen
        return self._parents[key]


def _rows(connection: sqlite3.Connection, table: StoredTable) -> list[Drawn]:
    listed = ", ".join(quote(column.name) for column in table.columns)
    names = [column.name for column in table.columns]
    found = connection.execute(f"SELECT {listed} FROM {quote(table.name)}")
    return [dict(zip(names, row, strict=True)) for row in found]


def _first_day(row: Drawn) -> int | None:
    return min((day for value in row.values() if (day := day_number(value)) is not None), default=None)
