"""The plan `quotas`: databases of the catalog's domains, questions by slots, more where the kept are short.

A reply that cannot be read is asked for once more. A later round waits for the whole round before it, for it
follows from what was measured of all replies. Once drawn, its slots are kept: should a check come to other
counts one day, the replies to them would else answer nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sense.prompts.databases import database_in_domain_request
from sense.prompts.questions import slot_line, slots_request
from sense.records import Message
from sense.strong.asking import answer
from sense.strong.measure import parse_buildable
from sense.strong.rounds import Progress
from sense.strong.seeds import DatabasePlan, plan_catalog
from sense.strong.slots import LaterSlots, Measured, QuestionSlot, Quotas, first_slots, next_slots, short_of
from sense.strong.written import (
    SlotQuestion,
    SynthDatabase,
    Unreadable,
    create_statements,
    parse_questions,
    rows_text,
)

Measure = Callable[[Sequence[SynthDatabase], Sequence[Mapping[str, Any]]], Measured]
Read = TypeVar("Read")


def go_through(
    progress: Progress,
    *,
    databases: int,
    questions_per_database: int,
    rounds: int,
    quotas: Quotas,
    seed: int,
    measure: Measure,
    drawn: Sequence[LaterSlots],
) -> None:
    """Ask for databases, for questions about each that is there, then for what the kept ones are short of.

    `drawn` are the slots of later rounds that are settled.
    """
    progress.later_slots += drawn
    plans = plan_catalog(databases, seed=seed)
    written = {plan.db_id: database for plan in plans if (database := _database(progress, plan))}
    progress.databases += written.values()
    slots: dict[str, Sequence[QuestionSlot]] = {
        plan.db_id: first_slots(questions_per_database, seed=plan.seed)
        for plan in plans
        if plan.db_id in written
    }
    asked: list[int] = []
    for number in range(1, rounds + 1):
        known = list(progress.items)
        for db_id, own in slots.items():
            _questions(progress, written[db_id], own, round_number=number, before=known)
        asked.append(sum(map(len, slots.values())))
        progress.report = {"asked_by_round": asked}
        if progress.awaited():
            return
        later = [each for each in drawn if each.round == number + 1 <= rounds]
        if not later:
            measured = measure(progress.databases, progress.items)
            short = short_of(measured, quotas)
            progress.report |= report(measured, len(short))
            if short and number == rounds:
                progress.short_of = shortfalls(measured, quotas)
            if not short or number == rounds:
                return
            new = next_slots(
                measured, quotas, databases=list(measured.by_database), seed=f"{seed}/round-{number + 1}"
            )
            later = [
                LaterSlots(round=number + 1, db_id=db_id, slots=tuple(own)) for db_id, own in new.items()
            ]
            progress.later_slots += later
        slots = {each.db_id: each.slots for each in later if each.db_id in written}


def _database(progress: Progress, plan: DatabasePlan) -> SynthDatabase | None:
    messages = database_in_domain_request(
        domain=plan.domain,
        area=plan.area,
        region=plan.region,
        db_id=plan.db_id,
        tables=plan.tables,
        breadth=plan.breadth,
        naming=plan.naming,
        shapes=plan.shapes,
        main_rows=plan.main_rows,
    )
    database = _ask(progress, plan.name, messages, parse_buildable)
    return None if database is None else database.model_copy(update={"db_id": plan.db_id})


def _questions(
    progress: Progress,
    database: SynthDatabase,
    slots: Sequence[QuestionSlot],
    *,
    round_number: int,
    before: Sequence[Mapping[str, Any]],
) -> None:
    messages = slots_request(
        domain=database.domain,
        schema=create_statements(database),
        rows=rows_text(database),
        slots=[
            slot_line(slot.number, hardness=slot.hardness, features=slot.features, style=slot.style)
            for slot in slots
        ],
        known=[item["question"] for item in before if item["db_id"] == database.db_id],
    )
    name = f"{database.db_id}/{round_number}"
    progress.items += [
        item_of(f"{name}-{slot.number:02d}", database.db_id, slot, question)
        for slot, question in ask_for_questions(progress, name, messages, slots)
    ]


def ask_for_questions(
    progress: Progress, name: str, messages: Sequence[Message], slots: Sequence[QuestionSlot]
) -> list[tuple[QuestionSlot, SlotQuestion]]:
    """Ask for a question for each slot; returns those that can be used, and notes why others cannot."""
    unreadable: list[Unreadable] = []

    def read(text: str) -> list[SlotQuestion] | Unreadable:
        questions, complaints = parse_questions(text, SlotQuestion)
        unreadable[:] = complaints
        return questions or (complaints[0] if complaints else Unreadable("'questions' is empty"))

    questions = _ask(progress, name, messages, read)
    if questions is None:
        return []
    progress.note(progress.requests[-1], unreadable)
    by_number = {slot.number: slot for slot in slots}
    found: list[tuple[QuestionSlot, SlotQuestion]] = []
    for question in questions:
        slot = by_number.pop(question.slot, None)
        if slot is None:
            why = Unreadable(f"slot {question.slot} was not asked for, or is answered twice")
            progress.note(progress.requests[-1], [why])
        else:
            found.append((slot, question))
    return found


def item_of(item_id: str, db_id: str, slot: QuestionSlot, question: SlotQuestion) -> dict[str, Any]:
    """Make a line of items.jsonl: what was written, and what was asked for."""
    return {
        "id": item_id,
        "db_id": db_id,
        "level": str(slot.hardness),
        **question.model_dump(exclude={"slot"}),
        "style": str(slot.style),
        "features": [str(feature) for feature in slot.features],
    }


def _ask(
    progress: Progress, name: str, messages: Sequence[Message], read: Callable[[str], Read | Unreadable]
) -> Read | None:
    """Ask, and once more where the reply cannot be read; None while it is awaited, or if it never can."""
    requests, value = answer(progress.replies, name, messages, make=progress.make, read=read)
    progress.requests += requests
    if not isinstance(value, Unreadable):
        return value
    progress.note(requests[-1], [value])
    return None


def report(measured: Measured, short: int) -> dict[str, Any]:
    """Say what would be kept, and how many questions are missing."""
    return {
        "would_be_kept": measured.hardness.total(),
        "hardness": {str(level): count for level, count in sorted(measured.hardness.items())},
        "still_short": short,
    }


def shortfalls(measured: Measured, quotas: Quotas) -> list[str]:
    """Say what is missing, in words."""
    total = measured.hardness.total()
    lines = [f"{total} of {quotas.questions} questions"] if total < quotas.questions else []
    lines += [
        f"{measured.hardness[level]} {level} of {share * total:.0f}"
        for level, share in quotas.hardness.items()
        if measured.hardness[level] < share * total
    ]
    missing = quotas.missing_features(measured)
    return lines + [f"{measured.features[name]} {name} of {quotas.feature_minimum}" for name in missing]
