"""Draw rows for an empty copy of a database, so that gold queries have something to find and to miss.

A row is a copy of an original one, or is drawn value by value; some rows are made to meet all conditions of
one gold query, or all but one. Keys and checks are left to SQLite: a row that it refuses is drawn again.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sense.databases.gold_facts import Constant, GoldFacts, Place
from sense.databases.sqlite import quote
from sense.databases.structure import Reference, StoredTable, Structure
from sense.execution.fuzz import fresh, near, satisfying
from sense.execution.outcome import Row, Value

NATURAL_KEY_ROWS = 20  # in fewer rows, different values may be chance
TRIES = 12  # to draw a row that keeps to the keys and checks; small tables can be full


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What variants are drawn from. `samples` are rows by table, their values in the order of its columns."""

    structure: Structure
    samples: Mapping[str, tuple[Row, ...]]
    facts: GoldFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What sets one variant apart from the next; shares are of rows or values, from 0 to 1."""

    rows: int
    copied: float
    planted: float
    nulls: float
    orphans: float
    empty: float
    domain: int
    has_ties: bool

    @classmethod
    def draw(cls, rng: random.Random) -> Style:
        """Draw a style."""
        return cls(
            rows=rng.choice((4, 10, 20, 40, 80, 120)),
            copied=rng.choice((0.0, 0.2, 0.6)),
            planted=rng.choice((0.2, 0.4, 0.7)),
            nulls=rng.choice((0.0, 0.03, 0.15)),
            orphans=rng.choice((0.0, 0.0, 0.1)),
            empty=rng.choice((0.0, 0.0, 0.0, 0.1)),
            domain=rng.choice((3, 8, 30)),
            has_ties=rng.random() < 0.3,
        )


def insert_statement(table: StoredTable) -> str:
    """Write the statement that takes a row's values in the order of the table's columns."""
    listed = ", ".join(quote(column.name) for column in table.columns)
    marks = ", ".join("?" for _ in table.columns)
    return f"INSERT INTO {quote(table.name)} ({listed}) VALUES ({marks})"


def put(connection: sqlite3.Connection, insert: str, values: Sequence[Value]) -> bool:
    """Insert a row, unless keys or checks of the table refuse it."""
    try:
        connection.execute(insert, values)
    except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError):
        return False
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # a CHECK that cannot make sense of the value
            return False
        raise
    return True


class Filler:
    """Draws the rows of one variant and puts them into its empty tables."""

    def __init__(self, connection: sqlite3.Connection, source: Source, rng: random.Random) -> None:
        """Take an open connection, what rows are drawn from, and what draws them."""
        self._connection, self._source, self._rng = connection, source, rng
        self._style = Style.draw(rng)
        self._rows: dict[str, list[dict[str, Value]]] = {}
        self._counter = 0
        self._conditions = list(with_linked(source))
        self._constants: dict[Place, list[Constant]] = {}
        for condition in self._conditions:
            for constant in condition:
                self._constants.setdefault(constant.place, []).append(constant)

    def fill(self) -> None:
        """Fill the tables, those that others refer to first. A row that fits nowhere is left out."""
        for table in parents_first(self._source.structure.tables):
            self._fill_table(table)

    def _fill_table(self, table: StoredTable) -> None:
        rng, style = self._rng, self._style
        filled = self._rows[table.name] = []
        if rng.random() < style.empty:
            return
        size = max(1, round(style.rows * rng.choice((0.5, 1, 2)) * (1.5 if table.references else 1)))
        pools = {column.name: self._pool(table, n) for n, column in enumerate(table.columns)}
        insert = insert_statement(table)
        single = {key[0] for key in table.keys if len(key) == 1} | self._natural_keys(table)
        if not style.has_ties:
            single |= {place.column for place in self._source.facts.sorted_by if place.table == table.name}
        taken: dict[str, set[Value]] = {name: set() for name in pools if name in single}
        links = self._links(table)
        for _ in range(size):
            for attempt in range(TRIES):
                row = self._draw(table, pools, links=links, taken=taken, is_last=attempt >= TRIES // 2)
                if put(self._connection, insert, [row[column.name] for column in table.columns]):
                    filled.append(row)
                    for name, values in taken.items():
                        values.add(row[name])
                    break

    def _natural_keys(self, table: StoredTable) -> set[str]:
        """Name the columns of which no two of many original rows agree: a name of a thing, mostly."""
        samples = self._source.samples[table.name]
        columns = zip(table.columns, zip(*samples, strict=True), strict=False)
        return {
            column.name
            for column, values in columns
            if len(samples) >= NATURAL_KEY_ROWS and None not in values and len(set(values)) == len(values)
        }

    def _pool(self, table: StoredTable, position: int) -> list[Value]:
        values = list(dict.fromkeys(row[position] for row in self._source.samples[table.name]))
        known: list[Value] = [value for value in values if value is not None]
        if len(known) <= self._style.domain:
            return known
        return self._rng.sample(known, self._style.domain)

    def _draw(
        self,
        table: StoredTable,
        pools: Mapping[str, list[Value]],
        *,
        links: Sequence[tuple[Reference, bool]],
        taken: Mapping[str, set[Value]],
        is_last: bool,
    ) -> dict[str, Value]:
        rng = self._rng
        row: dict[str, Value] = {}
        samples = self._source.samples[table.name]
        if samples and rng.random() < self._style.copied:
            copy = rng.choice(samples)
            row = {column.name: copy[n] for n, column in enumerate(table.columns)}
            if rng.random() < 0.5:
                del row[rng.choice(table.columns).name]
        if rng.random() < self._style.planted:
            row |= self._planted(table)
        for reference, is_declared in links:
            self._link(table, row, reference, is_declared=is_declared, is_even=is_last)
        for column in table.columns:
            name = column.name
            if name not in row:
                may_be_null = not column.not_null and rng.random() < self._style.nulls
                row[name] = (
                    None if may_be_null else self._value(Place(table.name, name), pools[name], column.kind)
                )
            if name in taken and row[name] in taken[name] and not _refers(links, name):
                row[name] = self._untaken(pools[name], column.kind, taken[name])
        return row

    def _untaken(self, pool: list[Value], kind: str, taken: set[Value]) -> Value:
        left = [value for value in pool if value not in taken]
        if left and self._rng.random() < 0.5:
            return self._rng.choice(left)
        return self._fresh(pool, kind)

    def _fresh(self, pool: Sequence[Value], kind: str) -> Value:
        self._counter += 1
        return fresh(pool, kind, number=self._counter, rng=self._rng)

    def _value(self, place: Place, pool: list[Value], kind: str) -> Value:
        rng = self._rng
        constants = self._constants.get(place)
        if constants and rng.random() < 0.4:
            constant = rng.choice(constants)
            value = satisfying(constant, rng)
            return near(value, rng) if rng.random() < 0.4 else value
        if not pool or rng.random() < 0.1:
            return self._fresh(pool, kind)
        value = rng.choice(pool)
        return near(value, rng) if rng.random() < 0.05 else value

    def _planted(self, table: StoredTable) -> dict[str, Value]:
        """Make the values by which a row meets one gold query's conditions, all or all but one of them."""
        conditions = [
            own
            for condition in self._conditions
            if (own := [constant for constant in condition if constant.place.table == table.name])
        ]
        if not conditions:
            return {}
        chosen = self._rng.choice(conditions)
        by_column: dict[str, list[Constant]] = {}
        for constant in chosen:
            by_column.setdefault(constant.place.column, []).append(constant)
        names = {column.name for column in table.columns}
        values = {
            name: satisfying(self._rng.choice(constants), self._rng)
            for name, constants in by_column.items()
            if name in names
        }
        if values and self._rng.random() < 0.4:
            missed = self._rng.choice(list(values))
            values[missed] = near(values[missed], self._rng)
        return values

    def _links(self, table: StoredTable) -> list[tuple[Reference, bool]]:
        """List what the table refers to, foreign keys (True) first, then columns that gold queries join."""
        found = [(reference, True) for reference in table.references]
        names = {column.name for column in table.columns}
        for pair in self._source.facts.equal:
            for own, other in (pair, pair[::-1]):
                if own.table == table.name and own.column in names and other.table in self._rows:
                    link = Reference(columns=(own.column,), to_table=other.table, to_columns=(other.column,))
                    if other.table != table.name and (link, True) not in found:
                        found.append((link, False))
        return list(dict.fromkeys(found))

    def _link(
        self,
        table: StoredTable,
        row: dict[str, Value],
        reference: Reference,
        *,
        is_declared: bool,
        is_even: bool,
    ) -> None:
        """Let a row refer to one that is there, the first ones more often than the others."""
        rng = self._rng
        parents = self._rows.get(reference.to_table, [])
        if rng.random() < (self._style.orphans if is_declared else 0.3):
            return
        if not is_declared and any(column in row for column in reference.columns):
            return
        given = {
            column: row[column] for column in reference.columns if column in row and row[column] is not None
        }
        pairs = list(zip(reference.columns, reference.to_columns, strict=True))
        if given:
            parents = [
                parent
                for parent in parents
                if all(parent.get(to) == given.get(own, parent.get(to)) for own, to in pairs)
            ] or parents
        if not parents:
            not_null = {column.name for column in table.columns if column.not_null}
            row |= {column: None for column in reference.columns if is_declared and column not in not_null}
            return
        nullable = [
            column for column in table.columns if column.name in reference.columns and not column.not_null
        ]
        if nullable and rng.random() < self._style.nulls:
            row |= {column.name: None for column in nullable}
            return
        place = rng.randrange(len(parents)) if is_even else int(len(parents) * rng.random() ** 2)
        parent = parents[place]
        row |= {own: parent.get(to) for own, to in pairs}


