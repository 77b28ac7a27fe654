"""One request to an OpenAI-compatible server: what came of it, and what it may have cost.

Whether and when to try again is not decided here: see `api`.

Source: OpenAI's API reference, "Create chat completion" and "Error codes".
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx2

from sense.errors import ConfigError, ModelError, shorten
from sense.llms.batch_files import Endpoint, Reply, Request, request_body
from sense.llms.choices import count, read_samples
from sense.llms.rate import retry_after_s

KEY_NAMES = ("SENSE_API_KEY", "OPENAI_API_KEY")
OVERLOADED = frozenset({429, 503, 529})  # 529: Anthropic's "overloaded"
TRY_AGAIN = OVERLOADED | {408}  # and all from 500 on
ENDS_ALL = {
    401: f"set {KEY_NAMES[0]} (or {KEY_NAMES[1]}) to a key of this server",
    402: "the account has no credit",
    403: "the key may not be used for this",
    404: "the model's name or the base URL is not known there",
}
CONNECT_TIMEOUT_S = 20.0
MAX_RETRY_AFTER_S = 900.0  # who is asked to wait longer has used up a day, and had better be told
MAX_ERROR_BYTES = 2**16  # of a body that explains an error
MAX_QUOTED = 200  # characters of it shown


class Charge(Enum):
    """What a try may have cost."""

    UNSENT = "it never left"
    REFUSED = "nothing"
    REPORTED = "the tokens in the reply"
    UNKNOWN = "at most the worst case"


class Again(NamedTuple):
    """A try that may be made again: why it failed, and how long the server asks to be left alone."""

    reason: str
    retry_after_s: float | None = None
    overloaded: bool = False


class Outcome(NamedTuple):
    """How a try ended; a ModelError is one that every other request would meet too."""

    result: Reply | Again | ModelError
    charge: Charge


class Server:
    """The address of a server, and what is said to it."""

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float,
        max_reply_bytes: int,
        endpoint: Endpoint = Endpoint.CHAT,
    ) -> None:
        """Check the address.

        Args:
            base_url: what stands before `/chat/completions`.
            timeout_s: for a whole try, from connecting to the last byte.
            max_reply_bytes: a longer reply is cut off.
            endpoint: what of the server is asked.

        Raises:
            ConfigError: the address is none, or holds a password.
        """
        try:
            parts = urlsplit(base_url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        else:
            if parts.username or parts.password:
                raise ConfigError(f"base URL of {parts.hostname}: leave the key out, and set {KEY_NAMES[0]}")
        if not valid or parts.query or parts.fragment:
            raise ConfigError(f"base URL {base_url!r}: one like https://api.openai.com/v1 is expected")
        self.url = f"{base_url.rstrip('/')}/{endpoint}"
        self._endpoint = endpoint
        self._timeout_s, self._max_reply_bytes = timeout_s, max_reply_bytes
        self._reached = False

    def connect(self, key: str | None, *, connections: int) -> httpx2.AsyncClient:
        """Make a client for so many requests at a time."""
        # Packed replies would grow beyond any bound on the bytes that are read.
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S),
            limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    async def send(self, client: httpx2.AsyncClient, request: Request, *, key: str | None) -> Outcome:
        """Send a request once; `key` is known here to keep it out of what is told."""
        content = json.dumps(request_body(request, self._endpoint)).encode()
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                client.stream("POST", self.url, content=content) as response,
            ):
                self._reached = True
                good = response.status_code == 200
                data = await _read(response, self._max_reply_bytes if good else MAX_ERROR_BYTES)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            why = f"cannot be reached: {_quote(str(error) or repr(error), key)}"
            if self._reached or isinstance(error, httpx2.ConnectTimeout):
                return Outcome(Again(why), Charge.UNSENT)
            return Outcome(ModelError(f"{self.url}: {why}; is the server running?"), Charge.UNSENT)
        except TimeoutError:
            late = Again(f"no answer in {self._timeout_s:g} s", overloaded=True)
            return Outcome(late, Charge.UNKNOWN)
        except httpx2.TransportError as error:  # the server may have answered, and may charge for it
            return Outcome(Again(f"cut off: {_quote(repr(error), key)}"), Charge.UNKNOWN)
        if not good:
            return Outcome(self._read_refusal(request, response, data or b"", key=key), Charge.REFUSED)
        if data is None:
            too_long = f"a reply of more than {self._max_reply_bytes} bytes, cut off"
            return Outcome(Reply(custom_id=request.custom_id, text="", error=too_long), Charge.UNKNOWN)
        return _read_answer(request, data, key=key)

    def _read_refusal(
        self, request: Request, response: httpx2.Response, data: bytes, *, key: str | None
    ) -> Reply | Again | ModelError:
        """Tell what passes from what ends everything, and both from what concerns this request alone."""
        status = response.status_code
        why = f"status {status}: {_message(data, key)}"
        if status in ENDS_ALL:
            return ModelError(f"{self.url}: {why}; {ENDS_ALL[status]}")
        if 300 <= status < 400:
            return ModelError(f"{self.url}: status {status}: it is elsewhere; give the base URL it has now")
        if status in TRY_AGAIN or status >= 500:
            wait_s = retry_after_s(response.headers.get("retry-after"), now=datetime.now(UTC))
            if b"insufficient_quota" in data:  # OpenAI's 429 for an account without credit
                return ModelError(f"{self.url}: {why}; {ENDS_ALL[402]}")
            if wait_s is not None and wait_s > MAX_RETRY_AFTER_S:
                return ModelError(f"{self.url}: {why}; it asks to come again in {wait_s:.0f} s")
            return Again(why, wait_s, status in OVERLOADED)
        return Reply(custom_id=request.custom_id, text="", error=why)


def api_key() -> str | None:
    """Return the key from the environment; None where there is none, as with most local servers.

    Raises:
        ConfigError: it holds what cannot be sent.
    """
    for name in KEY_NAMES:
        key = os.environ.get(name, "").strip()
        if key:
            if not (key.isascii() and key.isprintable()):
                raise ConfigError(f"{name}: holds characters that no key has; copy it again")
            return key
    return None


async def _read(response: httpx2.Response, most: int) -> bytes | None:
    """Read a body; None where it is longer than `most` bytes, of which no more are taken in."""
    data = bytearray()
    async with aclosing(response.aiter_raw()) as chunks:
        async for chunk in chunks:
            data += chunk
            if len(data) > most:
                return None
    return bytes(data)


def _read_answer(request: Request, data: bytes, *, key: str | None) -> Outcome:
    """Read the body of an answer, of which nothing is believed."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        what = f"not JSON: {_message(data, key)}" if data.strip() else "empty"
        reply = Reply(custom_id=request.custom_id, text="", error=f"the reply is {what}")
        return Outcome(reply, Charge.UNKNOWN)
    usage = body.get("usage") if isinstance(body, dict) else None
    prompt, completion = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    charge = Charge.UNKNOWN if prompt is None or completion is None else Charge.REPORTED
    if request.sampling is not None:
        samples = read_samples(request.custom_id, body)
        if not samples.choices:
            samples = replace(samples, error=f"no text in the reply: {_message(data, key)}")
        return Outcome(samples, charge)
    text = _text(body)
    error = None
    if text is None:
        error = f"no text in the reply: {_message(data, key)}"
    elif not text.strip():
        error = "the model wrote nothing"
    reply = Reply(
        custom_id=request.custom_id,
        text=text or "",
        error=error,
        prompt_tokens=prompt or 0,
        completion_tokens=completion or 0,
    )
    return Outcome(reply, charge)


def _text(body: Any) -> str | None:
    """Take the text of the first choice; no content (null) is a text without a letter."""
    try:
        content = body["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return None
    if content is None:
        return ""
    return content if isinstance(content, str) else None


def _message(data: bytes, key: str | None) -> str:
    """Find what OpenAI's servers and others call the message of an error, else show how the body begins."""
    words = data[:MAX_ERROR_BYTES].decode(errors="replace")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return _quote(words, key)
    if isinstance(body, dict):
        error = body.get("error")
        found = error.get("message") if isinstance(error, dict) else error or body.get("message")
        words = found if isinstance(found, str) else words
    return _quote(words, key)


def _quote(words: str, key: str | None) -> str:
    """Quote a server in one line; some servers repeat the key that they refuse."""
    return shorten(words.replace(key, "***") if key else words, MAX_QUOTED)
