"""What asking a model costs: estimates before, caps that hold while many requests are in flight.

A request's worst case is reserved before it goes out, and settled by what the server says it used. So a cap
is never passed, as long as a server does not report more than was possible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from sense import jsonl
from sense.errors import ConfigError
from sense.llms.batch_files import Request
from sense.yaml_files import read_yaml_mapping

PRICES = Path(__file__).with_name("prices.yaml")
MILLION = 1_000_000
# SmolLM2's tokenizer (49,000 words) makes a token of 2.15 bytes of our requests, which hold many numbers;
# larger vocabularies need fewer. An estimate had better be too high.
BYTES_PER_TOKEN = 2.5
# No byte-level tokenizer makes more tokens than bytes; a chat template adds a few to each message, and some
# add a system message of their own.
TEMPLATE_TOKENS, TEMPLATE_TOKENS_PER_MESSAGE = 64, 8
USD_ROUNDING = 1e-9  # sums of floats are off by less

_Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens; `batch_discount` is the share taken off when asked by batch files."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    input: _Usd
    output: _Usd
    batch_discount: Annotated[float, Field(ge=0, le=1)] = 0.0
    as_of: str = ""

    def usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what a request with these tokens costs."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / MILLION


class Cost(NamedTuple):
    """What was or may be used; `usd` is 0 where the model has no price."""

    prompt_tokens: int
    completion_tokens: int
    usd: float


NOTHING = Cost(0, 0, 0.0)


class Estimate(NamedTuple):
    """What requests are going to use; `usd` is None where a model has no price.

    Prompts are guessed from their bytes; `completion_tokens` are the most that the replies can have.
    """

    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    batch_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The most that may be used, by one process; None: no such cap.

    `max_requests` counts every request that goes out, those the server refuses too.
    """

    max_requests: int | None = None
    max_tokens: int | None = None
    max_usd: float | None = None


def read_prices(own: Path | None = None) -> dict[str, Price]:
    """Read the prices of models: those that come with Sense, and over them a user's own.

    Raises:
        ConfigError: the file is missing or holds something else.
    """
    prices: dict[str, Price] = {}
    for path in (PRICES, own) if own else (PRICES,):
        try:
            prices |= TypeAdapter(dict[str, Price]).validate_python(read_yaml_mapping(path))
        except ValidationError as error:
            raise ConfigError(
                f"{path}: {jsonl.first_complaint(error)}; expected lines MODEL: {{input: USD, output: USD}}, "
                "per million tokens"
            ) from None
    return prices


def estimate_cost(requests: Sequence[Request], prices: Mapping[str, Price]) -> Estimate:
    """Estimate what requests are going to use if each is sent once."""
    prompts = completions = 0
    usd = batch_usd = 0.0
    for request in requests:
        prompt_tokens = round(_prompt_bytes(request) / BYTES_PER_TOKEN)
        prompts += prompt_tokens
        completions += request.max_tokens * request.answers
        price = prices.get(request.model)
        if price is not None:
            usd_of_request = price.usd(prompt_tokens, request.max_tokens * request.answers)
            usd += usd_of_request
            batch_usd += usd_of_request * (1 - price.batch_discount)
    if any(request.model not in prices for request in requests):
        return Estimate(prompts, completions, None, None)
    return Estimate(prompts, completions, usd, batch_usd)


def worst_case(request: Request, price: Price | None) -> Cost:
    """Return the most that a request can use, whatever the tokenizer."""
    template = TEMPLATE_TOKENS + TEMPLATE_TOKENS_PER_MESSAGE * len(request.messages)
    return cost(_prompt_bytes(request) + template, request.max_tokens * request.answers, price)


def cost(prompt_tokens: int, completion_tokens: int, price: Price | None) -> Cost:
    """Put a price on tokens."""
    usd = price.usd(prompt_tokens, completion_tokens) if price else 0.0
    return Cost(prompt_tokens, completion_tokens, usd)


class Budget:
    """What has been used or is reserved, against the caps."""

    def __init__(self, caps: Caps) -> None:
        """Start with nothing used."""
        self._caps = caps
        self._requests = self._tokens = 0
        self._usd = 0.0

    def cap_passed_by(self, worst: Cost) -> str | None:
        """Name the cap, with its value, that one more request could pass; None if it fits."""
        caps = self._caps
        tokens = self._tokens + worst.prompt_tokens + worst.completion_tokens
        if caps.max_requests is not None and self._requests + 1 > caps.max_requests:
            return f"max_requests {caps.max_requests}"
        if caps.max_tokens is not None and tokens > caps.max_tokens:
            return f"max_tokens {caps.max_tokens}"
        if caps.max_usd is not None and self._usd + worst.usd > caps.max_usd + USD_ROUNDING:
            return f"max_usd {caps.max_usd:g}"
        return None

    def reserve(self, worst: Cost) -> None:
        """Count a request that goes out, at its worst case."""
        self._requests += 1
        self._add(worst, 1)

    def settle(self, worst: Cost, used: Cost) -> None:
        """Count what a request did use in place of its worst case."""
        self._add(worst, -1)
        self._add(used, 1)

    def give_back(self, worst: Cost) -> None:
        """Take off a request that never went out."""
        self._requests -= 1
        self._add(worst, -1)

    def _add(self, amount: Cost, sign: int) -> None:
        self._tokens += sign * (amount.prompt_tokens + amount.completion_tokens)
        self._usd += sign * amount.usd


def _prompt_bytes(request: Request) -> int:
    return sum(len(message.content.encode(errors="surrogatepass")) for message in request.messages)