def with_linked(source: Source) -> Iterator[list[Constant]]:
    """Yield each query's constants, also as those of the columns that theirs refer to or are joined with."""
    linked: dict[Place, set[Place]] = {}
    for table in source.structure.tables:
        for reference in table.references:
            for own, to in zip(reference.columns, reference.to_columns, strict=True):
                linked.setdefault(Place(table.name, own), set()).add(Place(reference.to_table, to))
    for one, other in source.facts.equal:
        linked.setdefault(one, set()).add(other)
        linked.setdefault(other, set()).add(one)
    for condition in source.facts.conditions:
        derived = [
            replace(constant, place=place)
            for constant in condition
            for place in sorted(linked.get(constant.place, ()))
        ]
        yield list(dict.fromkeys([*condition, *derived]))


def _refers(links: Sequence[tuple[Reference, bool]], column: str) -> bool:
    return any(column in reference.columns for reference, is_declared in links if is_declared)


def parents_first(tables: Sequence[StoredTable]) -> Iterator[StoredTable]:
    """Yield tables after those that they refer to; where they refer to each other, in the order given."""
    waiting = list(tables)
    done: set[str] = set()
    while waiting:
        ready = [
            table
            for table in waiting
            if all(reference.to_table in done | {table.name} for reference in table.references)
        ]
        chosen = ready[0] if ready else waiting[0]
        waiting.remove(chosen)
        done.add(chosen.name)
        yield chosen
