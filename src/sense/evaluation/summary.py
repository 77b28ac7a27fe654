"""The summary of scores: overall and by part, each mean with its interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sense.evaluation.aggregate import mean_with_interval
from sense.evaluation.metrics import METRICS, Metric
from sense.records import QuestionId, Score

LEVELS = ("easy", "medium", "hard", "extra", "simple", "moderate", "challenging")


def summarize(
    scores: Sequence[Score],
    *,
    metrics: Sequence[Metric],
    features: Mapping[QuestionId, Sequence[str]],
    seen: frozenset[str] | None,
    seed: int,
) -> dict[str, Any]:
    """Aggregate scores: overall, by hardness, database, SQL feature, and by seen and new databases if told.

    In each part `n` counts its questions, `scored` those that could be judged; `ex` is the mean over the
    latter, None where there are none. Other metrics stand in `metrics`, with their means as fractions,
    BIRD's two of speed as published. A question counts in each feature that its gold query has.
    """
    others = [metric for metric in METRICS if metric in metrics and metric != "ex"]

    def part(of: Sequence[Score]) -> dict[str, Any]:
        return _part(of, others, seed=seed)

    parts: dict[str, Any] = {
        "by_hardness": _in_order(_by(scores, lambda score: (score.hardness,), part)),
        "by_database": _by(scores, lambda score: (score.db_id,), part),
        "by_feature": _largest_first(_by(scores, lambda score: features[score.id], part)),
    }
    if seen is not None:
        parts["by_group"] = _by(scores, lambda score: ("seen" if score.db_id in seen else "new",), part)
    whole = part(scores)
    found = whole | {"unscored": whole["n"] - whole["scored"]} | parts
    found["reasons"] = _count(score.match for score in scores)
    if "robust" in others:
        found["official_and_robust_differ"] = _count(score.cause for score in scores if score.cause)
    return found


def _part(scores: Sequence[Score], others: Sequence[Metric], *, seed: int) -> dict[str, Any]:
    judged = [score.ex for score in scores if score.ex is not None]
    estimate = mean_with_interval(judged, seed=seed)
    part: dict[str, Any] = {
        "ex": None if estimate is None else estimate.mean,
        "interval": None if estimate is None else [estimate.low, estimate.high],
        "n": len(scores),
        "scored": len(judged),
    }
    if others:
        part["metrics"] = {metric: _mean(scores, metric, seed=seed) for metric in others}
    return part


def _mean(scores: Sequence[Score], metric: Metric, *, seed: int) -> dict[str, Any]:
    values = [value for score in scores if (value := getattr(score, metric)) is not None]
    estimate = mean_with_interval(values, seed=seed)
    if estimate is None:
        return {"mean": None, "interval": None, "scored": 0}
    return {"mean": estimate.mean, "interval": [estimate.low, estimate.high], "scored": estimate.n}


def _by(
    scores: Iterable[Score],
    keys: Callable[[Score], Iterable[str]],
    part: Callable[[Sequence[Score]], dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Score]] = {}
    for score in scores:
        for key in keys(score):
            groups.setdefault(key, []).append(score)
    return {name: part(group) for name, group in groups.items()}


def _in_order(parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Put levels from the easiest on, Spider's or BIRD's; others stay behind them."""
    return dict(
        sorted(parts.items(), key=lambda part: LEVELS.index(part[0]) if part[0] in LEVELS else len(LEVELS))
    )


def _largest_first(parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return dict(sorted(parts.items(), key=lambda part: -part[1]["n"]))


def _count(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())
