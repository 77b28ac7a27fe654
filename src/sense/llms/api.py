"""Ask a model behind any OpenAI-compatible server (chat completions): many requests at a time, within caps.

One thread: requests are tasks of an event loop that lives as long as `ask`. So counters need no locks, Ctrl-C
ends every request at once, and a reply is handed over before anything else can happen.

Source: OpenAI's API reference, "Create chat completion".
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import httpx2

from sense.errors import ConfigError, ModelError, nearest
from sense.llms.batch_files import Reply, Request
from sense.llms.budget import NOTHING, Budget, Caps, Cost, Price, cost, read_prices, worst_case
from sense.llms.rate import AdaptiveLimit, backoff_s, retry_after_s
from sense.llms.reply_cache import ReplyCache, request_key
from sense.llms.server import ENDS_ALL, MAX_ERROR_BYTES, OVERLOADED, TRY_AGAIN, Server, api_key, read_reply
from sense.progress import say

CONNECT_TIMEOUT_S = 20.0
MAX_RETRY_AFTER_S = 900.0  # who is asked to wait longer has used up a day, and had better be told
GIVE_UPS_IN_A_ROW = 5  # then the server is down, and the other requests would only wait for nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Where and how to ask. The key is no setting: see `server.api_key`.

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
        cache: folder that keeps the replies for a rerun; None: they are the caller's to keep.
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


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a provider has done so far.

    Tokens and `usd` are what the server reported; for the tries counted in `unreported` (no answer, or one
    without usage) they are the worst case. `usd` leaves out models without a price.
    """

    answered: int = 0
    failed: int = 0
    from_cache: int = 0
    unsent: int = 0
    sent: int = 0
    unreported: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0


class ApiProvider:
    """A model behind a server. Caps and the rate that the server takes hold over all calls of `ask`."""

    def __init__(self, settings: ApiSettings, *, rng: random.Random) -> None:
        """Check the settings; nothing is sent yet. `rng` draws the waits between tries."""
        assert settings.concurrency >= 1 and settings.tries >= 1
        self.tally = Tally()
        self._settings = settings
        self._server = Server(settings.base_url)
        self._budget = Budget(settings.caps)
        self._rate = AdaptiveLimit(most=settings.concurrency)
        self._rng = rng

    def ask(self, requests: Sequence[Request], *, on_reply: Callable[[Reply], None]) -> None:
        """Send the requests, hand over each reply when it comes, in the calling thread.

        Where a cap is reached the rest is not sent: `tally.unsent` counts what got no reply.

        Raises:
            ConfigError: a cap in USD, and no price.
            DiskError: the cache cannot be used.
            ModelError: the server refuses the key or the model, or does not answer; what came was handed over.
        """
        named = [replace(r, model=self._settings.model) if self._settings.model else r for r in requests]
        self._check_prices(named)
        key = api_key()
        with contextlib.ExitStack() as stack:
            folder = self._settings.cache
            cache = stack.enter_context(ReplyCache(folder)) if folder else None
            deliver = _Deliver(self._server.url, cache, on_reply, self.tally)
            missing = [request for request in named if not deliver.from_cache(request)]
            asking = _Asking(
                self._settings,
                server=self._server,
                key=key,
                budget=self._budget,
                rate=self._rate,
                rng=self._rng,
                deliver=deliver,
            )
            if missing:
                _run_alone(asking, missing)
        unsent = len(missing) - deliver.delivered
        self.tally.unsent += unsent
        rest = f"{unsent} of {len(requests)} requests have no reply"
        if isinstance(asking.stopped_by, ModelError):
            raise ModelError(f"{asking.stopped_by}; {rest}")
        if asking.stopped_by:
            say(
                f"{self._server.url}: {asking.stopped_by} is reached: {rest}; raise it and ask again for them"
            )

    def _check_prices(self, requests: Sequence[Request]) -> None:
        prices = self._settings.prices
        for model in sorted({request.model for request in requests} - prices.keys()):
            if self._settings.caps.max_usd is not None:
                raise ConfigError(
                    f"max_usd needs the price of {model!r}; give it, or cap tokens ({nearest(model, prices)})"
                )


