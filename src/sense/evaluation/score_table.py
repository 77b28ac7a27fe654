"""The summary of `score` as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sense.evaluation.metrics import METRICS, Metric

PARTS = {
    "by_hardness": "hardness",
    "by_group": "databases seen in training, or new",
    "by_database": "database",
    "by_feature": "SQL feature of the gold query",
}
RULES = {"spider": "Spider's rule", "bird": "BIRD's rule", "own": "the rule for own data"}


def table(summary: Mapping[str, Any]) -> str:
    """Write every part's means with their 95 % intervals, then what else there is to say."""
    others: list[Metric] = list(summary.get("metrics", {}))
    name = summary["metric"]
    rows = [_row("all", summary, others)]
    for part, title in PARTS.items():
        if part in summary:
            rows += [[], [title]]
            rows += [_row("  " + key, value, others) for key, value in summary[part].items()]
    head = ["", "questions", name, "95 % interval"]
    for metric in others:
        head += [METRICS[metric].title, "95 % interval"]
    lines = [f"{name} on split {summary['split']!r} by {RULES[summary['benchmark']]} ({summary['rule']})", ""]
    lines += _aligned([head, *rows])
    lines += ["", "endings: " + _listed(summary["reasons"])]
    if summary["unscored"]:
        lines.append(f"unscored, for their gold query fails: {summary['unscored']} of {summary['n']}")
    if "official_and_robust_differ" in summary:
        counts = summary["official_and_robust_differ"]
        lines.append(f"official and robust differ on {sum(counts.values())}: {_listed(counts) or 'none'}")
    for metric, found in summary.get("timing", {}).items():
        lines.append(f"{METRICS[metric].title}: {_timing(found)}")
    if "against" in summary:
        lines.append(_against(summary["against"]))
    return "\n".join(lines)


def _row(name: str, part: Mapping[str, Any], others: Sequence[Metric]) -> list[str]:
    row = [name, str(part["n"]), *_cells(part["ex"], part["interval"], 100.0)]
    for metric in others:
        found = part["metrics"][metric]
        row += _cells(found["mean"], found["interval"], METRICS[metric].scale)
    return row


def _cells(mean: float | None, interval: Sequence[float] | None, scale: float) -> list[str]:
    if mean is None or interval is None:
        return ["-", ""]
    return [f"{scale * mean:.1f}", f"{scale * interval[0]:.1f} to {scale * interval[1]:.1f}"]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    full = [row for row in rows if len(row) > 1]
    widths = [max(len(row[column]) for row in full) for column in range(len(full[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())


def _timing(found: Mapping[str, Any]) -> str:
    interval = found["interval_over_repeats"]
    width = found["median_interquartile_range_of_ratios"]
    if interval is None or width is None:
        return "nothing was timed"
    return (
        f"{found['repeats']} repeats; other repeats would give {interval[0]:.1f} to {interval[1]:.1f}; "
        f"half of a question's time ratios lie within {width:.2f} (median over questions)"
    )


def _against(found: Mapping[str, Any]) -> str:
    if found["difference"] is None:
        return f"against {found['predictions']}: no question is scored in both"
    low, high = (100 * end for end in found["interval"])
    return (
        f"against {found['predictions']} ({100 * found['ex']:.1f}): {100 * found['difference']:+.1f} points "
        f"[{low:+.1f}, {high:+.1f}], McNemar p = {found['p_value']:.2g}; {found['gained']} gained, "
        f"{found['lost']} lost of {found['n']} (flips.jsonl)"
    )
