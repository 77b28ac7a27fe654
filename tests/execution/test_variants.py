"""Variants of real databases keep to their schema."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sense.databases.gold_facts import Constant, GoldFacts, Place
from sense.databases.structure import Structure
from sense.execution.filler import Source
from sense.execution.fuzz import fresh, near, satisfying
from sense.execution.outcome import Value
from sense.execution.variants import Unbuildable, make_variant, read_source, reverse_variant

CLUB = """
    CREATE TABLE town (code CHAR(3) PRIMARY KEY, name TEXT NOT NULL UNIQUE, size INT CHECK (size >= 0));
    INSERT INTO town VALUES ('PAR', 'Paris', 2000), ('LYO', 'Lyon', 500), ('NIC', 'Nice', 340);
    CREATE TABLE member (id INTEGER PRIMARY KEY AUTOINCREMENT, town TEXT NOT NULL REFERENCES town,
        born DATE, fee REAL, twice REAL AS (fee * 2) VIRTUAL);
    INSERT INTO member (town, born, fee)
        VALUES ('PAR', '1990-05-01', 2.5), ('PAR', NULL, 3), ('LYO', '2001-12-31', 9);
    CREATE TABLE likes (one INT, other INT, PRIMARY KEY (one, other),
        FOREIGN KEY (one) REFERENCES member (id), FOREIGN KEY (other) REFERENCES member (id)) WITHOUT ROWID;
    INSERT INTO likes VALUES (1, 2), (2, 1);
    CREATE VIEW big AS SELECT name FROM town WHERE size > 1000;
    CREATE INDEX by_town ON member (town);
    CREATE TRIGGER kept BEFORE DELETE ON town BEGIN SELECT raise(ABORT, 'no'); END;
