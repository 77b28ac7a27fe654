"""Means of scores with their uncertainty, and the difference of two systems on the same questions.

Questions are drawn as if they were independent. Those of one database are not quite, so an interval speaks of
other questions about these databases, and is too narrow for other databases.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import comb, exp, lgamma, log
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 10_000  # on 1,000 questions another seed then moves an end by less than 0.1 points
DRAWS_AT_ONCE = 1_000_000  # 8 MB of indices
TAILS = (0.025, 0.975)


class Estimate(NamedTuple):
    """A mean over `n` questions with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


class Difference(NamedTuple):
    """The mean of a - b over `n` questions, its 95 % interval, and the p-value of McNemar's exact test."""

    mean: float
    low: float
    high: float
    n: int
    p_value: float


def mean_with_interval(values: Sequence[float], *, seed: int, resamples: int = RESAMPLES) -> Estimate | None:
    """Take the mean and its 95 % percentile bootstrap interval; None where there are no values.

    Values of 0 and 1 need no resampling: what the bootstrap draws is binomial, and its quantiles are known.
    So the interval is that of endless resamples, and `seed` plays no part.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    if not values:
        return None
    mean = sum(values) / len(values)
    if all(value in (0, 1) for value in values):
        low, high = (
            _binomial_quantile(round(sum(values)), len(values), tail) / len(values) for tail in TAILS
        )
    else:
        low, high = _resampled_interval(values, seed=seed, resamples=resamples)
    return Estimate(mean=mean, low=low, high=high, n=len(values))


def paired_difference(
    a: Sequence[float], b: Sequence[float], *, seed: int, resamples: int = RESAMPLES
) -> Difference | None:
    """Compare two systems question by question, a - b; None where there are no questions.

    `a[i]` and `b[i]` are the scores of one question.
    """
    if len(a) != len(b):
        raise ValueError(f"a has {len(a)} scores and b has {len(b)}; they must be of the same questions")
    differences = [x - y for x, y in zip(a, b, strict=True)]
    estimate = mean_with_interval(differences, seed=seed, resamples=resamples)
    if estimate is None:
        return None
    better, worse = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    return Difference(*estimate, p_value=mcnemar_exact(better, worse))


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Args:
        only_a: how many questions a alone has right.
        only_b: how many questions b alone has right.

    >>> mcnemar_exact(0, 3)
    0.25
    >>> mcnemar_exact(2, 2)
    1.0
    """
    n = only_a + only_b
    tail: int = sum(comb(n, k) for k in range(min(only_a, only_b) + 1))
    return min(1.0, float(Fraction(2 * tail, 2**n)))


def _binomial_quantile(successes: int, n: int, tail: float) -> int:
    """Return the least count whose cumulative probability reaches `tail`, for n draws at successes / n."""
    if successes in (0, n):
        return successes
    log_odds = log(successes) - log(n - successes)
    log_start = n * (log(n - successes) - log(n))
    total = 0.0
    for count in range(n + 1):
        log_ways = lgamma(n + 1) - lgamma(count + 1) - lgamma(n - count + 1)
        total += exp(log_start + log_ways + count * log_odds)
        if total >= tail:
            return count
    return n


def _resampled_interval(values: Sequence[float], *, seed: int, resamples: int) -> tuple[float, float]:
    import numpy as np  # here, for it takes longer to load than a quick command takes to run

    means = _resampled_means(np.asarray(values, dtype=np.float64), seed=seed, resamples=resamples)
    low, high = np.quantile(means, TAILS)
    return float(low), float(high)


def _resampled_means(data: NDArray[np.float64], *, seed: int, resamples: int) -> NDArray[np.float64]:
    import numpy as np

    generator = np.random.default_rng(seed)
    rows = max(1, DRAWS_AT_ONCE // len(data))
    means = [
        data[generator.integers(len(data), size=(min(rows, resamples - start), len(data)))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(means)
