"""What gold queries say about the content of a database."""

from __future__ import annotations

import pytest

from sense.databases.gold_facts import GoldFacts, Place, gold_facts
from sense.databases.schema import Column, Schema, Table

SCHEMA = Schema(
    db_id="shop",
    tables=(
        Table(name="Item", columns=(Column(name="Id", type="number"), Column(name="Color", type="text"))),
        Table(name="Sale", columns=(Column(name="Item_id", type="number"), Column(name="Day", type="time"))),
    ),
    foreign_keys=(),
)
ID, COLOR, ITEM_ID, DAY = (
    Place("Item", "Id"), Place("Item", "Color"), Place("Sale", "Item_id"), Place("Sale", "Day"),
)  # fmt: skip


def facts(*golds: str) -> GoldFacts:
    return gold_facts(golds, SCHEMA)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        pytest.param("color = 'red'", [(COLOR, "=", "red")], id="text, small letters"),
        pytest.param('T.Color = "red"', [(COLOR, "=", "red")], id="text in double quotes"),
        pytest.param("3 < T.id", [(ID, ">", 3)], id="the other way round"),
        pytest.param("id = -2.5", [(ID, "=", -2.5)], id="negative"),
        pytest.param("color LIKE '%e%'", [(COLOR, "LIKE", "%e%")], id="pattern"),
        pytest.param("id BETWEEN 1 AND 9", [(ID, ">=", 1), (ID, "<=", 9)], id="between"),
        pytest.param("color IN ('a', 'b')", [(COLOR, "=", "a"), (COLOR, "=", "b")], id="in"),
        pytest.param("id IN (SELECT item_id FROM sale WHERE day > 'x')", [(DAY, ">", "x")], id="nested"),
        pytest.param("size = 3 OR length(color) = 2", [], id="no column of the schema"),
    ],
)
def test_constants_are_found_with_their_column(
    condition: str, expected: list[tuple[Place, str, object]]
) -> None:
    found = facts(f"SELECT * FROM item AS T WHERE {condition}").conditions
    assert [(each.place, each.operator, each.value) for each in sum(found, ())] == expected


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FROM item AS a JOIN sale AS b ON a.id = b.item_id",
        "SELECT 1 FROM item WHERE id IN (SELECT item_id FROM sale)",
        "SELECT 1 FROM item WHERE EXISTS (SELECT 1 FROM sale WHERE id = item_id)",
    ],
)
def test_columns_held_against_each_other_are_found(sql: str) -> None:
    assert facts(sql).equal == ((ID, ITEM_ID),)


def test_columns_that_are_sorted_by_are_found() -> None:
    assert facts("SELECT min(day) FROM sale", "SELECT id FROM item ORDER BY color DESC").sorted_by == {
        DAY,
        COLOR,
    }


def test_what_is_said_twice_is_kept_once_and_prose_says_nothing() -> None:
    query = "SELECT 1 FROM item WHERE id = 1"
    assert facts(query, "how many?", query + " LIMIT 2") == facts(query)
