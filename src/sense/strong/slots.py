"""What questions to ask for, as data: the hardness, SQL features and style of each.

Quotas are held against what was measured of the questions that were kept, never against what was asked for.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from itertools import combinations, product

from sense.databases.features import Feature
from sense.databases.hardness import Hardness, classify


class Style(StrEnum):
    """How a question is worded."""

    FORMAL = "formal"
    COLLOQUIAL = "colloquial"
    IMPERATIVE = "imperative"
    VAGUE = "vague"  # a sentence of evidence says what the vague word means
    SYNONYMS = "synonyms"  # in place of the columns' own words


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSlot:
    """One question to ask for; numbered from 1 within its request."""

    number: int
    hardness: Hardness
    features: tuple[Feature, ...]
    style: Style


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterSlots:
    """What was asked about a database in a round after the first, as it is kept in a file."""

    round: int
    db_id: str
    slots: tuple[QuestionSlot, ...]


@dataclass(slots=True)
class Measured:
    """The questions that were kept so far, as they were measured."""

    hardness: Counter[Hardness] = field(default_factory=Counter)
    features: Counter[Feature] = field(default_factory=Counter)
    by_database: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """What the kept questions must come to: how many, the share of each hardness, so many of each feature."""

    questions: int
    hardness: Mapping[Hardness, float]
    feature_minimum: int

    def missing_features(self, measured: Measured) -> Counter[Feature]:
        """Count what is missing of each feature that is short."""
        missing = {feature: self.feature_minimum - measured.features[feature] for feature in ASKED}
        return Counter({feature: count for feature, count in missing.items() if count > 0})


@dataclass(frozen=True, slots=True, kw_only=True)
class Askable:
    """A feature that is asked for.

    `parts` are what a sensible query with it must have, in the terms of Spider's hardness: `c…` is a clause,
    `o…` another part, `n…` a nested query. Two features of one `kind` are not asked for together.
    """

    parts: str
    kind: str = ""
    weight: int = 2


ASKED: dict[Feature, Askable] = {
    Feature.DISTINCT: Askable(parts="", kind="aggregate"),
    Feature.JOIN: Askable(parts="c-join", kind="joins", weight=4),
    Feature.TWO_JOINS: Askable(parts="c-join c-join2", kind="joins", weight=4),
    Feature.THREE_OR_MORE_JOINS: Askable(parts="c-join c-join2 c-join3", kind="joins", weight=3),
    Feature.LEFT_JOIN: Askable(parts="c-join c-where"),
    Feature.SELF_JOIN: Askable(parts="c-join o-columns", kind="joins", weight=3),
    Feature.SEVERAL_CONDITIONS: Askable(parts="c-where o-conditions", weight=4),
    Feature.OR: Askable(parts="c-where c-or o-conditions"),
    Feature.NOT: Askable(parts="c-where"),
    Feature.NOT_EQUAL: Askable(parts="c-where"),
    Feature.LIKE: Askable(parts="c-where c-like", weight=3),
    Feature.BETWEEN: Askable(parts="c-where"),
    Feature.IS_NULL: Askable(parts="c-where"),
    Feature.IN_LIST: Askable(parts="c-where"),
    Feature.IN_SUBQUERY: Askable(parts="c-where n-in", kind="nested", weight=7),
    Feature.EXISTS: Askable(parts="c-where n-exists", kind="nested", weight=5),
    Feature.SCALAR_SUBQUERY: Askable(parts="c-where n-scalar", kind="nested", weight=7),
    Feature.CORRELATED_SUBQUERY: Askable(parts="c-where n-exists", kind="nested", weight=5),
    Feature.FROM_SUBQUERY: Askable(parts="", kind="nested"),
    Feature.COUNT: Askable(parts="", kind="aggregate", weight=4),
    Feature.SUM: Askable(parts="", kind="aggregate"),
    Feature.AVG: Askable(parts="", kind="aggregate"),
    Feature.MIN: Askable(parts="", kind="aggregate"),
    Feature.MAX: Askable(parts="", kind="aggregate"),
    Feature.COUNT_DISTINCT: Askable(parts="", kind="aggregate"),
    Feature.AGGREGATE_OVER_ARITHMETIC: Askable(parts="", kind="aggregate", weight=1),
    Feature.AGGREGATE_OVER_CASE: Askable(parts="", kind="aggregate", weight=1),
    Feature.GROUP_BY: Askable(parts="c-group o-columns", kind="group", weight=4),
    Feature.GROUP_BY_SEVERAL: Askable(parts="c-group o-columns o-groups", kind="group"),
    Feature.HAVING: Askable(parts="c-group", kind="group", weight=4),
    Feature.ORDER_BY: Askable(parts="c-order", kind="order", weight=3),
    Feature.ORDER_BY_SEVERAL: Askable(parts="c-order", kind="order"),
    Feature.ORDER_BY_AGGREGATE: Askable(parts="c-group c-order", kind="order"),
    Feature.TOP_ONE: Askable(parts="c-order c-limit", kind="order", weight=4),
    Feature.LIMIT: Askable(parts="c-order c-limit", kind="order"),
    Feature.OFFSET: Askable(parts="c-order c-limit", kind="order"),
    Feature.UNION: Askable(parts="n-set", kind="nested", weight=5),
    Feature.INTERSECT: Askable(parts="n-set", kind="nested", weight=5),
    Feature.EXCEPT: Askable(parts="n-set", kind="nested", weight=5),
    Feature.CTE: Askable(parts="n-with", kind="nested", weight=6),
    Feature.WINDOW: Askable(parts="o-columns", kind="aggregate", weight=3),
    Feature.CASE: Askable(parts="o-columns"),
    Feature.CAST: Askable(parts="", weight=1),
    Feature.COALESCE_OR_NULLIF: Askable(parts="", weight=1),
    Feature.ARITHMETIC: Askable(parts=""),
    Feature.MATH_FUNCTION: Askable(parts=""),
    Feature.DATE_FUNCTION: Askable(parts=""),
    Feature.STRING_FUNCTION: Askable(parts=""),
}  # fmt: skip
STYLES = {Style.FORMAL: 5, Style.COLLOQUIAL: 5, Style.IMPERATIVE: 4, Style.SYNONYMS: 4, Style.VAGUE: 2}
FEATURES_IN_SLOT = {0: 4, 1: 9, 2: 7}  # weights of how many are asked for at once
MOST_PARTS = 6  # of one sort, where it is tried what a query with some features can come to
ASK_MORE = 1.25  # some of what is asked for will be dropped, as some was before
SLOTS_PER_REQUEST = 9  # a later round shows a whole database again for each request: no fewer, if it can


def can_be(hardness: Hardness, features: Sequence[Feature]) -> bool:
    """Tell whether a query with these features can be of this hardness.

    >>> can_be(Hardness.EASY, [Feature.TOP_ONE])
    False
    """
    parts = {part for feature in features for part in ASKED[feature].parts.split()}
    clauses, others, nested = (sum(part.startswith(letter) for part in parts) for letter in "con")
    # Only what is asked for is nested, so that one hardness does not come from nesting alone.
    return any(
        classify(clauses=more_clauses, others=more_others, nested=nested) is hardness
        for more_clauses, more_others in product(range(clauses, MOST_PARTS), range(others, 5))
    )


def first_slots(count: int, *, seed: str) -> list[QuestionSlot]:
    """Draw the slots of a database's first round: each hardness as often as the others, give or take one."""
    rng = random.Random(f"{seed}/questions")
    levels = rng.sample(list(Hardness), len(Hardness))
    turns = sorted((levels[i % len(levels)] for i in range(count)), key=list(Hardness).index)
    slots: list[QuestionSlot] = []
    taken: Counter[Feature] = Counter()
    for number, hardness in enumerate(turns, start=1):
        features = _draw_features(hardness, taken, rng)
        taken.update(features)
        slots.append(_slot(number, hardness, features, rng))
    return slots


