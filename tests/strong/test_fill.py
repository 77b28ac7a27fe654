"""More rows for a strong database: like those that were written, and for queries that found none."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from faker import Faker

from sense import jsonl
from sense.execution.run import Limits
from sense.execution.suite import Effort, build_suite
from sense.stage import Outcome
from sense.strong.fill_rows import top_up
from sense.strong.fill_values import Sort, look_at, more, unlike
from sense.strong.plant_rows import Empty, plant
from sense.strong.populate import Built, build
from sense.strong.written import SynthDatabase

Filtered = Callable[..., tuple[Outcome, Path]]
HARBOR: dict[str, Any] = {
    "domain": "harbor",
    "db_id": "harbor",
    "tables": [
        {
            "name": "pilot",
            "create": "CREATE TABLE pilot (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, email TEXT, "
            "badge TEXT, rank TEXT CHECK (rank IN ('junior', 'senior')))",
            "rows": [
                [1, "Ann Lee", "ann@x.org", "P-014", "senior"],
                [2, "Bo Ray", "bo@x.org", "P-027", "junior"],
                [3, "Cy Orr", None, "P-031", "junior"],
                [4, "Di Fay", "di@x.org", "P-046", "junior"],
            ],
        },
        {
            "name": "trip",
            "create": "CREATE TABLE trip (id INTEGER PRIMARY KEY, "
            "pilot_id INTEGER NOT NULL REFERENCES pilot(id), began_on TEXT, ended_on TEXT, fee REAL, "
            "tug_id INTEGER REFERENCES pilot(id), CHECK (began_on <= ended_on))",
            "rows": [
                [1, 1, "2019-03-01", "2019-03-02", 120.5, None],
                [2, 1, "2020-07-11", "2020-07-11", 80.25, 2],
                [3, 2, "2021-01-30", "2021-02-02", 310.0, None],
                [4, 1, "2022-12-05", "2022-12-06", 95.0, 3],
            ],
        },
        {
            "name": "crew",
            "create": "CREATE TABLE crew (trip_id INT REFERENCES trip(id), "
            "pilot_id INT REFERENCES pilot(id), PRIMARY KEY (trip_id, pilot_id))",
            "rows": [[1, 2], [2, 3]],
        },
    ],
}
GOLDS = [
    "SELECT name FROM pilot WHERE rank = 'senior'",
    "SELECT pilot.name FROM pilot JOIN trip ON trip.pilot_id = pilot.id WHERE trip.fee > 300",
    "SELECT rank, COUNT(*) FROM pilot GROUP BY rank",
    "SELECT COUNT(DISTINCT pilot_id) FROM trip WHERE began_on >= '2020-01-01'",
    "SELECT name FROM pilot WHERE id NOT IN (SELECT pilot_id FROM trip)",
    "SELECT pilot_id, AVG(fee) FROM trip GROUP BY pilot_id HAVING COUNT(*) > 1",
    "SELECT T1.name, COUNT(*) FROM pilot AS T1 JOIN trip AS T2 ON T1.id = T2.pilot_id "
    "WHERE T2.fee < 100 AND T1.rank = 'senior' GROUP BY T1.id",
    "SELECT MAX(fee) FROM trip WHERE ended_on < '2022-01-01' AND tug_id IS NULL",
]


@pytest.fixture
def harbor(tmp_path: Path) -> Path:
    path = tmp_path / "harbor.sqlite"
    assert isinstance(build(SynthDatabase.model_validate(HARBOR), path), Built)
    return path


def ask(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def test_tables_are_topped_up_and_every_key_and_check_holds(harbor: Path) -> None:
    assert top_up(harbor, rows=60, seed="0/harbor") == 56 + 56 + 58
    counts = [ask(harbor, f"SELECT count(*) FROM {name}") for name in ("pilot", "trip", "crew")]
    assert counts == [[(60,)]] * 3
    assert ask(harbor, "PRAGMA foreign_key_check") == []
    assert ask(harbor, "PRAGMA integrity_check") == [("ok",)]
    assert ask(harbor, "SELECT * FROM trip LIMIT 1") == [(1, 1, "2019-03-01", "2019-03-02", 120.5, None)]


def test_values_are_like_those_that_were_written(harbor: Path) -> None:
    top_up(harbor, rows=200, seed="0/harbor")
    [(low, high, decimals)] = ask(
        harbor, "SELECT min(fee), max(fee), max(abs(fee * 100 - round(fee * 100))) FROM trip"
    )
    assert (low, high) == (80.25, 310.0) and decimals < 1e-6
    [(first, last)] = ask(harbor, "SELECT min(began_on), max(began_on) FROM trip")
    assert first > "2019-01-01" and last < "2023-01-01"
    assert ask(harbor, "SELECT 1 FROM pilot WHERE badge NOT GLOB 'P-[0-9][0-9][0-9]'") == []
    assert ask(harbor, "SELECT 1 FROM pilot WHERE email NOT LIKE '%_@_%._%'") == []
    ranks = Counter(rank for (rank,) in ask(harbor, "SELECT rank FROM pilot"))
    assert 0.15 < ranks["senior"] / 200 < 0.35  # 1 of 4 were
    [(unknown,)] = ask(harbor, "SELECT count(*) FROM trip WHERE tug_id IS NULL")
    assert 70 < unknown < 130  # 2 of 4 were


def test_few_parents_have_many_children_and_some_have_none(harbor: Path) -> None:
    top_up(harbor, rows=80, seed="0/harbor")
    children = [n for (n,) in ask(harbor, "SELECT count(*) FROM trip GROUP BY pilot_id ORDER BY 1 DESC")]
    assert len(children) < 65
    assert sum(children[: len(children) // 4]) > 0.4 * 80


def test_it_is_the_same_for_the_same_seed_and_another_for_another(harbor: Path, tmp_path: Path) -> None:
    contents = []
    for seed in ("a", "a", "b"):
        path = tmp_path / "copy.sqlite"
        path.write_bytes(harbor.read_bytes())
        top_up(path, rows=20, seed=seed)
        contents.append(ask(path, "SELECT * FROM trip"))
    assert contents[0] == contents[1] != contents[2]


@pytest.mark.parametrize(
    ("column", "values", "sort"),
    [
        pytest.param("x", [None, None], Sort.NOTHING, id="nothing"),
        pytest.param("is_open", [1, 0, 1, 1, 0], Sort.CATEGORY, id="yes or no"),
        pytest.param("depth", [1.5, 2.5, 7, 9.25], Sort.NUMBER, id="numbers"),
        pytest.param("born", ["2020-01-01", "2020-02-30"], Sort.CATEGORY, id="no such day"),
        pytest.param("born", ["2020-01-01", "2020-02-03 10:00"], Sort.DAY, id="days"),
        pytest.param("code", ["A-1", "B-2", "C-3"], Sort.CODE, id="codes"),
        pytest.param("at", ["10:30", "11:45"], Sort.CATEGORY, id="times of day"),
        pytest.param("name", ["Oyster Bay", "Gull Reef"], Sort.TEXT, id="names"),
        pytest.param("notes", ["a b c d e f g", "h i j k l m n"], Sort.CATEGORY, id="long texts"),
    ],
)
def test_what_a_column_holds_is_told_by_its_values(column: str, values: list[Any], sort: Sort) -> None:
    assert look_at("t", column, "text", values=values).sort is sort


def test_names_of_things_are_put_together_from_seen_ones() -> None:
    seen = look_at("bed", "name", "text", values=["Oyster Bay", "Gull Reef"])
    made = {more(seen, number=1, rng=random.Random(n), fake=Faker()) for n in range(20)}
    assert made == {"Oyster Bay", "Gull Reef", "Oyster Reef", "Gull Bay"}


@pytest.mark.parametrize(
    ("taken", "made"),
    [
        pytest.param([3, 9, 4], 10, id="number"),
        pytest.param(["K-09"], "K-10", id="code"),
        pytest.param(["Reef"], "Reef 2", id="text"),
    ],
)
def test_a_key_gets_a_value_that_no_row_has(taken: list[Any], made: object) -> None:
    assert unlike(look_at("t", "id", "text", values=taken), taken, rng=random.Random(0)) == made


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT name FROM pilot WHERE badge = 'P-999'", id="a value that is not there"),
        pytest.param(
            "SELECT pilot.name FROM pilot JOIN trip ON trip.pilot_id = pilot.id "
            "WHERE trip.fee > 5000 AND pilot.rank = 'senior'",
            id="over a join",
        ),
        pytest.param("SELECT id FROM trip WHERE began_on BETWEEN '2031-01-01' AND '2031-12-31'", id="days"),
        pytest.param("SELECT name FROM pilot WHERE email LIKE '%@sea.org'", id="like"),
        pytest.param(
            "SELECT pilot_id FROM trip WHERE fee = 7 GROUP BY pilot_id HAVING count(*) > 1", id="two rows"
        ),
    ],
)
def test_a_row_is_planted_for_a_query_that_finds_none(harbor: Path, sql: str) -> None:
    assert ask(harbor, sql) == []
    left = plant([Empty(harbor, sql)], tries=6, seed="0", limits=Limits(timeout_s=5), workers=1)
    assert left == [] and ask(harbor, sql) != []
    assert ask(harbor, "PRAGMA foreign_key_check") == []


def test_a_query_that_nothing_can_satisfy_leaves_the_database_as_it_is(harbor: Path) -> None:
    before = harbor.read_bytes()
    never = Empty(harbor, "SELECT name FROM pilot WHERE rank = 'admiral'")  # the CHECK forbids it
    assert plant([never], tries=2, seed="0", limits=Limits(timeout_s=5), workers=1) == [never]
    assert harbor.read_bytes() == before


def test_more_rows_tell_more_neighbors_from_their_query(harbor: Path, tmp_path: Path) -> None:
    def told_apart(name: str) -> float:
        (tmp_path / name).mkdir()
        effort = Effort(variants=0, tries=1, neighbors=12, workers=1)
        counts = build_suite(harbor, tmp_path / name, db_id="harbor", golds=GOLDS, effort=effort)
        return counts.by_original / counts.neighbors

    before = told_apart("before")
    top_up(harbor, rows=120, seed="0/harbor", golds=GOLDS)
    after = told_apart("after")
    assert after > before + 0.1


def item(number: int, question: str, sql: str) -> dict[str, Any]:
    return {"id": f"harbor/{number}", "db_id": "harbor", "level": "easy", "question": question, "sql": sql}


def test_filter_fills_plants_and_writes_the_rows_down(filtered: Filtered) -> None:
    items = [
        item(1, "Which pilots are there?", "SELECT name FROM pilot"),
        item(2, "Who writes from sea?", "SELECT name FROM pilot WHERE email LIKE '%@sea.org'"),
    ]
    outcome, folder = filtered([HARBOR], items, fill_rows=10, fill_tries=8, test_share=0)
    assert outcome.summary["planted"] == {"empty": 1, "still_empty": 0}
    assert outcome.summary["kept"] == 2
    assert outcome.summary["rows_added"] == {"harbor": 20}
    again, second = filtered([HARBOR], items, source=folder, name="second")
    rows = outcome.summary["by_database"]["harbor"]["rows"]
    assert again.summary["by_database"]["harbor"]["rows"] == rows
    assert rows["pilot"] > 10
    [written] = jsonl.read(folder / "databases.jsonl", SynthDatabase)
    [as_read] = jsonl.read(second / "databases.jsonl", SynthDatabase)
    assert written == as_read


def test_nothing_is_added_unless_it_is_asked_for(filtered: Filtered) -> None:
    outcome, _ = filtered([HARBOR], [item(1, "Which?", "SELECT name FROM pilot")])
    assert outcome.summary["by_database"]["harbor"]["rows"] == {"pilot": 4, "trip": 4, "crew": 2}
    assert "rows_added" not in outcome.summary
