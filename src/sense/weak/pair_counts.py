"""What `pairs` kept, and why not the rest: of questions, of wrong candidates, by what is wrong with those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sense.records import PreferencePair
from sense.weak.strategies import Kind


class Fate(StrEnum):
    """What became of a question; without a pair, the first cause that fits."""

    WITH_PAIRS = "with_pairs"
    WITHOUT_RIGHT = "without_right"  # or without gold, where that is to be chosen
    WITHOUT_WRONG = "without_wrong"
    ONLY_EQUAL = "only_equal"  # its wrong queries are right ones, or gold, in another spelling
    ONLY_FILTERED = "only_filtered"  # by the setting `rejected`
    CAPPED = "capped"  # its database has as many pairs as it may have


class WrongFate(StrEnum):
    """What became of a wrong candidate; where it is not kept, the first cause that fits."""

    KEPT = "kept"  # it may be rejected
    BLANK = "blank"
    EQUAL = "equal"
    FILTERED = "filtered"
    REPEATED = "repeated"  # another one of the question is the same query


WORDS: dict[Fate | WrongFate, str] = {
    Fate.WITH_PAIRS: "with pairs",
    Fate.WITHOUT_RIGHT: "no right query",
    Fate.WITHOUT_WRONG: "no wrong query",
    Fate.ONLY_EQUAL: "wrong ones equal right ones or gold",
    Fate.ONLY_FILTERED: "wrong ones left out by 'rejected'",
    Fate.CAPPED: "enough pairs of the database",
    WrongFate.KEPT: "different",
    WrongFate.BLANK: "without SQL",
    WrongFate.EQUAL: "equal to a right one or gold",
    WrongFate.FILTERED: "left out by 'rejected'",
    WrongFate.REPEATED: "equal to another wrong one",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of questions and of wrong candidates.

    `wrong` counts candidates by fate. `kinds` says, by what is wrong, how many different queries may be
    rejected, and how many are. Means are of the pairs' completions, in characters; None if there are none.
    """

    pairs: int
    questions: int
    with_pairs: int
    without_right: int
    without_wrong: int
    only_equal: int
    only_filtered: int
    capped: int
    wrong: dict[str, int]
    kinds: dict[str, dict[str, int]]
    mean_chosen_chars: float | None
    mean_rejected_chars: float | None


def count(
    pairs: Sequence[PreferencePair],
    *,
    fates: Counter[Fate],
    wrong: Counter[WrongFate],
    kinds: Counter[Kind | None],
) -> Counts:
    """Put the counts together with what the pairs themselves show."""
    of_kind = Counter(pair.kind for pair in pairs)
    return Counts(
        pairs=len(pairs),
        questions=fates.total(),
        with_pairs=fates[Fate.WITH_PAIRS],
        without_right=fates[Fate.WITHOUT_RIGHT],
        without_wrong=fates[Fate.WITHOUT_WRONG],
        only_equal=fates[Fate.ONLY_EQUAL],
        only_filtered=fates[Fate.ONLY_FILTERED],
        capped=fates[Fate.CAPPED],
        wrong={fate.value: wrong[fate] for fate in WrongFate},
        kinds={
            kind.value: {"wrong": kinds[kind], "pairs": of_kind[kind.value]} for kind in Kind if kinds[kind]
        },
        mean_chosen_chars=_mean([len(pair.chosen) for pair in pairs]),
        mean_rejected_chars=_mean([len(pair.rejected) for pair in pairs]),
    )


def table(summary: dict[str, Any]) -> str:
    """Write what was kept, and why the rest was not, for a terminal."""
    lines = [f"{summary['pairs']} pairs"]
    if summary["pairs"]:
        means = (summary[f"mean_{side}_chars"] for side in ("chosen", "rejected"))
        lines[0] += ", of {:.1f} characters chosen and {:.1f} rejected on average".format(*means)
    lines += ["", f"{summary['questions']:>7}  questions"]
    lines += [f"{summary[fate]:>7}    {WORDS[fate]}" for fate in Fate]
    lines += ["", f"{sum(summary['wrong'].values()):>7}  wrong candidates"]
    lines += [f"{summary['wrong'][fate]:>7}    {WORDS[fate]}" for fate in WrongFate]
    lines += ["", "  wrong    pairs"]
    for kind, counts in summary["kinds"].items():
        lines.append(f"{counts['wrong']:>7}  {counts['pairs']:>7}  {kind.replace('_', ' ')}")
    return "\n".join(lines)


def _mean(numbers: Sequence[int]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None
