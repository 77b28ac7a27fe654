"""Sample from a model that is asked by requests: over a server, or by batch files.

One request asks for all samples of a prompt, as far as the server goes along: where it gives fewer, or takes
no request for several, the rest is asked for again. The first request goes alone, to find that out. Replies
in files are known by what was asked, so what is asked by files does not change with what came.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sense.llms.base import Provider
from sense.llms.batch_files import Endpoint, Reply, Request, Sampling, make_request
from sense.llms.choices import Samples
from sense.llms.sampler import Ended, OnAnswers, Prompt, seed_number
from sense.progress import say
from sense.records import Message

# How a server names what it does not take. Answers come without these; a refused `n` costs more requests.
NAMED = {
    "n": re.compile(r"(?<![\\\w])n(?!\w)|completion choice", re.IGNORECASE),
    "logprobs": re.compile("logprobs"),
    "seed": re.compile(r"\bseed\b"),
}
LOST = {
    "n": "one sample a request",
    "logprobs": "log-probabilities stay unknown",
    "seed": "samples cannot be drawn again",
}
REFUSED = re.compile("status 4(00|22):")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSettings:
    """What is asked of the model. `instruction` stands before the prompt of a chat model."""

    model: str
    endpoint: Endpoint
    max_tokens: int
    temperature: float
    top_p: float
    instruction: str = ""
    by_file: bool = False


class _Part(NamedTuple):
    """Some samples of a prompt, asked for together."""

    prompt: int
    samples: tuple[int, ...]
    request: Request


@dataclass(slots=True)
class _State:
    open: dict[int, list[int]]
    without: set[str] = field(default_factory=set)
    at_once: int | None = None
    unanswered: list[Request] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class RemoteSampler:
    """Samples through a provider of replies; `usage` tells in the end what was used."""

    def __init__(
        self,
        provider: Provider,
        settings: RemoteSettings,
        *,
        usage: Callable[[], dict[str, float]] = dict,
    ) -> None:
        """Send nothing yet."""
        self._provider, self._settings, self._usage = provider, settings, usage

    def sample(self, prompts: Sequence[Prompt], *, on_answers: OnAnswers) -> Ended:
        """Ask until every sample is there, has failed, or has no reply.

        Raises:
            SenseError: the provider cannot ask at all; what came was handed over.
        """
        state = _State({p: list(range(len(prompt.seeds))) for p, prompt in enumerate(prompts)})
        first = not self._settings.by_file
        while state.open:
            parts = self._parts(prompts, state)
            self._ask(parts[:1] if first else parts, state, on_answers)
            first = False
        return Ended(usage=self._usage(), unanswered=tuple(state.unanswered), failed=tuple(state.failed))

    def _parts(self, prompts: Sequence[Prompt], state: _State) -> list[_Part]:
        parts: list[_Part] = []
        for p, samples in state.open.items():
            size = state.at_once or len(samples)
            for start in range(0, len(samples), size):
                some = tuple(samples[start : start + size])
                parts.append(_Part(p, some, self._request(prompts[p], some, state.without)))
        return parts

    def _request(self, prompt: Prompt, samples: tuple[int, ...], without: set[str]) -> Request:
        """Make a request whose id says which samples it is for, and of what model and settings.

        Their first one's seed is the request's.
        """
        settings = self._settings
        seed = prompt.seeds[samples[0]]
        chat = settings.endpoint is Endpoint.CHAT
        asked = f"{settings.instruction}{prompt.schema}{prompt.text}"
        request = make_request(
            f"{seed}x{len(samples)}-{_digest(settings)}",
            [Message(role="user", content=asked)],
            model=settings.model,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
        )
        sampling = Sampling(
            n=len(samples),
            top_p=settings.top_p,
            seed=None if "seed" in without else seed_number(seed),
            logprobs="logprobs" not in without,
            stop=()
            if chat
            else ("\n",),  # our models answer on one line; others go on with the next question
        )
        return Request(
            custom_id=request.custom_id,
            messages=request.messages,
            model=request.model,
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            sampling=sampling,
        )

    def _ask(self, parts: Sequence[_Part], state: _State, on_answers: OnAnswers) -> None:
        """Ask once; a part is answered, has failed, has no reply, or stays open to be asked otherwise."""
        waiting = {part.request.custom_id: part for part in parts}

        def take(reply: Reply) -> None:
            part = waiting.pop(reply.custom_id)
            if isinstance(reply, Samples) and reply.error is None:
                given = dict(zip(part.samples, reply.choices, strict=False))  # more than asked for are left
                on_answers(part.prompt, given)
                _close(state, part, list(given))
                if len(given) < len(part.samples) and not self._settings.by_file:
                    state.at_once = min(len(given), state.at_once or len(given))
            elif self._settings.by_file or not _goes_otherwise(reply.error or "", part.request, state):
                state.failed.append(reply.error or "no text in the reply")
                _close(state, part, part.samples)

        self._provider.ask([part.request for part in parts], on_reply=take)
        for part in waiting.values():
            state.unanswered.append(part.request)
            _close(state, part, part.samples)


def _digest(settings: RemoteSettings) -> str:
    """Name what another model, or the same one asked otherwise, does not share."""
    asked = [
        settings.model,
        settings.endpoint,
        settings.temperature,
        settings.top_p,
        settings.max_tokens,
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8]


def _close(state: _State, part: _Part, samples: Sequence[int]) -> None:
    left = [sample for sample in state.open[part.prompt] if sample not in samples]
    if left:
        state.open[part.prompt] = left
    else:
        del state.open[part.prompt]


def _goes_otherwise(error: str, request: Request, state: _State) -> bool:
    """Tell whether a request was refused for what it can do without; if so, do without it from now on."""
    sampling = request.sampling
    assert sampling is not None
    used = {"n": sampling.n > 1, "logprobs": sampling.logprobs, "seed": sampling.seed is not None}
    if not REFUSED.match(error):
        return False
    named = [name for name, words in NAMED.items() if used[name] and words.search(error)]
    for name in named:
        if name not in state.without:
            say(f"{request.model}: the server takes no {name!r}: {LOST[name]}")
        state.without.add(name)
        if name == "n":
            state.at_once = 1
    return bool(named)