"""
GOLDS = [
    "SELECT count(*) FROM member WHERE town = 'PAR' AND fee > 5",
    "SELECT name FROM town WHERE name LIKE 'L%' ORDER BY size",
    "SELECT T1.name FROM town AS T1 JOIN member AS T2 ON T1.code = T2.town WHERE T2.born < '1995-01-01'",
]
SEEDS = range(12)


def database(path: Path, script: str = CLUB) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return path


@contextmanager
def variants(
    tmp_path: Path, script: str = CLUB, golds: list[str] = GOLDS
) -> Iterator[list[sqlite3.Connection]]:
    source = read_source(database(tmp_path / "club.sqlite", script), golds)
    made: list[sqlite3.Connection] = []
    for seed in SEEDS:
        path = tmp_path / f"{seed}.sqlite"
        assert make_variant(source, path, rng=random.Random(seed)) is None
        made.append(sqlite3.connect(path))
    yield made
    for connection in made:
        connection.close()


def column(connection: sqlite3.Connection, query: str) -> list[Value]:
    return [row[0] for row in connection.execute(query).fetchall()]


def test_tables_views_and_indexes_are_the_originals_and_triggers_are_left_out(tmp_path: Path) -> None:
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type <> 'trigger' ORDER BY name"
    with variants(tmp_path) as made, closing(sqlite3.connect(tmp_path / "club.sqlite")) as original:
        for each in made:
            assert column(each, query) == column(original, query)
            assert column(each, "SELECT name FROM sqlite_master WHERE type = 'trigger'") == []


def test_rows_keep_to_keys_checks_and_types(tmp_path: Path) -> None:
    with variants(tmp_path) as made:
        for each in made:
            assert column(each, "PRAGMA integrity_check") == ["ok"]  # looks at NOT NULL, UNIQUE and CHECK
            assert column(each, "SELECT code FROM town WHERE code IS NULL") == []
            assert set(column(each, "SELECT typeof(fee) FROM member")) <= {"real", "null"}
            assert set(column(each, "SELECT typeof(size) FROM town")) <= {"integer", "null"}
            assert column(each, "SELECT twice - 2 * fee FROM member WHERE twice <> 2 * fee") == []


def test_most_references_point_at_a_row(tmp_path: Path) -> None:
    with variants(tmp_path) as made:
        rows = sum(len(column(each, "SELECT town FROM member")) for each in made)
        lost = sum(len(each.execute("PRAGMA foreign_key_check").fetchall()) for each in made)
    assert rows > 100
    assert lost < rows / 5


def test_variants_differ_in_size_and_hold_nulls_and_repetitions(tmp_path: Path) -> None:
    with variants(tmp_path) as made:
        sizes = {len(column(each, "SELECT id FROM member")) for each in made}
        nulls = [len(column(each, "SELECT born FROM member WHERE born IS NULL")) for each in made]
        repeated = [column(each, "SELECT fee FROM member GROUP BY fee HAVING count(*) > 1") for each in made]
    assert len(sizes) > 4
    assert any(nulls) and not all(nulls)
    assert any(repeated)


def test_conditions_of_golds_are_met_and_missed(tmp_path: Path) -> None:
    with variants(tmp_path) as made:
        for query in ("SELECT town = 'PAR' AND fee > 5 FROM member", "SELECT name LIKE 'L%' FROM town"):
            assert {0, 1} <= {value for each in made for value in column(each, query)}


def test_a_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    source = read_source(database(tmp_path / "club.sqlite"), GOLDS)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_variant(source, tmp_path / name, rng=random.Random(seed))
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_a_reversed_variant_holds_the_same_rows_in_another_order(tmp_path: Path) -> None:
    source = read_source(database(tmp_path / "club.sqlite"), GOLDS)
    make_variant(source, tmp_path / "one", rng=random.Random(3))
    assert reverse_variant(source, tmp_path / "one", tmp_path / "other") is None
    with (
        closing(sqlite3.connect(tmp_path / "one")) as one,
        closing(sqlite3.connect(tmp_path / "other")) as other,
    ):
        rows = [each.execute("SELECT * FROM town NOT INDEXED").fetchall() for each in (one, other)]
    assert len(rows[0]) > 1
    assert rows[0] == rows[1][::-1]


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            "CREATE TABLE a (x INT REFERENCES b (y)); CREATE TABLE b (y INT REFERENCES a (x))", id="circle"
        ),
        pytest.param("CREATE TABLE a (x INT PRIMARY KEY, up INT REFERENCES a)", id="refers to itself"),
        pytest.param('CREATE TABLE "odd ""name" ("a b" INT, [c] TEXT, "select" BLOB)', id="odd names"),
        pytest.param(
            "CREATE TABLE a (x); INSERT INTO a VALUES (x'00ff'), (9e999), (1e300), ('')", id="odd values"
        ),
        pytest.param("CREATE TABLE a (x INT) STRICT; INSERT INTO a VALUES (1)", id="strict"),
        pytest.param(
            "CREATE TABLE a (x TEXT CHECK (json(x) <> '')); INSERT INTO a VALUES ('[]')", id="check fails"
        ),
        pytest.param("CREATE TABLE a (x INT UNIQUE CHECK (x IN (1, 2)))", id="full after two rows"),
        pytest.param(
            "CREATE TABLE a (x INTEGER PRIMARY KEY); INSERT INTO a VALUES (9223372036854775807)", id="largest"
        ),
        pytest.param("CREATE TABLE a (x INT REFERENCES gone (y))", id="dangling reference"),
    ],
)
def test_a_strange_schema_is_filled_too(tmp_path: Path, script: str) -> None:
    with variants(tmp_path, script, ["SELECT * FROM a WHERE x = 'é' OR x > 99999999999999999999"]) as made:
        assert all(column(each, "PRAGMA integrity_check") == ["ok"] for each in made)


def test_virtual_tables_are_not_made(tmp_path: Path) -> None:
    path = database(tmp_path / "a.sqlite", "CREATE VIRTUAL TABLE notes USING fts5 (body)")
    ended = make_variant(read_source(path, []), tmp_path / "b.sqlite", rng=random.Random(0))
    assert ended == Unbuildable("'notes' is a virtual table, which cannot be made anew")
    assert not (tmp_path / "b.sqlite").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH 'other.sqlite' AS other",
        "PRAGMA user_version = 7",
        "CREATE TABLE a (x); DROP TABLE a",
        "CREATE TABLE a AS SELECT 1 AS x",
        "CREATE TABLE a (x CHECK (load_extension('evil')))",
        "CREATE TRIGGER t AFTER INSERT ON b BEGIN DELETE FROM b; END",
        "CREATE TEMP TABLE a (x)",
        "CREATE VIRTUAL TABLE a USING fts5 (x)",
    ],
)
def test_a_schema_that_does_more_than_create_is_refused(tmp_path: Path, statement: str) -> None:
    structure = Structure(create=("CREATE TABLE b (x)", statement), tables=(), virtual=())
    facts = GoldFacts(conditions=(), equal=(), sorted_by=frozenset())
    source = Source(structure=structure, samples={}, facts=facts)
    ended = make_variant(source, tmp_path / "b.sqlite", rng=random.Random(0))
    assert isinstance(ended, Unbuildable)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("operator", "value", "query"),
    [
        ("=", "red", "? = 'red'"),
        (">", 5, "? > 5"),
        ("<", 2.5, "? < 2.5"),
        (">", "2020-12-31", "? > '2020-12-31'"),
        ("<=", "b", "? <= 'b'"),
        ("<>", "x", "? <> 'x'"),
        ("LIKE", "%a_c%", "? LIKE '%a_c%'"),
    ],
)
def test_a_satisfying_value_satisfies(operator: str, value: int | float | str, query: str) -> None:
    constant = Constant(place=Place("t", "c"), operator=operator, value=value)
    with closing(sqlite3.connect(":memory:")) as connection:
        for seed in range(20):
            drawn = satisfying(constant, random.Random(seed))
            assert connection.execute(f"SELECT {query}", (drawn,)).fetchone() == (1,), drawn


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, {6, 8}),
        ("7", {"6", "8"}),
        ("2019-12-31 10:00", {"2019-12-30 10:00", "2020-01-01 10:00"}),
        (2**63 - 1, {2**63 - 1, 2**63 - 2}),
        ("9999-99-99", {"9999-99-99"}),
        (None, {None}),
    ],
)
def test_what_lies_beside_a_value(value: Value, expected: set[Value]) -> None:
    assert {near(value, random.Random(seed)) for seed in range(30)} == expected


def test_fresh_values_are_of_the_columns_sort() -> None:
    rng = random.Random(0)
    assert isinstance(fresh([1, 2], "number", number=1, rng=rng), int)
    assert isinstance(fresh([1.5], "number", number=1, rng=rng), float)
    assert str(fresh(["2020-01-31"], "time", number=1, rng=rng)).count("-") == 2
    assert str(fresh(["41"], "text", number=1, rng=rng)).lstrip("-").isdigit()
    assert len({fresh([], "text", number=number, rng=rng) for number in range(50)}) == 50
