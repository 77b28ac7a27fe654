"""The headline table, out of a report's summary: for the page, and as text for a terminal."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

HARDNESS_ORDER = ("easy", "medium", "hard", "extra", "simple", "moderate", "challenging")  # Spider's, BIRD's
SIGNIFICANT_P = 0.05  # what a 95 % interval stands for
METRICS = {"EX": "Execution accuracy", "TS": "Test-suite accuracy"}
GROUP_LABELS = {"seen": "seen databases", "new": "new databases"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Execution accuracy as a share of `n` judged questions, with its 95 % interval."""

    ex: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One set of questions, and how each model does on it; None where no question of the set was judged."""

    label: str
    cells: Mapping[str, Cell | None]

    @property
    def shared_n(self) -> int | None:
        """How many questions every model was judged on, None if that differs between models."""
        counts = {cell.n if cell else 0 for cell in self.cells.values()}
        return counts.pop() if len(counts) == 1 else None


def headline(summary: Mapping[str, Any]) -> list[Column]:
    """Lay out a report's summary: overall, by hardness from easy to extra, by group of databases."""
    models = list(summary["ex"])
    overall = {
        model: _cell({"ex": ex, "interval": summary["intervals"][model], "scored": summary["scored"][model]})
        for model, ex in summary["ex"].items()
    }
    columns = [Column(label="overall", cells=overall)]
    for part, labels in (("by_hardness", {}), ("by_group", GROUP_LABELS)):
        for name, by_model in summary[part].items():
            cells = {model: _cell(by_model.get(model)) for model in models}
            columns.append(Column(label=labels.get(name, name), cells=cells))
    return columns


def text_table(summary: Mapping[str, Any]) -> str:
    """Write the headline table and the paired differences as plain text, to end a recipe with.

    A report on data alone has neither; its page shows all.
    """
    if "ex" not in summary:
        return ""
    columns = headline(summary)
    title = f"{metric_name(summary)} in %, with 95 % intervals"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_style="", title_justify="left")
    table.add_column("")
    for column in columns:
        count = "" if column.shared_n is None else f"\nn = {column.shared_n}"
        table.add_column(column.label.replace(" databases", " dbs") + count, justify="right")
    for model in summary["ex"]:
        table.add_row(model, *(_text(column.cells[model]) for column in columns))
    file = io.StringIO()
    width = 100 + 20 * len(
        columns
    )  # rich would cut numbers in a narrower one; the table is as wide as it needs
    Console(file=file, width=width, color_system=None, markup=False, highlight=False, emoji=False).print(
        table
    )
    lines = [line.rstrip().removeprefix(" ") for line in file.getvalue().splitlines()]
    lines += [f"{name}: {in_words(difference)}" for name, difference in summary["differences"].items()]
    return "\n".join(lines).strip("\n") + "\n"


def metric_name(summary: Mapping[str, Any]) -> str:
    """Spell the metric out.

    >>> metric_name({"metric": "TS"})
    'Test-suite accuracy'
    """
    return METRICS.get(summary["metric"], str(summary["metric"]))


def in_words(difference: Mapping[str, Any]) -> str:
    """Say what changed between two models on the same questions.

    >>> in_words({"mean": 0.012, "low": -0.02, "high": 0.041, "mcnemar_p": 0.7266, "gained": 5, "lost": 3})
    '+1.2 points [-2.0, +4.1]; 5 questions gained, 3 lost (McNemar p = 0.73)'
    """
    return (
        f"{points(difference['mean'])} points [{points(difference['low'])}, {points(difference['high'])}]; "
        f"{_count(difference['gained'], 'question')} gained, {difference['lost']} lost "
        f"(McNemar {p_value(difference['mcnemar_p'])})"
    )


def verdict(difference: Mapping[str, Any]) -> str:
    """Say what a paired difference's interval and exact test allow to conclude."""
    if difference["low"] <= 0 <= difference["high"]:
        return "undecided: the interval includes zero"
    if difference["mcnemar_p"] >= SIGNIFICANT_P:
        return "on the edge: the interval leaves zero out, McNemar's test does not reject it"
    return f"{'better' if difference['mean'] > 0 else 'worse'}: the interval leaves zero out"


def percent(share: float) -> str:
    """Write a share of 1 as a percentage with one decimal.

    >>> percent(0.4567)
    '45.7'
    """
    return f"{100 * share:.1f}"


def points(share: float) -> str:
    """Write a difference of shares in percentage points, with its sign unless it rounds to none.

    >>> points(0.012), points(-0.02), points(-0.0001)
    ('+1.2', '-2.0', '0.0')
    """
    rounded = round(100 * share, 1)
    if rounded == 0:
        return "0.0"
    return f"{rounded:+.1f}"


def p_value(p: float) -> str:
    """Write a p-value with two figures.

    >>> p_value(0.7266), p_value(0.00004)
    ('p = 0.73', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def in_order(names: Sequence[str], order: Sequence[str]) -> list[str]:
    """Put known names into their order and others behind them.

    >>> in_order(["unknown", "extra", "easy"], HARDNESS_ORDER)
    ['easy', 'extra', 'unknown']
    """
    known = [name for name in order if name in names]
    return known + sorted(set(names) - set(order))


def _cell(value: Mapping[str, Any] | None) -> Cell | None:
    if value is None or value["ex"] is None:
        return None
    low, high = value["interval"]
    return Cell(ex=value["ex"], low=low, high=high, n=value["scored"])


def _text(cell: Cell | None) -> str:
    return "-" if cell is None else f"{percent(cell.ex)}\n{percent(cell.low)}-{percent(cell.high)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
