"""Queries one mistake away from a gold query."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from sense.databases.gold_facts import Place
from sense.databases.neighbors import Kind, Neighbor, neighbors
from sense.databases.schema import Column, ForeignKey, Schema, Table

SHOP = Schema(
    db_id="shop",
    tables=(
        Table(
            name="item",
            columns=(
                Column(name="id", type="number", primary_key=True),
                Column(name="name", type="text"),
                Column(name="color", type="text"),
                Column(name="price", type="number"),
            ),
        ),
        Table(
            name="sale",
            columns=(Column(name="item_id", type="number"), Column(name="day", type="time")),
        ),
    ),
    foreign_keys=(ForeignKey(table="sale", column="item_id", to_table="item", to_column="id"),),
)
PRICE = Place("item", "price")
COLOR = Place("item", "color")


def of_kind(sql: str, kind: Kind, constants: dict[Place, list[int | float | str]] | None = None) -> set[str]:
    found = neighbors(sql, SHOP, constants=constants or {}, limit=500, rng=random.Random(0))
    return {each.sql for each in found if each.kind is kind}


@pytest.mark.parametrize(
    ("kind", "sql", "expected"),
    [
        pytest.param(
            Kind.COLUMN,
            "SELECT name FROM item",
            {"SELECT color FROM item"},
            id="column of a like type",
        ),
        pytest.param(
            Kind.OPERATOR,
            "SELECT 1 FROM item WHERE price > 3",
            {f"SELECT 1 FROM item WHERE price {sign} 3" for sign in ("=", "<>", "<", "<=", ">=")},
            id="operator",
        ),
        pytest.param(
            Kind.OPERATOR,
            "SELECT 1 FROM item WHERE name LIKE 'a%'",
            {"SELECT 1 FROM item WHERE name = 'a%'", "SELECT 1 FROM item WHERE NOT name LIKE 'a%'"},
            id="LIKE",
        ),
        pytest.param(
            Kind.OPERATOR,
            "SELECT 1 FROM item WHERE NOT id IN (SELECT item_id FROM sale)",
            {"SELECT 1 FROM item WHERE id IN (SELECT item_id FROM sale)"},
            id="NOT IN",
        ),
        pytest.param(
            Kind.OPERATOR,
            "SELECT 1 FROM item WHERE price BETWEEN 1 AND 3",
            {
                "SELECT 1 FROM item WHERE price >= 1",
                "SELECT 1 FROM item WHERE price <= 3",
                "SELECT 1 FROM item WHERE NOT price BETWEEN 1 AND 3",
            },
            id="BETWEEN",
        ),
        pytest.param(
            Kind.CONSTANT,
            "SELECT 1 FROM item WHERE price > 3",
            {f"SELECT 1 FROM item WHERE price > {number}" for number in (2, 4, 9)},
            id="number",
        ),
        pytest.param(
            Kind.CONSTANT,
            'SELECT 1 FROM item WHERE color = "red"',
            {"SELECT 1 FROM item WHERE color = 'blue'"},
            id="text in double quotes",
        ),
        pytest.param(
            Kind.CONSTANT,
            "SELECT 1 FROM item WHERE name LIKE '%ink%'",
            {"SELECT 1 FROM item WHERE name LIKE 'ink%'", "SELECT 1 FROM item WHERE name LIKE '%ink'"},
            id="pattern",
        ),
        pytest.param(
            Kind.AGGREGATE,
            "SELECT max(price) FROM item",
            {f"SELECT {name}(price) FROM item" for name in ("COUNT", "SUM", "AVG", "MIN")},
            id="aggregate",
        ),
        pytest.param(
            Kind.AGGREGATE,
            "SELECT count(*) FROM item",
            {f"SELECT COUNT(item.{name}) FROM item" for name in ("name", "color", "price")},
            id="rows counted, not a key",
        ),
        pytest.param(
            Kind.CONDITION,
            "SELECT 1 FROM item WHERE price > 3 AND id = 1",
            {"SELECT 1 FROM item WHERE price > 3", "SELECT 1 FROM item WHERE id = 1", "SELECT 1 FROM item"},
            id="condition dropped",
        ),
        pytest.param(
            Kind.CONNECTIVE,
            "SELECT 1 FROM item WHERE price > 3 AND id = 1 OR id = 2",
            {
                "SELECT 1 FROM item WHERE ((price > 3 AND id = 1) AND id = 2)",
                "SELECT 1 FROM item WHERE (price > 3 OR id = 1) OR id = 2",
            },
            id="AND for OR, bound as it was",
        ),
        pytest.param(
            Kind.DISTINCT,
            "SELECT count(DISTINCT color) FROM item",
            {"SELECT COUNT(color) FROM item", "SELECT DISTINCT COUNT(DISTINCT color) FROM item"},
            id="distinct",
        ),
        pytest.param(
            Kind.ORDER,
            "SELECT name FROM item ORDER BY price DESC",
            {"SELECT name FROM item ORDER BY price", "SELECT name FROM item"},
            id="order, without NULLS LAST",
        ),
        pytest.param(
            Kind.LIMIT,
            "SELECT name FROM item LIMIT 1",
            {"SELECT name FROM item LIMIT 2", "SELECT name FROM item"},
            id="limit, none of no rows",
        ),
        pytest.param(
            Kind.GROUP,
            "SELECT count(*) FROM item GROUP BY color",
            {"SELECT COUNT(*) FROM item GROUP BY name", "SELECT COUNT(*) FROM item"},
            id="group",
        ),
        pytest.param(
            Kind.SET,
            "SELECT id FROM item EXCEPT SELECT item_id FROM sale",
            {
                "SELECT id FROM item UNION SELECT item_id FROM sale",
                "SELECT id FROM item INTERSECT SELECT item_id FROM sale",
                "SELECT id FROM item",
                "SELECT item_id FROM sale",
            },
            id="set operation",
        ),
    ],
)
def test_one_part_is_changed(kind: Kind, sql: str, expected: set[str]) -> None:
    assert of_kind(sql, kind, {PRICE: [3, 9, "text"], COLOR: ["blue", "red"]}) == expected


def test_a_join_is_made_outer_or_goes_by_another_column() -> None:
    sql = "SELECT T2.day FROM item AS T1 JOIN sale AS T2 ON T1.id = T2.item_id"
    start = "SELECT T2.day FROM item AS T1"
    assert of_kind(sql, Kind.JOIN) == {
        f"{start} LEFT JOIN sale AS T2 ON T1.id = T2.item_id",
        f"{start} JOIN sale AS T2 ON T1.price = T2.item_id",
    }


def test_a_joined_table_that_nothing_refers_to_is_dropped() -> None:
    sql = "SELECT T1.name FROM item AS T1 JOIN sale AS T2 ON T1.id = T2.item_id"
    assert "SELECT T1.name FROM item AS T1" in of_kind(sql, Kind.JOIN)


def test_what_is_changed_in_having_is_of_its_kind() -> None:
    sql = "SELECT color FROM item GROUP BY color HAVING count(*) > 1"
    found = of_kind(sql, Kind.HAVING)
    start = "SELECT color FROM item GROUP BY color"
    assert {start, f"{start} HAVING COUNT(*) > 2", f"{start} HAVING COUNT(*) >= 1"} <= found
    assert not of_kind(sql, Kind.OPERATOR) | of_kind(sql, Kind.CONSTANT)


def test_kinds_share_a_small_number_evenly() -> None:
    sql = "SELECT count(*), name FROM item WHERE price > 3 GROUP BY color ORDER BY price LIMIT 2"
    found = neighbors(sql, SHOP, constants={}, limit=18, rng=random.Random(0))
    counts = Counter(each.kind for each in found)
    assert sum(counts.values()) == 18
    assert set(counts) >= {Kind.COLUMN, Kind.OPERATOR, Kind.CONSTANT, Kind.AGGREGATE, Kind.CONDITION}
    assert max(counts.values()) <= 3  # nine kinds, some of which have less than two


def test_neighbors_differ_and_are_the_same_for_a_seed() -> None:
    def drawn(seed: int) -> list[Neighbor]:
        sql = "SELECT name, color FROM item WHERE price > 3 AND id < 9"
        return neighbors(sql, SHOP, constants={}, limit=10, rng=random.Random(seed))

    assert drawn(1) == drawn(1) != drawn(2)
    assert len({each.sql for each in drawn(1)}) == 10


@pytest.mark.parametrize("sql", ["", "how many?", "DROP TABLE item", "SELECT 'a", "SELECT " + "(" * 3_000])
def test_what_is_no_query_has_no_neighbors(sql: str) -> None:
    assert neighbors(sql, SHOP, constants={}, limit=9, rng=random.Random(0)) == []
