"""Databases of the user's own: what may be told of them, whatever is in them; and copies of them."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sense import jsonl
from sense.databases.gold_facts import Place
from sense.databases.schema import schema_of_file
from sense.errors import ConfigError, DatabaseError
from sense.prompts.schema_text import compact
from sense.strong.own_database import OwnDatabase, Told, build_or_copy, read_own, read_sources
from sense.strong.populate import Built, Unbuildable

from .conftest import DATABASE

Make = Callable[..., Path]
PEOPLE = """
CREATE TABLE person (ssn TEXT PRIMARY KEY, name TEXT DEFAULT 'Secret', pay INTEGER CHECK (pay <> 777));
CREATE TABLE visit (id INTEGER PRIMARY KEY, person_ssn TEXT REFERENCES person, place TEXT /* Secret */);
INSERT INTO person VALUES ('123-45', 'Ann', 900), ('678-90', 'Bo', 800);
INSERT INTO visit VALUES (1, '123-45', 'Oslo'), (2, '678-90', 'Rome');
"""


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a database file of statements."""

    def run(script: str, name: str = "own.sqlite") -> Path:
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            connection.executescript(script)
        return tmp_path / name

    return run


def told(file: Path, *private: str, hide_private: bool = False, with_values: bool = True) -> tuple[Told, str]:
    [found] = read_own([file], private=private, hide_private=hide_private, with_values=with_values)
    return found, compact(found.schema, {tuple(place): values for place, values in found.values.items()})


def columns(found: Told) -> dict[str, list[str]]:
    return {table.name: [column.name for column in table.columns] for table in found.schema.tables}


def test_names_types_keys_and_values_are_told_and_nothing_else_of_the_statements(make: Make) -> None:
    _, text = told(make(PEOPLE))
    assert text == (
        "database own\n"
        "table person ( ssn text key [123-45 | 678-90], name text [Ann | Bo], pay number [800 | 900] )\n"
        "table visit ( id number key, person_ssn text [123-45 | 678-90], place text [Oslo | Rome] )\n"
        "visit.person_ssn = person.ssn\n"
    )


def test_values_of_private_columns_and_of_those_that_refer_to_them_are_not_told(make: Make) -> None:
    found, text = told(make(PEOPLE), "Person.SSN", "*.pay")
    assert "123-45" not in text and "900" not in text and "Ann" in text and "ssn" in text
    assert found.private == {Place("person", "ssn"), Place("visit", "person_ssn"), Place("person", "pay")}


def test_a_child_column_that_is_private_makes_its_parent_private(make: Make) -> None:
    assert "123-45" not in told(make(PEOPLE), "visit.person_ssn")[1]


def test_hidden_columns_are_not_even_named(make: Make) -> None:
    found, text = told(make(PEOPLE), "person.ssn", "*.pay", hide_private=True)
    assert columns(found) == {"person": ["name"], "visit": ["id", "person_ssn", "place"]}
    assert " ssn" not in text and "pay" not in text and "123-45" not in text
    assert found.schema.foreign_keys == ()
    assert found.left_out == {"hidden": ("person.ssn", "person.pay")}


def test_no_values_are_told_if_so_asked(make: Make) -> None:
    found, text = told(make(PEOPLE), with_values=False)
    assert found.values == {} and "[" not in text


def test_an_entry_counts_if_it_names_a_column_of_one_of_the_databases(make: Make) -> None:
    files = [make(PEOPLE), make("CREATE TABLE t (a); INSERT INTO t VALUES (1)", "other.db")]
    assert len(read_own(files, private=["t.a"], hide_private=False, with_values=True)) == 2
    with pytest.raises(ConfigError, match=r"private 't\.b': no such column"):
        read_own(files, private=["t.a", "t.b"], hide_private=False, with_values=True)


def test_columns_of_views_and_generated_columns_may_be_called_private(make: Make) -> None:
    script = (
        "CREATE TABLE t (a, b AS (a + 1)); CREATE VIEW v AS SELECT a AS c FROM t; INSERT INTO t VALUES (1)"
    )
    found, _ = told(make(script), "t.b", "v.c")
    assert columns(found) == {"t": ["a"]}


