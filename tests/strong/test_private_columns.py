"""Private columns: which an entry names, what refers to them, SQL that compares them with values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from sense.databases.gold_facts import Place
from sense.databases.schema import Column, ForeignKey, Schema, Table
from sense.errors import ConfigError
from sense.strong.private_columns import (
    check_entries,
    compared_with_a_value,
    matching,
    reads_only,
    with_referring,
)

SCHEMA = Schema(
    db_id="d",
    tables=(
        Table(
            name="person", columns=tuple(Column(name=c, type="text") for c in ("ssn", "name", "pay", "bonus"))
        ),
        Table(
            name="visit", columns=tuple(Column(name=c, type="text") for c in ("person_ssn", "day", "name"))
        ),
    ),
    foreign_keys=(ForeignKey(table="visit", column="person_ssn", to_table="person", to_column="ssn"),),
)
COLUMNS = [Place(table.name, column.name) for table in SCHEMA.tables for column in table.columns]
PRIVATE = {Place("person", "ssn"), Place("person", "pay"), Place("person", "name")}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param("PERSON.Ssn", ["person.ssn"], id="any case"),
        pytest.param("visit.*", ["visit.day", "visit.name", "visit.person_ssn"], id="a table"),
        pytest.param("*.name", ["person.name", "visit.name"], id="a column everywhere"),
        pytest.param("person.ss", [], id="half a name"),
    ],
)
def test_an_entry_names_columns(entry: str, expected: list[str]) -> None:
    assert sorted(map(".".join, matching(entry, COLUMNS))) == expected


def test_a_name_with_glob_characters_names_itself() -> None:
    assert matching("t.a[0]", [Place("t", "a[0]")]) == {Place("t", "a[0]")}


def test_an_entry_that_names_nothing_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"private 'person\.sn': no such column; did you mean 'person\.ssn'\?"
    ):
        check_entries(["person.sn"], COLUMNS)


def test_what_refers_to_a_private_column_is_private_in_both_directions() -> None:
    both = {Place("person", "ssn"), Place("visit", "person_ssn")}
    assert with_referring([Place("person", "ssn")], SCHEMA) == both
    assert with_referring([Place("visit", "person_ssn")], SCHEMA) == both


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name FROM person WHERE ssn = '12'",
        "SELECT name FROM person AS T1 WHERE '12' <> T1.SSN",
        "SELECT 1 FROM person WHERE ssn IS '12'",
        "SELECT 1 FROM person WHERE pay BETWEEN 1 AND 2",
        "SELECT 1 FROM person WHERE ssn IN ('1', '2')",
        "SELECT 1 FROM person WHERE ssn LIKE '1%' ESCAPE '!'",
        "SELECT 1 FROM person WHERE substr(ssn, 1, 2) = '12'",
        "SELECT 1 FROM person WHERE instr(ssn, '12')",
        "SELECT 1 FROM person WHERE (bonus, ssn) = (1, 2)",
        'SELECT 1 FROM person WHERE ssn = "twelve"',
        "SELECT CASE ssn WHEN '1' THEN 2 END FROM person",
        "SELECT SUM(CASE WHEN ssn = '1' THEN 2 END) FROM person",
        "SELECT 1 FROM person GROUP BY bonus HAVING AVG(pay) > 50000",
        "SELECT 1 FROM person WHERE pay > -1 * 5",
        "SELECT 1 FROM (SELECT ssn AS x FROM person) WHERE x = '1'",
        "SELECT 1 FROM (SELECT y AS z FROM (SELECT ssn AS y FROM person)) WHERE z = '1'",
        "WITH t(a) AS (SELECT ssn FROM person) SELECT 1 FROM t WHERE a = '1'",
        "SELECT 1 FROM (SELECT * FROM person) AS d WHERE d.ssn = '1'",
        "SELECT 1 FROM visit WHERE EXISTS (SELECT 1 FROM person WHERE person.name = 'Ann')",
    ],
)
def test_a_private_column_held_against_a_value_is_found(sql: str) -> None:
    assert compared_with_a_value(sql, PRIVATE, SCHEMA) is not None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT ssn FROM person WHERE bonus = '12'",
        "SELECT 1 FROM person JOIN visit ON person.ssn = visit.person_ssn",
        "SELECT 1 FROM person WHERE ssn IS NOT NULL",
        "SELECT 1 FROM person WHERE pay > (SELECT AVG(pay) FROM person WHERE bonus = 3)",
        "SELECT 1 FROM person WHERE pay > bonus * 2",
        "SELECT 1 FROM person GROUP BY bonus HAVING COUNT(DISTINCT ssn) > 3",
        "SELECT substr(ssn, 1, 2), ROUND(pay, 2) FROM person ORDER BY pay LIMIT 5",
        "SELECT 1 FROM visit WHERE name = 'Ann'",
        "SELECT 1 FROM person WHERE ssn IN (SELECT person_ssn FROM visit WHERE day = 3)",
        "no SQL at all (",
    ],
)
def test_other_uses_of_a_private_column_stay(sql: str) -> None:
    assert compared_with_a_value(sql, PRIVATE, SCHEMA) is None


def test_nothing_is_private_unless_it_is_said() -> None:
    assert compared_with_a_value("SELECT 1 FROM person WHERE ssn = 1", set(), SCHEMA) is None


TOLD = [place for place in COLUMNS if place not in {*PRIVATE, Place("visit", "person_ssn")}]


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(
            "CREATE TABLE person (ssn INTEGER PRIMARY KEY, name, pay, bonus, g AS (pay || ''));"
            "CREATE TABLE visit (person_ssn, day, name);"
            "CREATE VIEW v AS SELECT bonus, pay AS p FROM person; CREATE VIEW w AS SELECT day FROM visit;"
        )
        yield connection


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pay FROM person",
        "SELECT * FROM person",
        "SELECT bonus FROM person WHERE name IS NULL",
        "SELECT bonus FROM person ORDER BY pay",
        "SELECT count(DISTINCT ssn) FROM person",
        "SELECT rowid FROM person",
        "SELECT g FROM person",
        "SELECT bonus FROM v",
        "SELECT day FROM w",
        "SELECT bonus FROM person NATURAL JOIN visit",
        "SELECT bonus FROM person JOIN visit USING (name)",
        "WITH t(a) AS (SELECT PAY FROM person) SELECT 1 FROM t",
        "SELECT day FROM visit WHERE day IN (SELECT [name] FROM person)",
        "SELECT value FROM json_each((SELECT json_group_array(pay) FROM person))",
        "SELECT sql FROM sqlite_master",
        "SELECT dflt_value FROM pragma_table_info('person')",
        "SELECT bonus FROM person; SELECT pay FROM person",
        "SELECT bonus FROM person WHERE '\ud800'",
        "SELECT '\0' FROM person",
        "no SQL at all (",
        "",
    ],
)
def test_a_query_that_reads_more_than_may_be_told_is_found(sql: str, connection: sqlite3.Connection) -> None:
    assert not reads_only(sql, TOLD, connection)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT bonus FROM person",
        "SELECT count(*) FROM person",
        "SELECT T2.name FROM person AS T1 JOIN visit AS T2 ON T1.bonus = T2.day;",
        "WITH t(pay) AS (SELECT bonus FROM person) SELECT pay FROM t",
        "SELECT 'pay' -- pay",
        "SELECT * FROM (SELECT day, name FROM visit)",
    ],
)
def test_a_query_that_reads_nothing_else_may_be_shown(sql: str, connection: sqlite3.Connection) -> None:
    assert reads_only(sql, TOLD, connection)
