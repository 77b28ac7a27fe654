"""Ask a model behind any OpenAI-compatible server: many requests at a time, within caps, none paid for twice.

One thread: requests are tasks of an event loop that lives as long as `ask`. So counters need no locks, Ctrl-C
ends every request at once, and a reply is handed over before anything else can happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2

from sense.errors import ConfigError, ModelError, nearest
from sense.llms.api_server import Again, Charge, Outcome, Server, api_key
from sense.llms.batch_files import Endpoint, Reply, Request, request_body
from sense.llms.budget import NOTHING, Budget, Caps, Cost, Price, cost, read_prices, worst_case
from sense.llms.rate import AdaptiveLimit, backoff_s
from sense.llms.reply_cache import ReplyCache, request_key
from sense.progress import say

GIVE_UPS_IN_A_ROW = 5  # then the server is down, and the other requests would only wait for nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Where and how to ask. The key is no setting: it is read from the environment when requests are sent.

    Args:
        base_url: what stands before `/chat/completions`, such as `https://api.openai.com/v1`.
        model: the server's name for the model, where it is not the one in the requests.
        caps: the most to use.
        prices: by model.
        concurrency: the most requests in flight; how many really are follows what the server takes.
        timeout_s: for a whole try, from connecting to the last byte.
        tries: how often a request is sent before it counts as failed.
        first_backoff_s: bound of the wait after the first failed try.
        max_reply_bytes: a longer reply is cut off, and counts as failed.
        cache: folder that keeps the replies for a rerun; None: they are the caller's to keep, as samples are.
        endpoint: what of the server is asked.
    """

    base_url: str
    model: str | None = None
    caps: Caps = field(default_factory=Caps)
    prices: Mapping[str, Price] = field(default_factory=read_prices)
    concurrency: int = 16
    timeout_s: float = 600.0
    tries: int = 8
    first_backoff_s: float = 1.0
    max_reply_bytes: int = 2**20
    cache: Path | None = None
    endpoint: Endpoint = Endpoint.CHAT


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a provider has done so far.

    Tokens and `usd` are what the server reported; for the tries counted in `unreported` (no answer, or one
    without usage) they are the worst case. `usd` leaves out models without a price.
    """

    answered: int = 0
    failed: int = 0
    from_cache: int = 0
    unsent: int = 0  # requests that got no reply, for a cap was reached or the server ended it
    sent: int = 0  # tries
    unreported: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0


class ApiProvider:
    """A model behind a server. Caps, and the rate that the server takes, hold over all calls of `ask`."""

    def __init__(self, settings: ApiSettings, *, rng: random.Random) -> None:
        """Check the settings; nothing is sent yet. `rng` draws the waits between tries.

        Raises:
            ConfigError: the base URL is none.
        """
        assert settings.concurrency >= 1 and settings.tries >= 1
        self.tally = Tally()
        self.settings = settings
        self.server = Server(
            settings.base_url,
            timeout_s=settings.timeout_s,
            max_reply_bytes=settings.max_reply_bytes,
            endpoint=settings.endpoint,
        )
        self.budget = Budget(settings.caps)
        self.rate = AdaptiveLimit(most=settings.concurrency)
        self.rng = rng

    def ask(self, requests: Sequence[Request], *, on_reply: Callable[[Reply], None]) -> None:
        """Send the requests, and hand over each reply when it comes, in the calling thread.

        Where a cap is reached the rest is not sent: `tally.unsent` counts what got no reply.

        Raises:
            ConfigError: a cap in USD, and no price.
            DiskError: the cache cannot be used.
            ModelError: the server refuses the key or the model, or is down; what came was handed over.
        """
        named = [replace(r, model=self.settings.model) if self.settings.model else r for r in requests]
        if self.settings.caps.max_usd is not None:
            check_prices([request.model for request in named], self.settings.prices)
        assert self.settings.cache is None or all(request.sampling is None for request in named)
        key = api_key()
        with contextlib.ExitStack() as stack:
            folder = self.settings.cache
            cache = stack.enter_context(ReplyCache(folder)) if folder else None
            hand_over = _HandOver(self.server.url, cache, on_reply, self.tally)
            missing = [request for request in named if not hand_over.from_cache(request)]
            asking = _Asking(self, key, hand_over)
            if missing:
                try:
                    asyncio.run(asking.run(missing))
                except BaseExceptionGroup as group:  # what on_reply or the cache raised in one of the tasks
                    raise group.exceptions[0] from None
        unsent = len(missing) - hand_over.count
        self.tally.unsent += unsent
        rest = f"{unsent} of {len(requests)} requests have no reply"
        if isinstance(asking.stopped_by, ModelError):
            raise ModelError(f"{asking.stopped_by}; {rest}")
        if asking.stopped_by:
            say(f"{self.server.url}: {asking.stopped_by} is reached: {rest}; ask again with a higher one")


def check_prices(models: Sequence[str], prices: Mapping[str, Price]) -> None:
    """Raise ConfigError for a model without a price, which no cap in USD can hold."""
    unpriced = sorted(set(models) - prices.keys())
    if unpriced:
        known = nearest(unpriced[0], prices)
        raise ConfigError(
            f"max_usd needs the price of {unpriced[0]!r}; add it (prices), or cap tokens; {known}"
        )


class _HandOver:
    """Hands replies over, and keeps the good ones for a rerun."""

    def __init__(
        self, url: str, cache: ReplyCache | None, on_reply: Callable[[Reply], None], tally: Tally
    ) -> None:
        self.count = 0  # without those from the cache
        self._url, self._cache, self._on_reply, self._tally = url, cache, on_reply, tally

    def __call__(self, request: Request, reply: Reply) -> None:
        self.count += 1
        if reply.error is None:
            self._tally.answered += 1
        else:
            self._tally.failed += 1
        try:
            if self._cache and reply.error is None:
                self._cache.put(self._key(request), reply)
        finally:  # it is paid for: the caller gets it even if the disk is full
            self._on_reply(reply)

    def from_cache(self, request: Request) -> bool:
        """Hand over the kept reply to a request, if there is one."""
        kept = self._cache.get(self._key(request)) if self._cache else None
        if kept is None:
            return False
        self._tally.from_cache += 1
        self._on_reply(kept)
        return True

    def _key(self, request: Request) -> str:
        return request_key(self._url, request.custom_id, request_body(request))


class _Asking:
    """One call of `ask`: workers take requests from one iterator until it is empty or all must stop."""

    def __init__(self, provider: ApiProvider, key: str | None, hand_over: _HandOver) -> None:
        self.stopped_by: ModelError | str | None = None  # a string names a cap
        self._settings, self._server, self._budget = provider.settings, provider.server, provider.budget
        self._rate, self._rng, self._tally = provider.rate, provider.rng, provider.tally
        self._key, self._hand_over = key, hand_over
        self._in_flight = self._given_up = 0
        self._stopped, self._changed = asyncio.Event(), asyncio.Event()

    async def run(self, requests: Sequence[Request]) -> None:
        """Serve all requests, with a worker for each that may be in flight."""
        workers = min(self._settings.concurrency, len(requests))
        left = iter(requests)
        async with (
            self._server.connect(self._key, connections=workers) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(workers):
                group.create_task(self._work(client, left))

    async def _work(self, client: httpx2.AsyncClient, left: Iterator[Request]) -> None:
        for request in left:
            await self._serve(client, request)
            if self._stopped.is_set():
                return

    async def _serve(self, client: httpx2.AsyncClient, request: Request) -> None:
        """Try until there is a reply, the tries are used up, or all must stop."""
        worst = worst_case(request, self._settings.prices.get(request.model))
        reason = ""
        for tries in range(1, self._settings.tries + 1):
            sent_in = await self._enter(worst)
            if sent_in is None:
                return
            try:
                outcome = await self._server.send(client, request, key=self._key)
                self._settle(request, outcome, worst)
                if isinstance(outcome.result, Reply):
                    self._rate.on_answer()
                    self._given_up = 0
                    self._hand_over(request, outcome.result)
                    return
            finally:
                self._in_flight -= 1
                self._wake()
            if isinstance(outcome.result, ModelError):
                self._stop(outcome.result)
                return
            reason = outcome.result.reason
            self._slow_down(outcome.result, sent_in)
            if tries < self._settings.tries:
                await self._rest(backoff_s(tries, first_s=self._settings.first_backoff_s, rng=self._rng))
        self._give_up(request, reason)

    async def _enter(self, worst: Cost) -> int | None:
        """Wait until a request may go out, and reserve its worst case; None if none may any more.

        A cap is reached when a request does not fit and nothing is in flight whose reservation may shrink.
        """
        while not self._stopped.is_set():
            pause_s = self._rate.pause_left_s(time.monotonic())
            if pause_s > 0:
                await self._rest(pause_s)
                continue
            if self._in_flight < self._rate.limit:
                cap = self._budget.cap_passed_by(worst)
                if cap is None:
                    self._budget.reserve(worst)
                    self._in_flight += 1
                    return self._rate.round
                if self._in_flight == 0:
                    self._stop(cap)
                    break
            await self._changed.wait()
        return None

    def _settle(self, request: Request, outcome: Outcome, worst: Cost) -> None:
        """Put what a try has used in the place of its worst case."""
        if outcome.charge is Charge.UNSENT:
            self._budget.give_back(worst)
            return
        used = worst
        if outcome.charge is Charge.REFUSED:
            used = NOTHING
        elif isinstance(outcome.result, Reply) and outcome.charge is Charge.REPORTED:
            reply, price = outcome.result, self._settings.prices.get(request.model)
            used = cost(reply.prompt_tokens, reply.completion_tokens, price)
        self._budget.settle(worst, used)
        self._tally.sent += 1
        self._tally.unreported += outcome.charge is Charge.UNKNOWN
        self._tally.prompt_tokens += used.prompt_tokens
        self._tally.completion_tokens += used.completion_tokens
        self._tally.usd += used.usd

    def _slow_down(self, failed: Again, sent_in: int) -> None:
        if failed.overloaded:
            self._rate.on_refusal(sent_in)
        if failed.retry_after_s is not None:
            self._rate.pause(failed.retry_after_s, now=time.monotonic())

    def _give_up(self, request: Request, reason: str) -> None:
        error = f"failed {self._settings.tries} times: {reason}"
        self._hand_over(request, Reply(custom_id=request.custom_id, text="", error=error))
        self._given_up += 1
        if self._given_up == GIVE_UPS_IN_A_ROW:
            self._stop(
                ModelError(f"{self._server.url}: {self._given_up} requests in a row {error}; it seems down")
            )

    async def _rest(self, seconds: float) -> None:
        """Wait, but no longer than until all must stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    def _stop(self, reason: ModelError | str) -> None:
        """Let nothing more go out; what is in flight is awaited."""
        self.stopped_by = self.stopped_by or reason
        self._stopped.set()
        self._wake()

    def _wake(self) -> None:
        """Let everyone who waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()
