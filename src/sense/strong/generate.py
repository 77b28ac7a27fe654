"""Ask a strong model for databases, then for questions about each of them.

Rounds: the questions are asked for when the database is there, so that they name its values; a later round
follows from the replies to those before. With `db` the databases are the user's own, and only questions are
asked for. With provider `batch` each round writes a file of requests; when its replies are given, the same
command goes on. Every reply is stored when it comes, so none is paid for twice.
Nothing is believed yet: what comes out is checked by `sense filter`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from sense import jsonl
from sense.databases.hardness import Hardness
from sense.llms.base import KnownReplies, Provider
from sense.llms.batch_files import Reply, read_replies, write_requests
from sense.progress import say
from sense.rundir import RunDir
from sense.stage import InputPath, InputPaths, Outcome, StageConfig, is_made
from sense.strong import fixed_rounds, own_rounds, quota_rounds
from sense.strong.estimate import estimate
from sense.strong.measure import Measurer
from sense.strong.own_database import Told, read_own
from sense.strong.own_measure import OwnMeasurer
from sense.strong.own_rounds import LaterPart
from sense.strong.rounds import Progress
from sense.strong.seeds import AREAS, DOMAINS
from sense.strong.shown_requests import requests_text, summary_text
from sense.strong.slots import LaterSlots, Quotas

Later = TypeVar("Later", bound=LaterSlots)
Level = Literal["easy", "medium", "hard", "extra"]
AWAITED = "requests-awaiting-replies.jsonl"
LATER_SLOTS = "later-slots.jsonl"
OF_PLAN = {
    "fixed": ("questions_per_level", "more_questions"),
    "quotas": (
        "questions_per_database",
        "rounds",
        "questions_wanted",
        "hardness_quota",
        "feature_minimum",
        "later_slots",
    ),
}
OF_OWN = (
    "values",
    "private",
    "hide_private",
    "tables_per_request",
    "columns_per_table",
    "column_coverage",
    "show_requests",
)
MOST_DATABASES = {"fixed": len(AREAS), "quotas": DOMAINS}


class Config(StageConfig):
    """Settings of `sense synthesize`."""

    MAY_GROW: ClassVar[frozenset[str]] = frozenset({"replies"})
    SPEED_ONLY: ClassVar[frozenset[str]] = frozenset(
        {"workers", "dry_run", "show_requests", "max_requests", "max_tokens", "max_usd"}
    )

    db: InputPaths = Field(
        (), description="SQLite files of your own to ask about, in place of written databases; only read"
    )
    values: bool = Field(True, description="with db: show the model example values of the columns")
    private: tuple[str, ...] = Field(
        (), description="with db: columns whose values are never sent, as table.column, table.* or *.email"
    )
    hide_private: bool = Field(False, description="with db: do not send the names of private columns either")
    tables_per_request: Annotated[int, Field(ge=1)] = Field(
        4, description="with db: tables that a request shows, at the most"
    )
    columns_per_table: Annotated[int, Field(ge=2)] = Field(
        20, description="with db: columns of a table that a request shows, at the most"
    )
    column_coverage: Annotated[float, Field(ge=0, le=1)] = Field(
        0.9, description="with db: share of a database's columns that kept questions use, at the least"
    )
    show_requests: bool = Field(
        False, description="with db: end with what is still to be sent, word for word, on standard output"
    )
    plan: Literal["quotas", "fixed"] = Field(
        "quotas",
        description="quotas: domains of the catalog, questions until the quotas hold; fixed: the demo's",
    )
    provider: Literal["batch", "api"] = Field(
        "batch", description="how the strong model is asked: batch (by files), api (a server)"
    )
    base_url: str | None = Field(
        None, description="of an OpenAI-compatible server, such as https://api.openai.com/v1; for api"
    )
    replies: InputPaths = Field(
        (), description="batch output files, or folders of such, with the replies that have come so far"
    )
    model: str = Field("gpt-4o", description="name of the strong model, written into the requests")
    databases: Annotated[int, Field(ge=1)] = Field(8, description="how many databases to ask for")
    questions_per_database: Annotated[int, Field(ge=1, le=60)] = Field(
        27,
        description="questions of the first round, with db about each group of tables; plan quotas",
    )
    rounds: Annotated[int, Field(ge=1)] = Field(
        3, description="how often to ask for questions, at the most; plan quotas"
    )
    questions_wanted: Annotated[int, Field(ge=0)] = Field(
        0, description="go on until so many questions would be kept; plan quotas"
    )
    hardness_quota: dict[Level, Annotated[float, Field(ge=0, le=0.25)]] = Field(
        dict.fromkeys(("easy", "medium", "hard", "extra"), 0.2),
        description="level=share: the least of the kept questions, as measured; plan quotas",
    )
    feature_minimum: Annotated[int, Field(ge=0)] = Field(
        3, description="kept questions with each SQL feature, as measured, at the least; plan quotas"
    )
    later_slots: InputPath | None = Field(
        None, description="later-slots.jsonl of an earlier run, whose replies are given; plan quotas"
    )
    questions_per_level: Annotated[int, Field(ge=1, le=60)] = Field(
        18, description="questions to ask for, for each database and each of the four levels; plan fixed"
    )
    more_questions: dict[Level, Annotated[int, Field(ge=1, le=60)]] = Field(
        {}, description="level=count: so many more, asked for when the first ones are known; plan fixed"
    )
    temperature: Annotated[float, Field(ge=0, le=2)] = Field(0.8, description="sampling temperature")
    seed: int = Field(0, description="seed of the plan: domains, sizes, features of the questions")
    dry_run: bool = Field(
        False, description="send nothing; say what the next round would send, and about what it would cost"
    )
    max_requests: Annotated[int, Field(ge=1)] | None = Field(
        None, description="send no more requests than this each time; for api"
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        None, description="use no more tokens than this each time, prompts and replies; for api"
    )
    max_usd: Annotated[float, Field(gt=0)] | None = Field(
        None, description="spend no more US dollars than this each time; for api"
    )
    workers: Annotated[int, Field(ge=0)] = Field(0, description="processes that run queries; 0: one a core")

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.provider == "api" and self.base_url is None:
            raise ValueError("provider api needs base_url")
        most = MOST_DATABASES[self.plan]
        if self.databases > most:
            raise ValueError(f"plan {self.plan} has {most} databases, not {self.databases}")
        others = [name for plan, names in OF_PLAN.items() if plan != self.plan for name in names]
        for name in others:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is no setting of plan {self.plan}")
        if self.db and self.plan != "quotas":
            raise ValueError("db goes with plan quotas")
        for name in ("databases",) if self.db else OF_OWN:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} goes with{'out' if self.db else ''} db")
        if self.hide_private and not self.private:
            raise ValueError("hide_private goes with private")
        return self

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the user's databases, and for the columns that are to stay private."""
        if self.db and not any(is_made(path, made) for path in self.db):
            _read_own(self)


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Ask, store the replies, go on until no request is left that can be answered; then write what there is.

    Raises:
        SenseError: a provider cannot ask at all; replies that came before are stored.
    """
    config.check()
    given = _read_given(config.replies)
    failed = {name for name, reply in given.items() if reply.error is not None}
    run_dir.start()
    path = run_dir / "replies.jsonl"
    stored = {reply.custom_id: reply for reply in jsonl.resume(path, Reply)}
    # A reply that is given wins over one that is stored: somebody has chosen it.
    known = stored | {name: reply for name, reply in given.items() if name not in failed}
    replies: dict[str, Reply] = {}
    providers = [KnownReplies(known), *([] if config.dry_run else PROVIDERS[config.provider](config))]
    go_through = PLANS["own" if config.db else config.plan](config, run_dir)

    with jsonl.Appender(path) as appender:

        def take(reply: Reply) -> None:
            if reply.error is not None:
                failed.add(reply.custom_id)
                return
            failed.discard(reply.custom_id)
            replies[reply.custom_id] = reply
            if stored.get(reply.custom_id) != reply:
                appender.add(reply)

        for progress in _rounds(config, go_through, replies):
            for provider in providers:
                provider.ask(progress.awaited(), on_reply=take)
    _write(progress, run_dir)
    return _outcome(config, progress, run_dir, failed=failed)


def show(summary: Mapping[str, Any]) -> str:
    """Write the counts, or the requests that wait where these are to be shown."""
    if summary.get("show_requests"):
        return requests_text(Path(summary["out"]) / AWAITED)
    return summary_text(summary)


def _rounds(
    config: Config, go_through: Callable[[Progress], None], replies: Mapping[str, Reply]
) -> Iterator[Progress]:
    """Yield what there is to ask, again and again, as long as replies came since."""
    while True:
        before = len(replies)
        progress = Progress(replies=replies, model=config.model, temperature=config.temperature)
        go_through(progress)
        yield progress
        if len(replies) == before:
            return


def _fixed(config: Config, run_dir: RunDir) -> Callable[[Progress], None]:  # noqa: ARG001
    return partial(
        fixed_rounds.go_through,
        databases=config.databases,
        questions_per_level=config.questions_per_level,
        more_questions={str(level): count for level, count in config.more_questions.items()},
        seed=config.seed,
    )


def _quotas(config: Config, run_dir: RunDir) -> Callable[[Progress], None]:
    return partial(
        quota_rounds.go_through,
        databases=config.databases,
        questions_per_database=config.questions_per_database,
        rounds=config.rounds,
        quotas=_quotas_of(config),
        seed=config.seed,
        measure=Measurer(workers=config.workers),
        drawn=_drawn(config, run_dir, LaterSlots),
    )


def _own(config: Config, run_dir: RunDir) -> Callable[[Progress], None]:
    databases = _read_own(config)
    return partial(
        own_rounds.go_through,
        databases=databases,
        parts=own_rounds.parts_of(
            databases,
            max_tables=config.tables_per_request,
            max_columns=config.columns_per_table,
            seed=config.seed,
        ),
        questions_per_part=config.questions_per_database,
        rounds=config.rounds,
        quotas=_quotas_of(config),
        column_coverage=config.column_coverage,
        seed=config.seed,
        measure=OwnMeasurer(workers=config.workers),
        drawn=_drawn(config, run_dir, LaterPart),
    )


def _quotas_of(config: Config) -> Quotas:
    return Quotas(
        questions=config.questions_wanted,
        hardness={Hardness(level): share for level, share in config.hardness_quota.items()},
        feature_minimum=config.feature_minimum,
    )


def _drawn(config: Config, run_dir: RunDir, kind: type[Later]) -> list[Later]:
    """Read what later rounds ask for, as far as it is settled: what was given counts before the run's own."""
    given = [] if config.later_slots is None else jsonl.read(config.later_slots, kind)
    settled = {each.round for each in given}
    return [
        *given,
        *(each for each in jsonl.resume(run_dir / LATER_SLOTS, kind) if each.round not in settled),
    ]


