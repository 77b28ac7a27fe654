"""How much of a schema queries make use of."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from sense.databases.gold_facts import Names, Place, parse
from sense.databases.schema import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What some queries use of a schema, and what none of them does, each in the order of the schema."""

    used_tables: int
    unused_tables: tuple[str, ...]
    used_columns: int
    unused_columns: tuple[Place, ...]

    @property
    def columns(self) -> float:
        """The share of the columns that are used."""
        return self.used_columns / (self.used_columns + len(self.unused_columns))

    @property
    def tables(self) -> float:
        """The share of the tables that are used."""
        return self.used_tables / (self.used_tables + len(self.unused_tables))

    def summary(self) -> dict[str, Any]:
        """Say it as `--json` does."""
        return {
            "tables": round(self.tables, 4),
            "columns": round(self.columns, 4),
            "unused_tables": list(self.unused_tables),
            "unused_columns": [f"{place.table}.{place.column}" for place in self.unused_columns],
        }


def columns_of(schema: Schema) -> list[Place]:
    """List the columns in order."""
    return [Place(table.name, column.name) for table in schema.tables for column in table.columns]


def used_columns(sql: str, schema: Schema) -> set[Place]:
    """List the columns that a query names; a star names none, and neither does SQL that cannot be parsed.

    >>> from sense.databases.schema import Column, Table
    >>> table = Table(name="t", columns=(Column(name="a", type="text"), Column(name="b", type="text")))
    >>> used_columns("SELECT A FROM t AS x", Schema(db_id="", tables=(table,), foreign_keys=()))
    {Place(table='t', column='a')}
    """
    tree = parse(sql)
    names = Names(schema)
    columns = tree.find_all(exp.Column) if tree is not None else ()
    return {place for column in columns if (place := names.place(column)) is not None}


def used_tables(sql: str, schema: Schema) -> set[str]:
    """List the tables that a query reads; none where it cannot be parsed."""
    tree = parse(sql)
    if tree is None:
        return set()
    known = {table.name.lower(): table.name for table in schema.tables}
    own = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    read = {table.name.lower() for table in tree.find_all(exp.Table)} - own
    return {known[name] for name in read if name in known}


def coverage(queries: Collection[str], schema: Schema) -> Coverage:
    """Hold queries against the schema of their database."""
    tables = {table for sql in queries for table in used_tables(sql, schema)}
    columns = {place for sql in queries for place in used_columns(sql, schema)}
    unused_tables = tuple(table.name for table in schema.tables if table.name not in tables)
    places = columns_of(schema)
    unused = tuple(place for place in places if place not in columns)
    return Coverage(
        used_tables=len(schema.tables) - len(unused_tables),
        unused_tables=unused_tables,
        used_columns=len(places) - len(unused),
        unused_columns=unused,
    )
