"""The page's sections on data: what a weak model's candidates and a strong model's questions look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sense.databases.schema import Schema
from sense.errors import ConfigError
from sense.records import PreferencePair, Question
from sense.report.data_set import read_schemas, take_apart
from sense.report.pair_lengths import measure_lengths, read_pairs
from sense.report.plots import Histogram, histogram, interval_chart
from sense.report.strong import measure_sets
from sense.report.tables import HARDNESS_ORDER, Cell, Column, in_order
from sense.report.weak import Asked, measure, read_verdicts

MAX_FEATURES = 24  # in the picture; the table has all


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What was read, by the names that the page gives it."""

    weak: Mapping[str, tuple[Sequence[Asked], int]]
    pairs: Mapping[str, Sequence[PreferencePair]]
    sets: Mapping[str, tuple[Sequence[Question], Mapping[str, Schema]]]
    against: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSections:
    """Numbers by section (`weak`, `pairs`, `strong`) as plain data; pictures of each as SVG; SQL features."""

    summary: Mapping[str, Any]
    pictures: Mapping[str, Sequence[str]]
    features: Sequence[Column] = ()


def read_sources(
    *,
    weak: Mapping[str, Path],
    pairs: Mapping[str, Path],
    data: Path | None,
    split: str,
    strong: Mapping[str, Path],
    compare: Mapping[str, Path],
) -> Sources:
    """Read and check all inputs of the sections.

    Raises:
        ConfigError: settings are missing or do not go together.
        DataError: a file cannot be read, or is not of these questions.
        DatabaseError: a database is missing.
    """
    if weak and data is None:
        raise ConfigError("weak: needs weak_data, the folder with the questions that were sampled for")
    if compare and not strong:
        raise ConfigError("compare: needs strong, the data set to hold against it")
    twice = strong.keys() & compare.keys()
    if twice:
        raise ConfigError(f"compare: {min(twice)!r} is a name in strong too; give each set its own")
    return Sources(
        weak={name: read_verdicts(path, data=data, split=split) for name, path in weak.items() if data},
        pairs={name: read_pairs(path) for name, path in pairs.items()},
        sets={name: read_schemas(path) for name, path in (*strong.items(), *compare.items())},
        against=list(compare),
    )


def make_sections(sources: Sources, *, seed: int) -> DataSections:
    """Measure and draw what was read; what was not given has neither numbers nor pictures."""
    summary: dict[str, Any] = {}
    pictures: dict[str, list[str]] = {}
    features: list[Column] = []
    if sources.weak:
        found = {
            name: measure(asked, unjudged=unjudged, seed=seed)
            for name, (asked, unjudged) in sources.weak.items()
        }
        summary["weak"] = {name: each.summary for name, each in found.items()}
        pictures["weak"] = [_right_by_hardness(summary["weak"])] + [
            histogram(
                Histogram(
                    title=f"{name}: how probable", x_label="log-probability of a query", series=each.logprobs
                ),
                name=f"weak-{number}",
            )
            for number, (name, each) in enumerate(found.items())
            if any(each.logprobs.values())
        ]
    if sources.pairs:
        lengths = {name: measure_lengths(pairs, seed=seed) for name, pairs in sources.pairs.items()}
        summary["pairs"] = {name: each.summary for name, each in lengths.items()}
        pictures["pairs"] = [
            histogram(
                Histogram(title=f"{name}: how long", x_label="characters", series=each.lengths),
                name=f"pairs-{number}",
            )
            for number, (name, each) in enumerate(lengths.items())
        ]
    if sources.sets:
        sets = {name: take_apart(name, *parts) for name, parts in sources.sets.items()}
        summary["strong"] = measure_sets(sets, against=sources.against)
        long = {name: [float(len(each)) for each in one.words] for name, one in sets.items()}
        sizes = {name: [float(query.tokens) for query in one.queries] for name, one in sets.items()}
        measured = summary["strong"]["sets"]
        pictures["strong"] = [
            histogram(
                Histogram(title="length of questions", x_label="words", series=long), name="strong-words"
            ),
            histogram(Histogram(title="length of SQL", x_label="tokens", series=sizes), name="strong-tokens"),
        ]
        features = _columns(measured, "features")
        charts = {
            "Share of questions by hardness": _columns(measured, "hardness"),
            "Share of queries by SQL feature": features[:MAX_FEATURES],
        }
        pictures["strong_shares"] = [
            interval_chart(columns, list(measured), metric=metric, name=f"strong-shares-{number}")
            for number, (metric, columns) in enumerate(charts.items())
            if columns
        ]
    return DataSections(summary=summary, pictures=pictures, features=features)


def _right_by_hardness(weak: Mapping[str, Any]) -> str:
    parts = {name: {"overall": one} | one["by_hardness"] for name, one in weak.items()}
    labels = in_order(
        [label for by_label in parts.values() for label in by_label], ("overall", *HARDNESS_ORDER)
    )
    columns = [
        Column(
            label=label,
            cells={
                name: _cell(by_label[label]["share_of"]["right"]) if label in by_label else None
                for name, by_label in parts.items()
            },
        )
        for label in labels
    ]
    return interval_chart(columns, list(weak), metric="Share of right candidates", name="weak-right")


def _columns(sets: Mapping[str, Any], part: str) -> list[Column]:
    """Lay out hardness from easy on, features from the most frequent on; what a set lacks is 0 % of it."""
    highest: dict[str, float] = {}
    for one in sets.values():
        for label, share in one[part].items():
            highest[label] = max(highest.get(label, 0.0), share["mean"])
    labels = in_order(list(highest), HARDNESS_ORDER)
    if part == "features":
        labels = sorted(highest, key=lambda label: -highest[label])
    return [
        Column(
            label=label.replace("_", " "),
            cells={
                name: _cell(one[part].get(label)) or Cell(ex=0.0, low=0.0, high=0.0, n=one["questions"])
                for name, one in sets.items()
            },
        )
        for label in labels
    ]


def _cell(share: Mapping[str, Any] | None) -> Cell | None:
    if share is None:
        return None
    return Cell(ex=share["mean"], low=share["low"], high=share["high"], n=share["n"])
