"""How long the two sides of preference pairs are: what is longer more often is learned as what is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sense import jsonl
from sense.errors import DataError
from sense.evaluation.aggregate import mean_with_interval
from sense.records import PreferencePair
from sense.report.weak import RESAMPLES, as_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class PairLengths:
    """What the page shows of one file of pairs; `lengths` are characters of both sides."""

    summary: Mapping[str, Any]
    lengths: Mapping[str, Sequence[float]]


def read_pairs(path: Path) -> list[PreferencePair]:
    """Read preference pairs.

    Raises:
        DataError: they cannot be read, or there are none.
    """
    pairs = jsonl.read(path, PreferencePair)
    if not pairs:
        raise DataError(f"{path}: there are no pairs in it")
    return pairs


def measure_lengths(pairs: Sequence[PreferencePair], *, seed: int) -> PairLengths:
    """Compare the lengths of chosen and rejected completions, in characters without the white space around.

    Args:
        pairs: at least one.
        seed: of the bootstrap.
    """
    chosen = [len(pair.chosen.strip()) for pair in pairs]
    rejected = [len(pair.rejected.strip()) for pair in pairs]
    differences = [ours - theirs for ours, theirs in zip(chosen, rejected, strict=True)]
    measures: dict[str, list[float]] = {
        "chosen": [float(length) for length in chosen],
        "rejected": [float(length) for length in rejected],
        "difference": [float(difference) for difference in differences],
        "chosen_longer": [float(difference > 0) for difference in differences],
        "rejected_longer": [float(difference < 0) for difference in differences],
    }
    summary = {
        name: as_dict(mean_with_interval(values, seed=seed, resamples=RESAMPLES))
        for name, values in measures.items()
    }
    return PairLengths(
        summary={"pairs": len(pairs), **summary},
        lengths={"rejected": measures["rejected"], "chosen": measures["chosen"]},
    )
