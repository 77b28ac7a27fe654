"""Intervals and paired tests, against numbers worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense.evaluation.aggregate import mcnemar_exact, mean_with_interval, paired_difference


def test_no_values_have_no_mean() -> None:
    assert mean_with_interval([], seed=0) is None
    assert paired_difference([], [], seed=0) is None


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert mean_with_interval([1, 1, 1], seed=0) == (1.0, 1.0, 1.0, 3)


def test_interval_is_that_of_the_normal_distribution() -> None:
    # 400 values of mean 0.75: standard error sqrt(0.75 * 0.25 / 400) = 0.02165, times 1.96 = 0.0424
    estimate = mean_with_interval([1, 1, 1, 0] * 100, seed=1)
    assert estimate is not None
    assert estimate.mean == 0.75
    assert math.isclose(estimate.low, 0.75 - 0.0424, abs_tol=0.004)
    assert math.isclose(estimate.high, 0.75 + 0.0424, abs_tol=0.004)


def test_the_interval_of_rights_and_wrongs_is_the_binomials() -> None:
    # 2 of 4: the counts 0..4 come with 1, 4, 6, 4, 1 of 16; 1/16 > 0.025, and 15/16 < 0.975
    assert mean_with_interval([1, 0, 1, 0], seed=0) == (0.5, 0.0, 1.0, 4)
    # 1 of 20: none with 0.95 ** 20 = 0.358; up to 2 with 0.925, up to 3 with 0.984
    assert mean_with_interval([1] + [0] * 19, seed=0) == (0.05, 0.0, 0.15, 20)


def test_seed_decides_where_values_are_degrees() -> None:
    values = [0.1 * n**0.5 for n in range(35)]
    assert mean_with_interval(values, seed=3) == mean_with_interval(values, seed=3)
    assert mean_with_interval(values, seed=3) != mean_with_interval(values, seed=4)


@given(st.lists(st.integers(0, 1), min_size=1, max_size=30))
def test_interval_holds_values_between_the_extremes(values: list[int]) -> None:
    estimate = mean_with_interval(values, seed=0, resamples=200)
    assert estimate is not None
    assert min(values) <= estimate.low <= estimate.high <= max(values)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [
        pytest.param(0, 0, 1.0, id="no difference"),
        pytest.param(1, 0, 1.0, id="one question proves nothing"),
        pytest.param(5, 0, 2 / 32, id="five to none"),
        pytest.param(1, 7, 2 * (1 + 8) / 256, id="seven to one"),
        pytest.param(4, 4, 1.0, id="a draw"),
    ],
)
def test_mcnemar_counts_coin_tosses(only_a: int, only_b: int, p_value: float) -> None:
    assert mcnemar_exact(only_a, only_b) == p_value == mcnemar_exact(only_b, only_a)


def test_many_questions_do_not_overflow() -> None:
    assert 0 <= mcnemar_exact(3000, 4000) < 1e-20


def test_difference_is_paired() -> None:
    # a is right where b is wrong on 5 of 10 questions, never the other way round
    difference = paired_difference([1] * 10, [1, 0] * 5, seed=0)
    assert difference is not None
    assert (difference.mean, difference.n, difference.p_value) == (0.5, 10, 2 / 32)
    assert 0 < difference.low < 0.5 < difference.high < 1


def test_scores_of_other_questions_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="a has 1 scores and b has 2"):
        paired_difference([1], [1, 0], seed=0)