@pytest.mark.parametrize(
    ("script", "expected", "left_out"),
    [
        pytest.param(
            "CREATE TABLE a (id INTEGER PRIMARY KEY, b REFERENCES b); INSERT INTO a VALUES (1, 1);"
            "CREATE TABLE b (id INTEGER PRIMARY KEY, a REFERENCES a); INSERT INTO b VALUES (1, 1);",
            {"a": ["id", "b"], "b": ["id", "a"]},
            {},
            id="a cycle of foreign keys",
        ),
        pytest.param(
            'CREATE TABLE "order" ("select" TEXT, "a ""b""" TEXT, "x y" TEXT);'
            "INSERT INTO \"order\" VALUES ('k', 'l', 'm')",
            {"order": ["select", 'a "b"', "x y"]},
            {},
            id="reserved words, quotes, spaces",
        ),
        pytest.param(
            'CREATE TABLE t (a, "new\nline", "two  blanks", ""); INSERT INTO t VALUES (1, 2, 3, 4);'
            'CREATE TABLE "u\nv" (w); INSERT INTO "u\nv" VALUES (1)',
            {"t": ["a"]},
            {"names": ("u\nv", "t.new\nline", "t.two  blanks", "t.")},
            id="names that are no line",
        ),
        pytest.param(
            "CREATE TABLE t (a, b AS (a + 1), c AS (a + 2) STORED); INSERT INTO t VALUES (1)",
            {"t": ["a"]},
            {},
            id="generated columns",
        ),
        pytest.param(
            "CREATE TABLE t (a); INSERT INTO t VALUES (1); CREATE TABLE e (a, b)",
            {"t": ["a"]},
            {"without_rows": ("e",)},
            id="a table without rows",
        ),
        pytest.param(
            "CREATE TABLE t (a); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT a FROM t",
            {"t": ["a"]},
            {"views": ("v",)},
            id="a view",
        ),
        pytest.param(
            "CREATE TABLE t (a REFERENCES nowhere, b REFERENCES t (zz)); INSERT INTO t VALUES (1, 2)",
            {"t": ["a", "b"]},
            {},
            id="keys that lead nowhere",
        ),
        pytest.param(
            "CREATE TABLE t (a); INSERT INTO t VALUES (1); CREATE VIRTUAL TABLE d USING rtree(i, x, y)",
            {"t": ["a"]},
            {"virtual": ("d", "d_node", "d_parent", "d_rowid")},
            id="a virtual table",
        ),
        pytest.param(
            "CREATE TABLE t (a); INSERT INTO t VALUES (1); PRAGMA writable_schema = ON;"
            "INSERT INTO sqlite_master VALUES ('table', 'z', 'z', 0, 'CREATE VIRTUAL TABLE z USING gone(q)')",
            {"t": ["a"]},
            {"virtual": ("z",)},
            id="a virtual table whose module is not here",
        ),
    ],
)
def test_whatever_is_in_a_database_is_told_or_listed(
    make: Make, script: str, expected: dict[str, list[str]], left_out: dict[str, tuple[str, ...]]
) -> None:
    found, text = told(make(script))
    assert columns(found) == expected
    assert {reason: tuple(sorted(names)) for reason, names in found.left_out.items()} == {
        reason: tuple(sorted(names)) for reason, names in left_out.items()
    }
    assert len(text.splitlines()) == 1 + len(expected) + len(found.schema.foreign_keys)


def test_values_that_would_not_be_shown_as_they_stand_are_not_shown(make: Make) -> None:
    script = "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('two  blanks'), (' lead'), ('fine'), (x'00')"
    assert told(make(script))[0].values == {Place("t", "a"): ("fine",)}


@pytest.mark.parametrize("private", [(), ("t.a",)])
def test_a_database_with_nothing_to_ask_about_is_refused(make: Make, private: tuple[str, ...]) -> None:
    rows = "INSERT INTO t VALUES (1)" if private else ""
    with pytest.raises(DatabaseError, match=r"own\.sqlite: nothing to ask about"):
        told(make(f"CREATE TABLE t (a); {rows}"), *private, hide_private=True)


def test_only_virtual_tables_are_no_database_to_ask_about(make: Make) -> None:
    with pytest.raises(DatabaseError, match=r"own\.sqlite: the database has no tables but virtual ones"):
        told(make("CREATE VIRTUAL TABLE d USING rtree(i, x, y)"))


def test_files_of_one_name_get_names_of_their_own(make: Make, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    files = [make(PEOPLE), make(PEOPLE, "sub/own.sqlite")]
    found = read_own(files, private=[], hide_private=False, with_values=True)
    assert [each.db_id for each in found] == ["own", "own_2"]


def test_a_copy_has_the_same_content_and_leaves_the_file_as_it_was(make: Make, tmp_path: Path) -> None:
    file = make(PEOPLE + "CREATE VIEW v AS SELECT 1; CREATE INDEX i ON person (pay);")
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    made = build_or_copy(told(file)[0].line(), tmp_path / "data" / "own.sqlite")
    assert made == Built(rows={"person": 2, "visit": 2}, rejected_rows=[])
    assert hashlib.sha256(file.read_bytes()).hexdigest() == before
    assert schema_of_file(tmp_path / "data" / "own.sqlite", "d") == schema_of_file(file, "d")
    with (
        closing(sqlite3.connect(tmp_path / "data" / "own.sqlite")) as copy,
        closing(sqlite3.connect(file)) as own,
    ):
        assert list(copy.iterdump()) == list(own.iterdump())
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "PRIVATE",
        "data",
        "own.sqlite",
        "own.sqlite",
    ]


def test_a_copy_has_what_is_only_in_the_log_beside_the_file(make: Make, tmp_path: Path) -> None:
    file = make(PEOPLE)
    with closing(sqlite3.connect(file)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("INSERT INTO visit VALUES (3, NULL, 'Bonn')")
        writer.commit()
        made = build_or_copy(told(file)[0].line(), tmp_path / "data" / "own.sqlite")
    assert isinstance(made, Built) and made.rows["visit"] == 3


def test_a_file_that_is_gone_cannot_be_copied(tmp_path: Path) -> None:
    line = OwnDatabase(db_id="own", domain="own", file=tmp_path / "gone.sqlite", private=())
    assert isinstance(build_or_copy(line, tmp_path / "copy.sqlite"), Unbuildable)
    assert list(tmp_path.iterdir()) == []


def test_lines_of_own_and_of_written_databases_are_told_apart(make: Make, tmp_path: Path) -> None:
    line = told(make(PEOPLE), "person.pay")[0].line()
    jsonl.write(tmp_path / "databases.jsonl", [line.model_dump(mode="json")])
    assert read_sources(tmp_path) == [line]
    assert line.private == ("person.pay",) and line.file.is_absolute()
    jsonl.write(tmp_path / "databases.jsonl", [DATABASE])
    assert [each.db_id for each in read_sources(tmp_path)] == ["mews"]