def _read_own(config: Config) -> list[Told]:
    return read_own(
        config.db, private=config.private, hide_private=config.hide_private, with_values=config.values
    )


def _batch(config: Config) -> Sequence[Provider]:  # noqa: ARG001
    return ()  # what is not in the files that were given is written to a file


def _api(config: Config) -> Sequence[Provider]:
    from sense.llms.api import ApiProvider, ApiSettings  # here, for batch files need no HTTP client
    from sense.llms.budget import Caps

    assert config.base_url is not None
    caps = Caps(max_requests=config.max_requests, max_tokens=config.max_tokens, max_usd=config.max_usd)
    settings = ApiSettings(base_url=config.base_url, caps=caps)
    return (ApiProvider(settings, rng=random.Random(config.seed)),)


PLANS: dict[str, Callable[[Config, RunDir], Callable[[Progress], None]]] = {
    "fixed": _fixed,
    "quotas": _quotas,
    "own": _own,
}
# Whom to ask what no given or stored reply answers.
PROVIDERS: dict[str, Callable[[Config], Sequence[Provider]]] = {"batch": _batch, "api": _api}


def _read_given(paths: Sequence[Path]) -> dict[str, Reply]:
    return read_replies(
        [file for path in paths for file in (sorted(path.glob("*.jsonl")) if path.is_dir() else [path])]
    )


