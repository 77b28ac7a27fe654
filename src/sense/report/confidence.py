"""Whether a model knows when it is right: how often a right query is more probable to it than another."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from sense.evaluation.aggregate import TAILS, Estimate


class Confidence(NamedTuple):
    """Log-probabilities of one question's queries, the right ones and the others."""

    right: Sequence[float]
    other: Sequence[float]


def auc(right: Sequence[float], other: Sequence[float]) -> float | None:
    """Return how often a right query has the higher log-probability, a tie for half; None if a side is empty.

    >>> auc([-1.0, -3.0], [-2.0, -3.0])
    0.625
    """
    if not right or not other:
        return None
    ordered = sorted(other)
    below = sum(bisect_left(ordered, value) + bisect_right(ordered, value) for value in right)
    return below / (2 * len(right) * len(other))


def within(questions: Sequence[Confidence]) -> list[float]:
    """Compare the queries of one question only: the AUC of each that has both kinds."""
    return [area for each in questions if (area := auc(each.right, each.other)) is not None]


def pooled(questions: Sequence[Confidence], *, seed: int, resamples: int) -> Estimate | None:
    """Compare queries of all questions, with an interval from drawing questions; None where a side is empty.

    A draw without right queries, or with nothing else, counts for nothing. `n` is the number of questions.

    Source: Fawcett, An introduction to ROC analysis (2006); Efron and Tibshirani, An Introduction
    to the Bootstrap (1993), section 13.3.
    """
    area = auc([v for each in questions for v in each.right], [v for each in questions for v in each.other])
    if area is None:
        return None
    import numpy as np  # here, for it takes longer to load than a quick command takes to run

    right = [(value, at) for at, each in enumerate(questions) for value in each.right]
    other = [(value, at) for at, each in enumerate(questions) for value in each.other]
    values, place = np.unique([value for value, _ in right + other], return_inverse=True)
    right_place, other_place = place[: len(right)], place[len(right) :]
    right_owner, other_owner = (np.array([at for _, at in side]) for side in (right, other))
    generator = np.random.default_rng(seed)
    areas = []
    for _ in range(resamples):
        drawn = np.bincount(generator.integers(len(questions), size=len(questions)), minlength=len(questions))
        rights = np.bincount(right_place, weights=drawn[right_owner], minlength=len(values))
        others = np.bincount(other_place, weights=drawn[other_owner], minlength=len(values))
        pairs = rights.sum() * others.sum()
        if pairs:
            areas.append(float(rights @ (np.cumsum(others) - others / 2) / pairs))
    low, high = np.quantile(areas, TAILS) if areas else (area, area)
    return Estimate(mean=area, low=float(low), high=float(high), n=len(questions))
