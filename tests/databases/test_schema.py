"""Schemas out of SQLite files and tables.json, and back."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sense.databases.schema import (
    Column,
    ForeignKey,
    Schema,
    Table,
    entry_of_schema,
    load_schema,
    schema_of_entry,
    schema_of_file,
)
from sense.errors import DatabaseError, DataError

ENTRY: dict[str, Any] = {
    "db_id": "pets",
    "table_names_original": ["owner", "pet"],
    "column_names_original": [[-1, "*"], [0, "id"], [0, "name"], [1, "owner_id"]],
    "column_types": ["text", "number", "text", "number"],
    "primary_keys": [1],
    "foreign_keys": [[3, 1]],
}


def make(tmp_path: Path, *statements: str) -> Path:
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def keys(path: Path) -> list[tuple[str, str, str, str]]:
    found = schema_of_file(path, "x").foreign_keys
    return [(key.table, key.column, key.to_table, key.to_column) for key in found]


def test_a_file_gives_tables_columns_and_keys_in_its_order(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        "CREATE TABLE owner (id INTEGER PRIMARY KEY, name VARCHAR(20), born DATE)",
        "CREATE TABLE pet (owner_id INT REFERENCES owner(id), alive BOOLEAN, photo BLOB, weight)",
    )
    schema = schema_of_file(path, "pets")
    columns = [
        (column.name, column.type, column.primary_key) for table in schema.tables for column in table.columns
    ]
    assert columns == [
        ("id", "number", True),
        ("name", "text", False),
        ("born", "time", False),
        ("owner_id", "number", False),
        ("alive", "boolean", False),
        ("photo", "others", False),
        ("weight", "others", False),
    ]
    assert keys(path) == [("pet", "owner_id", "owner", "id")]


def test_a_key_that_names_no_column_means_the_primary_key_part_by_part(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        "CREATE TABLE room (floor INT, house INT, PRIMARY KEY (house, floor))",
        "CREATE TABLE bed (h INT, f INT, FOREIGN KEY (h, f) REFERENCES room)",
    )
    assert keys(path) == [("bed", "f", "room", "floor"), ("bed", "h", "room", "house")]


def test_keys_are_spelled_as_the_tables_spell_them(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        "CREATE TABLE Owner (Id INT)",
        "CREATE TABLE pet (o INT, FOREIGN KEY (O) REFERENCES oWNER(iD))",
    )
    assert keys(path) == [("pet", "o", "Owner", "Id")]


def test_keys_that_lead_nowhere_are_passed_over(tmp_path: Path) -> None:
    path = make(tmp_path, "CREATE TABLE pet (a INT REFERENCES gone(id), b INT REFERENCES pet(gone))")
    assert keys(path) == []


def test_tables_may_refer_to_each_other_in_a_circle(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        "CREATE TABLE a (id INT, b INT REFERENCES b(id))",
        "CREATE TABLE b (id INT, a INT REFERENCES a(id))",
    )
    assert keys(path) == [("a", "b", "b", "id"), ("b", "a", "a", "id")]


def test_odd_names_are_names(tmp_path: Path) -> None:
    path = make(
        tmp_path, 'CREATE TABLE "order ""x"""("first name" INT, "select" TEXT)', "CREATE VIEW v AS SELECT 1"
    )
    (table,) = schema_of_file(path, "x").tables
    assert (table.name, [column.name for column in table.columns]) == ('order "x"', ["first name", "select"])


def test_a_database_without_tables_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path, "CREATE TABLE a (b)", "DROP TABLE a")
    with pytest.raises(DatabaseError, match="the database has no tables"):
        schema_of_file(path, "x")


def test_an_entry_of_tables_json_is_read() -> None:
    assert schema_of_entry(ENTRY) == Schema(
        db_id="pets",
        tables=(
            Table(
                name="owner",
                columns=(
                    Column(name="id", type="number", primary_key=True),
                    Column(name="name", type="text"),
                ),
            ),
            Table(name="pet", columns=(Column(name="owner_id", type="number"),)),
        ),
        foreign_keys=(ForeignKey(table="pet", column="owner_id", to_table="owner", to_column="id"),),
    )


def test_what_is_written_is_read_again() -> None:
    schema = schema_of_entry(ENTRY)
    assert schema_of_entry(entry_of_schema(schema)) == schema


def test_birds_names_of_types_become_spiders() -> None:
    entry = ENTRY | {"column_types": ["text", "integer", "text", "date"]}
    types = [column.type for table in schema_of_entry(entry).tables for column in table.columns]
    assert types == ["number", "text", "time"]


def test_a_composite_primary_key_is_a_list() -> None:
    entry = ENTRY | {"primary_keys": [[1, 2]]}
    assert [column.primary_key for column in schema_of_entry(entry).tables[0].columns] == [True, True]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"column_types": ["text"]}, id="too few types"),
        pytest.param({"column_types": None}, id="no types"),
        pytest.param({"foreign_keys": [[3, 9]]}, id="key to no column"),
        pytest.param({"foreign_keys": [[3, 0]]}, id="key to *"),
        pytest.param({"foreign_keys": [[3, -1]]}, id="negative"),
        pytest.param({"foreign_keys": [[3]]}, id="key of one"),
        pytest.param({"column_names_original": [["x", "*"]]}, id="no number"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"tables\.json: database 'pets'"):
        schema_of_entry(ENTRY | change)


def test_the_folders_tables_json_comes_before_the_file(tmp_path: Path) -> None:
    path = make(tmp_path, "CREATE TABLE other (a)")
    (tmp_path / "tables.json").write_text(json.dumps([ENTRY]))
    assert [table.name for table in load_schema(tmp_path, "pets", path).tables] == ["owner", "pet"]
    assert [table.name for table in load_schema(tmp_path, "cars", path).tables] == ["other"]


@pytest.mark.parametrize("content", ["{", "[1]", '{"a": 1}', '[{"name": 1}]'])
def test_a_broken_tables_json_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "tables.json").write_text(content)
    with pytest.raises(DataError, match=r"tables\.json: (not JSON|a list of objects)"):
        load_schema(tmp_path, "pets", tmp_path / "none.sqlite")
