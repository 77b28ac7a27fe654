"""The robust rule. Verdicts were worked out by hand; the search is held against trying everything."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sense.execution import compare
from sense.execution.compare import TooManyColumnOrders
from sense.execution.outcome import Ending, Row, Rows, SqlError, Timeout, Value
from sense.execution.robust import (
    Allowance,
    Cause,
    OfficialEndings,
    RobustComparison,
    judge_robust,
    prepare_robust,
    same_for_robust,
    why_they_differ,
)
from sense.execution.run import Limits, run_query
from sense.execution.ties import TieClass, TieClasses

COLUMNS, NUMBERS, TIES = Allowance.COLUMN_ORDER, Allowance.NUMBER_TOLERANCE, Allowance.TIES
LIMITS = Limits(timeout_s=5)
BIG, ID = 2**53, 10_000_000


def table(*rows: Row) -> Rows:
    return Rows(columns=len(rows[0]) if rows else 1, rows=rows)


def column(*values: Value) -> Rows:
    return table(*((value,) for value in values))


@pytest.mark.parametrize(
    ("sql", "prepared"),
    [
        pytest.param("SELECT DISTINCT value FROM t;", "SELECT DISTINCT value FROM t", id="nothing-else"),
        pytest.param("SELECT 1; SELECT 2", "SELECT 1", id="first-statement"),
        pytest.param("SELECT ';', 1 -- x; y\n;", "SELECT ';', 1", id="semicolons-inside"),
        pytest.param("/* a */ SELECT/**/1", "SELECT 1", id="comments"),
        pytest.param("SELECT a > = 1, a < = 1, a ! = 1", "SELECT a >= 1, a <= 1, a != 1", id="operators"),
        pytest.param("SELECT '> = YEAR(CURDATE())'", "SELECT '> = YEAR(CURDATE())'", id="quoted"),
        pytest.param("SELECT year( CURDATE () ) FROM t", "SELECT 2020 FROM t", id="current-year"),
    ],
)
def test_sql_keeps_its_meaning_and_runs(sql: str, prepared: str) -> None:
    assert prepare_robust(sql) == prepared


@pytest.mark.parametrize(
    ("gold", "candidate", "unordered", "ordered"),
    [
        pytest.param(column(1, 2), column(1, 2), set(), set(), id="equal"),
        pytest.param(column(1, 2), column(2, 1), set(), None, id="other-row-order"),
        pytest.param(table((1, "a")), table(("a", 1)), {COLUMNS}, {COLUMNS}, id="other-column-order"),
        pytest.param(table((1, 2), (3, 4)), table((2, 1), (3, 4)), None, None, id="swapped-in-one-row"),
        pytest.param(column(1, 1, 2), column(1, 2, 2), None, None, id="other-counts"),
        pytest.param(column(0.3), column(0.1 + 0.2), {NUMBERS}, {NUMBERS}, id="rounding"),
        pytest.param(column(0), column(1e-17), {NUMBERS}, {NUMBERS}, id="nearly-zero"),
        pytest.param(column(0), column(1e-8), None, None, id="not-zero"),
        pytest.param(column(3), column(2.9999999999), {NUMBERS}, {NUMBERS}, id="nearly-whole"),
        pytest.param(column(1 / 3), column(0.33333), None, None, id="rounded-to-five-digits"),
        pytest.param(table((10, 1)), table((10, 1.0)), {NUMBERS}, {NUMBERS}, id="10-and-1.0-in-a-row"),
        pytest.param(column(10_000_001), column(10_000_002), None, None, id="ids"),
        pytest.param(column(10_000_001), column(10_000_002.0), None, None, id="ids-as-floats"),
        pytest.param(column(BIG + 1), column(BIG + 2), None, None, id="ids-beyond-floats"),
        pytest.param(column(BIG + 1), column(float(BIG)), {NUMBERS}, {NUMBERS}, id="a-float-at-its-limit"),
        pytest.param(column(math.inf), column(math.inf), set(), set(), id="infinity"),
        pytest.param(column(math.inf), column(1e308), None, None, id="near-infinity"),
        pytest.param(column(1), column("1"), None, None, id="number-and-text"),
        pytest.param(column("0.3"), column("0.30000000000000004"), None, None, id="texts-are-exact"),
        pytest.param(column(None), column(None), set(), set(), id="null"),
        pytest.param(column(None), column(0), None, None, id="null-and-zero"),
        pytest.param(column("a"), column(b"a"), None, None, id="text-and-bytes"),
        pytest.param(Rows(2, ()), Rows(2, ()), set(), set(), id="both-empty"),
        pytest.param(Rows(2, ()), Rows(3, ()), None, None, id="both-empty-of-other-widths"),
        pytest.param(column(), column(None), None, None, id="empty-and-null"),
        pytest.param(column(1.5, 2.5), column(2.5000001, 1.5000001), {NUMBERS}, None, id="rounding-moved"),
        pytest.param(
            table((0.3, "a")), table(("a", 0.1 + 0.2)), {NUMBERS, COLUMNS}, {NUMBERS, COLUMNS}, id="both"
        ),
    ],
)  # fmt: skip
def test_results_are_the_same_with_the_fewest_allowances(
    gold: Rows, candidate: Rows, unordered: set[Allowance] | None, ordered: set[Allowance] | None
) -> None:
    for is_ordered, allowances in ((False, unordered), (True, ordered)):
        match = same_for_robust(gold, candidate, ordered=is_ordered)
        assert match == (allowances is not None, frozenset(allowances or ()))


# A quarter of the tolerance apart six times over: the ends agree with the middle, not with each other.
CLOSE = [1 + step * 4e-7 for step in range(6)]


@pytest.mark.parametrize(
    ("gold", "candidate", "same"),
    [
        pytest.param([CLOSE[0], CLOSE[2]], [CLOSE[1], CLOSE[3]], True, id="each-with-its-own"),
        pytest.param([CLOSE[0], CLOSE[5]], [CLOSE[2], CLOSE[3]], True, id="from-both-ends"),
        pytest.param([CLOSE[0], CLOSE[0]], [CLOSE[2], CLOSE[3]], False, id="one-too-far"),
        pytest.param(
            [CLOSE[0], CLOSE[3], CLOSE[3]], [CLOSE[1], CLOSE[0], CLOSE[0]], False, id="one-place-wanted-twice"
        ),
        pytest.param([ID, ID, ID + 0.5], [ID + 1, ID + 1, ID + 0.5], False, id="a-fraction-links-no-ids"),
        pytest.param([ID, ID + 0.5], [ID + 0.25, ID + 1], True, id="ids-that-a-fraction-meets"),
    ],
)
def test_a_chain_of_near_numbers_is_not_one_number(
    gold: list[Value], candidate: list[Value], same: bool
) -> None:
    assert same_for_robust(column(*gold), column(*candidate), ordered=False).same is same


def test_near_numbers_that_only_fit_crosswise_are_paired() -> None:
    gold = table((CLOSE[0], CLOSE[4]), (CLOSE[2], CLOSE[2]))  # in their order the first two rows do not agree
    candidate = table((CLOSE[1], CLOSE[1]), (CLOSE[2], CLOSE[3]))
    assert same_for_robust(gold, candidate, ordered=False).same


TIED: TieClasses = (TieClass((("a", 1), ("b", 2)), 2), TieClass((("c", 3), ("d", 0.3), ("e", 5)), 1))


@pytest.mark.parametrize(
    ("candidate", "allowances"),
    [
        pytest.param(table(("a", 1), ("b", 2), ("c", 3)), set(), id="as-gold"),
        pytest.param(table(("b", 2), ("a", 1), ("c", 3)), {TIES}, id="within-a-class"),
        pytest.param(table(("a", 1), ("b", 2), ("e", 5)), {TIES}, id="another-choice-at-the-cut"),
        pytest.param(table((2, "b"), (1, "a"), (5, "e")), {TIES, COLUMNS}, id="and-columns"),
        pytest.param(table(("a", 1), ("b", 2), ("d", 0.1 + 0.2)), {TIES, NUMBERS}, id="and-rounding"),
        pytest.param(table(("a", 1), ("c", 3), ("b", 2)), None, id="across-classes"),
        pytest.param(table(("a", 1), ("a", 1), ("c", 3)), None, id="one-twice"),
        pytest.param(table(("a", 1), ("c", 3), ("d", 0.3)), None, id="one-above-the-cut-missing"),
        pytest.param(table(("a", 1), ("b", 2), ("f", 3)), None, id="no-row-of-gold"),
        pytest.param(table(("a", 1), ("b", 2), ("c", 3), ("d", 0.3)), None, id="all-that-tie"),
    ],
)
def test_rows_that_tie_may_change_places(candidate: Rows, allowances: set[Allowance] | None) -> None:
    gold = table(("a", 1), ("b", 2), ("c", 3))
    match = same_for_robust(gold, candidate, ordered=True, ties=TIED)
    assert match == (allowances is not None, frozenset(allowances or ()))


def test_pairing_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # A smaller budget in place of a large result.
    monkeypatch.setattr(compare, "SEARCH_BUDGET_ROWS", 0)
    gold = column(*CLOSE, *[CLOSE[0]] * 20, *[CLOSE[5]] * 20)
    candidate = column(*CLOSE, *[CLOSE[0]] * 30, *[CLOSE[5]] * 10)
    with pytest.raises(TooManyColumnOrders):
        same_for_robust(gold, candidate, ordered=False)


def test_a_large_result_with_rounding_is_compared_in_a_moment() -> None:
    rng = random.Random(0)
    rows = [(n % 7, rng.random(), f"text {n % 100}") for n in range(5_000)]
    other = [(text, number * (1 + 1e-9), n) for n, number, text in rng.sample(rows, len(rows))]
    assert same_for_robust(table(*rows), table(*other), ordered=False).allowances == {NUMBERS, COLUMNS}


def test_many_numbers_each_near_the_next_are_compared_in_a_moment() -> None:
    values = [1 + n * 1e-7 for n in range(6_000)]
    nudged = [value + 1e-9 for value in values]
    assert same_for_robust(column(*values), column(*reversed(nudged)), ordered=False).allowances == {NUMBERS}


cells = st.sampled_from([None, 0, 1, 2.5, 700.25, "1", "a", b"a"])  # no two within the tolerance
class_lists = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.tuples(*[cells] * width), min_size=1, max_size=4), min_size=1, max_size=4
    )
)
randoms = st.randoms(use_true_random=False)


@given(class_lists, randoms)
def test_a_result_is_the_same_as_a_shuffled_copy_of_itself(
    classes: list[list[Row]], rng: random.Random
) -> None:
    cut = rng.randint(1, len(classes[-1]))
    ties = tuple(TieClass(tuple(rows), len(rows)) for rows in classes[:-1])
    ties = (*ties, TieClass(tuple(classes[-1]), cut))
    gold = table(*(row for tied in ties for row in tied.rows[: tied.taken]))
    copy = [row for tied in ties for row in rng.sample(tied.rows, tied.taken)]
    order = rng.sample(range(gold.columns), gold.columns)
    candidate = table(*(tuple(nudge(row[at], rng) for at in order) for row in copy))
    assert same_for_robust(gold, candidate, ordered=True, ties=ties).same


@given(class_lists, cells, randoms, st.booleans())
def test_a_result_is_not_the_same_with_one_value_changed(
    classes: list[list[Row]], value: Value, rng: random.Random, ordered: bool
) -> None:
    ties = tuple(TieClass(tuple(rows), len(rows)) for rows in classes)
    gold = [row for rows in classes for row in rows]
    at, place = rng.randrange(len(gold)), rng.randrange(len(gold[0]))
    assume(gold[at][place] != value)
    changed = (*gold[at][:place], value, *gold[at][place + 1 :])
    candidate = [*gold[:at], changed, *gold[at + 1 :]]
    assert not same_for_robust(
        table(*gold), table(*candidate), ordered=ordered, ties=ties if ordered else None
    ).same


near_cells = st.sampled_from([1, *CLOSE, ID, ID + 0.5, ID + 1, "a"])
near_tables = st.integers(1, 3).flatmap(
    lambda width: st.tuples(
        st.lists(st.tuples(*[near_cells] * width), min_size=1, max_size=4),
        st.lists(st.tuples(*[near_cells] * width), min_size=1, max_size=4),
    )
)


@given(near_tables, st.integers(1, 4), randoms)
def test_the_search_finds_what_trying_everything_finds(
    tables: tuple[list[Row], list[Row]], cut: int, rng: random.Random
) -> None:
    offered, other = tables
    cut = min(cut, len(offered))
    shuffled = [tuple(nudge(v, rng) for v in row) for row in rng.sample(offered, cut)]
    ties = (TieClass(tuple(offered), cut),)
    for candidate in (other, shuffled):
        if len(candidate) == cut:
            expected = everything_tried(offered, candidate)
            gold = table(*offered[:cut])
            assert same_for_robust(gold, table(*candidate), ordered=True, ties=ties).same is expected


def everything_tried(offered: list[Row], candidate: list[Row]) -> bool:
    return any(
        all(agree(a, row[at]) for a_row, row in zip(rows, candidate, strict=True)
            for a, at in zip(a_row, order, strict=True))
        for order in itertools.permutations(range(len(offered[0])))
        for rows in itertools.permutations(offered, len(candidate))
    )  # fmt: skip


def agree(a: Value, b: Value) -> bool:
    if isinstance(a, str) or isinstance(b, str) or a == b:
        return a == b
    assert isinstance(a, int | float) and isinstance(b, int | float)
    return not (a == int(a) and b == int(b)) and abs(a - b) <= 1e-6 * max(a, b)


def nudge(value: Value, rng: random.Random) -> Value:
    return value * (1 + rng.uniform(-1e-7, 1e-7)) if isinstance(value, float) else value


def judged(database: Path, gold_sql: str, candidate_sql: str) -> tuple[RobustComparison, list[str]]:
    """Judge, and return what was run for gold too."""
    ran: list[str] = []

    def run_gold(sql: str) -> Ending:
        ran.append(sql)
        return run_query(database, sql, limits=LIMITS)

    def run_candidate(sql: str) -> Ending:
        return run_query(database, sql, limits=LIMITS)

    return judge_robust(gold_sql, candidate_sql, run_gold=run_gold, run_candidate=run_candidate), ran


@pytest.mark.parametrize(
    ("gold_sql", "candidate_sql", "allowances"),
    [
        pytest.param("SELECT market_value FROM item", "SELECT market_value FROM item;", set(), id="value"),
        pytest.param(
            "SELECT DISTINCT market_value FROM item", "SELECT market_value FROM item", None, id="distinct"
        ),
        pytest.param(
            "SELECT name FROM item ORDER BY price DESC LIMIT 1",
            "SELECT name FROM item WHERE id = 3",
            {TIES},
            id="another-of-the-dearest",
        ),
        pytest.param(
            "SELECT name FROM item ORDER BY price DESC LIMIT 1",
            "SELECT name FROM item WHERE price = 2.5",
            None,
            id="all-of-the-dearest",
        ),
        pytest.param(
            "SELECT name FROM item ORDER BY price DESC LIMIT 1",
            "SELECT name FROM item ORDER BY price LIMIT 1",
            None,
            id="the-cheapest",
        ),
        pytest.param(
            "SELECT DISTINCT name FROM item ORDER BY price DESC LIMIT 1",
            "SELECT name FROM item WHERE id = 3",
            None,
            id="order-not-understood",
        ),
        pytest.param(
            "SELECT name FROM item WHERE id IN (SELECT id FROM item ORDER BY price LIMIT 2)",
            "SELECT name FROM item WHERE id < 3 ORDER BY id DESC",
            set(),
            id="order-of-a-subquery",
        ),
        pytest.param(
            "SELECT sum(price) / 3 FROM item", "SELECT avg(price) + 1e-12 FROM item", {NUMBERS}, id="rounding"
        ),
    ],
)
def test_two_queries_are_judged(
    shop: Path, gold_sql: str, candidate_sql: str, allowances: set[Allowance] | None
) -> None:
    comparison, _ = judged(shop, gold_sql, candidate_sql)
    assert comparison.match == (allowances is not None, frozenset(allowances or ()))


@pytest.mark.parametrize(
    ("candidate_sql", "runs"),
    [
        pytest.param("SELECT name FROM item ORDER BY price", 1, id="same-anyway"),
        pytest.param("SELECT name FROM item LIMIT 2", 1, id="another-size"),
        pytest.param("SELECT name FROM item ORDER BY id DESC", 2, id="perhaps-ties"),
    ],
)
def test_ties_are_asked_for_only_where_they_can_matter(shop: Path, candidate_sql: str, runs: int) -> None:
    _, ran = judged(shop, "SELECT name FROM item ORDER BY price", candidate_sql)
    assert len(ran) == runs


def test_a_query_that_fails_leaves_nothing_to_compare(shop: Path) -> None:
    comparison, _ = judged(shop, "SELECT nothing FROM item", "SELECT 1")
    assert isinstance(comparison.gold, SqlError)
    assert (comparison.candidate, comparison.match) == (None, None)
    comparison, _ = judged(shop, "SELECT 1", "SELECT nothing FROM item")
    assert isinstance(comparison.candidate, SqlError)
    assert comparison.match is None


def test_a_probe_that_fails_costs_only_the_ties(shop: Path) -> None:
    gold_sql = "SELECT name FROM item ORDER BY price DESC"

    def run_gold(sql: str) -> Ending:
        return run_query(shop, sql, limits=LIMITS) if sql == gold_sql else Timeout(5)

    comparison = judge_robust(
        gold_sql,
        "SELECT name FROM item ORDER BY id DESC",
        run_gold=run_gold,
        run_candidate=lambda sql: run_query(shop, sql, limits=LIMITS),
    )
    assert comparison.match == (False, frozenset())


IN_A_SUBQUERY = "SELECT name FROM item WHERE id IN (SELECT id FROM item ORDER BY id)"
CAUSES = {  # id: gold, candidate, official verdict, cause
    "none": ("SELECT id FROM item", "SELECT id FROM item", True, None),
    "value": ("SELECT market_value FROM item", "SELECT market_value FROM item", False, Cause.VALUE_REWRITING),
    "value-of-no-matter": ("SELECT 2", "SELECT 1 WHERE 'value' = '2'", False, None),
    "distinct": ("SELECT DISTINCT price FROM item", "SELECT price FROM item", True, Cause.DISTINCT_STRIPPED),
    "distinct-done-otherwise": (
        "SELECT DISTINCT price FROM item",
        "SELECT price FROM item GROUP BY price",
        False,
        Cause.DISTINCT_STRIPPED,
    ),
    "order-overlooked": (
        "SELECT name FROM item ORDER\nBY id",
        "SELECT name FROM item ORDER BY name",
        True,
        Cause.ORDER_RULE,
    ),
    "order-inside": (IN_A_SUBQUERY, "SELECT name FROM item ORDER BY name", False, Cause.ORDER_RULE),
    "ties": ("SELECT id FROM item ORDER BY price DESC LIMIT 1", "SELECT 3", False, Cause.TIES),
    "ties-and-distinct": (
        "SELECT name FROM item ORDER BY price DESC LIMIT 1",
        "SELECT DISTINCT 'pad'",
        False,
        Cause.TIES,
    ),
    "rounding": ("SELECT 0.3", "SELECT 0.1 + 0.2", False, Cause.NUMBER_TOLERANCE),
    "empty": ("SELECT 1 WHERE 0", "SELECT 1, 2 WHERE 0", True, Cause.EMPTY_COLUMNS),
    "operator-in-a-text": ("SELECT '> ='", "SELECT '>='", True, Cause.OTHER),
}


@pytest.mark.parametrize(("gold_sql", "candidate_sql", "official", "cause"), CAUSES.values(), ids=CAUSES)
def test_the_cause_of_two_verdicts_is_named(
    shop: Path, gold_sql: str, candidate_sql: str, official: bool, cause: Cause | None
) -> None:
    def run_officially(sql: str) -> Ending:
        prepared = sql.replace("DISTINCT", "").replace("> =", ">=")
        return run_query(shop, prepared, limits=LIMITS)

    endings = OfficialEndings(
        same=official,
        gold=run_officially(gold_sql),
        candidate=run_officially(candidate_sql.replace("value", "1")),
        unrewritten=run_officially(candidate_sql),
    )
    comparison, _ = judged(shop, gold_sql, candidate_sql)
    assert why_they_differ(endings, comparison, gold_sql=gold_sql, candidate_sql=candidate_sql) is cause