def _run_alone(asking: _Asking, requests: Sequence[Request]) -> None:
    try:
        asyncio.run(asking.run(requests))
    except BaseExceptionGroup as group:  # what on_reply or the cache raised, wrapped by the task group
        raise group.exceptions[0] from None


class _Deliver:
    """Hands replies over, and keeps the good ones for a rerun."""

    def __init__(
        self, url: str, cache: ReplyCache | None, on_reply: Callable[[Reply], None], tally: Tally
    ) -> None:
        self.delivered = 0
        self.tally = tally
        self._url, self._cache, self._on_reply = url, cache, on_reply

    def from_cache(self, request: Request) -> bool:
        """Hand over the kept reply to a request, if there is one."""
        kept = self._cache.get(self._key(request)) if self._cache else None
        if kept is None:
            return False
        self.tally.from_cache += 1
        self._on_reply(kept)
        return True

    def __call__(self, request: Request, reply: Reply) -> None:
        self.delivered += 1
        if reply.error is None:
            self.tally.answered += 1
        else:
            self.tally.failed += 1
        try:
            if self._cache and reply.error is None:
                self._cache.put(self._key(request), reply)
        finally:  # it is paid for, so the caller gets it even if the disk is full
            self._on_reply(reply)

    def _key(self, request: Request) -> str:
        return request_key(self._url, request.custom_id, _body(request))


class _Again(NamedTuple):
    """A try that failed for a while: why, and how long the server asks to be left alone."""

    reason: str
    retry_after_s: float | None = None


