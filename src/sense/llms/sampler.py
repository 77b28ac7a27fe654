"""What every way of sampling has in common: prompts go in, and answers come out, each when it is there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from sense.llms.batch_files import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What to continue: `schema`, which many prompts begin with, then `text`; a seed for each sample.

    `name` is what an error calls it.
    """

    schema: str
    text: str
    seeds: tuple[str, ...]
    name: str = ""


class Sampled(NamedTuple):
    """What a model wrote. `logprob` is None where it is not known; `finished` is False where it was cut."""

    text: str
    logprob: float | None
    tokens: int
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the sampling ended: what it used, and what came short.

    `unanswered` are requests that nobody has answered yet; `failed` says of each that went wrong why.
    """

    usage: Mapping[str, float] = field(default_factory=dict)
    unanswered: tuple[Request, ...] = ()
    failed: tuple[str, ...] = ()


# Takes a prompt's position and answers by the positions of their seeds.
OnAnswers = Callable[[int, Mapping[int, Sampled]], None]


class Sampler(Protocol):
    """A way to have samples made."""

    def sample(self, prompts: Sequence[Prompt], *, on_answers: OnAnswers) -> Ended:
        """Make the samples it can; hand over each when it comes, never twice, from the calling thread."""
        ...


def seed_number(seed: str) -> int:
    """Turn a seed into a number that every server and library takes, of 31 bits."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4]) >> 1
