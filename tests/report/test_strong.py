from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense.errors import DatabaseError, DataError
from sense.report.data_set import DataSet, read_schemas, take_apart
from sense.report.near import NEAR_SHARE, jaccard, near_in, near_within, runs
from sense.report.strong import expected_distinct, measure_sets

SINGERS = [
    ("How many singers are there in all?", "SELECT count(*) FROM singer"),
    ("How many singers are there in all now?", "select COUNT(*) from Singer AS s"),
    ("Who is older than 40?", "SELECT name FROM singer WHERE age > 40"),
    ("Name everybody who is above 20.", "SELECT s.name FROM singer AS s WHERE 20 < s.age"),
]
SHIPS = [
    ("How many ships are there?", "SELECT count(*) FROM ship"),
    ("Who is older than 40?", "SELECT name FROM ship WHERE age > 40 ORDER BY name"),
]


def make_set(folder: Path, table: str, items: list[tuple[str, str]]) -> Path:
    database = folder / "database" / f"{table}s" / f"{table}s.sqlite"
    database.parent.mkdir(parents=True)
    with sqlite3.connect(database) as connection:
        connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)")
        connection.execute(f"CREATE TABLE {table}_log (id INTEGER PRIMARY KEY)")
    connection.close()
    questions = [{"db_id": f"{table}s", "question": asked, "query": sql} for asked, sql in items]
    (folder / "train.json").write_text(json.dumps(questions))
    return folder


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, DataSet]:
    paths = {
        "singers": make_set(tmp_path / "singers", "singer", SINGERS),
        "ships": make_set(tmp_path / "ships", "ship", SHIPS) / "train.json",
    }
    return {name: take_apart(name, *read_schemas(path)) for name, path in paths.items()}


def test_coverage_is_of_the_tables_and_columns_that_a_query_names(sets: dict[str, DataSet]) -> None:
    found = measure_sets(sets, against=[])["sets"]["singers"]
    assert (found["tables_used"]["mean"], found["tables_used"]["n"]) == (0.5, 2)
    assert (found["columns_used"]["mean"], found["columns_used"]["n"]) == (0.5, 4)  # name and age


def test_repetition_is_counted_by_skeleton_template_and_question(sets: dict[str, DataSet]) -> None:
    found = measure_sets(sets, against=[])["sets"]["singers"]
    shares = {name: found[name]["mean"] for name in ("same_skeleton", "same_template", "near_question")}
    assert shares == {"same_skeleton": 1, "same_template": 1, "near_question": 0.5}
    assert {level: share["mean"] for level, share in found["hardness"].items()} == {"easy": 1}


def test_distance_is_from_the_other_set(sets: dict[str, DataSet]) -> None:
    found = measure_sets(sets, against=["ships"])["against"]
    assert list(found) == ["singers"]
    distance = found["singers"]["ships"]
    assert distance["near_question"]["mean"] == 0.25
    assert (distance["same_skeleton"]["mean"], distance["same_template"]["mean"]) == (0, 0.5)
    # singers, in, all, now, name, everybody, above, 20
    assert (distance["new_word_types"]["mean"], distance["new_word_types"]["n"]) == (8 / 17, 17)
    assert distance["databases"] == []


def test_sets_are_compared_at_the_size_of_the_smallest(sets: dict[str, DataSet]) -> None:
    found = measure_sets(sets, against=[])
    assert found["draw"] == {"questions": 2, "words": 10}
    # Two of four with two skeletons twice each: two differ in 4 of 6 draws.
    assert found["sets"]["singers"]["skeletons_per_1000"] == pytest.approx(1000 * (4 * 2 + 2 * 1) / 6 / 2)
    assert found["sets"]["ships"]["skeletons_per_1000"] == 1000


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_expected_distinct_is_the_mean_over_all_draws(counts: list[int], data: st.DataObject) -> None:
    items = [kind for kind, count in enumerate(counts) for _ in range(count)]
    draw = data.draw(st.integers(1, len(items)))
    draws = [len(set(drawn)) for drawn in combinations(items, draw)]
    assert expected_distinct(counts, draw=draw) == pytest.approx(sum(draws) / len(draws))


texts = st.lists(st.lists(st.sampled_from("abc"), max_size=6), max_size=8)


@given(texts, texts)
def test_no_near_item_is_missed(some: list[list[str]], others: list[list[str]]) -> None:
    own, theirs = [runs(each) for each in some], [runs(each) for each in others]
    assert near_in(own, theirs) == [any(jaccard(a, b) > NEAR_SHARE for b in theirs) for a in own]
    assert near_within(own) == list(near_by_hand(own))


def near_by_hand(items: list[frozenset[object]]) -> Iterator[bool]:
    for at, item in enumerate(items):
        yield any(jaccard(item, other) > NEAR_SHARE for n, other in enumerate(items) if n != at)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        pytest.param("", "question 0 has no SQL", id="no SQL"),
        pytest.param(None, "there are no questions in it", id="no questions"),
    ],
)
def test_sets_that_cannot_be_measured_are_refused(tmp_path: Path, query: str | None, message: str) -> None:
    folder = make_set(tmp_path / "set", "ship", [] if query is None else [("How many?", query)])
    with pytest.raises(DataError, match=message):
        read_schemas(folder)


def test_a_missing_database_is_named(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", "ship", SHIPS)
    (folder / "database" / "ships" / "ships.sqlite").unlink()
    with pytest.raises(DatabaseError, match="ships"):
        read_schemas(folder)
