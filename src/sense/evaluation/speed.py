"""BIRD's VES and R-VES in `score`: time what is right, and show how far the figures can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from typing import Any

from sense.evaluation.efficiency import interval_over_repeats, reward, spread, time_ratio
from sense.evaluation.items import Item
from sense.execution.run import Limits
from sense.execution.timing import Clock, TimeJob, Times, Timing, time_pairs
from sense.progress import meter
from sense.records import Score

CLOCKS: dict[str, Clock] = {"ves": "execute", "r_ves": "fetch"}


def with_speed(
    items: Sequence[Item], scores: Sequence[Score], *, metrics: Sequence[str], limits: Limits, repeats: int
) -> tuple[list[Score], dict[str, Any]]:
    """Add `ves` or `r_ves` to each score, 0 where it is wrong; return the spread of the times too.

    An item's value is 100 times the root of its time ratio (VES) or of its reward (R-VES).
    """
    found = list(scores)
    report: dict[str, Any] = {}
    right = [place for place, score in enumerate(scores) if score.ex == 1]
    jobs = [TimeJob(items[n].files[0], items[n].question.gold_sql, scores[n].sql) for n in right]
    for metric in metrics:
        with meter(metric, total=len(jobs)) as shown:
            timings = list(
                time_pairs(jobs, limits=limits, repeats=repeats, clock=CLOCKS[metric], on_done=shown.advance)
            )
        values = dict.fromkeys(range(len(found)), 0.0)
        for place, timing in zip(right, timings, strict=True):
            values[place] = _value(metric, timing)
        for place, value in values.items():
            if scores[place].ex is not None:
                known = found[place]
                found[place] = replace(known, ves=value) if metric == "ves" else replace(known, r_ves=value)
        scored = sum(score.ex is not None for score in scores)
        report[metric] = {"repeats": repeats} | _spread(metric, timings, scored)
    return found, {"timing": report}


def _value(metric: str, timing: Timing) -> float:
    if not isinstance(timing, Times):
        return 0.0
    ratio = time_ratio(timing.gold_s, timing.candidate_s)
    return 100 * sqrt(ratio if metric == "ves" else reward(ratio))


def _spread(metric: str, timings: Sequence[Timing], scored: int) -> dict[str, Any]:
    """Say how much a score owes to chance: its interval over repeats, and the typical spread of one ratio."""
    times = [timing if isinstance(timing, Times) else None for timing in timings]
    wrong: list[Times | None] = [None] * (scored - len(times))
    interval = interval_over_repeats(times + wrong, "ves" if metric == "ves" else "r_ves", seed=0)
    spreads = [found for each in times if each and (found := spread(each.gold_s, each.candidate_s))]
    widths = sorted(found.high_quartile - found.low_quartile for found in spreads)
    return {
        "interval_over_repeats": None if interval is None else list(interval),
        "median_interquartile_range_of_ratios": widths[len(widths) // 2] if widths else None,
        "untimed": sum(each is None for each in times),
    }
