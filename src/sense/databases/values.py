"""Example values of a database's columns, so that a model writes `country = 'France'` and not `'french'`."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

from sense.databases.schema import Schema
from sense.databases.sqlite import open_read_only, quote

SAMPLE_ROWS = 5_000  # a column's habits show in its first rows; a scan of a large table would take minutes
MAX_VALUE_CHARS = 40  # longer texts are prose, which no question quotes whole


def example_values(
    database: Path, schema: Schema, *, per_column: int, all_up_to: int
) -> dict[tuple[str, str], tuple[str, ...]]:
    """Pick example values for every text column: all of them if they are few, else the most frequent.

    Args:
        database: the SQLite file.
        schema: which tables and columns to look at; those that the file lacks are left out.
        per_column: how many to show of a column with many values.
        all_up_to: a column with no more different values than this shows them all.

    Returns:
        (table, column) -> values; the same for the same content.
    """
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    connection = open_read_only(database)
    try:
        for table in schema.tables:
            # tables.json may name what the file lacks, which SQLite would take for a text in double quotes.
            there = _columns_there(connection, table.name)
            shown = [column for column in table.columns if column.type not in ("number", "boolean")]
            names = [column.name for column in shown if column.name.lower() in there]
            if not names:
                continue
            listed = ", ".join(quote(name) for name in names)
            try:
                rows = connection.execute(
                    f"SELECT {listed} FROM {quote(table.name)} LIMIT {SAMPLE_ROWS}"
                ).fetchall()
            except sqlite3.DatabaseError:
                continue  # a damaged table; the model is still told of its columns
            for i, name in enumerate(names):
                values = _pick([row[i] for row in rows], per_column=per_column, all_up_to=all_up_to)
                if values:
                    found[table.name, name] = values
    finally:
        connection.close()
    return found


def _columns_there(connection: sqlite3.Connection, table: str) -> set[str]:
    rows = connection.execute(f"PRAGMA table_xinfo({quote(table)})").fetchall()
    return {row[1].lower() for row in rows}


def _pick(column: list[object], *, per_column: int, all_up_to: int) -> tuple[str, ...]:
    texts = [str(value) for value in column if isinstance(value, str | int | float)]
    counts = Counter(text for text in texts if 0 < len(text) <= MAX_VALUE_CHARS and text.isprintable())
    wanted = len(counts) if len(counts) <= all_up_to else per_column
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(text for text, _ in ranked[:wanted])
