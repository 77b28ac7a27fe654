"""The checks one by one, on cases made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sense.databases.schema import Column, Schema, Table
from sense.execution.outcome import Ending, Refused, Rows
from sense.strong.checks import CHECKS, MEASURES, Bounds, Case, Check, Item, Kept
from sense.strong.decontaminate import HeldOut

SCHEMA = Schema(
    db_id="mews",
    tables=(
        Table(name="bird", columns=tuple(Column(name=n, type="text") for n in ("id", "kind", "keeper"))),
    ),
    foreign_keys=(),
)
BY_NAME: dict[str, Check] = dict((*CHECKS, *MEASURES))
ONE_ROW = Rows(1, (("kestrel",),))


def case(sql: str, ending: Ending = ONE_ROW, **item: Any) -> Case:
    made = Item(**{"id": "1", "db_id": "mews", "level": "easy", "question": "Who?", "sql": sql} | item)
    return Case(
        item=made,
        ending=ending,
        schema=SCHEMA,
        kept=Kept([made]),
        held_out=HeldOut([]),
        bounds=Bounds(max_rows=3, max_per_skeleton=1),
    )


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        pytest.param("SELECT 1", "reads no table", id="no table"),
        pytest.param("WITH x AS (SELECT 1 AS a) SELECT a FROM x", "reads no table", id="only its own WITH"),
        pytest.param("SELECT 1 FROM bird", "says the same whatever the tables hold", id="a number"),
        pytest.param(
            "SELECT 'a' FROM bird WHERE id = 1", "says the same whatever the tables hold", id="text"
        ),
        pytest.param("SELECT kind FROM bird", None, id="column"),
        pytest.param("SELECT * FROM bird", None, id="star"),
        pytest.param("SELECT count(1) FROM bird", None, id="count(1)"),
        pytest.param("SELECT EXISTS (SELECT id FROM bird WHERE id = 9)", None, id="whether there is one"),
        pytest.param("SELECT 1, kind FROM bird UNION SELECT 2, kind FROM bird", None, id="union"),
    ],
)
def test_a_query_must_use_the_data(sql: str, reason: str | None) -> None:
    assert BY_NAME["not_constant"](case(sql)) == reason


@pytest.mark.parametrize(
    ("sql", "row", "reason"),
    [
        pytest.param("SELECT count(*) FROM bird", (0,), "counts nothing", id="count"),
        pytest.param("SELECT count(*) + 0 FROM bird", (0,), "counts nothing", id="in arithmetic"),
        pytest.param("SELECT count(*), count(kind) FROM bird", (0, 0), "counts nothing", id="two counts"),
        pytest.param("SELECT count(*) FROM bird", (2,), None, id="some"),
        pytest.param("SELECT count(*), max(id) FROM bird", (0, None), None, id="something beside it"),
        pytest.param("SELECT min(id) FROM bird", (0,), None, id="the least is 0"),
        pytest.param("SELECT count(*) FROM bird GROUP BY kind", (0,), None, id="a group of nothing"),
        pytest.param("SELECT max(id), max(kind) FROM bird", (None, None), "nothing but NULL", id="NULL"),
    ],
)
def test_a_result_must_say_something(sql: str, row: tuple[int | None, ...], reason: str | None) -> None:
    assert BY_NAME["says_something"](case(sql, Rows(len(row), (row,)))) == reason


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        pytest.param("SELECT 1;; -- so", None, id="semicolons at the end"),
        pytest.param("SELECT ';' FROM bird", None, id="semicolon in a text"),
        pytest.param("SELECT 1; SELECT 2", "more than one statement", id="two"),
        pytest.param("-- nothing", "there is no statement", id="comment"),
    ],
)
def test_one_statement_is_one(sql: str, reason: str | None) -> None:
    assert BY_NAME["one_statement"](case(sql)) == reason


def test_what_was_refused_does_not_only_read() -> None:
    assert BY_NAME["reads_only"](case("DROP TABLE bird", Refused("no"))) == "no"


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("SELECT 'a", id="open quote"),
        pytest.param(f"SELECT {'(' * 5_000}1{')' * 5_000}", id="nested too deeply"),
        pytest.param("SELECT FROM WHERE", id="no query"),
    ],
)
def test_what_cannot_be_parsed_gives_a_reason_of_one_line(sql: str) -> None:
    reason = BY_NAME["parses"](case(sql))
    assert reason and "\n" not in reason


@pytest.mark.parametrize(
    ("measure", "sql", "item", "reason"),
    [
        pytest.param("hardness_as_asked", "SELECT id FROM bird", {}, None, id="hardness"),
        pytest.param(
            "hardness_as_asked",
            "SELECT id FROM bird",
            {"level": "hard"},
            "easy, not hard",
            id="not the hardness",
        ),
        pytest.param(
            "features_as_asked",
            "SELECT DISTINCT id FROM bird",
            {"features": ("distinct", "window", "made_up")},
            "without window, made_up",
            id="features",
        ),
        pytest.param(
            "values_said", "SELECT id FROM bird WHERE kind = 'hobby'", {}, "not said: 'hobby'", id="value"
        ),
        pytest.param(
            "values_said",
            "SELECT id FROM bird WHERE kind = 'hobby'",
            {"evidence": "small ones are hobbies"},
            None,
            id="value in the evidence",
        ),
        pytest.param("in_spider_grammar", "SELECT id FROM bird WHERE kind = 'a'", {}, None, id="Spider's"),
        pytest.param(
            "in_spider_grammar",
            "WITH x AS (SELECT id FROM bird) SELECT id FROM x",
            {},
            "refused by Spider's parser",
            id="not Spider's",
        ),
    ],
)
def test_a_measure_says_what_is_not_as_asked(
    measure: str, sql: str, item: dict[str, Any], reason: str | None
) -> None:
    assert BY_NAME[measure](case(sql, **item)) == reason


def test_a_held_out_query_is_found_by_its_skeleton(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text(
        '[{"db_id": "x", "question": "", "query": "SELECT kind FROM bird LIMIT 3"}]'
    )
    plain = case("SELECT kind FROM bird LIMIT 2")
    against = Case(
        item=plain.item,
        ending=plain.ending,
        schema=SCHEMA,
        kept=plain.kept,
        held_out=HeldOut([tmp_path / "dev.json"]),
        bounds=plain.bounds,
    )
    assert BY_NAME["query_not_held_out"](plain) is None
    assert BY_NAME["query_not_held_out"](against) == "dev.json: SELECT kind FROM bird LIMIT 3"


def test_no_check_is_there_twice() -> None:
    assert len(BY_NAME) == len(CHECKS) + len(MEASURES)