def next_slots(
    measured: Measured, quotas: Quotas, *, databases: Sequence[str], seed: str
) -> dict[str, list[QuestionSlot]]:
    """Draw the slots of a later round, by database: what the kept questions are short of, and nothing else.

    Those databases come first that have the fewest kept questions.

    Args:
        measured: the kept questions.
        quotas: what they must come to.
        databases: those that can be asked about.
        seed: a seed; each round's own.
    """
    wanted = short_of(measured, quotas)
    if not wanted or not databases:
        return {}
    rng = random.Random(seed)
    rng.shuffle(wanted)
    few_first = sorted(databases, key=lambda name: measured.by_database[name])
    chosen = few_first[: math.ceil(len(wanted) / SLOTS_PER_REQUEST)]
    slots: dict[str, list[QuestionSlot]] = {name: [] for name in chosen}
    for i, (hardness, features) in enumerate(wanted):
        own = slots[chosen[i % len(chosen)]]
        own.append(_slot(len(own) + 1, hardness, features, rng))
    return slots


def short_of(measured: Measured, quotas: Quotas) -> list[tuple[Hardness, tuple[Feature, ...]]]:
    """Say what is missing: for each question to ask for, its hardness and its features."""
    levels = _short_levels(measured.hardness, quotas)
    features = [
        feature
        for feature, count in quotas.missing_features(measured).items()
        for _ in range(_with_losses(count))
    ]
    wanted: list[tuple[Hardness, tuple[Feature, ...]]] = []
    share = measured.hardness + levels  # as it will be
    for feature in features:
        possible = [level for level in Hardness if can_be(level, [feature])]
        short = [level for level in possible if levels[level]]
        level = min(short or possible, key=lambda each: share[each])
        if short:
            levels[level] -= 1
        else:
            share[level] += 1
        wanted.append((level, (feature,)))
    return [*wanted, *((level, ()) for level in levels.elements())]


