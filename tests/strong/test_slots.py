"""What questions are asked for, as data: slots, and quotas by what was measured."""

from __future__ import annotations

from collections import Counter

import pytest

from sense.databases.features import Feature
from sense.databases.hardness import Hardness
from sense.strong.slots import ASKED, Measured, Quotas, Style, can_be, first_slots, next_slots, short_of

EASY, MEDIUM, HARD, EXTRA = Hardness
EVEN = dict.fromkeys(Hardness, 0.2)


@pytest.mark.parametrize(
    ("features", "possible"),
    [
        pytest.param([], {EASY, MEDIUM, HARD, EXTRA}, id="nothing"),
        pytest.param([Feature.LIKE], {MEDIUM, HARD, EXTRA}, id="WHERE and LIKE count two"),
        pytest.param([Feature.TOP_ONE], {MEDIUM, HARD, EXTRA}, id="ORDER BY and LIMIT count two"),
        pytest.param([Feature.THREE_OR_MORE_JOINS], {HARD, EXTRA}, id="three joins"),
        pytest.param([Feature.UNION], {HARD, EXTRA}, id="nested"),
        pytest.param([Feature.UNION, Feature.SEVERAL_CONDITIONS], {EXTRA}, id="nested, and more"),
        pytest.param([Feature.IN_SUBQUERY, Feature.EXISTS], {EXTRA}, id="nested twice"),
    ],
)
def test_features_are_asked_for_where_the_hardness_allows_them(
    features: list[Feature], possible: set[Hardness]
) -> None:
    assert {level for level in Hardness if can_be(level, features)} == possible


def test_the_first_round_asks_for_each_hardness_as_often_and_for_what_is_possible() -> None:
    slots = first_slots(27, seed="1/0")
    assert [slot.number for slot in slots] == list(range(1, 28))
    assert sorted(Counter(slot.hardness for slot in slots).values()) == [6, 7, 7, 7]
    assert all(can_be(slot.hardness, slot.features) for slot in slots)
    assert slots == first_slots(27, seed="1/0") != first_slots(27, seed="1/1")


def test_forty_databases_are_asked_for_every_feature_and_style() -> None:
    slots = [slot for i in range(40) for slot in first_slots(27, seed=f"1/{i}")]
    asked = Counter(feature for slot in slots for feature in slot.features)
    assert min(asked[feature] for feature in ASKED) >= 5
    assert {slot.style for slot in slots} == set(Style)


def test_enough_of_everything_asks_for_nothing() -> None:
    measured = Measured(hardness=Counter(dict.fromkeys(Hardness, 10)), features=Counter({Feature.JOIN: 40}))
    quotas = Quotas(questions=40, hardness=EVEN, feature_minimum=0)
    assert short_of(measured, quotas) == []
    assert next_slots(measured, quotas, databases=["a"], seed="") == {}


def test_what_was_measured_counts_and_not_what_was_asked_for() -> None:
    """Of 9 easy, 9 medium and 9 hard ones, x extra ones are a fifth from x = 7 on: 27 + 7 = 34, 7 > 6.8."""
    measured = Measured(hardness=Counter({EASY: 9, MEDIUM: 9, HARD: 9}))
    short = short_of(measured, Quotas(questions=0, hardness=EVEN, feature_minimum=0))
    assert short == [(EXTRA, ())] * 9  # a quarter more, rounded up: some will be dropped


def test_missing_questions_go_to_the_hardness_with_the_fewest() -> None:
    measured = Measured(hardness=Counter({EASY: 3, MEDIUM: 2, HARD: 3, EXTRA: 3}))
    short = short_of(measured, Quotas(questions=12, hardness=EVEN, feature_minimum=0))
    assert short == [(MEDIUM, ())] * 2


def test_a_missing_feature_is_asked_for_at_a_hardness_that_is_short_too() -> None:
    measured = Measured(
        hardness=Counter({EASY: 9, MEDIUM: 9, HARD: 9}),
        features=Counter(dict.fromkeys(ASKED, 4)) - Counter({Feature.CTE: 4, Feature.DISTINCT: 1}),
    )
    short = short_of(measured, Quotas(questions=0, hardness=EVEN, feature_minimum=4))
    assert Counter(short) == {
        (EXTRA, (Feature.CTE,)): 5, (EXTRA, (Feature.DISTINCT,)): 2, (EXTRA, ()): 2
    }  # fmt: skip


def test_a_later_round_takes_the_databases_with_the_fewest_questions_and_few_requests() -> None:
    """Four of each other level are missing, so 3 * 5 are asked for, in two requests of up to nine."""
    measured = Measured(hardness=Counter({EASY: 8}), by_database=Counter({"a": 5, "b": 1, "c": 2}))
    quotas = Quotas(questions=16, hardness=EVEN, feature_minimum=0)
    slots = next_slots(measured, quotas, databases=["a", "b", "c"], seed="1")
    assert {name: len(own) for name, own in slots.items()} == {"b": 8, "c": 7}
    assert [slot.number for slot in slots["b"]] == list(range(1, 9))
