"""BIRD's two scores of speed, the older VES and R-VES, from times that `execution.timing` measured.

Both are taken over all questions: a wrong candidate, or one that could not be timed, has a ratio of 0.
Times are noise as much as speed: no figure without its spread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sense.evaluation.aggregate import TAILS
from sense.execution.timing import Times

OUTLIER_SIGMAS = 3
# A ratio has the reward of its band; a boundary belongs to the band above it.
BOUNDARIES = (0.25, 0.5, 1.0, 2.0)
REWARDS = (0.25, 0.5, 0.75, 1.0, 1.25)
RESAMPLES = 2_000  # another seed then moves an end by a few hundredths of the interval

Metric = Literal["ves", "r_ves"]


class Spread(NamedTuple):
    """Where the ratios of single repeats lie, outliers included."""

    minimum: float
    low_quartile: float
    median: float
    high_quartile: float
    maximum: float


class RepeatInterval(NamedTuple):
    """A 95 % interval of a score for other repeats of the same queries on the same machine."""

    low: float
    high: float


def time_ratio(gold_times_s: Sequence[float], candidate_times_s: Sequence[float]) -> float:
    """Return the mean of gold time over candidate time without outliers; a faster candidate is above 1.

    Kept is what lies within three standard deviations of the mean, the ends left out. So where all ratios are
    equal, one repeat included, none is kept; then, as with a candidate that took no time, the ratio is 0.
    Up to ten repeats have no outliers: nothing can be so far from the mean.

    >>> time_ratio([3.0, 5.0], [1.0, 1.0])
    4.0
    >>> time_ratio([3.0], [1.0])
    0.0

    Source: AlibabaResearch/DAMO-ConvAI, bird/llm/src/evaluation_ves.py, and bird-bench/mini_dev,
        evaluation_ves.py, both iterated_execute_sql and clean_abnormal.
    """
    kept = _kept_ratios(gold_times_s, candidate_times_s)
    return sum(kept) / len(kept) if kept else 0.0


def reward(ratio: float) -> float:
    """Return the reward of a time ratio: 0 for 0, else 0.25 to 1.25.

    >>> [reward(ratio) for ratio in (0, 0.1, 0.25, 0.99, 1, 2)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]

    Source: bird-bench/mini_dev, evaluation_ves.py, iterated_execute_sql.
    """
    return float(_rewards(np.asarray(ratio)))


def ves(ratios: Sequence[float]) -> float | None:
    """Return 100 times the mean root of the time ratios; None where there are no questions.

    Source: AlibabaResearch/DAMO-ConvAI, bird/llm/src/evaluation_ves.py, compute_ves.
    """
    return sum(math.sqrt(ratio) * 100 for ratio in ratios) / len(ratios) if ratios else None


def r_ves(ratios: Sequence[float]) -> float | None:
    """Return 100 times the mean root of the rewards; None where there are no questions.

    The root is in the script alone; the formula printed beside it has the rewards themselves.

    Source: bird-bench/mini_dev, evaluation_ves.py, compute_ves.
    """
    return ves([reward(ratio) for ratio in ratios])


def spread(gold_times_s: Sequence[float], candidate_times_s: Sequence[float]) -> Spread | None:
    """Describe the ratios of the single repeats; None where there are none, or a candidate took no time."""
    ratios = _ratios(gold_times_s, candidate_times_s)
    return Spread(*map(float, np.quantile(ratios, (0, 0.25, 0.5, 0.75, 1)))) if ratios else None


def interval_over_repeats(
    questions: Sequence[Times | None], metric: Metric, *, seed: int, resamples: int = RESAMPLES
) -> RepeatInterval | None:
    """Draw the repeats of each question anew, and take the 95 % percentile interval of the score.

    Drawn are the repeats that `time_ratio` keeps: to clean each draw again would turn a draw of equal ratios
    to 0, which real times never are. None in `questions` is a question with a ratio of 0; the result is None
    where there are no questions. How few questions there are is no part of it.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    if not questions:
        return None
    generator = np.random.default_rng(seed)
    totals = np.zeros(resamples)
    for times in questions:
        kept = np.asarray(_kept_ratios(times.gold_s, times.candidate_s) if times else [], dtype=np.float64)
        if len(kept):
            means = kept[generator.integers(len(kept), size=(resamples, len(kept)))].mean(axis=1)
            totals += 100 * np.sqrt(means if metric == "ves" else _rewards(means))
    low, high = np.quantile(totals / len(questions), TAILS)
    return RepeatInterval(float(low), float(high))


def _ratios(gold_times_s: Sequence[float], candidate_times_s: Sequence[float]) -> list[float]:
    pairs = list(zip(gold_times_s, candidate_times_s, strict=True))
    return [gold / candidate for gold, candidate in pairs] if all(candidate_times_s) else []


def _kept_ratios(gold_times_s: Sequence[float], candidate_times_s: Sequence[float]) -> list[float]:
    ratios = _ratios(gold_times_s, candidate_times_s)
    if not ratios:
        return []
    mean, deviation = float(np.mean(ratios)), float(np.std(ratios))
    low, high = mean - OUTLIER_SIGMAS * deviation, mean + OUTLIER_SIGMAS * deviation
    return [ratio for ratio in ratios if low < ratio < high]


def _rewards(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    bands = np.searchsorted(BOUNDARIES, ratios, side="right")
    return np.where(ratios == 0, 0.0, np.asarray(REWARDS)[bands])