class _Asking:
    """One call of `ask`: workers that take requests from one iterator, until none are left or all must stop."""

    def __init__(
        self,
        settings: ApiSettings,
        *,
        server: Server,
        key: str | None,
        budget: Budget,
        rate: AdaptiveLimit,
        rng: random.Random,
        deliver: _Deliver,
    ) -> None:
        self.stopped_by: ModelError | str | None = None
        self._settings, self._server, self._key = settings, server, key
        self._budget, self._rate, self._rng, self._deliver = budget, rate, rng, deliver
        self._tally = deliver.tally
        self._in_flight = self._give_ups = 0
        self._reached = False
        self._stopped, self._changed = asyncio.Event(), asyncio.Event()

    async def run(self, requests: Sequence[Request]) -> None:
        """Serve all requests, with one worker for each that may be in flight."""
        workers = min(self._settings.concurrency, len(requests))
        left = iter(requests)
        client = httpx2.AsyncClient(
            headers=self._server.headers(self._key),
            timeout=httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S),
            limits=httpx2.Limits(max_connections=workers, max_keepalive_connections=workers),
        )
        async with client, asyncio.TaskGroup() as group:
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
        for tries in range(1, self._settings.tries + 1):
            sent_in = await self._enter(worst)
            if sent_in is None:
                return
            try:
                outcome = await self._try(client, request, worst=worst, sent_in=sent_in)
                if isinstance(outcome, Reply):
                    self._give_ups = 0
                    self._deliver(request, outcome)
                    return
            finally:
                self._in_flight -= 1
                self._wake()
            if isinstance(outcome, ModelError):
                self._stop(outcome)
                return
            if outcome.retry_after_s is not None:
                self._rate.pause(outcome.retry_after_s, now=time.monotonic())
            elif tries < self._settings.tries:
                await self._rest(backoff_s(tries, first_s=self._settings.first_backoff_s, rng=self._rng))
        self._give_up(request, outcome.reason)

    def _give_up(self, request: Request, reason: str) -> None:
        tries = self._settings.tries
        self._deliver(
            request, Reply(custom_id=request.custom_id, text="", error=f"failed {tries} times: {reason}")
        )
        self._give_ups += 1
        if self._give_ups == GIVE_UPS_IN_A_ROW:
            self._stop(
                ModelError(
                    f"{self._server.url}: {self._give_ups} requests in a row failed for good: {reason}"
                )
            )

    async def _enter(self, worst: Cost) -> int | None:
        """Wait until a request may go out, and reserve its worst case; None if none may any more.

        A cap counts as reached when nothing is in flight whose reservation could still shrink.
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
                    self._tally.sent += 1
                    return self._rate.round
                if self._in_flight == 0:
                    self._stop(cap)
                    return None
            await self._changed.wait()
        return None

    async def _try(
        self, client: httpx2.AsyncClient, request: Request, *, worst: Cost, sent_in: int
    ) -> Reply | _Again | ModelError:
        """Send a request once, and settle what it used."""
        content = json.dumps(_body(request)).encode()
        try:
            async with (
                asyncio.timeout(self._settings.timeout_s),
                client.stream("POST", self._server.url, content=content) as response,
            ):
                self._reached = True
                good = response.status_code == 200
                data = await _read(response, self._settings.max_reply_bytes if good else MAX_ERROR_BYTES)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            self._budget.give_back(worst)
            self._tally.sent -= 1
            if not self._reached and isinstance(error, httpx2.ConnectError):
                return ModelError(f"{self._server.url}: cannot be reached: {error}; is the server running?")
            return _Again(f"cannot be reached: {error}")
        except (TimeoutError, httpx2.TransportError) as error:
            self._count(worst, reported=False)  # the server may have answered, and may charge for it
            late = isinstance(error, TimeoutError)
            return _Again(f"no answer in {self._settings.timeout_s:g} s" if late else f"cut off: {error!r}")
        if good:
            return self._read_answer(request, data, worst)
        self._budget.settle(worst, NOTHING)
        return self._read_refusal(request, response, data or b"", sent_in=sent_in)

    def _read_answer(self, request: Request, data: bytes | None, worst: Cost) -> Reply:
        self._rate.on_answer()
        if data is None:
            self._count(worst, reported=False)
            error = f"a reply of more than {self._settings.max_reply_bytes} bytes, cut off"
            return Reply(custom_id=request.custom_id, text="", error=error)
        reply, reported = read_reply(request.custom_id, data, key=self._key)
        if reported:
            price = self._settings.prices.get(request.model)
            used = cost(reply.prompt_tokens, reply.completion_tokens, price)
            self._budget.settle(worst, used)
            self._count(used, reported=True)
        else:
            self._count(worst, reported=False)
        return reply

    def _read_refusal(
        self, request: Request, response: httpx2.Response, data: bytes, *, sent_in: int
    ) -> Reply | _Again | ModelError:
        """Tell what concerns this request alone from what passes and from what ends everything."""
        status = response.status_code
        if status in OVERLOADED:
            self._rate.on_refusal(sent_in)
        why = f"status {status}: {self._server.message(data, key=self._key)}"
        wait_s = retry_after_s(response.headers.get("retry-after"), now=datetime.now(UTC))
        if status in ENDS_ALL or 300 <= status < 400 or b"insufficient_quota" in data:
            hint = ENDS_ALL.get(status, "see what the server says")
            return ModelError(f"{self._server.url}: {why}; {hint}")
        if wait_s is not None and wait_s > MAX_RETRY_AFTER_S:
            return ModelError(f"{self._server.url}: {why}; it asks to come again in {wait_s:.0f} s")
        if status in TRY_AGAIN or status >= 500:
            return _Again(why, wait_s)
        return Reply(custom_id=request.custom_id, text="", error=why)

    def _count(self, used: Cost, *, reported: bool) -> None:
        self._tally.unreported += not reported
        self._tally.prompt_tokens += used.prompt_tokens
        self._tally.completion_tokens += used.completion_tokens
        self._tally.usd += used.usd

    async def _rest(self, seconds: float) -> None:
        """Wait, but not after all must stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    def _stop(self, reason: ModelError | str) -> None:
        """Let nothing more go out; what is in flight is awaited."""
        self.stopped_by = self.stopped_by or reason
        self._stopped.set()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _body(request: Request) -> dict[str, object]:
    return {
        "model": request.model,
        "messages": [asdict(message) for message in request.messages],
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
    }


async def _read(response: httpx2.Response, most: int) -> bytes | None:
    """Read a body; None where it is longer than `most` bytes, of which no more are taken in."""
    data = bytearray()
    async with aclosing(response.aiter_raw()) as chunks:
        async for chunk in chunks:
            data += chunk
            if len(data) > most:
                return None
    return bytes(data)
