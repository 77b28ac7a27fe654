"""What a weak model's labeled candidates look like, for the page: how often right, why wrong, how sure.

Questions are the units of every interval: the candidates of one question are much alike.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sense import jsonl
from sense.databases.hardness import hardness
from sense.databases.normal_form import normal_form
from sense.databases.spider import load_questions
from sense.errors import DataError
from sense.evaluation.aggregate import Estimate, mean_with_interval
from sense.evaluation.errors_by_kind import ErrorKind, error_kind
from sense.execution.outcome import Match
from sense.records import Label, Question, Verdict
from sense.report.confidence import Confidence, pooled, within
from sense.report.errors import label_of
from sense.report.tables import HARDNESS_ORDER, in_order
from sense.weak.label import pass_at_k

RESAMPLES = 2_000  # a dozen intervals over thousands of questions in seconds; ends move by 0.2 points
DIAGNOSED = 1_000  # wrong candidates, of a question each: to compare two queries takes milliseconds
RUNNABLE = {Label.RIGHT, Label.WRONG}
MATCHES = {
    Label.WRONG: Match.DIFFERENT,
    Label.TIMEOUT: Match.CANDIDATE_TIMEOUT,
    Label.REFUSED: Match.CANDIDATE_REFUSED,
}
Plain = dict[str, float] | None  # an estimate as plain data
Mean = Callable[[Iterable[float]], Plain]
UNKNOWN = "unknown"  # hardness of a gold query that cannot be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question and the candidates of it that could be judged, in the order they were sampled."""

    question: Question
    hardness: str
    verdicts: Sequence[Verdict]

    def share(self, *labels: Label) -> float:
        """Return the share of candidates with one of some labels."""
        return sum(verdict.label in labels for verdict in self.verdicts) / len(self.verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakData:
    """What the page shows of one file of verdicts; `logprobs` are of right queries and of others."""

    summary: Mapping[str, Any]
    logprobs: Mapping[str, Sequence[float]]


def read_verdicts(path: Path, *, data: Path, split: str) -> tuple[list[Asked], int]:
    """Read verdicts, and the questions that they answer.

    Returns:
        the questions that have a verdict, in the order of the split; how many verdicts are unjudged.

    Raises:
        DataError: they cannot be read or do not belong together.
    """
    questions = load_questions(data, split)
    known = {str(question.id): question for question in questions}
    judged: dict[str, list[Verdict]] = {}
    unjudged = 0
    for verdict in jsonl.read(path, Verdict):
        question = known.get(str(verdict.question_id))
        if question is None or question.db_id != verdict.db_id:
            raise DataError(
                f"{path}: candidate {verdict.candidate_id!r}: {data} has no question {verdict.question_id!r} "
                f"about {verdict.db_id!r} in split {split!r}; was it sampled for another?"
            )
        if verdict.label is Label.UNJUDGED:
            unjudged += 1
        else:
            judged.setdefault(str(verdict.question_id), []).append(verdict)
    if not judged:
        raise DataError(f"{path}: there are no judged verdicts in it")
    asked = [
        Asked(
            question=question,
            hardness=hardness(question.gold_sql) or UNKNOWN,
            verdicts=judged[str(question.id)],
        )
        for question in questions
        if str(question.id) in judged
    ]
    return asked, unjudged


def measure(asked: Sequence[Asked], *, unjudged: int, seed: int) -> WeakData:
    """Compute all that the page shows of a file of verdicts, as plain data.

    Args:
        asked: at least one question.
        unjudged: how many verdicts were left out.
        seed: of the bootstrap, and of the draw of the wrong candidates whose errors are told.
    """

    def mean(values: Iterable[float]) -> Plain:
        return as_dict(mean_with_interval(list(values), seed=seed, resamples=RESAMPLES))

    confidences = [pair for each in asked if (pair := _confidence(each)) is not None]
    kinds = _diagnosed(asked, seed=seed)
    counts = [len(each.verdicts) for each in asked]
    return WeakData(
        summary={
            "questions": len(asked),
            "candidates": sum(counts) + unjudged,
            "unjudged": unjudged,
            "samples": [min(counts), max(counts)],
            "both": mean(0 < each.share(Label.RIGHT) < 1 for each in asked),
            "overturned": mean(_overturned(asked)),
            "labels": {
                label.value: sum(verdict.label is label for each in asked for verdict in each.verdicts)
                for label in Label
                if label is not Label.UNJUDGED
            },
            "majority_at": {
                str(k): mean(majority_is_right(each.verdicts[:k]) for each in asked) for k in _ks(asked)
            },
            "auc_pooled": as_dict(pooled(confidences, seed=seed, resamples=RESAMPLES)),
            "auc_within": mean(within(confidences)),
            "diagnosed": len(kinds),
            "by_hardness": _by(asked, kinds, key=lambda each: each.hardness, order=HARDNESS_ORDER, mean=mean),
            "by_database": _by(asked, kinds, key=lambda each: each.question.db_id, order=(), mean=mean),
        }
        | _part(asked, kinds, mean=mean),
        logprobs={
            "not right": [value for pair in confidences for value in pair.other],
            "right": [value for pair in confidences for value in pair.right],
        },
    )


def majority_is_right(verdicts: Sequence[Verdict]) -> bool:
    """Tell whether the query that comes most often among those that can be run is right.

    Queries are one where their normal form is: a vote by what they return would join more of them, but the
    results are not kept. Between equals the most probable one wins; where none runs, nothing is right.
    """
    runnable = [verdict for verdict in verdicts if verdict.label in RUNNABLE]
    if len({verdict.label for verdict in runnable}) < 2:
        return any(verdict.label is Label.RIGHT for verdict in runnable)
    groups: dict[str, list[Verdict]] = {}
    for verdict in runnable:
        groups.setdefault(_form(verdict.sql), []).append(verdict)
    best = max(groups.values(), key=lambda group: (len(group), max(map(_logprob, group))))
    return max(best, key=_logprob).label is Label.RIGHT


def as_dict(estimate: Estimate | None) -> Plain:
    """Turn an estimate into plain data."""
    return None if estimate is None else estimate._asdict()


@cache
def _form(sql: str) -> str:
    return normal_form(sql)


def _logprob(verdict: Verdict) -> float:
    """Return a query's log-probability, minus infinity where it is not known."""
    value = verdict.logprob
    return value if value is not None and math.isfinite(value) else -math.inf


def _overturned(asked: Sequence[Asked]) -> list[float]:
    """Return, by question, the share that a suite overturned of what the database alone calls right."""
    found: list[float] = []
    for each in asked:
        overturned = sum(verdict.overturned for verdict in each.verdicts)
        first = overturned + sum(verdict.label is Label.RIGHT for verdict in each.verdicts)
        if first:
            found.append(overturned / first)
    return found


def _ks(asked: Sequence[Asked]) -> list[int]:
    """Return 1, 2, 4, ... as far as every question has that many candidates, and how many all have."""
    least = min(len(each.verdicts) for each in asked)
    return sorted({2**power for power in range(least.bit_length())} | {least})


def _confidence(asked: Asked) -> Confidence | None:
    """Split the log-probabilities of a question's distinct queries; None where none is known."""
    known = {
        verdict.sql: (value, verdict.label is Label.RIGHT)
        for verdict in asked.verdicts
        if (value := _logprob(verdict)) > -math.inf
    }
    right = [value for value, is_right in known.values() if is_right]
    other = [value for value, is_right in known.values() if not is_right]
    return Confidence(right, other) if known else None


def _diagnosed(asked: Sequence[Asked], *, seed: int) -> dict[str, ErrorKind]:
    """Say why one candidate that is not right is not, drawn at random from each of some questions."""
    rng = random.Random(seed)
    wrong = [
        (each.question, rng.choice([v for v in each.verdicts if v.label is not Label.RIGHT]))
        for each in asked
        if each.share(Label.RIGHT) < 1
    ]
    drawn = rng.sample(wrong, min(DIAGNOSED, len(wrong)))
    return {
        str(question.id): error_kind(
            question.gold_sql, verdict.sql, match=MATCHES.get(verdict.label, ""), reason=verdict.reason
        ).kind
        for question, verdict in drawn
    }


def _by(
    asked: Sequence[Asked],
    kinds: Mapping[str, ErrorKind],
    *,
    key: Callable[[Asked], str],
    order: Sequence[str],
    mean: Mean,
) -> dict[str, Any]:
    parts: dict[str, list[Asked]] = {}
    for each in asked:
        parts.setdefault(key(each), []).append(each)
    return {name: _part(parts[name], kinds, mean=mean) for name in in_order(list(parts), order)}


def _part(
    asked: Sequence[Asked],
    kinds: Mapping[str, ErrorKind],
    *,
    mean: Mean,
) -> dict[str, Any]:
    found = Counter(
        label_of(kinds[str(each.question.id)]) for each in asked if str(each.question.id) in kinds
    )
    total = found.total()
    return {
        "questions": len(asked),
        "share_of": {
            label.value: mean(each.share(label) for each in asked)
            for label in Label
            if label is not Label.UNJUDGED
        },
        "pass_at": {
            str(k): mean(
                pass_at_k(
                    samples=len(each.verdicts),
                    right=sum(verdict.label is Label.RIGHT for verdict in each.verdicts),
                    k=k,
                )
                for each in asked
            )
            for k in _ks(asked)
        },
        "kinds": {kind: mean([1.0] * count + [0.0] * (total - count)) for kind, count in found.most_common()},
    }
