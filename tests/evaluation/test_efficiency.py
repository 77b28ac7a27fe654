"""VES and R-VES, against figures recorded from BIRD's scripts and numbers worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sense.evaluation.efficiency import (
    RepeatInterval,
    Spread,
    interval_over_repeats,
    r_ves,
    reward,
    spread,
    time_ratio,
    ves,
)
from sense.execution.timing import Times

RECORDED = Path(__file__).parents[1] / "conformance" / "bird.jsonl"
LINES = [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]
TIMED = [line for line in LINES if line["kind"] == "times"]
SCORES = [line for line in LINES if line["kind"] == "scores"]

seconds = st.floats(1e-6, 100)
pairs_of_times = st.lists(st.tuples(seconds, seconds), min_size=1, max_size=20)


@pytest.mark.parametrize("line", TIMED, ids=range(len(TIMED)))
def test_ratios_and_rewards_are_those_of_the_official_scripts(line: dict[str, Any]) -> None:
    ratio = time_ratio(line["gold_s"], line["candidate_s"])
    assert math.isclose(ratio, line["time_ratio"], rel_tol=1e-12)
    assert reward(ratio) == line["reward"]


@pytest.mark.parametrize("line", SCORES, ids=lambda line: f"{len(line['of'])}-questions")
def test_scores_are_those_of_the_official_scripts(line: dict[str, Any]) -> None:
    ratios = [
        0.0 if at is None else time_ratio(TIMED[at]["gold_s"], TIMED[at]["candidate_s"]) for at in line["of"]
    ]
    assert ves(ratios) == pytest.approx(line["ves"], rel=1e-12)
    assert r_ves(ratios) == pytest.approx(line["r_ves"], rel=1e-12)


def test_the_recorded_times_have_every_reward() -> None:
    assert len(TIMED) >= 40
    assert {line["reward"] for line in TIMED} == {0, 0.25, 0.5, 0.75, 1, 1.25}


@pytest.mark.parametrize(
    ("gold_s", "candidate_s", "expected"),
    [
        pytest.param([3, 5], [1, 1], 4, id="mean-of-ratios"),
        pytest.param([1, 9], [1, 1.5], 3.5, id="not-ratio-of-means"),
        pytest.param([1] * 5, [2] * 5, 0, id="no-deviation-keeps-nothing"),
        pytest.param([1], [2], 0, id="one-repeat-has-no-deviation"),
        pytest.param([], [], 0, id="no-repeats"),
        pytest.param([1, 2], [0, 1], 0, id="candidate-that-took-no-time"),
        # Mean 2 and deviation 3 for the first: 11 is not below 2 + 9.
        pytest.param([1] * 9 + [11], [1] * 10, 1, id="three-deviations-are-an-outlier"),
        pytest.param([1] * 8 + [2, 11], [1] * 10, 2.1, id="less-than-three-are-not"),
    ],
)
def test_ratio_without_outliers(gold_s: list[float], candidate_s: list[float], expected: float) -> None:
    assert math.isclose(time_ratio(gold_s, candidate_s), expected)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0, 0),
        (1e-9, 0.25),
        (0.25, 0.5),
        (0.5, 0.75),
        (0.999, 0.75),
        (1, 1),
        (1.999, 1),
        (2, 1.25),
        (99, 1.25),
    ],
)
def test_a_boundary_belongs_to_the_better_band(ratio: float, expected: float) -> None:
    assert reward(ratio) == expected


def test_scores_are_over_all_questions() -> None:
    assert ves([4.0, 0.0]) == 100  # sqrt(4) and a wrong candidate
    assert r_ves([1.0, 0.0, 0.25, 0.0]) == pytest.approx(100 * (1 + math.sqrt(0.5)) / 4)
    assert ves([]) is None and r_ves([]) is None


def test_spread_is_of_single_repeats() -> None:
    assert spread([1, 2, 3, 4, 50], [1] * 5) == Spread(1, 2, 3, 4, 50)
    assert spread([], []) is None


def test_repeats_that_differ_little_leave_a_narrow_interval() -> None:
    close = Times((1.0, 1.01, 0.99, 1.0), (1.0,) * 4)
    wide = Times((0.25, 4.0, 0.25, 4.0), (1.0,) * 4)
    narrow, broad = (interval_over_repeats([times], "ves", seed=0) for times in (close, wide))
    assert narrow is not None and broad is not None
    assert 99 <= narrow.low <= 100 <= narrow.high <= 101
    # All four draws alike, as one time in eight: sqrt(0.25) and sqrt(4).
    assert broad == RepeatInterval(50, 200)


def test_interval_of_rewards_shows_a_ratio_beside_a_boundary() -> None:
    at_the_edge = Times((0.9, 1.1, 0.9, 1.1), (1.0,) * 4)
    interval = interval_over_repeats([at_the_edge, None], "r_ves", seed=0)
    assert interval == pytest.approx((100 * math.sqrt(0.75) / 2, 50))


def test_wrong_candidates_have_no_spread() -> None:
    assert interval_over_repeats([None, None], "r_ves", seed=0) == (0, 0)
    assert interval_over_repeats([], "ves", seed=0) is None


def test_seed_decides() -> None:
    times = Times((1.0, 2.0, 3.0), (1.0, 1.5, 0.7))
    first, again, other = (interval_over_repeats([times] * 5, "ves", seed=seed) for seed in (3, 3, 4))
    assert first == again != other


@settings(max_examples=100)
@given(pairs_of_times)
def test_ratio_lies_between_those_of_the_repeats(pairs: list[tuple[float, float]]) -> None:
    gold_s, candidate_s = zip(*pairs, strict=True)
    ratio, ends = time_ratio(gold_s, candidate_s), spread(gold_s, candidate_s)
    assert ends is not None
    assert ratio == 0 or ends.minimum * (1 - 1e-12) <= ratio <= ends.maximum * (1 + 1e-12)


@settings(max_examples=100)
@given(pairs_of_times)
def test_four_times_as_fast_is_twice_the_score(pairs: list[tuple[float, float]]) -> None:
    gold_s, candidate_s = zip(*pairs, strict=True)
    slow = ves([time_ratio(gold_s, candidate_s)])
    fast = ves([time_ratio(gold_s, [value / 4 for value in candidate_s])])
    assert slow is not None and fast == pytest.approx(2 * slow)
