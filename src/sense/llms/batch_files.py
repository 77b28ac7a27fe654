"""Ask a model by files, in OpenAI's Batch format: half the price where it is sold, no network needed here.

Requests are written to a file that a batch service takes as it is; the file that comes back is read. Nothing
is sent. A request's id ends in a hash of what it asks, so a reply to another wording of it is never taken for
its own.

Source: OpenAI's API reference, "The request input object" and "The request output object" of Batch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sense import jsonl
from sense.errors import DataError, shorten
from sense.records import Message

MOST_TOKENS = 10**9  # no reply has more: a larger count is an error, and no number to go on with


class Endpoint(StrEnum):
    """What of a server is asked: a chat model, or the bare continuation of a text."""

    CHAT = "chat/completions"
    COMPLETIONS = "completions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What a request for samples says beyond others; `n` answers, each cut before any of `stop`."""

    n: int
    top_p: float
    seed: int | None = None
    logprobs: bool = False
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One conversation that awaits the model's turn; several turns to choose from with `sampling`."""

    custom_id: str
    messages: tuple[Message, ...]
    model: str
    temperature: float
    max_tokens: int
    sampling: Sampling | None = None

    @property
    def answers(self) -> int:
        """How many answers are asked for."""
        return self.sampling.n if self.sampling else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back for a request: the model's text, or what went wrong."""

    custom_id: str
    text: str
    error: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


def make_request(
    name: str, messages: Sequence[Message], *, model: str, temperature: float, max_tokens: int
) -> Request:
    """Make a request whose id is its name and a hash of its messages."""
    digest = hashlib.sha256(json.dumps([asdict(m) for m in messages]).encode()).hexdigest()[:8]
    return Request(
        custom_id=f"{name}-{digest}",
        messages=tuple(messages),
        model=model,
        temperature=temperature,
        max_tokens=max_tokens,
    )


def request_body(request: Request, endpoint: Endpoint = Endpoint.CHAT) -> dict[str, object]:
    """Return what is sent, as JSON can write it. Source: OpenAI's API reference, of either endpoint."""
    chat = endpoint is Endpoint.CHAT
    body: dict[str, object] = {"model": request.model}
    if chat:
        body["messages"] = [asdict(message) for message in request.messages]
    else:
        body["prompt"] = "".join(message.content for message in request.messages)
    body |= {"temperature": request.temperature, "max_tokens": request.max_tokens}
    sampling = request.sampling
    if sampling is not None:
        body["top_p"] = sampling.top_p
        if sampling.n > 1:
            body["n"] = sampling.n
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.logprobs:
            body["logprobs"] = True if chat else 1
        if sampling.stop:
            body["stop"] = list(sampling.stop)
    return body


def write_requests(path: Path, requests: Sequence[Request], *, endpoint: Endpoint = Endpoint.CHAT) -> None:
    """Write a batch input file."""
    jsonl.write(path, (_input_line(request, endpoint) for request in requests))


def read_replies(paths: Sequence[Path]) -> dict[str, Reply]:
    """Read batch output files, by request id; of two replies to one request the last good one counts.

    Raises:
        DataError: a file is missing or a line is not of the format.
    """
    replies: dict[str, Reply] = {}
    for path in paths:
        for number, line in enumerate(jsonl.read_objects(path), start=1):
            reply = _reply(line, f"{path}: reply {number}")
            known = replies.get(reply.custom_id)
            if known is None or known.error is not None or reply.error is None:
                replies[reply.custom_id] = reply
    return replies


def _input_line(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    return {
        "custom_id": request.custom_id,
        "method": "POST",
        "url": f"/v1/{endpoint}",
        "body": request_body(request, endpoint),
    }


def _reply(line: dict[str, Any], where: str) -> Reply:
    custom_id = line.get("custom_id")
    if not isinstance(custom_id, str):
        raise DataError(f"{where}: 'custom_id' is missing; a batch output file is expected")
    if line.get("error"):
        return Reply(custom_id=custom_id, text="", error=str(line["error"])[:200])
    try:
        response = line["response"]
        if response["status_code"] != 200:
            return Reply(custom_id=custom_id, text="", error=f"status {shorten(response['status_code'])}")
        body = response["body"]
        text = body["choices"][0]["message"]["content"] or ""
        if not isinstance(text, str):
            raise TypeError(f"'content' must be a text, not {type(text).__name__}")
        usage = body.get("usage") or {}
        return Reply(
            custom_id=custom_id,
            text=text,
            prompt_tokens=_tokens(usage.get("prompt_tokens")),
            completion_tokens=_tokens(usage.get("completion_tokens")),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(f"{where} ({custom_id}): {error!r}; a batch output line is expected") from None


def _tokens(value: Any) -> int:
    """Read a count of tokens; 0 where there is none, or none that can be."""
    found = int(value or 0)
    return found if 0 <= found <= MOST_TOKENS else 0
