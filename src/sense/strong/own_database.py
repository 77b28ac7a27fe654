"""A database of the user's own: what a request may tell of it, and a copy of it to train on.

It is only read. Told are names, types, keys and example values, from the schema as SQLite has parsed it: what
else stands in a CREATE statement (a default, a check, a comment) may be data. Left out are views, virtual
tables and what they keep their rows in, generated columns, tables without rows, and names that a line of text
cannot hold.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import BaseModel, ConfigDict

from sense import jsonl
from sense.databases.gold_facts import Place
from sense.databases.schema import Schema, Table, schema_of_file
from sense.databases.sqlite import open_read_only, quote
from sense.databases.structure import read_structure
from sense.databases.values import example_values
from sense.errors import DatabaseError
from sense.strong.coverage import columns_of
from sense.strong.populate import Built, Unbuildable, build
from sense.strong.private_columns import check_entries, matching, with_referring
from sense.strong.private_mark import mark_private
from sense.strong.written import SynthDatabase, plain_name, read_databases

VALUES_OF_COLUMN = 6  # shown of a column with many: what its values look like
ALL_VALUES_UP_TO = 12  # a kind or a state seldom has more
NO_ENTRIES = frozenset[Place]()


class OwnDatabase(BaseModel):
    """A line of databases.jsonl: where the user's file is, and what of it stays private.

    `private` are columns whose values are not told, `hidden` those of which the name is not told either.
    `values`: whether values of any column are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    db_id: str
    domain: str
    file: Path
    private: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    values: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What requests may tell of a database.

    `schema` has what can be asked about and told, `values` examples of its columns; `private` are all columns
    whose values are not told, also those that `schema` lacks; `left_out` says what it lacks, by reason.
    """

    db_id: str
    file: Path
    schema: Schema
    private: frozenset[Place]
    values: Mapping[Place, tuple[str, ...]]
    left_out: Mapping[str, tuple[str, ...]]

    def line(self) -> OwnDatabase:
        """Return what stands in databases.jsonl."""
        private = sorted(f"{place.table}.{place.column}" for place in self.private)
        return OwnDatabase(
            db_id=self.db_id,
            domain=self.db_id,
            file=self.file.absolute(),
            private=tuple(private),
            hidden=tuple(self.left_out.get("hidden", ())),
            values=bool(self.values),
        )


def read_own(
    files: Sequence[Path], *, private: Sequence[str], hide_private: bool, with_values: bool
) -> list[Told]:
    """Read what may be told of some databases.

    Args:
        files: SQLite files; each is named after its file.
        private: columns whose values are not told, as `table.column`, also with * and ?; those that refer to
            them are not told either.
        hide_private: leave out the names of the columns that `private` names, too.
        with_values: tell example values of the other columns.

    Raises:
        DatabaseError: a file is missing, no SQLite database, or has nothing to ask about.
        ConfigError: an entry of `private` names no column.
    """
    names: list[str] = []
    for file in files:
        names.append(plain_name(file.stem, names))
    columns = {file: _all_columns(file) for file in files}
    check_entries(private, [place for listed in columns.values() for place in listed])
    told: list[Told] = []
    for file, db_id in zip(files, names, strict=True):
        named = {place for entry in private for place in matching(entry, columns[file])}
        told.append(_told(file, db_id, named=named, hide=hide_private, with_values=with_values))
    return told


def read_sources(folder: Path) -> Sequence[SynthDatabase | OwnDatabase]:
    """Read the databases of a `synthesize` run: those that were written, or the user's own.

    Raises:
        ConfigError, DataError: as `read_databases`.
    """
    return read_own_lines(folder) or read_databases(folder)


def read_own_lines(folder: Path) -> list[OwnDatabase]:
    """Read the user's own databases of a `synthesize` or `filter` run; none where others were made."""
    file = folder / "databases.jsonl"
    is_own = file.exists() and any("file" in line for line in jsonl.read_objects(file))
    return jsonl.read(file, OwnDatabase) if is_own else []


def build_or_copy(database: SynthDatabase | OwnDatabase, path: Path) -> Built | Unbuildable:
    """Write the file of a database: built from what a model wrote, or a copy of the user's own."""
    return build(database, path) if isinstance(database, SynthDatabase) else copy_own(database.file, path)


