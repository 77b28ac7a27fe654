"""BIRD's soft F1 and EX, against verdicts recorded from BIRD's scripts and numbers worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sense.execution.compare import same_as_set
from sense.execution.outcome import Row, Rows
from sense.execution.soft_f1 import soft_f1

RECORDED = Path(__file__).parents[1] / "conformance" / "bird.jsonl"
PAIRS = [line for line in map(json.loads, RECORDED.read_text("utf-8").splitlines()) if line["kind"] == "rows"]

values = st.one_of(st.none(), st.integers(0, 3), st.sampled_from([1.0, 0.5, "a", "1"]))
tables = st.integers(1, 3).flatmap(
    lambda width: st.lists(st.tuples(*[values] * width), max_size=4).map(lambda rows: table(*rows))
)


def table(*rows: Row) -> Rows:
    return Rows(columns=len(rows[0]) if rows else 1, rows=rows)


def recorded(rows: list[list[Any]]) -> Rows:
    return table(*map(tuple, rows))


@pytest.mark.parametrize("pair", PAIRS, ids=range(len(PAIRS)))
def test_verdicts_are_those_of_the_official_scripts(pair: dict[str, Any]) -> None:
    gold, candidate = recorded(pair["gold"]), recorded(pair["candidate"])
    assert same_as_set(gold, candidate) is bool(pair["ex"])
    assert math.isclose(soft_f1(gold, candidate), pair["soft_f1"], rel_tol=1e-12)


def test_the_recorded_pairs_are_of_every_kind() -> None:
    assert len(PAIRS) >= 100
    assert {pair["ex"] for pair in PAIRS} == {0, 1}
    assert sum(0 < pair["soft_f1"] < 1 for pair in PAIRS) >= 40


@pytest.mark.parametrize(
    ("gold", "candidate", "expected"),
    [
        pytest.param(table(), table(), 1, id="both-empty"),
        pytest.param(table((1,)), table(), 0, id="empty-candidate"),
        pytest.param(table(), table((1,)), 0, id="empty-gold"),
        pytest.param(table((1,), (2,)), table((2,), (1,)), 0, id="rows-meet-by-position"),
        pytest.param(table((1, "a")), table(("a", 1)), 1, id="columns-in-any-order"),
        pytest.param(table((1,), (1,), (2,)), table((1,), (2,)), 1, id="repeated-rows-are-dropped"),
        pytest.param(table((1,), (2,)), table((1,)), 2 / 3, id="precision-1-recall-half"),
        pytest.param(table((None,)), table((None,)), 1, id="null-equals-null"),
        pytest.param(table((None,)), table((0,)), 0, id="null-is-not-0"),
        pytest.param(table((1,)), table((1.0,)), 1, id="int-equals-float"),
        # Matched 3 / 2 of a row, gold only 1 / 2: precision 1, recall 3/4, F1 6/7.
        pytest.param(table((1, 2)), table((1, 1, 1)), 6 / 7, id="a-repeated-value-counts-each-time"),
        # Matched 1 / 1, candidate only 2 / 1: precision 1/3, recall 1.
        pytest.param(table((1,)), table((1, 2, 3)), 1 / 2, id="counts-are-divided-by-the-columns-of-gold"),
        # First rows agree in one of two cells, the second gold row has no partner: tp 1/2, fp 1/2, fn 3/2.
        pytest.param(table((1, 2), (3, 4)), table((1, 9)), 1 / 3, id="row-without-partner"),
    ],
)
def test_f1_of_cells(gold: Rows, candidate: Rows, expected: float) -> None:
    assert math.isclose(soft_f1(gold, candidate), expected)


@settings(max_examples=100)
@given(tables, tables)
def test_f1_is_a_share(gold: Rows, candidate: Rows) -> None:
    assert 0 <= soft_f1(gold, candidate) <= 1


@settings(max_examples=100)
@given(tables)
def test_a_result_is_as_good_as_itself(rows: Rows) -> None:
    assert math.isclose(soft_f1(rows, rows), 1)
