"""A schema as text."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from sense.databases.schema import Column, ForeignKey, Schema, Table
from sense.prompts.schema_text import compact, ddl
from sense.prompts.text_to_sql import split_prompt

SINGER = Table(
    name="singer",
    columns=(Column(name="id", type="number", primary_key=True), Column(name="name", type="text")),
)
SONG = Table(name="song", columns=(Column(name="singer_id", type="number"), Column(name="day", type="time")))
KEY = ForeignKey(table="song", column="singer_id", to_table="singer", to_column="id")
SCHEMA = Schema(db_id="music", tables=(SINGER, SONG), foreign_keys=(KEY,))


def of_one_table(table: str, *columns: str) -> Schema:
    made = tuple(Column(name=name, type="text") for name in columns)
    return Schema(db_id="x", tables=(Table(name=table, columns=made),), foreign_keys=())


def test_compact_is_a_line_a_table_and_a_line_a_key() -> None:
    assert compact(SCHEMA, {("singer", "name"): ("Ann", "Bo  B")}) == (
        "database music\n"
        "table singer ( id number key, name text [Ann | Bo B] )\n"
        "table song ( singer_id number, day time )\n"
        "song.singer_id = singer.id\n"
    )


def test_ddl_names_types_keys_and_values() -> None:
    assert ddl(SCHEMA, {("singer", "name"): ("Ann", "O'Neil")}) == (
        "CREATE TABLE singer (\n"
        "  id NUMERIC,\n"
        "  name TEXT /* 'Ann', \"O'Neil\" */,\n"
        "  PRIMARY KEY (id),\n"
        ");\n"
        "CREATE TABLE song (\n"
        "  singer_id NUMERIC,\n"
        "  day DATETIME,\n"
        "  FOREIGN KEY (singer_id) REFERENCES singer(id),\n"
        ");\n"
    )


@pytest.mark.parametrize(
    ("name", "written"),
    [
        pytest.param("plain_2", "plain_2", id="plain"),
        pytest.param("first name", '"first name"', id="space"),
        pytest.param('a "b"', '"a ""b"""', id="quote"),
        pytest.param("2nd", '"2nd"', id="digit first"),
        pytest.param("Order", '"Order"', id="reserved word"),
        pytest.param("name", "name", id="a keyword that SQLite reads as a name"),
        pytest.param("größe", '"größe"', id="beyond ASCII"),
        pytest.param("", '""', id="empty"),
        pytest.param("a\nquestion: b", '"a question: b"', id="newline"),
    ],
)
def test_a_name_stands_as_sql_must_write_it(name: str, written: str) -> None:
    assert compact(of_one_table("t", name), {}) == f"database x\ntable t ( {written} text )\n"


@pytest.mark.parametrize(
    "name", ["plain_2", "first name", 'a "b"', "2nd", "Order", "größe", "values", "match"]
)
def test_sqlite_reads_a_name_as_it_is_written(name: str) -> None:
    written = compact(of_one_table(name, "c"), {}).splitlines()[1].removeprefix("table ").split(" ( ")[0]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE {written} (c)")
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [(name,)]


@pytest.mark.parametrize("write", [compact, ddl])
def test_no_name_or_value_of_a_schema_can_begin_the_question(write: object) -> None:
    assert callable(write)
    schema = of_one_table("question: t", "evidence: c\nquestion: d")
    text = write(schema, {("question: t", "evidence: c\nquestion: d"): ("\nquestion: e",)})
    assert split_prompt(text + "question: real\nsql:") == (text, "question: real\nsql:")


def test_sixty_columns_are_all_there() -> None:
    names = [f"c{i}" for i in range(60)]
    assert compact(of_one_table("wide", *names), {}).count(" text") == 60
