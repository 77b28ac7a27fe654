"""What a weak model is run by: a table of engines, and the settings of one model."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sense.databases import spider
from sense.errors import DataError
from sense.llms import store
from sense.llms.base import KnownReplies
from sense.llms.batch_files import Endpoint, Reply
from sense.llms.remote import RemoteSampler, RemoteSettings
from sense.llms.sampler import Prompt, Sampler
from sense.prompts.text_to_sql import stops

if TYPE_CHECKING:
    from sense.llms.budget import Caps

EngineName = Literal["local", "api", "vllm", "gguf", "batch"]
EndpointName = Literal["chat", "completions"]
Dtype = Literal["auto", "float32", "bfloat16"]

ENDPOINTS: dict[EndpointName, Endpoint] = {"chat": Endpoint.CHAT, "completions": Endpoint.COMPLETIONS}
# A chat model has not learned from our prompts what is wanted of it; a bare continuation needs no word more.
INSTRUCTION = "Answer the question at the end with one SQLite query, and write nothing else.\n\n"
BYTES_PER_TOKEN = 1_024  # of a reply: its text in JSON, and a log-probability with all that goes with it


def check_goes_together(engine: EngineName, *, base_url: str | None, endpoint: EndpointName) -> None:
    """Raise ValueError for settings that an engine lacks or does not have."""
    if engine == "api" and base_url is None:
        raise ValueError("engine api needs base_url")
    if engine != "api" and base_url is not None:
        raise ValueError(f"base_url is for engine api, not for {engine}")
    if endpoint != "chat" and engine not in ("api", "batch"):
        raise ValueError(f"endpoint is for engines api and batch, not for {engine}")


def check_taken(engines: Collection[EngineName], given: Collection[str]) -> None:
    """Raise ValueError for a setting that was given and that none of these engines takes."""
    taken = {name for engine in engines for name in ENGINES[engine].own}
    for name in (name for engine in ENGINES.values() for name in engine.own):
        if name in given and name not in taken:
            takers = " and ".join(word for word, engine in ENGINES.items() if name in engine.own)
            raise ValueError(f"{name} is for engine {takers}, not for {' and '.join(sorted(engines))}")


def check_prices(models: Iterable[WeakModel], own: Path | None, *, needed: bool) -> None:
    """Raise ConfigError where prices cannot be read, or one that is needed is not known."""
    from sense.llms import api  # here, for others need no HTTP client
    from sense.llms.budget import read_prices

    prices = read_prices(own)
    if needed:
        api.check_prices([model.model for model in models if model.engine == "api"], prices)


def check_private(models: Iterable[WeakModel], data: Path, db_ids: Iterable[str]) -> None:
    """Raise DataError where values of a database marked private would leave the machine in prompts."""
    away = next((model for model in models if model.leaves_the_machine), None)
    marked = away and next((db_id for db_id in sorted(set(db_ids)) if spider.is_private(data, db_id)), None)
    if away and marked:
        folder = spider.database_file(data, marked).parent
        where = away.base_url or "a batch service"
        raise DataError(
            f"{folder}: marked private by its file {spider.PRIVATE_MARK}, and prompts hold example values of "
            f"its columns: they would go to {where}; run the model here or on a server of this machine"
        )


class WeakModel(BaseModel):
    """One model, and how it is run."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: Annotated[str, Field(min_length=1)]
    engine: EngineName = "local"
    base_url: str | None = None
    endpoint: EndpointName = "chat"
    prompt_format: str | None = None
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        check_goes_together(self.engine, base_url=self.base_url, endpoint=self.endpoint)
        return self

    @property
    def leaves_the_machine(self) -> bool:
        """Whether prompts go to a batch service or to a server elsewhere."""
        host = urlsplit(self.base_url or "").hostname
        return self.engine == "batch" or (self.engine == "api" and not _is_here(host or ""))


def _is_here(host: str) -> bool:
    """Tell whether a host's name or address is this machine's own."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _from_text(value: object) -> object:
    """Take a name alone for a model that runs here, and braces for a mapping in YAML."""
    if not isinstance(value, str):
        return value
    if not value.startswith("{"):
        return {"model": value}
    from sense.yaml_files import parse_yaml  # slow to load, and seldom needed

    return parse_yaml(value, where="models")


WeakModelSetting = Annotated[WeakModel, BeforeValidator(_from_text)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What all models of a run have in common."""

    samples: int
    max_new_tokens: int
    temperature: float
    top_p: float
    batch: int
    dtype: Dtype
    concurrency: int
    caps: Caps
    prices: Path | None
    replies: Mapping[str, Reply]
    seed: int


class Engine(NamedTuple):
    """How a model is looked at before anything is written, and how it is made ready for its prompts.

    `own` are the settings of a run that it takes and not every engine does.
    """

    check: Callable[[WeakModel, Sequence[Path]], None]
    make: Callable[[WeakModel, Sampling, Sequence[Prompt]], Sampler]
    own: tuple[str, ...] = ()


