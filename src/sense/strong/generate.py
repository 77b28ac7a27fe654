"""Ask a strong model for databases, then for questions about each of them.

Rounds: the questions are asked for when the database is there, so that they name its values; a later round
follows from the replies to those before. With `db` the databases are the user's own, and only questions are
asked for. With provider `batch` each round writes a file of requests; when its replies are given, the same
command goes on. Nothing is believed yet: what comes out is checked by `sense filter`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from typing import Any

from sense import jsonl
from sense.llms.batch_files import Reply, Request
from sense.progress import say
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.strong.asking import AWAITED, Asked, ask, what_to_do
from sense.strong.decontaminate import HeldOut
from sense.strong.estimate import estimate, used
from sense.strong.plans import LATER_SLOTS, plan_of
from sense.strong.rounds import Progress
from sense.strong.settings import PlanConfig
from sense.strong.shown_requests import requests_text


class Config(PlanConfig):
    """Settings of `sense synthesize`."""


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Ask, store the replies, go on until no request is left that can be answered; then write what there is.

    Raises:
        SenseError: a provider cannot ask at all; replies that came before are stored.
    """
    config.check()
    # Made when it is first gone through, for only then is the folder known to be this run's.
    go_through = cache(partial(plan_of, config, run_dir, held_out=HeldOut(config.against)))
    progress = _progress(config, {})

    def plan(replies: Mapping[str, Reply]) -> Sequence[Request]:
        nonlocal progress
        progress = _progress(config, replies)
        go_through()(progress)
        return progress.requests

    asked = ask(config, run_dir, plan)
    _write(progress, run_dir)
    return _outcome(config, run_dir, asked, progress=progress)


def _progress(config: Config, replies: Mapping[str, Reply]) -> Progress:
    return Progress(
        replies=replies,
        model=config.model,
        temperature=config.temperature,
        reply_tokens=config.reply_tokens,
    )


def _write(progress: Progress, run_dir: RunDir) -> None:
    databases = [*progress.databases, *progress.own]
    jsonl.write(run_dir / "databases.jsonl", (database.model_dump(mode="json") for database in databases))
    jsonl.write(run_dir / "items.jsonl", progress.items)
    jsonl.write(run_dir / "malformed.jsonl", progress.malformed)
    if progress.own:
        jsonl.write(run_dir / "dropped.jsonl", progress.dropped)
    if progress.later_slots:
        jsonl.write(run_dir / LATER_SLOTS, map(asdict, progress.later_slots))


def _outcome(config: Config, run_dir: RunDir, asked: Asked, *, progress: Progress) -> Outcome:
    malformed, awaited, answered = progress.malformed, asked.awaited(), asked.answered()
    say(f"synthesize: {len(asked.requests)} requests, {len(answered)} replies, {len(malformed)} malformed")
    summary: dict[str, Any] = {
        "requests": len(asked.requests),
        "awaiting_replies": len(awaited),
        "failed": sum(request.custom_id in asked.failed for request in awaited),
        "malformed": len(malformed),
        "databases": len(progress.databases) + len(progress.own),
        "questions": len(progress.items),
        "by_level_asked": dict(Counter(item["level"] for item in progress.items)),
        **used(answered, config),
        **progress.report,
    }
    if config.dry_run:
        summary["next_round"] = estimate(awaited, config)
    if config.show_requests and awaited:
        summary["to_be_sent"] = "\n" + requests_text(run_dir / AWAITED)
    if config.dry_run:
        return Outcome(summary=summary, complete=False)
    if awaited:
        return Outcome(summary=summary, shortfall=what_to_do(config, run_dir, len(awaited)), complete=False)
    lines = (
        [f"{len(malformed)} replies could not be read: {run_dir / 'malformed.jsonl'}"] if malformed else []
    )
    if progress.short_of:
        lines.append(f"short of the quotas after {config.rounds} rounds: {', '.join(progress.short_of)}")
    return Outcome(summary=summary, shortfall="; ".join(lines) or None)