def _short_levels(kept: Counter[Hardness], quotas: Quotas) -> Counter[Hardness]:
    """Count what is missing of each hardness, so that all shares hold when it is there."""
    missing: Counter[Hardness] = Counter()

    def share(level: Hardness) -> float:
        return kept[level] + missing[level]

    while (total := kept.total() + missing.total()) < quotas.questions or any(
        share(level) < quotas.hardness.get(level, 0) * total for level in Hardness
    ):
        missing[min(Hardness, key=lambda level: share(level) - quotas.hardness.get(level, 0) * total)] += 1
    return Counter({level: _with_losses(count) for level, count in missing.items()})


def _with_losses(count: int) -> int:
    return math.ceil(ASK_MORE * count)


def _draw_features(
    hardness: Hardness, taken: Mapping[Feature, int], rng: random.Random
) -> tuple[Feature, ...]:
    """Draw what goes together at a hardness, rather what the database does not have yet."""
    [number] = rng.choices(list(FEATURES_IN_SLOT), list(FEATURES_IN_SLOT.values()))
    # What is easy has hardly room for two: they would be there for their own sake.
    sets = _sets(hardness, min(number, 1) if hardness is Hardness.EASY else number)
    weights = [
        math.prod(ASKED[feature].weight / (1 + 3 * taken[feature]) for feature in features)
        for features in sets
    ]
    return rng.choices(sets, weights)[0]


@cache
def _sets(hardness: Hardness, number: int) -> list[tuple[Feature, ...]]:
    return [
        features
        for features in combinations(ASKED, number)
        if can_be(hardness, features) and _go_together(features)
    ]


def _go_together(features: Sequence[Feature]) -> bool:
    kinds = [ASKED[feature].kind for feature in features if ASKED[feature].kind]
    return len(set(kinds)) == len(kinds)


def _slot(number: int, hardness: Hardness, features: tuple[Feature, ...], rng: random.Random) -> QuestionSlot:
    [style] = rng.choices(list(STYLES), list(STYLES.values()))
    return QuestionSlot(number=number, hardness=hardness, features=features, style=style)