def copy_own(file: Path, path: Path) -> Built | Unbuildable:
    """Copy a database by SQLite's own backup: whole or not at all; mark its folder as private."""
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    try:
        with closing(open_read_only(file)) as source, closing(sqlite3.connect(part)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # of a copy that nobody writes, one file is enough
            names = [table.name for table in plain_schema(file, "copy").tables]
            rows = {name: _count(target, name) for name in names}
    except (sqlite3.Error, DatabaseError) as error:
        part.unlink(missing_ok=True)
        return Unbuildable(str(error))
    mark_private(path.parent)  # before the copy gets its name, so that none ever stands there without
    part.replace(path)
    return Built(rows=rows, rejected_rows=[])


def plain_schema(file: Path, db_id: str) -> Schema:
    """Read a schema without virtual tables: SQLite cannot tell the columns of those whose module it lacks."""
    structure = read_structure(file)
    if not structure.virtual:
        return schema_of_file(file, db_id)
    with TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.sqlite"
        names = {table.name for table in structure.tables} - set(_shadows(file))
        if not names:
            raise DatabaseError(f"{file}: the database has no tables but virtual ones")
        with closing(open_read_only(file)) as source, closing(sqlite3.connect(empty)) as target:
            for name, create in source.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"):
                if name in names:
                    target.execute(create)
        return schema_of_file(empty, db_id)


def without(schema: Schema, *, gone: Set[str], hidden: Set[Place]) -> Schema:
    """Leave out the tables and columns of these names, these columns, and the keys that name them."""

    def is_told(place: Place) -> bool:
        return place not in hidden and f"{place.table}.{place.column}" not in gone and place.table not in gone

    def part(table: Table) -> Table:
        return replace(table, columns=tuple(c for c in table.columns if is_told(Place(table.name, c.name))))

    tables = tuple(part(table) for table in schema.tables)
    return replace(
        schema,
        tables=tuple(table for table in tables if table.columns),
        foreign_keys=tuple(
            key
            for key in schema.foreign_keys
            if is_told(Place(key.table, key.column)) and is_told(Place(key.to_table, key.to_column))
        ),
    )


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {quote(table)}").fetchone()[0])


def _told(file: Path, db_id: str, *, named: set[Place], hide: bool, with_values: bool) -> Told:
    whole = plain_schema(file, db_id)
    private = with_referring(named, whole)
    left_out = _not_tables(file) | {"names": _unspeakable(whole), "without_rows": _without_rows(file, whole)}
    gone = set(left_out["names"]) | set(left_out["without_rows"])
    hidden = named if hide else NO_ENTRIES
    schema = without(whole, gone=gone, hidden=hidden)
    if hidden:
        left_out["hidden"] = tuple(f"{p.table}.{p.column}" for p in columns_of(whole) if p in hidden)
    if not schema.tables:
        raise DatabaseError(f"{file}: nothing to ask about: no table has rows and columns that may be told")
    values = _values(file, schema, private) if with_values else {}
    return Told(
        db_id=db_id,
        file=file,
        schema=schema,
        private=private,
        values=values,
        left_out={reason: names for reason, names in left_out.items() if names},
    )


def _all_columns(file: Path) -> list[Place]:
    """List every column that a person may call private, of views and generated ones too."""
    found: list[Place] = []
    with closing(open_read_only(file)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
        ).fetchall()
        for (table,) in tables:
            try:
                rows = connection.execute(f"PRAGMA table_xinfo({quote(table)})").fetchall()
            except sqlite3.DatabaseError:
                continue  # a virtual table of a module that is not here, a view on what is gone
            found += [Place(table, row[1]) for row in rows]
    return found


def _shadows(file: Path) -> list[str]:
    """List the tables in which virtual ones keep their rows."""
    with closing(open_read_only(file)) as connection:
        return [row[1] for row in connection.execute("PRAGMA table_list") if row[2] == "shadow"]


def _not_tables(file: Path) -> dict[str, tuple[str, ...]]:
    with closing(open_read_only(file)) as connection:
        views = connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'").fetchall()
    structure = read_structure(file)
    return {"views": tuple(name for (name,) in views), "virtual": (*structure.virtual, *_shadows(file))}


def _unspeakable(schema: Schema) -> tuple[str, ...]:
    """List tables and columns with a name that a line of a request, or of SQL, cannot hold as it is."""
    tables = [table for table in schema.tables if not _is_line(table.name)]
    columns = [place for place in columns_of(schema) if _is_line(place.table) and not _is_line(place.column)]
    return (*(table.name for table in tables), *(f"{place.table}.{place.column}" for place in columns))


def _is_line(text: str) -> bool:
    return bool(text) and text.isprintable() and text == " ".join(text.split())


def _without_rows(file: Path, schema: Schema) -> tuple[str, ...]:
    """List the tables of which no query finds a row, or that cannot be read."""
    empty: list[str] = []
    with closing(open_read_only(file)) as connection:
        for table in schema.tables:
            try:
                row = connection.execute(f"SELECT 1 FROM {quote(table.name)} LIMIT 1").fetchone()
            except sqlite3.DatabaseError:
                row = None
            if row is None:
                empty.append(table.name)
    return tuple(empty)


def _values(file: Path, schema: Schema, private: frozenset[Place]) -> dict[Place, tuple[str, ...]]:
    """Pick example values; of numbers too, for a condition has to find something, unless they are keys."""
    keys = {Place(key.table, key.column) for key in schema.foreign_keys}
    keys |= {Place(table.name, c.name) for table in schema.tables for c in table.columns if c.primary_key}
    wanted = tuple(
        replace(
            table,
            columns=tuple(
                replace(column, type="others")  # `example_values` passes over numbers
                for column in table.columns
                if (place := Place(table.name, column.name)) not in private
                and not (place in keys and column.type == "number")
            ),
        )
        for table in schema.tables
    )
    found = example_values(
        file, replace(schema, tables=wanted), per_column=VALUES_OF_COLUMN, all_up_to=ALL_VALUES_UP_TO
    )
    # A value is shown as it stands or not at all: SQL with another spelling finds nothing.
    spelled = {Place(*place): tuple(filter(_is_line, values)) for place, values in found.items()}
    return {place: values for place, values in spelled.items() if values}
