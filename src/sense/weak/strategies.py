"""Which right and wrong queries of a question make a pair, where there are more than are asked for.

A strategy says what a choice costs, the cheapest being taken first, and which choices share alike. A new one
is one line in `STRATEGIES`.
"""

from __future__ import annotations

import random
import re
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import NamedTuple

from sense.records import Label, Verdict
from sense.weak.syntax import distance


class Kind(StrEnum):
    """What is wrong with a query, by how it ended."""

    WRONG_RESULT = "wrong_result"
    NO_SUCH_COLUMN = "no_such_column"
    NO_SUCH_TABLE = "no_such_table"
    SYNTAX = "syntax"
    OTHER_ERROR = "other_error"
    TIMEOUT = "timeout"
    REFUSED = "refused"


KIND_OF_LABEL = {
    Label.WRONG: Kind.WRONG_RESULT,
    Label.TIMEOUT: Kind.TIMEOUT,
    Label.REFUSED: Kind.REFUSED,
}
# How SQLite begins to say it; what fits none is another error.
KIND_OF_ERROR: tuple[tuple[re.Pattern[str], Kind], ...] = (
    (re.compile("no such column"), Kind.NO_SUCH_COLUMN),
    (re.compile("no such table"), Kind.NO_SUCH_TABLE),
    (
        re.compile('near "|incomplete input|unrecognized token|there is no statement'),
        Kind.SYNTAX,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One side of a pair: `form` is the canonical form of `sql`; `kind` is None where nothing is wrong.

    `liking` is the highest log-probability of its spellings that were sampled; less where it is not known.
    """

    sql: str
    form: str
    liking: float = -inf
    kind: Kind | None = None


class Choice(NamedTuple):
    """Two queries that may make a pair."""

    chosen: Query
    rejected: Query


class Strategy(NamedTuple):
    """How choices of a question are ordered, lower cost first, and between what the pairs are shared out."""

    cost: Callable[[Choice], tuple[float, ...]]
    share: Callable[[Choice], str]


def _no_cost(_: Choice) -> tuple[float, ...]:
    return ()


def _near(choice: Choice) -> tuple[float, ...]:
    return (distance(choice.chosen.form, choice.rejected.form),)


def _far(choice: Choice) -> tuple[float, ...]:
    return (-distance(choice.chosen.form, choice.rejected.form),)


def _disliked(choice: Choice) -> tuple[float, ...]:
    return -choice.rejected.liking, -choice.chosen.liking


def _one_share(_: Choice) -> str:
    return ""


def _share_of_kind(choice: Choice) -> str:
    return choice.rejected.kind or ""


STRATEGIES: dict[str, Strategy] = {
    "any": Strategy(_no_cost, _one_share),
    "gold": Strategy(_no_cost, _one_share),
    "nearest": Strategy(_near, _one_share),
    "farthest": Strategy(_far, _one_share),
    "balanced": Strategy(_no_cost, _share_of_kind),
    "hardest": Strategy(_disliked, _one_share),
}


def kind_of(verdict: Verdict) -> Kind | None:
    """Tell what is wrong with a candidate; None where nothing is, or it was not judged."""
    if verdict.label is Label.ERROR:
        fitting = (kind for pattern, kind in KIND_OF_ERROR if pattern.match(verdict.reason))
        return next(fitting, Kind.OTHER_ERROR)
    return KIND_OF_LABEL.get(verdict.label)


def ranked(
    choices: Sequence[Choice], strategy: Strategy, *, match_length: bool, rng: random.Random
) -> list[Choice]:
    """Order a question's choices, the best first; equally good ones by how alike in length, or at random."""
    drawn = sorted(choices, key=lambda choice: (choice.chosen.form, choice.rejected.form))
    rng.shuffle(drawn)
    return sorted(drawn, key=lambda choice: (strategy.cost(choice), _gap(choice) if match_length else 0))


def take_turns(
    questions: Sequence[tuple[str, Sequence[Choice]]],
    strategy: Strategy,
    *,
    per_question: int,
    per_database: int,
    rng: random.Random,
) -> list[list[Choice]]:
    """Take choices until no question, or its database, may have another one.

    The share with the fewest pairs is next, and in it the question that has waited longest; those with
    choices of few shares begin. So shares end up about equal, as far as there are choices.

    Args:
        questions: the database of each, and its choices in the order of `ranked`.
        strategy: says which choices share alike.
        per_question: at most so many of one question.
        per_database: at most so many of one database; 0 for any number.
        rng: draws the order of the questions.
    """
    by_share: list[dict[str, deque[Choice]]] = []
    for _, choices in questions:
        own: dict[str, deque[Choice]] = {}
        for choice in choices:
            own.setdefault(strategy.share(choice), deque()).append(choice)
        by_share.append(own)
    order = rng.sample(range(len(questions)), len(questions))
    waiting: dict[str, deque[int]] = {}
    for at in sorted(order, key=lambda at: len(by_share[at])):
        for share in by_share[at]:
            waiting.setdefault(share, deque()).append(at)
    taken: list[list[Choice]] = [[] for _ in questions]
    of_share: Counter[str] = Counter()
    of_database: Counter[str] = Counter()
    while waiting:
        share = min(waiting, key=lambda share: (of_share[share], share))
        at = waiting[share].popleft()
        db_id = questions[at][0]
        if len(taken[at]) < per_question and (not per_database or of_database[db_id] < per_database):
            taken[at].append(by_share[at][share].popleft())
            of_share[share] += 1
            of_database[db_id] += 1
            if by_share[at][share]:
                waiting[share].append(at)
        if not waiting[share]:
            del waiting[share]
    return taken


def _gap(choice: Choice) -> int:
    """Compare lengths in characters: they follow those in tokens of a model closer than SQL tokens do."""
    return abs(len(choice.chosen.sql) - len(choice.rejected.sql))
