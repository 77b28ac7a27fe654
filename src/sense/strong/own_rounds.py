"""The plan for databases of the user's own: questions about parts of each, more where the kept are short.

Each request shows one part of a schema. After each round the kept questions are held against the quotas, as
in `quota_rounds`, and against the columns that there are. Once drawn, what a later round asks for is kept.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sense.databases.features import Feature
from sense.databases.gold_facts import Place
from sense.databases.hardness import Hardness
from sense.databases.schema import Schema
from sense.prompts.own_questions import own_questions_request
from sense.prompts.questions import slot_line
from sense.prompts.schema_text import compact
from sense.strong.coverage import Coverage, columns_of
from sense.strong.own_database import Told
from sense.strong.own_measure import OwnMeasured, part_of
from sense.strong.private_columns import compared_with_a_value
from sense.strong.quota_rounds import ask_for_questions, item_of, report, shortfalls
from sense.strong.rounds import Progress
from sense.strong.slots import (
    ASKED,
    SLOTS_PER_REQUEST,
    STYLES,
    LaterSlots,
    Measured,
    QuestionSlot,
    Quotas,
    first_slots,
    short_of,
)
from sense.strong.subschemas import subschemas

MOST_SLOTS = 40  # of a request: a reply of 16,000 tokens holds them, with room for a model that thinks
UNUSED_PER_QUESTION = 2  # columns that a question can take in without strain
# How many tables a part must have for a question with the feature.
TABLES_OF = {Feature.JOIN: 2, Feature.LEFT_JOIN: 2, Feature.TWO_JOINS: 3, Feature.THREE_OR_MORE_JOINS: 4}

Wanted = tuple[Hardness, tuple[Feature, ...]]
Measure = Callable[[Sequence[Told], Sequence[Mapping[str, Any]]], OwnMeasured]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterPart(LaterSlots):
    """What was asked about a part of a schema in a later round: `db_id` names the part.

    `columns` are those that no question had used then, as `table.column`.
    """

    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a database's schema, shown in one request."""

    database: Told
    schema: Schema

    def allows(self, features: Iterable[Feature]) -> bool:
        """Tell whether there are tables enough for these features."""
        return all(TABLES_OF.get(feature, 1) <= len(self.schema.tables) for feature in features)


def parts_of(databases: Sequence[Told], *, max_tables: int, max_columns: int, seed: int) -> dict[str, Part]:
    """Cut the schemas into parts, by name."""
    return {
        f"{each.db_id}/g{number:02d}": Part(database=each, schema=schema)
        for each in databases
        for number, schema in enumerate(
            subschemas(
                each.schema, max_tables=max_tables, max_columns=max_columns, seed=f"{seed}/{each.db_id}"
            ),
            start=1,
        )
    }


def go_through(
    progress: Progress,
    *,
    databases: Sequence[Told],
    parts: Mapping[str, Part],
    questions_per_part: int,
    rounds: int,
    quotas: Quotas,
    column_coverage: float,
    seed: int,
    measure: Measure,
    drawn: Sequence[LaterPart],
) -> None:
    """Ask about every part, then for what the kept are short of; `drawn` is what is settled of that."""
    progress.own += [each.line() for each in databases]
    progress.later_slots += drawn
    asks = [
        LaterPart(round=1, db_id=name, slots=_fitting(questions_per_part, part, seed=f"{seed}/{name}"))
        for name, part in parts.items()
    ]
    asked: list[int] = []
    told = {
        each.db_id: {reason: list(names) for reason, names in each.left_out.items()} for each in databases
    }
    for number in range(1, rounds + 1):
        known = list(progress.items)
        for each in asks:
            _questions(progress, parts[each.db_id], each, before=known)
        asked.append(sum(len(each.slots) for each in asks))
        progress.report = {"parts": len(parts), "left_out": told, "asked_by_round": asked}
        progress.report |= {"compared_private": len(progress.dropped)}
        if progress.awaited():
            return
        asks = [each for each in drawn if each.round == number + 1 <= rounds]
        if not asks:
            found = measure(databases, progress.items)
            measured = _without_impossible(found.measured, quotas, parts.values())
            short = short_of(measured, quotas)
            unused = {name: each for name, each in found.coverage.items() if each.columns < column_coverage}
            progress.report |= report(measured, len(short))
            progress.report |= {"coverage": {name: each.summary() for name, each in found.coverage.items()}}
            if not (short or unused):
                return
            if number == rounds:
                progress.short_of = shortfalls(measured, quotas) + _uncovered(unused, column_coverage)
                return
            rng = random.Random(f"{seed}/round-{number + 1}")
            asks = _next(number + 1, short, unused, parts=parts, kept=measured.by_database, rng=rng)
            progress.later_slots += asks
        asks = [each for each in asks if each.db_id in parts]