def left_of(caps: Caps, used: Mapping[str, float]) -> Caps:
    """Take off what a model before has used."""
    requests, usd = caps.max_requests, caps.max_usd
    tokens = used.get("prompt_tokens", 0) + used.get("completion_tokens", 0)
    return replace(
        caps,
        max_requests=None if requests is None else max(0, requests - int(used.get("requests", 0))),
        max_tokens=None if caps.max_tokens is None else max(0, caps.max_tokens - int(tokens)),
        max_usd=None if usd is None else max(0.0, usd - used.get("usd", 0.0)),
    )


def _check_weights(model: WeakModel, made: Sequence[Path]) -> None:
    store.check_model(model.model, prompt_format=model.prompt_format, made=made)


def _check_vllm(model: WeakModel, made: Sequence[Path]) -> None:
    from sense.llms.vllm import check_installed

    check_installed()
    _check_weights(model, made)


def _check_gguf(model: WeakModel, made: Sequence[Path]) -> None:  # noqa: ARG001 - no stage writes such a file
    from sense.llms.llama_cpp import check_file, check_installed

    check_file(model.model)
    check_installed()


def _check_server(model: WeakModel, made: Sequence[Path]) -> None:  # noqa: ARG001 - no stage makes a server
    """Look at the address; whether the server knows the model is told by its first answer."""
    from sense.llms.api_server import Server  # here, for others need no HTTP client

    assert model.base_url is not None
    Server(model.base_url, timeout_s=1, max_reply_bytes=1)


def _check_nothing(model: WeakModel, made: Sequence[Path]) -> None:
    """Whether a batch service knows a model is told by its replies."""


def _local(model: WeakModel, asked: Sampling, prompts: Sequence[Prompt]) -> Sampler:
    from sense.llms.local_sampler import LocalSampler  # torch is loaded once the input is known to be good

    sampler = LocalSampler(
        model.model,
        dtype=asked.dtype,
        batch=asked.batch,
        max_new_tokens=asked.max_new_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        stops=stops(store.prompt_format_of(model.model)),
    )
    sampler.check(prompts)
    return sampler


def _vllm(model: WeakModel, asked: Sampling, _: Sequence[Prompt]) -> Sampler:
    from sense.llms.vllm import VllmSampler

    return VllmSampler(
        model.model,
        dtype=asked.dtype,
        max_new_tokens=asked.max_new_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        stops=stops(store.prompt_format_of(model.model)),
    )


def _gguf(model: WeakModel, asked: Sampling, _: Sequence[Prompt]) -> Sampler:
    from sense.llms.llama_cpp import LlamaCppSampler

    return LlamaCppSampler(
        model.model,
        max_new_tokens=asked.max_new_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        stops=stops(store.prompt_format_of(model.model)),
    )


def _api(model: WeakModel, asked: Sampling, _: Sequence[Prompt]) -> Sampler:
    from sense.llms.api import ApiProvider, ApiSettings  # here, for others need no HTTP client
    from sense.llms.budget import read_prices

    assert model.base_url is not None
    settings = ApiSettings(
        base_url=model.base_url,
        caps=asked.caps,
        prices=read_prices(asked.prices),
        concurrency=asked.concurrency,
        max_reply_bytes=2**20 + BYTES_PER_TOKEN * asked.max_new_tokens * asked.samples,
        endpoint=ENDPOINTS[model.endpoint],
    )
    provider = ApiProvider(settings, rng=random.Random(asked.seed))

    def usage() -> dict[str, float]:
        tally = provider.tally
        return {
            "requests": tally.sent,
            "prompt_tokens": tally.prompt_tokens,
            "completion_tokens": tally.completion_tokens,
            "usd": round(tally.usd, 6),
        }

    return RemoteSampler(provider, _remote(model, asked), usage=usage)


def _batch(model: WeakModel, asked: Sampling, _: Sequence[Prompt]) -> Sampler:
    return RemoteSampler(KnownReplies(asked.replies), _remote(model, asked))


def _remote(model: WeakModel, asked: Sampling) -> RemoteSettings:
    return RemoteSettings(
        model=model.model,
        endpoint=ENDPOINTS[model.endpoint],
        max_tokens=asked.max_new_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        instruction=INSTRUCTION if model.endpoint == "chat" else "",
        by_file=model.engine == "batch",
    )


ENGINES: dict[EngineName, Engine] = {
    "local": Engine(_check_weights, _local, ("batch", "dtype")),
    "api": Engine(_check_server, _api, ("concurrency", "max_requests", "max_tokens", "max_usd", "prices")),
    "vllm": Engine(_check_vllm, _vllm, ("dtype",)),
    "gguf": Engine(_check_gguf, _gguf),
    "batch": Engine(_check_nothing, _batch, ("replies",)),
}
