"""Pruning keeps what the queries use, and drops whole tables with their keys."""

from __future__ import annotations

import pytest

from sense.databases.schema import Column, ForeignKey, Schema, Table
from sense.prompts.prune import prune
from sense.prompts.schema_text import compact, ddl

NAMES = ["pet", "owner", "order", "x) ; y", "visit"]


def make_schema() -> Schema:
    tables = tuple(
        Table(
            name=name,
            columns=(
                Column(name="id", type="number", primary_key=True),
                Column(name="pet id", type="number", primary_key=False),
            ),
        )
        for name in NAMES
    )
    keys = tuple(
        ForeignKey(table=name, column="pet id", to_table="pet", to_column="id") for name in NAMES[1:]
    )
    return Schema(db_id="pets", tables=tables, foreign_keys=keys)


@pytest.mark.parametrize("write", [compact, ddl])
def test_what_fits_is_left_as_it_is(write: object) -> None:
    text = write(make_schema(), {})
    assert prune(text, [], fits=lambda _: True) == text


@pytest.mark.parametrize("write", [compact, ddl])
@pytest.mark.parametrize(
    "sql",
    [
        pytest.param('SELECT * FROM Pet JOIN "order" USING (id)', id="quoted"),
        pytest.param("SELECT * FROM PET, `order`", id="backticks"),
        pytest.param("SELECT * FROM pet, [order]", id="brackets"),
    ],
)
def test_the_schema_of_the_tables_in_use_is_what_is_left_at_least(write: object, sql: str) -> None:
    text = write(make_schema(), {})
    least = Schema(
        db_id="pets",
        tables=tuple(table for table in make_schema().tables if table.name in ("pet", "order")),
        foreign_keys=tuple(key for key in make_schema().foreign_keys if key.table == "order"),
    )
    expected = write(least, {})
    assert prune(text, [sql], fits=lambda shorter: len(shorter) <= len(expected)) == expected
    assert prune(text, [sql], fits=lambda shorter: len(shorter) < len(expected)) is None


@pytest.mark.parametrize("write", [compact, ddl])
def test_the_last_unused_table_goes_first_and_no_more_than_needed(write: object) -> None:
    text = write(make_schema(), {})
    shorter = prune(text, ["SELECT 1 FROM visit"], fits=lambda t: len(t) < len(text))
    assert shorter is not None
    assert "x) ; y" not in shorter
    assert all(name in shorter for name in ("pet", "owner", "order", "visit"))


def test_a_name_in_quotes_with_spaces_counts_as_used() -> None:
    text = compact(make_schema(), {})
    shorter = prune(text, ['SELECT * FROM "x) ; y"'], fits=lambda t: len(t) < len(text))
    assert shorter is not None
    assert '"x) ; y" (' in shorter
    assert "visit" not in shorter
