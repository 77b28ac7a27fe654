"""The page's pictures as inline SVG, drawn by matplotlib (an optional extra) and colored by the page's CSS.

Colors are drawn as stand-ins and then named as CSS variables, so that a picture follows light and dark mode.
"""

from __future__ import annotations

import html
import io
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

from sense.errors import ConfigError
from sense.report.tables import Column

INK, MUTED, RULE, PAPER = "#010001", "#010002", "#010003", "#010004"
SERIES = ("#010011", "#010012", "#010013", "#010014", "#010015", "#010016")
LINES = (SERIES[2], SERIES[1])  # of one plot
MARKERS = ("o", "s", "D", "^", "v", "P")
CSS_NAMES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", PAPER: "--paper"} | {
    color: f"--series-{number}" for number, color in enumerate(SERIES, start=1)
}
STYLE = {
    "svg.fonttype": "none",  # text stays text: the page's fonts, selectable, small
    "font.size": 10,
    "text.parse_math": False,  # a dollar sign is a dollar sign
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.axisbelow": True,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}
TICK_EVERY = 20  # percent
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
SMOOTH_FROM = 40  # points; below, every point is seen by itself
SMOOTH_SHARE = 20  # the running mean is over this part of the curve
BINS = 24
SHOWN_SHARE = (
    0.99  # of the values; the few beyond would make all others a thin line, and stand in the last bin
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line of a plot. A value of None is a gap."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Lines that share their axes."""

    title: str
    curves: Sequence[Curve]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How values of several series are spread, each series as shares of its own values."""

    title: str
    x_label: str
    series: Mapping[str, Sequence[float]]


def check_matplotlib() -> None:
    """Raise ConfigError where matplotlib is not installed, before any work is done."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigError(
            'the report draws with matplotlib, which is not installed: pip install "sense-sql[report]"'
        ) from None


def interval_chart(
    columns: Sequence[Column], models: Sequence[str], *, metric: str, name: str = "intervals"
) -> str:
    """Draw every model's share with its interval, one row per column of a table.

    Args:
        columns: what to draw.
        models: the names that the columns have cells of, in order.
        metric: what is shared, for who hears the page.
        name: sets the ids inside this SVG apart from those of others on the page.
    """
    spoken = "; ".join(
        f"{column.label}: "
        + ", ".join(
            f"{model} {100 * cell.ex:.1f} %" for model, cell in column.cells.items() if cell is not None
        )
        for column in columns
    )
    return _draw(
        partial(_paint_intervals, columns=columns, models=models),
        size=(5.4, 0.5 + 0.12 * len(columns) * (len(models) + 1)),
        name=name,
        label=f"{metric} with 95 % intervals. {spoken}",
    )


def line_plot(plot: Plot, *, name: str) -> str:
    """Draw curves over training steps; of a long curve its running mean, with the raw values behind it.

    Args:
        plot: what to draw.
        name: sets the ids inside this SVG apart from those of others on the page.
    """
    spoken = "; ".join(
        f"{curve.label} from {curve.values[0]:.3g} to {curve.values[-1]:.3g}" for curve in plot.curves
    )
    steps = max(curve.steps[-1] for curve in plot.curves)
    return _draw(
        partial(_paint_lines, plot=plot),
        size=(3.5, 2.3),
        name=name,
        label=f"{plot.title} over {steps:.0f} steps: {spoken}",
    )


def histogram(plot: Histogram, *, name: str) -> str:
    """Draw how values are spread; series without values are left out.

    Args:
        plot: what to draw; some series has values.
        name: sets the ids inside this SVG apart from those of others on the page.
    """
    spoken = "; ".join(
        f"{label} {median(values):.3g} (n = {len(values)})" for label, values in plot.series.items() if values
    )
    return _draw(
        partial(_paint_histogram, plot=plot),
        size=(3.5, 2.3),
        name=name,
        label=f"{plot.title}, {plot.x_label}, medians: {spoken}",
    )


def bin_edges(values: Sequence[float], *, bins: int = BINS) -> list[float]:
    """Cut the range of most values into bins; the few far out at either end are left beyond.

    Values that are whole numbers get bins as wide as whole numbers, so that none looks fuller than another.

    >>> bin_edges([0.0, 1.0, 2.0, 3.0], bins=2)
    [-0.5, 1.5, 3.5]
    """
    ordered = sorted(values)
    beyond = int(len(ordered) * (1 - SHOWN_SHARE))
    low, high = ordered[beyond], ordered[len(ordered) - 1 - beyond]
    if all(value == int(value) for value in ordered):
        step = math.ceil((high - low + 1) / bins)
        return [low - 0.5 + step * at for at in range(math.ceil((high - low + 1) / step) + 1)]
    width = (high - low or 1.0) / bins
    return [low + width * at for at in range(bins + 1)]


def shares_in_bins(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    """Return the share of values in each bin; what lies beyond the first or last edge counts there.

    >>> shares_in_bins([-9.0, 0.5, 1.5, 9.0], [0.0, 1.0, 2.0])
    [0.5, 0.5]
    """
    inner = edges[1:-1]
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[bisect_right(inner, value)] += 1
    return [count / len(values) for count in counts]


def running_mean(values: Sequence[float], *, width: int) -> list[float]:
    """Average each value with its neighbors, fewer of them at both ends.

    >>> running_mean([0.0, 3.0, 6.0, 9.0], width=3)
    [1.5, 3.0, 6.0, 7.5]
    """
    half = width // 2
    windows = (values[max(0, at - half) : at + half + 1] for at in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def _paint_intervals(axes: Any, *, columns: Sequence[Column], models: Sequence[str]) -> None:
    height = len(models) + 1
    for row, column in enumerate(columns):
        top = -row * height
        if row:
            axes.axhline(top + 0.75, color=RULE, linewidth=0.5)
        for number, model in enumerate(models):
            cell = column.cells.get(model)
            if cell is None:
                continue
            color, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
            y = top - number - 0.25
            ends = [100 * cell.low, 100 * cell.high]
            axes.plot(ends, [y, y], color=color, linewidth=1.6, solid_capstyle="round")
            axes.plot([100 * cell.ex], [y], color=color, marker=marker, markersize=6, markeredgecolor=PAPER)
    middle = (len(models) - 1) / 2 + 0.25
    rows = [-row * height - middle for row in range(len(columns))]
    axes.set_yticks(rows, [column.label for column in columns])
    axes.set_ylim(-len(columns) * height + 0.75, 0.75)
    highest = max((cell.high for column in columns for cell in column.cells.values() if cell), default=1.0)
    end = max(TICK_EVERY, min(100, TICK_EVERY * math.ceil(100 * highest / TICK_EVERY)))
    ticks = range(0, end + 1, TICK_EVERY)
    axes.set_xlim(0, end)
    axes.set_xticks(ticks, [f"{tick} %" for tick in ticks])
    axes.grid(axis="x", color=RULE, linewidth=0.5)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.spines[["left", "bottom"]].set_visible(False)


def _paint_lines(axes: Any, *, plot: Plot) -> None:
    axes.set_title(plot.title, color=INK, loc="left")
    for number, curve in enumerate(plot.curves):
        color = LINES[number % len(LINES)]
        width = len(curve.values) // SMOOTH_SHARE if len(curve.values) >= SMOOTH_FROM else 1
        marker = "." if len(curve.values) == 1 else None
        if width > 1:
            axes.plot(curve.steps, curve.values, color=color, linewidth=0.8, alpha=0.3)
        smooth = running_mean(curve.values, width=width)
        axes.plot(curve.steps, smooth, color=color, linewidth=1.6, marker=marker, label=curve.label)
    axes.set_xlabel("step")
    axes.grid(axis="y", color=RULE, linewidth=0.5)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.02)
    axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
    if len(plot.curves) > 1:
        axes.legend(fontsize=9, ncols=2, handlelength=1.2)


def _paint_histogram(axes: Any, *, plot: Histogram) -> None:
    axes.set_title(plot.title, color=INK, loc="left")
    edges = bin_edges([value for values in plot.series.values() for value in values])
    for number, (label, values) in enumerate(plot.series.items()):
        if values:
            color = SERIES[number % len(SERIES)]
            heights = [100 * share for share in shares_in_bins(values, edges)]
            axes.stairs(heights, edges, color=color, fill=True, alpha=0.12)
            axes.stairs(heights, edges, color=color, linewidth=1.6, label=label)
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel("%")
    axes.grid(axis="y", color=RULE, linewidth=0.5)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.02)
    axes.legend(fontsize=9, handlelength=1.2)


def _draw(paint: Callable[[Any], None], *, size: tuple[float, float], name: str, label: str) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    file = io.StringIO()
    with rc_context(STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        paint(figure.add_subplot())
        figure.savefig(file, format="svg", metadata=NO_METADATA, transparent=True)
    return _inline(file.getvalue(), name=name, label=label)


def _inline(svg: str, *, name: str, label: str) -> str:
    """Turn an SVG file into an element: unique ids, no namespaces, the page's colors, a spoken label."""
    body = svg[svg.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', body)
    assert box is not None
    body = body[body.index(">") + 1 :]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body.replace("xlink:href", "href"))
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    for color, variable in CSS_NAMES.items():
        body = body.replace(color, f"var({variable})")
    return f'<svg {box.group()} role="img" aria-label="{html.escape(label, quote=True)}">{body.strip()}'
