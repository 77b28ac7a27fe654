"""Cut a database's schema into parts that one request can show: a few joined tables, none too wide."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sense.databases.schema import Column, Schema, Table

Pair = frozenset[str]  # two tables with a foreign key between them


def subschemas(schema: Schema, *, max_tables: int, max_columns: int, seed: str) -> list[Schema]:
    """Cut a schema into connected parts; every table, column and pair of joined tables is in one at least.

    Args:
        schema: the whole.
        max_tables: of a part.
        max_columns: of a table at a time, from 2 on; a wider one comes in pieces, its primary key in each as
            far as it fills no more than half of them. Columns that join it to others of a part come on top.
        seed: which of the possible parts, and in which order.
    """
    rng = random.Random(seed)
    pieces = {table.name: _pieces(table, max_columns) for table in schema.tables}
    new = {name: list(listed) for name, listed in pieces.items()}  # in no part yet
    pairs = {frozenset((key.table, key.to_table)) for key in schema.foreign_keys if key.table != key.to_table}
    unjoined = sorted(pairs, key=sorted) if max_tables > 1 else []
    order = rng.sample(sorted(pieces), len(pieces))
    parts: list[Schema] = []
    while start := next(([name] for name in order if new[name]), None) or (unjoined and sorted(unjoined[0])):
        names = _grow(start, new=new, pairs=pairs, unjoined=unjoined, order=order, most=max_tables)
        unjoined = [pair for pair in unjoined if not pair <= set(names)]
        chosen = {name: new[name].pop(0) if new[name] else rng.choice(pieces[name]) for name in names}
        parts.append(_part(schema, chosen))
    return parts


def _pieces(table: Table, most: int) -> list[Table]:
    if len(table.columns) <= most:
        return [table]
    keys = [column for column in table.columns if column.primary_key]
    always = set(keys[: most // 2])
    others = [each for each in table.columns if each not in always]
    size = most - len(always)
    return [_only(table, always.union(others[i : i + size])) for i in range(0, len(others), size)]


def _only(table: Table, chosen: set[Column]) -> Table:
    return replace(table, columns=tuple(column for column in table.columns if column in chosen))


def _grow(
    start: Sequence[str],
    *,
    new: Mapping[str, Sequence[Table]],
    pairs: set[Pair],
    unjoined: Sequence[Pair],
    order: Sequence[str],
    most: int,
) -> list[str]:
    """Add tables that are joined to those that are there, the new ones first, while they bring something."""
    names = list(start)
    while len(names) < most:
        near = [name for name in order if name not in names and _pairs_with(name, names, pairs)]
        if not near:
            break
        gains = {name: (bool(new[name]), len(_pairs_with(name, names, unjoined))) for name in near}
        best = max(near, key=lambda name: gains[name])
        if not any(gains[best]) and len(names) > 1:
            break
        names.append(best)
    return names


def _pairs_with(name: str, names: Sequence[str], pairs: Sequence[Pair] | set[Pair]) -> list[Pair]:
    own = {frozenset((name, other)) for other in names}
    return [pair for pair in pairs if pair in own]


def _part(schema: Schema, chosen: Mapping[str, Table]) -> Schema:
    keys = tuple(key for key in schema.foreign_keys if {key.table, key.to_table} <= chosen.keys())
    joining = {(key.table, key.column) for key in keys} | {(key.to_table, key.to_column) for key in keys}
    tables = (
        _only(
            table,
            {
                column
                for column in table.columns
                if column in chosen[table.name].columns or (table.name, column.name) in joining
            },
        )
        for table in schema.tables
        if table.name in chosen
    )
    return replace(schema, tables=tuple(tables), foreign_keys=keys)
