"""What others say of an item: a judge's opinion, and the answers of a model that was asked its question.

The opinions are those of `sense judge`; the answers are those that `sense sample` drew and `sense label` ran.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sense import jsonl
from sense.errors import DataError
from sense.records import Agreement, Judgement, Label, Verdict


class Answers(NamedTuple):
    """How many answers to a question were judged, and how many of them say what its SQL says."""

    right: int
    judged: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinions:
    """By item: the judge's opinion, the answers. None: nobody was asked."""

    judgements: Mapping[str, Judgement] | None = None
    answers: Mapping[str, Answers] | None = field(default=None)

    def of(self, item_id: str) -> tuple[Judgement | None, Answers | None]:
        """Return what is said of one item."""
        return (self.judgements or {}).get(item_id), (self.answers or {}).get(item_id)

    def counts(self, item_ids: Collection[str]) -> dict[str, Any]:
        """Count for the summary what was said of items, and of how many nothing."""
        found: dict[str, Any] = {}
        if self.judgements is not None:
            said = Counter(str(self.judgements[each].verdict) for each in item_ids if each in self.judgements)
            found["judged"] = {str(verdict): said[verdict] for verdict in Agreement} | {
                "without": len(item_ids) - said.total()
            }
        if self.answers is not None:
            known = sum(each in self.answers for each in item_ids)
            found["answered"] = {"with": known, "without": len(item_ids) - known}
        return found


def read_opinions(judgements: Path | None, round_trip: Path | None, *, item_ids: Collection[str]) -> Opinions:
    """Read both files, as far as they are given.

    Raises:
        DataError: a file cannot be read, or says nothing of any of the items.
    """
    judged = answers = None
    if judgements is not None:
        judged = {str(each.id): each for each in jsonl.read(judgements, Judgement)}
        _check(judgements, judged, item_ids)
    if round_trip is not None:
        answers = _answers(jsonl.read(round_trip, Verdict))
        _check(round_trip, answers, item_ids)
    return Opinions(judgements=judged, answers=answers)


def _answers(verdicts: list[Verdict]) -> dict[str, Answers]:
    judged = Counter(str(each.question_id) for each in verdicts if each.label is not Label.UNJUDGED)
    right = Counter(str(each.question_id) for each in verdicts if each.label is Label.RIGHT)
    return {name: Answers(right[name], count) for name, count in judged.items()}


def _check(path: Path, found: Collection[str], item_ids: Collection[str]) -> None:
    if not set(item_ids) & set(found):
        raise DataError(f"{path}: it says nothing of any item of the source; was it made of another one?")
