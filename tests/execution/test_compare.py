"""The comparison of results; every verdict here was worked out by hand from what the official scripts do."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense.execution import compare
from sense.execution.compare import (
    TooManyColumnOrders,
    difference,
    same_as_bag,
    same_as_set,
    same_up_to_columns,
)
from sense.execution.outcome import Row, Rows


def table(*rows: Row) -> Rows:
    return Rows(columns=len(rows[0]) if rows else 1, rows=rows)


CASES = [  # gold, candidate, Spider unordered, Spider ordered, BIRD
    pytest.param(table((1,), (2,)), table((1,), (2,)), True, True, True, id="equal"),
    pytest.param(table((1,), (2,)), table((2,), (1,)), True, False, True, id="other-row-order"),
    pytest.param(table((1,), (1,)), table((1,)), False, False, True, id="duplicates"),
    pytest.param(table((1,), (1,), (2,)), table((1,), (2,), (2,)), False, False, True, id="other-counts"),
    pytest.param(table((1, "a")), table(("a", 1)), True, True, False, id="other-column-order"),
    pytest.param(table((1, 2), (3, 4)), table((2, 1), (3, 4)), False, False, False, id="swapped-in-one-row"),
    pytest.param(table((1,)), table((1, 1)), False, False, False, id="more-columns"),
    pytest.param(table(), table(), True, True, True, id="both-empty"),
    pytest.param(Rows(2, ()), Rows(3, ()), True, True, True, id="both-empty-of-other-widths"),
    pytest.param(table(), table((None,)), False, False, False, id="empty-and-null"),
    pytest.param(table((1,)), table((1.0,)), True, True, True, id="int-and-float"),
    pytest.param(table((1,)), table(("1",)), False, False, False, id="int-and-text"),
    pytest.param(table((0.3,)), table((0.1 + 0.2,)), False, False, False, id="no-tolerance"),
    pytest.param(table((None, 1)), table((1, None)), True, True, False, id="null"),
    pytest.param(table((None,)), table(("None",)), False, False, False, id="null-and-its-name"),
    pytest.param(table(("a",)), table((b"a",)), False, False, False, id="text-and-bytes"),
    pytest.param(table((b"a", 1)), table((1, b"a")), True, True, False, id="bytes"),
    pytest.param(table((10, 1)), table((10, 1.0)), False, False, True, id="official-sorts-10-1.0-otherwise"),
    pytest.param(table((20, 1)), table((20, 1.0)), True, True, True, id="official-sorts-20-1.0-alike"),
]


@pytest.mark.parametrize(("gold", "candidate", "spider", "spider_ordered", "bird"), CASES)
def test_verdicts_are_those_of_the_official_scripts(
    gold: Rows, candidate: Rows, spider: bool, spider_ordered: bool, bird: bool
) -> None:
    assert same_up_to_columns(gold, candidate, ordered=False) is spider
    assert same_up_to_columns(gold, candidate, ordered=True) is spider_ordered
    assert same_as_set(gold, candidate) is bird


def test_a_bag_has_an_order_of_columns_and_none_of_rows() -> None:
    assert same_as_bag(table((1, "a"), (2, "b")), table((2, "b"), (1, "a")))
    assert not same_as_bag(table((1, "a")), table(("a", 1)))
    assert not same_as_bag(table((1,), (1,)), table((1,)))


@pytest.mark.parametrize("width", [9, 12, 200, 2000])
def test_many_equal_columns_do_not_blow_up(width: int) -> None:
    nulls: Row = (None,) * (width - 1)
    assert same_up_to_columns(table((*nulls, 1), (*nulls, 2)), table((2, *nulls), (1, *nulls)), ordered=False)
    assert not same_up_to_columns(
        table((*nulls, 1), (*nulls, 2)), table((2, *nulls), (2, *nulls)), ordered=False
    )


def test_many_columns_of_few_values_are_matched() -> None:
    rng = random.Random(0)
    rows = [tuple(rng.randint(0, 1) for _ in range(14)) for _ in range(200)]
    order = rng.sample(range(14), 14)
    mixed = [tuple(row[at] for at in order) for row in rng.sample(rows, 200)]
    assert same_up_to_columns(table(*rows), table(*mixed), ordered=False)


def test_a_search_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # A smaller budget in place of a table of gigabytes.
    monkeypatch.setattr(compare, "SEARCH_BUDGET_ROWS", 0)
    size = 9
    cycle = [tuple(int(at in (row, (row + 1) % size)) for at in range(size)) for row in range(size)]
    halves = [  # as many ones in each row and column, but circles of four and five in place of one of nine
        tuple(int(at in (row, row // 4 * 4 + (row + 1) % 4) if row < 4 else at in (row, 4 + (row - 3) % 5))
              for at in range(size))
        for row in range(size)
    ]  # fmt: skip
    with pytest.raises(TooManyColumnOrders):
        same_up_to_columns(table(*cycle), table(*halves), ordered=False)


cells = st.sampled_from([None, 0, 1, 1.0, 2, "1", "a", b"a"])
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.tuples(*[cells] * width), min_size=1, max_size=4)
)


@given(tables, tables, st.booleans(), st.randoms(use_true_random=False))
def test_the_search_finds_what_trying_all_orders_finds(
    gold: list[Row], other: list[Row], ordered: bool, rng: random.Random
) -> None:
    order = rng.sample(range(len(gold[0])), len(gold[0]))
    shuffled = [tuple(row[at] for at in order) for row in rng.sample(gold, len(gold))]
    for candidate in (other, shuffled):
        expected = all_orders(gold, candidate, ordered=ordered)
        assert same_up_to_columns(table(*gold), table(*candidate), ordered=ordered) is expected


def all_orders(gold: list[Row], candidate: list[Row], *, ordered: bool) -> bool:
    if len(gold) != len(candidate) or len(gold[0]) != len(candidate[0]):
        return False
    key = tuple if ordered else Counter
    for order in itertools.permutations(range(len(gold[0]))):
        if key(gold) == key(tuple(row[at] for at in order) for row in candidate):
            return True
    return False


def test_the_difference_is_told() -> None:
    assert difference(table((1,)), table((1, 2), (3, 4))) == "2 rows of 2 columns, gold has 1 row of 1 column"
