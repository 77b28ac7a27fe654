"""Ask a strong model by files or through a server: settings, rounds, storing; what to ask is the stage's.

Every reply is stored when it comes, so none is paid for twice. A round follows from the replies to those
before; with provider `batch` it is written to a file; when its replies are given, the same command goes on.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

from pydantic import Field, model_validator

from sense import jsonl
from sense.llms.base import KnownReplies, Provider
from sense.llms.batch_files import Reply, Request, read_replies, write_requests
from sense.prompts.repair import repair_request
from sense.records import Message
from sense.rundir import RunDir
from sense.stage import InputPaths, StageConfig
from sense.strong.written import Unreadable

AWAITED = "requests-awaiting-replies.jsonl"
Read = TypeVar("Read")
Plan = Callable[[Mapping[str, Reply]], Sequence[Request]]  # from the replies so far all there is to ask


class AskingConfig(StageConfig):
    """Settings of a stage that asks a strong model."""

    MAY_GROW: ClassVar[frozenset[str]] = frozenset({"replies"})
    SPEED_ONLY: ClassVar[frozenset[str]] = frozenset(
        {
            *("workers", "dry_run", "concurrency", "request_timeout_s"),
            *("max_requests", "max_tokens", "max_usd", "prices"),
        }
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
    temperature: Annotated[float, Field(ge=0, le=2)] = Field(0.8, description="sampling temperature")
    seed: int = Field(0, description="seed of all that is drawn")
    reply_tokens: Annotated[int, Field(ge=1)] = Field(
        16_000, description="a reply is cut after so many tokens; room for a model that thinks first"
    )
    concurrency: Annotated[int, Field(ge=1)] = Field(
        16, description="requests in flight, at the most; a small server of your own takes 1 to 4; for api"
    )
    request_timeout_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        600.0, description="seconds that a reply may take, waiting in the server's queue among them; for api"
    )
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
    prices: Path | None = Field(
        None,
        description="YAML file with what more models cost, in US dollars per million tokens: "
        "MODEL: {input: 0.15, output: 0.6}",
    )

    @model_validator(mode="after")
    def _has_server(self) -> Self:
        if self.provider == "api" and self.base_url is None:
            raise ValueError("provider api needs base_url")
        return self

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the prices, if there are any or one is needed."""
        super().check(made)
        if self.prices is not None or self.max_usd is not None:
            from sense.llms.budget import read_prices  # here, for YAML is slow to load

            prices = read_prices(self.prices)
            if self.provider == "api" and self.max_usd is not None:
                from sense.llms.api import check_prices  # here, for batch files need no HTTP client

                check_prices([self.model], prices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What became of the requests: the replies by request id, and the ids of those that failed so far."""

    requests: Sequence[Request]
    replies: Mapping[str, Reply]
    failed: frozenset[str]

    def awaited(self) -> list[Request]:
        """List the requests that have no reply yet."""
        return [request for request in self.requests if request.custom_id not in self.replies]

    def answered(self) -> list[Reply]:
        """List the replies to requests, in their order."""
        return [self.replies[each.custom_id] for each in self.requests if each.custom_id in self.replies]


def ask(config: AskingConfig, run_dir: RunDir, plan: Plan) -> Asked:
    """Start the run folder, and ask until no request is left that can be answered; then write the requests.

    Raises:
        SenseError: a provider cannot ask at all; replies that came before are stored.
    """
    given = _read_given(config.replies)
    failed = {name for name, reply in given.items() if reply.error is not None}
    run_dir.start()
    path = run_dir / "replies.jsonl"
    stored = {reply.custom_id: reply for reply in jsonl.resume(path, Reply)}
    # A reply that is given wins over one that is stored: somebody has chosen it.
    known = stored | {name: reply for name, reply in given.items() if name not in failed}
    replies: dict[str, Reply] = {}
    providers = [KnownReplies(known), *([] if config.dry_run else PROVIDERS[config.provider](config))]

    with jsonl.Appender(path) as appender:

        def take(reply: Reply) -> None:
            if reply.error is not None:
                failed.add(reply.custom_id)
                return
            failed.discard(reply.custom_id)
            replies[reply.custom_id] = reply
            if stored.get(reply.custom_id) != reply:
                appender.add(reply)

        while True:
            before = len(replies)
            requests = plan(replies)
            for provider in providers:
                provider.ask([each for each in requests if each.custom_id not in replies], on_reply=take)
            if len(replies) == before:
                break
    asked = Asked(requests=requests, replies=replies, failed=frozenset(failed))
    write_requests(run_dir / "requests.jsonl", requests)
    if awaited := asked.awaited():
        write_requests(run_dir / AWAITED, awaited)
    else:
        (run_dir / AWAITED).unlink(missing_ok=True)
    return asked


class Answer(NamedTuple, Generic[Read]):
    """What was asked, once or twice, and what was read of the reply; None while one is awaited."""

    requests: list[Request]
    value: Read | Unreadable | None


def answer(
    replies: Mapping[str, Reply],
    name: str,
    messages: Sequence[Message],
    *,
    make: Callable[[str, Sequence[Message]], Request],
    read: Callable[[str], Read | Unreadable],
) -> Answer[Read]:
    """Ask, and once more where the reply cannot be read.

    Args:
        replies: those there are, by request id.
        name: of the request.
        messages: what is asked.
        make: makes a request of a name and messages.
        read: reads a reply's text.
    """
    requests = [make(name, messages)]
    reply = replies.get(requests[0].custom_id)
    value = None if reply is None else read(reply.text)
    if not isinstance(value, Unreadable):
        return Answer(requests, value)
    requests.append(make(f"{name}/repair", repair_request(messages, reason=value.reason)))
    reply = replies.get(requests[1].custom_id)
    return Answer(requests, None if reply is None else read(reply.text))


def what_to_do(config: AskingConfig, run_dir: RunDir, awaited: int) -> str:
    """Say how a run that awaits replies goes on."""
    if config.provider == "batch":
        return (
            f"{awaited} requests await replies: have {run_dir / AWAITED} answered, "
            "then give the same command with --replies FILE ..."
        )
    return f"{awaited} requests have no reply yet; the same command asks for these, and for no others, again"


def _batch(config: AskingConfig) -> Sequence[Provider]:  # noqa: ARG001
    return ()  # what is not in the files that were given is written to a file


def _api(config: AskingConfig) -> Sequence[Provider]:
    from sense.llms.api import ApiProvider, ApiSettings  # here, for batch files need no HTTP client
    from sense.llms.budget import Caps, read_prices

    assert config.base_url is not None
    caps = Caps(max_requests=config.max_requests, max_tokens=config.max_tokens, max_usd=config.max_usd)
    settings = ApiSettings(
        base_url=config.base_url,
        caps=caps,
        prices=read_prices(config.prices),
        concurrency=config.concurrency,
        timeout_s=config.request_timeout_s,
    )
    return (ApiProvider(settings, rng=random.Random(config.seed)),)


# Whom to ask what no given or stored reply answers.
PROVIDERS: dict[str, Callable[[AskingConfig], Sequence[Provider]]] = {"batch": _batch, "api": _api}


def _read_given(paths: Sequence[Path]) -> dict[str, Reply]:
    return read_replies(
        [file for path in paths for file in (sorted(path.glob("*.jsonl")) if path.is_dir() else [path])]
    )
