"""Parts of schemas: everything is in some part, parts hang together and stay small."""

from __future__ import annotations

import pytest

from sense.databases.schema import Column, ForeignKey, Schema, Table
from sense.strong.coverage import columns_of
from sense.strong.subschemas import subschemas


def table(name: str, *columns: str) -> Table:
    return Table(
        name=name, columns=tuple(Column(name=c, type="text", primary_key=c == "id") for c in ("id", *columns))
    )


def schema(tables: list[Table], *keys: tuple[str, str]) -> Schema:
    return Schema(
        db_id="d",
        tables=tuple(tables),
        foreign_keys=tuple(ForeignKey(table=a, column=b, to_table=b, to_column="id") for a, b in keys),
    )


STAR = schema(
    [table("sale", *[f"d{i}" for i in range(9)]), *(table(f"d{i}", "name") for i in range(9))],
    *(("sale", f"d{i}") for i in range(9)),
)
CYCLE = schema([table("a", "b"), table("b", "c"), table("c", "a")], ("a", "b"), ("b", "c"), ("c", "a"))
WIDE = schema([table("wide", "boat", *(f"c{i}" for i in range(58))), table("boat", "name")], ("wide", "boat"))
LOOSE = schema([table(f"t{i}", "x") for i in range(3)])
SELF = schema([table("node", "node")], ("node", "node"))


def is_connected(part: Schema) -> bool:
    reached = {part.tables[0].name}
    for _ in part.tables:
        for key in part.foreign_keys:
            if reached & {key.table, key.to_table}:
                reached |= {key.table, key.to_table}
    return reached == {each.name for each in part.tables}


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(STAR, id="a star"),
        pytest.param(CYCLE, id="a cycle"),
        pytest.param(WIDE, id="60 columns"),
        pytest.param(LOOSE, id="no keys"),
        pytest.param(SELF, id="a table that refers to itself"),
    ],
)
@pytest.mark.parametrize(("tables", "columns"), [(1, 2), (2, 5), (4, 20)])
def test_every_column_and_every_join_is_in_a_part_and_no_part_is_too_large(
    whole: Schema, tables: int, columns: int
) -> None:
    parts = subschemas(whole, max_tables=tables, max_columns=columns, seed="s")
    assert {place for part in parts for place in columns_of(part)} == set(columns_of(whole))
    assert all(len(part.tables) <= tables for part in parts)
    for part in parts:
        on_top = 2 * len(part.foreign_keys)
        assert all(len(each.columns) <= columns + on_top for each in part.tables)
        assert is_connected(part)
    if tables > 1:
        assert {key for part in parts for key in part.foreign_keys} == set(whole.foreign_keys)


def test_a_wide_table_shows_its_keys_with_every_piece() -> None:
    parts = subschemas(WIDE, max_tables=2, max_columns=20, seed="s")
    wide = [each for part in parts for each in part.tables if each.name == "wide"]
    assert len(wide) == 4  # 59 columns, 19 at a time beside the primary key
    assert all([column.name for column in each.columns[:2]] == ["id", "boat"] for each in wide)


def test_a_star_takes_as_few_parts_as_its_arms_need() -> None:
    assert len(subschemas(STAR, max_tables=4, max_columns=20, seed="s")) <= 4


def test_the_seed_decides() -> None:
    first, again, other = (
        subschemas(STAR, max_tables=3, max_columns=9, seed=seed) for seed in ("1", "1", "2")
    )
    assert first == again != other
