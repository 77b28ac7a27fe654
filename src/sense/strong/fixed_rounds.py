"""The plan `fixed`: databases of areas of life, so many questions of each level about each, then some more.

What the demo's replies answer: a word changed in its requests, and they answer nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from sense.llms.batch_files import Request
from sense.prompts.synthesis import SHOTS, Shot, database_request, questions_request
from sense.strong.rounds import Progress
from sense.strong.seeds import BANNED_DOMAINS, LEVELS, plan_areas
from sense.strong.written import (
    SynthDatabase,
    SynthQuestion,
    Unreadable,
    create_statements,
    parse_database,
    parse_questions,
    plain_name,
    rows_text,
)


def go_through(
    progress: Progress,
    *,
    databases: int,
    questions_per_level: int,
    more_questions: Mapping[str, int],
    seed: int,
) -> None:
    """Ask for all databases; when they are there for the questions; when these are there for more."""
    rng = random.Random(seed)
    asked = _ask_for_databases(progress, databases, rng)
    written = _read_databases(progress, asked)
    if progress.awaited():
        return
    # Drawn for every plan, so that a better reply for one leaves the other requests as they were.
    shots = [{level: _shots_near(level, rng) for level in LEVELS} for _ in asked]
    about = [(written[i], shots[i]) for i in range(len(asked)) if i in written]
    counts = dict.fromkeys(LEVELS, questions_per_level)
    first = [
        request
        for database, own in about
        for request in _ask_for_questions(progress, database, own, counts, known=None)
    ]
    _read_questions(progress, first)
    if not more_questions or progress.awaited():
        return
    so_far = list(progress.items)
    for database, own in about:
        known = [item["question"] for item in so_far if item["db_id"] == database.db_id]
        _read_questions(progress, _ask_for_questions(progress, database, own, more_questions, known=known))


def _ask_for_databases(progress: Progress, count: int, rng: random.Random) -> list[Request]:
    plans = plan_areas(count, rng=rng)
    banned = (*BANNED_DOMAINS, *sorted(plan.area for plan in plans))
    return [
        progress.ask(
            plan.name,
            database_request(
                area=plan.area,
                tables=plan.tables,
                main_rows=plan.main_rows,
                banned=[domain for domain in banned if domain != plan.area],
                shots=rng.sample(SHOTS, 2),
            ),
        )
        for plan in plans
    ]


def _read_databases(progress: Progress, asked: Sequence[Request]) -> dict[int, SynthDatabase]:
    """Read the databases there are, by the number of their request."""
    written: dict[int, SynthDatabase] = {}
    for i, request in enumerate(asked):
        reply = progress.reply_to(request)
        if reply is None:
            continue
        parsed = parse_database(reply.text)
        if isinstance(parsed, Unreadable):
            progress.note(request, [parsed])
        else:
            name = plain_name(parsed.db_id, [database.db_id for database in written.values()])
            written[i] = parsed.model_copy(update={"db_id": name})
            progress.databases.append(written[i])
    return written


def _ask_for_questions(
    progress: Progress,
    database: SynthDatabase,
    shots: Mapping[str, Sequence[Shot]],
    counts: Mapping[str, int],
    *,
    known: Sequence[str] | None,
) -> list[Request]:
    """Ask for questions of each level; where some are known already, for others."""
    return [
        progress.ask(
            f"{database.db_id}/{level}{'' if known is None else '/more'}",
            questions_request(
                domain=database.domain,
                schema=create_statements(database),
                rows=rows_text(database),
                level=level,
                count=count,
                shots=shots[level],
                known=known or (),
            ),
        )
        for level, count in counts.items()
    ]


def _read_questions(progress: Progress, requests: Sequence[Request]) -> None:
    """Read the questions of the answered requests; their numbers go on from those of earlier rounds."""
    before = list(progress.items)
    for request in requests:
        reply = progress.reply_to(request)
        if reply is None:
            continue
        db_id, level = request.custom_id.rsplit("-", 1)[0].split("/")[:2]
        questions, unreadable = parse_questions(reply.text, SynthQuestion)
        progress.note(request, unreadable)
        start = 1 + sum(item["db_id"] == db_id and item["level"] == level for item in before)
        progress.items += [
            {"id": f"{db_id}/{level}/{i:02d}", "db_id": db_id, "level": level, **question.model_dump()}
            for i, question in enumerate(questions, start=start)
        ]


def _shots_near(level: str, rng: random.Random) -> list[Shot]:
    """Take the level's own example and one of the others."""
    own = [shot for shot in SHOTS if shot.level == level]
    others = [shot for shot in SHOTS if shot.level != level]
    return [*own, rng.choice(others)]