def _questions(
    progress: Progress, part: Part, asks: LaterPart, *, before: Sequence[Mapping[str, Any]]
) -> None:
    database = part.database
    there = set(columns_of(part.schema))
    private = [place for place in columns_of(part.schema) if place in database.private]
    messages = own_questions_request(
        schema=compact(part.schema, {place: database.values.get(place, ()) for place in there}),
        slots=[
            slot_line(slot.number, hardness=slot.hardness, features=slot.features, style=slot.style)
            for slot in asks.slots
        ],
        shows_values=bool(database.values),
        private=[f"{place.table}.{place.column}" for place in private],
        unused=asks.columns,
        known=[item["question"] for item in before if part_of(item["id"]) == asks.db_id],
    )
    name = f"{asks.db_id}/{asks.round}"
    for slot, question in ask_for_questions(progress, name, messages, asks.slots):
        item = item_of(f"{name}-{slot.number:02d}", database.db_id, slot, question)
        column = compared_with_a_value(question.sql, database.private, database.schema)
        if column is None:
            progress.items.append(item)
        else:
            why = f"compares {column}, which is private, with a value"
            progress.dropped.append(
                {"id": item["id"], "reason": why, "question": question.question, "sql": question.sql}
            )


def _fitting(count: int, part: Part, *, seed: str) -> tuple[QuestionSlot, ...]:
    """Draw the slots of a first request, without features that its tables do not allow."""
    return tuple(
        replace(slot, features=tuple(feature for feature in slot.features if part.allows([feature])))
        for slot in first_slots(count, seed=seed)
    )


def _without_impossible(measured: Measured, quotas: Quotas, parts: Iterable[Part]) -> Measured:
    """Count what no part allows as being there: nobody can ask for it."""
    known = list(parts)
    impossible = [feature for feature in ASKED if not any(part.allows([feature]) for part in known)]
    features = measured.features | Counter(dict.fromkeys(impossible, quotas.feature_minimum))
    kept = Counter(measured.by_database)
    return Measured(hardness=measured.hardness, features=features, by_database=kept)


def _next(
    number: int,
    short: Sequence[Wanted],
    unused: Mapping[str, Coverage],
    *,
    parts: Mapping[str, Part],
    kept: Mapping[str, int],
    rng: random.Random,
) -> list[LaterPart]:
    """Draw what a later round asks for: columns that are not used, then what the quotas are short of."""
    columns = {
        name: own
        for db_id, each in unused.items()
        for name, own in _spread(each.unused_columns, _of_database(parts, db_id)).items()
    }
    wanted: dict[str, list[Wanted]] = {
        name: [(rng.choice(list(Hardness)), ()) for _ in range(math.ceil(len(own) / UNUSED_PER_QUESTION))]
        for name, own in columns.items()
    }
    few_first = sorted(parts, key=lambda name: kept.get(name, 0))
    chosen = few_first[: math.ceil(len(short) / SLOTS_PER_REQUEST)]
    for level, features in rng.sample(list(short), len(short)):
        for names in (chosen, few_first):
            free = [
                name
                for name in names
                if parts[name].allows(features) and len(wanted.get(name, ())) < MOST_SLOTS
            ]
            if free:
                wanted.setdefault(min(free, key=lambda name: len(wanted.get(name, ()))), []).append(
                    (level, features)
                )
                break
    return [
        LaterPart(
            round=number,
            db_id=name,
            slots=tuple(_slot(i, each, rng) for i, each in enumerate(wanted[name][:MOST_SLOTS], start=1)),
            columns=tuple(columns.get(name, ())),
        )
        for name in parts
        if name in wanted
    ]


def _of_database(parts: Mapping[str, Part], db_id: str) -> dict[str, Schema]:
    return {name: part.schema for name, part in parts.items() if part.database.db_id == db_id}


def _spread(unused: Sequence[Place], parts: Mapping[str, Schema]) -> dict[str, list[str]]:
    """Share columns out among as few parts as will do."""
    left = list(unused)
    there = {name: set(columns_of(schema)) for name, schema in parts.items()}
    shares: dict[str, list[str]] = {}
    while left:
        best = max(parts, key=lambda name: len(there[name].intersection(left)))
        shares[best] = [f"{place.table}.{place.column}" for place in left if place in there[best]]
        left = [place for place in left if place not in there[best]]
    return shares


def _slot(number: int, wanted: Wanted, rng: random.Random) -> QuestionSlot:
    [style] = rng.choices(list(STYLES), list(STYLES.values()))
    return QuestionSlot(number=number, hardness=wanted[0], features=wanted[1], style=style)


def _uncovered(unused: Mapping[str, Coverage], least: float) -> list[str]:
    return [
        f"{name}: {each.columns:.0%} of the columns used, of {least:.0%}" for name, each in unused.items()
    ]
