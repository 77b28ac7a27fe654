"""Test suites of a small real database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sense.databases.spider import database_files
from sense.execution.outcome import Match, Rows
from sense.execution.pool import CompareJob, QueryJob, compare_queries, run_queries
from sense.execution.rules import Rule
from sense.execution.run import Limits
from sense.execution.suite import Effort, SuiteCounts, build_suite

PETS = """
    CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT, age INT, value INT);
    INSERT INTO pet VALUES (1, 'Rex', 'dog', 3, 10), (2, 'Tom', 'cat', 7, 20), (3, 'Ada', 'cat', 9, 30);
"""
OLD = "SELECT name FROM pet WHERE age > 5"
EFFORT = Effort(variants=3, tries=8, neighbors=20, workers=1)


def build(tmp_path: Path, golds: list[str], *, script: str = PETS, effort: Effort = EFFORT) -> SuiteCounts:
    original = tmp_path / "pets.sqlite"
    tmp_path.mkdir(exist_ok=True)
    with closing(sqlite3.connect(original)) as connection:
        connection.executescript(script)
    return rebuild(tmp_path, original, golds, effort=effort)


def rebuild(tmp_path: Path, original: Path, golds: list[str], *, effort: Effort = EFFORT) -> SuiteCounts:
    folder = tmp_path / "database" / "pets"
    folder.mkdir(parents=True)
    return build_suite(original, folder, db_id="pets", golds=golds, effort=effort)


def is_told_apart(tmp_path: Path, candidate: str, *, gold: str = OLD, only_original: bool = False) -> bool:
    files = database_files(tmp_path, "pets")
    job = CompareJob(files[:1] if only_original else files, gold, candidate, Rule.SPIDER)
    (comparison,) = compare_queries([job], limits=Limits(), workers=1)
    return comparison.match is Match.DIFFERENT


def test_suite_tells_what_the_original_does_not(tmp_path: Path) -> None:
    counts = build(tmp_path, [OLD])
    near_miss = "SELECT name FROM pet WHERE age >= 5"  # nobody is 5
    assert not is_told_apart(tmp_path, near_miss, only_original=True)
    assert is_told_apart(tmp_path, near_miss)
    assert counts.by_original < counts.by_suite <= counts.neighbors


@pytest.mark.parametrize(
    "same", ["SELECT name FROM pet WHERE NOT age <= 5", "SELECT T.name FROM pet AS T WHERE 5 < T.age"]
)
def test_equivalent_query_is_not_told_apart(tmp_path: Path, same: str) -> None:
    build(tmp_path, [OLD])
    assert not is_told_apart(tmp_path, same)


def test_counts_are_those_of_the_folder(tmp_path: Path) -> None:
    counts = build(tmp_path, [OLD, OLD, "SELECT count(*) FROM pet"])
    files = database_files(tmp_path, "pets")
    assert [path.name for path in files] == [
        "pets.sqlite",
        *(f"pets_v{n:02d}.sqlite" for n in range(1, len(files))),
    ]
    assert sorted(files) == sorted(files[0].parent.iterdir())
    assert counts.golds == 2
    assert 1 <= counts.kept == len(files) - 1 <= 3
    assert counts.bytes == sum(path.stat().st_size for path in files)
    assert counts.by_suite == sum(kind.by_suite for kind in counts.by_kind.values())


def test_original_comes_byte_for_byte(tmp_path: Path) -> None:
    build(tmp_path, [OLD])
    assert (tmp_path / "pets.sqlite").read_bytes() == database_files(tmp_path, "pets")[0].read_bytes()


def test_the_mark_of_a_private_database_comes_too(tmp_path: Path) -> None:
    (tmp_path / "PRIVATE").write_text("mine")
    build(tmp_path, [OLD])
    assert (database_files(tmp_path, "pets")[0].parent / "PRIVATE").read_text() == "mine"


def test_changes_that_wait_beside_the_original_come_too(tmp_path: Path) -> None:
    original = tmp_path / "pets.sqlite"
    with closing(sqlite3.connect(original)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(PETS)
        rebuild(tmp_path, original, [OLD])
    (ending,) = run_queries([QueryJob(database_files(tmp_path, "pets")[0], OLD)], limits=Limits(), workers=1)
    assert ending == Rows(1, (("Tom",), ("Ada",)))


def test_gold_runs_on_every_variant(tmp_path: Path) -> None:
    # Fails on more than 15 rows: abs of the smallest integer overflows.
    golds = [OLD, "SELECT abs(-9223372036854775807 - (count(*) > 15)) FROM pet"]
    counts = build(tmp_path, golds, effort=replace(EFFORT, tries=24))
    jobs = [QueryJob(path, sql) for path in database_files(tmp_path, "pets") for sql in golds]
    assert all(isinstance(ending, Rows) for ending in run_queries(jobs, limits=Limits(), workers=1))
    assert counts.golds_failed == 0
    assert counts.kept > 0


def test_neighbor_that_does_not_run_does_not_count(tmp_path: Path) -> None:
    # Three neighbors take another column; the first of them leaves ORDER BY without its name.
    counts = build(tmp_path, ["SELECT name FROM pet UNION SELECT kind FROM pet ORDER BY name"])
    assert counts.by_kind["column"].neighbors == 2


def test_gold_that_fails_is_counted_and_left_out(tmp_path: Path) -> None:
    counts = build(tmp_path, [OLD, "SELECT nothing FROM pet", "how many?"])
    assert (counts.golds, counts.golds_failed) == (3, 2)
    assert counts.kept > 0


def test_what_hangs_on_the_order_of_rows_tells_nothing_apart(tmp_path: Path) -> None:
    script = "CREATE TABLE pet (name TEXT NOT NULL UNIQUE, kind TEXT); INSERT INTO pet VALUES ('Rex', 'Rex')"
    worth_it = "SELECT count(*) FROM pet WHERE name = 'Rex' OR kind = 'Tom' OR kind = 'Ada'"
    counts = build(tmp_path, ["SELECT name, kind FROM pet LIMIT 1", worth_it], script=script)
    assert (counts.open_by_original, counts.open_by_suite) == (0, 1)
    assert counts.by_kind["limit"].neighbors == 2
    assert counts.by_kind["limit"].by_suite == 0
    assert counts.by_kind["operator"].by_suite > counts.by_kind["operator"].by_original


def test_variant_that_opens_the_only_gold_is_not_kept(tmp_path: Path) -> None:
    script = "CREATE TABLE pet (name TEXT NOT NULL UNIQUE, kind TEXT); INSERT INTO pet VALUES ('Rex', 'Rex')"
    assert build(tmp_path, ["SELECT name, kind FROM pet LIMIT 1"], script=script).kept == 0


def test_name_with_value_in_it_has_neighbors_as_any_other(tmp_path: Path) -> None:
    counts = build(tmp_path, ["SELECT value FROM pet WHERE id = 1"])
    assert counts.by_kind["operator"].by_suite == counts.by_kind["operator"].neighbors > 0


def test_dropped_distinct_is_no_neighbor_where_the_rule_drops_it_too(tmp_path: Path) -> None:
    golds = ["SELECT count(DISTINCT kind) FROM pet"]
    assert "distinct" not in build(tmp_path / "spider", golds).by_kind
    by_bird = build(tmp_path / "bird", golds, effort=replace(EFFORT, rule=Rule.BIRD))
    assert by_bird.by_kind["distinct"].neighbors == 2
    assert by_bird.by_kind["distinct"].by_original == 1  # one result row is the same with DISTINCT before it


def test_seed_decides_all(tmp_path: Path) -> None:
    def contents(name: str, seed: int) -> tuple[SuiteCounts, list[bytes]]:
        counts = build(tmp_path / name, [OLD], effort=replace(EFFORT, seed=seed))
        return replace(counts, seconds=0), [
            path.read_bytes() for path in database_files(tmp_path / name, "pets")
        ]

    first = contents("a", 1)
    assert contents("b", 1) == first
    assert contents("c", 2)[1] != first[1]


def test_database_that_cannot_be_made_anew_is_left_with_its_original(tmp_path: Path) -> None:
    script = PETS + "CREATE VIRTUAL TABLE notes USING fts5 (body)"
    counts = build(tmp_path, [OLD], script=script)
    assert (counts.kept, counts.by_suite) == (0, counts.by_original)
    assert counts.unbuildable == "'notes' is a virtual table, which cannot be made anew"
    assert len(database_files(tmp_path, "pets")) == 1


def test_each_step_is_told(tmp_path: Path) -> None:
    steps: list[None] = []
    folder = tmp_path / "suite"
    folder.mkdir()
    with closing(sqlite3.connect(tmp_path / "pets.sqlite")) as connection:
        connection.executescript(PETS)
    counts = build_suite(
        tmp_path / "pets.sqlite",
        folder,
        db_id="pets",
        golds=[OLD],
        effort=EFFORT,
        on_step=lambda: steps.append(None),
    )
    assert len(steps) == 1 + counts.tried