def _write(progress: Progress, run_dir: RunDir) -> None:
    write_requests(run_dir / "requests.jsonl", progress.requests)
    databases = [*progress.databases, *progress.own]
    jsonl.write(run_dir / "databases.jsonl", (database.model_dump(mode="json") for database in databases))
    jsonl.write(run_dir / "items.jsonl", progress.items)
    jsonl.write(run_dir / "malformed.jsonl", progress.malformed)
    if progress.own:
        jsonl.write(run_dir / "dropped.jsonl", progress.dropped)
    if progress.later_slots:
        jsonl.write(run_dir / LATER_SLOTS, map(asdict, progress.later_slots))
    if awaited := progress.awaited():
        write_requests(run_dir / AWAITED, awaited)
    else:
        (run_dir / AWAITED).unlink(missing_ok=True)


def _outcome(config: Config, progress: Progress, run_dir: RunDir, *, failed: Set[str]) -> Outcome:
    requests, malformed, awaited = progress.requests, progress.malformed, progress.awaited()
    answered = [reply for request in requests if (reply := progress.reply_to(request)) is not None]
    say(f"synthesize: {len(requests)} requests, {len(answered)} replies, {len(malformed)} malformed")
    summary: dict[str, Any] = {
        "requests": len(requests),
        "awaiting_replies": len(awaited),
        "failed": sum(request.custom_id in failed for request in awaited),
        "malformed": len(malformed),
        "databases": len(progress.databases) + len(progress.own),
        "questions": len(progress.items),
        "by_level_asked": dict(Counter(item["level"] for item in progress.items)),
        "prompt_tokens": sum(reply.prompt_tokens for reply in answered),
        "completion_tokens": sum(reply.completion_tokens for reply in answered),
        **progress.report,
    }
    if config.show_requests:
        summary["show_requests"] = True
    if config.dry_run:
        summary["next_round"] = estimate(awaited)
        return Outcome(summary=summary, complete=False)
    if awaited:
        return Outcome(summary=summary, shortfall=_what_to_do(config, run_dir, len(awaited)), complete=False)
    lines = (
        [f"{len(malformed)} replies could not be read: {run_dir / 'malformed.jsonl'}"] if malformed else []
    )
    if progress.short_of:
        lines.append(f"short of the quotas after {config.rounds} rounds: {', '.join(progress.short_of)}")
    return Outcome(summary=summary, shortfall="; ".join(lines) or None)


def _what_to_do(config: Config, run_dir: RunDir, awaited: int) -> str:
    if config.provider == "batch":
        return (
            f"{awaited} requests await replies: have {run_dir / AWAITED} answered, "
            "then give the same command with --replies FILE ..."
        )
    return f"{awaited} requests have no reply yet; the same command asks for these, and for no others, again"
