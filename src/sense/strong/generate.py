"""Ask a strong model for databases, then for questions about each of them.

Rounds: the questions are asked for when the database is there, so that they name its values. With
provider `batch` each round writes a file of requests; when its replies are given, the same command goes on.
Nothing is believed yet: what comes out is checked by `sense filter`.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError

from sense import jsonl
from sense.llms.batch_files import Reply, Request, make_request, read_replies, write_requests
from sense.progress import say
from sense.prompts.extract import extract_json
from sense.prompts.synthesis import SHOTS, Shot, database_request, questions_request, rows_as_csv
from sense.rundir import RunDir
from sense.stage import InputPaths, Outcome, StageConfig
from sense.strong.seeds import AREAS, BANNED_DOMAINS, LEVELS, plan_databases
from sense.strong.written import SynthDatabase, SynthQuestion, SynthTable

ROWS_SHOWN = 60  # of each table, in a request for questions
MAX_TOKENS_OF_REPLY = 16_000


class Config(StageConfig):
    """Settings of `sense synthesize`."""

    MAY_GROW: ClassVar[frozenset[str]] = frozenset({"replies"})

    provider: Literal["batch"] = Field("batch", description="how the strong model is asked: batch (by files)")
    replies: InputPaths = Field((), description="batch output files with the replies that have come so far")
    model: str = Field("gpt-4o", description="name of the strong model, written into the requests")
    databases: Annotated[int, Field(ge=1, le=len(AREAS))] = Field(
        8, description="how many databases to ask for"
    )
    questions_per_level: Annotated[int, Field(ge=1, le=60)] = Field(
        18, description="how many questions to ask for, for each database and each of the four levels"
    )
    more_questions: dict[Literal["easy", "medium", "hard", "extra"], Annotated[int, Field(ge=1, le=60)]] = (
        Field({}, description="level=count: so many more of a level, asked for when the first ones are known")
    )
    temperature: Annotated[float, Field(ge=0, le=2)] = Field(0.8, description="sampling temperature")
    seed: int = Field(0, description="seed of the plan: areas, sizes, examples in the prompts")


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Write the requests, read the replies there are; complete when every request has one."""
    every = read_replies(config.replies)
    # A request that failed at the service has no reply yet: it is asked for again.
    replies = {name: reply for name, reply in every.items() if reply.error is None}
    run_dir.start()
    rng = random.Random(config.seed)
    plans = plan_databases(config.databases, rng=rng)
    banned = (*BANNED_DOMAINS, *sorted(plan.area for plan in plans))
    database_requests = [
        _request(
            config,
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
    malformed: list[dict[str, str]] = []
    written: dict[str, SynthDatabase] = {}
    for request in _answered(database_requests, replies):
        parsed = _read_database(replies[request.custom_id], [database.db_id for database in written.values()])
        if isinstance(parsed, str):
            malformed.append({"custom_id": request.custom_id, "reason": parsed})
        else:
            written[request.custom_id] = parsed
    rounds = [database_requests]
    items: list[dict[str, Any]] = []
    if all(request.custom_id in replies for request in database_requests):
        # Drawn for every plan, so that a better reply for one leaves the other requests as they were.
        shots = [{level: _shots_near(level, rng) for level in LEVELS} for _ in database_requests]
        about = [
            (written[request.custom_id], shots[i])
            for i, request in enumerate(database_requests)
            if request.custom_id in written
        ]
        counts = dict.fromkeys(LEVELS, config.questions_per_level)
        rounds.append([r for database, own in about for r in _ask(config, database, own, counts, known=None)])
        items += _read_items(rounds[1], replies, items, malformed)
        if config.more_questions and all(request.custom_id in replies for request in rounds[1]):
            first = list(items)
            for database, own in about:
                known = [item["question"] for item in first if item["db_id"] == database.db_id]
                rounds.append(_ask(config, database, own, config.more_questions, known=known))
                items += _read_items(rounds[-1], replies, items, malformed)
    asked = [request for requests in rounds for request in requests]
    awaited = [request for request in asked if request.custom_id not in replies]
    write_requests(run_dir / "requests.jsonl", asked)
    jsonl.write(run_dir / "databases.jsonl", (database.model_dump() for database in written.values()))
    jsonl.write(run_dir / "items.jsonl", items)
    jsonl.write(run_dir / "malformed.jsonl", malformed)
    awaited_path = run_dir / "requests-awaiting-replies.jsonl"
    if awaited:
        write_requests(awaited_path, awaited)
    else:
        awaited_path.unlink(missing_ok=True)
    answered = [replies[request.custom_id] for request in _answered(asked, replies)]
    say(f"synthesize: {len(asked)} requests, {len(answered)} replies reused, {len(malformed)} malformed")
    summary = {
        "requests": len(asked),
        "awaiting_replies": len(awaited),
        "failed": len(every) - len(replies),
        "malformed": len(malformed),
        "databases": len(written),
        "questions": len(items),
        "by_level_asked": dict(Counter(item["level"] for item in items)),
        "prompt_tokens": sum(reply.prompt_tokens for reply in answered),
        "completion_tokens": sum(reply.completion_tokens for reply in answered),
    }
    if awaited:
        shortfall = (
            f"{len(awaited)} requests await replies: have {awaited_path} answered, "
            "then give the same command with --replies FILE ..."
        )
        return Outcome(summary=summary, shortfall=shortfall, complete=False)
    unread = f"{len(malformed)} replies could not be read: {run_dir / 'malformed.jsonl'}"
    return Outcome(summary=summary, shortfall=unread if malformed else None)


def _ask(
    config: Config,
    database: SynthDatabase,
    shots: Mapping[str, Sequence[Shot]],
    counts: Mapping[Any, int],
    *,
    known: Sequence[str] | None,
) -> list[Request]:
    """Ask for questions of each level; where some are known already, for others."""
    rows = "\n".join(
        rows_as_csv(table.name, _column_names(table), table.rows, limit=ROWS_SHOWN)
        for table in database.tables
    )
    return [
        _request(
            config,
            f"{database.db_id}/{level}{'' if known is None else '/more'}",
            questions_request(
                domain=database.domain,
                schema=[table.create.strip().rstrip(";") + ";" for table in database.tables],
                rows=rows,
                level=level,
                count=count,
                shots=shots[level],
                known=known or (),
            ),
        )
        for level, count in counts.items()
    ]


def _read_items(
    requests: Sequence[Request],
    replies: Mapping[str, Reply],
    before: Sequence[Mapping[str, Any]],
    malformed: list[dict[str, str]],
) -> list[dict[str, Any]]:
    """Read the questions of the answered requests; their numbers go on from those `before`."""
    items: list[dict[str, Any]] = []
    for request in _answered(requests, replies):
        db_id, level = request.custom_id.rsplit("-", 1)[0].split("/")[:2]
        parsed = _read_questions(replies[request.custom_id])
        if isinstance(parsed, str):
            malformed.append({"custom_id": request.custom_id, "reason": parsed})
            continue
        start = 1 + sum(item["db_id"] == db_id and item["level"] == level for item in before)
        items += [
            {"id": f"{db_id}/{level}/{i:02d}", "db_id": db_id, "level": level, **question.model_dump()}
            for i, question in enumerate(parsed, start=start)
        ]
    return items


def _shots_near(level: str, rng: random.Random) -> list[Shot]:
    """Take the level's own example and one of the others."""
    own = [shot for shot in SHOTS if shot.level == level]
    others = [shot for shot in SHOTS if shot.level != level]
    return [*own, rng.choice(others)]


def _request(config: Config, name: str, messages: Sequence[Any]) -> Request:
    return make_request(
        name, messages, model=config.model, temperature=config.temperature, max_tokens=MAX_TOKENS_OF_REPLY
    )


def _answered(requests: Sequence[Request], replies: Mapping[str, Reply]) -> list[Request]:
    return [request for request in requests if request.custom_id in replies]


def _read_database(reply: Reply, taken: Sequence[str]) -> SynthDatabase | str:
    """Read a reply, or say why it cannot be read."""
    value = extract_json(reply.text)
    if value is None:
        return "no JSON object in the reply"
    try:
        database = SynthDatabase.model_validate(value)
    except ValidationError as error:
        return jsonl.first_complaint(error)
    # The name becomes a folder and a file: nothing but plain letters may reach the disk.
    plain = re.sub(r"[^a-z0-9]+", "_", database.db_id.lower()).strip("_")[:40] or "database"
    name = next(n for n in (plain, *(f"{plain}_{i}" for i in range(2, len(taken) + 3))) if n not in taken)
    return database.model_copy(update={"db_id": name})


def _read_questions(reply: Reply) -> list[SynthQuestion] | str:
    value = extract_json(reply.text)
    if value is None:
        return "no JSON object in the reply"
    listed = value.get("questions")
    if not isinstance(listed, list):
        return "'questions' is missing"
    try:
        return [SynthQuestion.model_validate(item) for item in listed]
    except ValidationError as error:
        return jsonl.first_complaint(error)


def _column_names(table: SynthTable) -> list[str]:
    """Take the names of the columns from a CREATE TABLE, as far as a heading needs them."""
    body = table.create[table.create.find("(") + 1 : table.create.rfind(")")]
    parts = re.split(r",(?![^(]*\))", body)
    words = [part.split() for part in parts if part.split()]
    keywords = {"PRIMARY", "FOREIGN", "UNIQUE", "CHECK", "CONSTRAINT"}
    return [word[0].strip('"`[]') for word in words if word[0].upper().split("(")[0] not in keywords]
