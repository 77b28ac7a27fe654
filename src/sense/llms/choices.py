"""Read the several answers that a server gives to one request, of which nothing is believed.

Source: OpenAI's API reference, "The chat completion object" and "The completion object".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sense import jsonl
from sense.errors import DataError, shorten
from sense.llms.batch_files import MOST_TOKENS, Reply
from sense.llms.sampler import Sampled

LEAST_LOGPROB, MOST_LOGPROB = -1e6, 1e-3  # of a token: 0 at the most, but for rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples(Reply):
    """A reply with several answers; `text` is empty."""

    choices: tuple[Sampled, ...] = ()


def read_samples(custom_id: str, body: object) -> Samples:
    """Read the body of a reply, of either endpoint; a choice without a text is left out.

    Where the server counts the tokens of all answers together, each gets an even share.
    """
    fields: dict[str, Any] = body if isinstance(body, dict) else {}
    listed = fields.get("choices")
    found = (
        [_read(choice) for choice in listed if isinstance(choice, dict)] if isinstance(listed, list) else []
    )
    written = [sampled for sampled in found if sampled is not None]
    usage = fields.get("usage")
    total = count(usage, "completion_tokens") or 0
    if any(sampled.tokens == 0 for sampled in written):
        each, rest = divmod(total, len(written))
        written = [sampled._replace(tokens=each + (n < rest)) for n, sampled in enumerate(written)]
    return Samples(
        custom_id=custom_id,
        text="",
        prompt_tokens=count(usage, "prompt_tokens") or 0,
        completion_tokens=total,
        choices=tuple(written),
    )


def read_sample_replies(paths: Sequence[Path]) -> dict[str, Reply]:
    """Read batch output files, by request id; of two replies to one request the last good one counts.

    Raises:
        DataError: a file is missing or a line is not of the format.
    """
    replies: dict[str, Reply] = {}
    for path in paths:
        for number, line in enumerate(jsonl.read_objects(path), start=1):
            reply = _reply(line, f"{path}: reply {number}")
            if reply.error is None or reply.custom_id not in replies:
                replies[reply.custom_id] = reply
    return replies


def count(usage: object, name: str) -> int | None:
    """Take a count of tokens from a reply's `usage`; None where it is missing or none that can be."""
    value = usage.get(name) if isinstance(usage, dict) else None
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if is_count else None


def _reply(line: dict[str, Any], where: str) -> Reply:
    custom_id, response = line.get("custom_id"), line.get("response")
    if not isinstance(custom_id, str):
        raise DataError(f"{where}: 'custom_id' is missing; a batch output file is expected")
    if line.get("error"):
        return Reply(custom_id=custom_id, text="", error=shorten(line["error"], 200))
    if not isinstance(response, dict) or "status_code" not in response:
        raise DataError(f"{where} ({custom_id}): 'response' is missing; a batch output line is expected")
    if response["status_code"] != 200:
        return Reply(custom_id=custom_id, text="", error=f"status {shorten(response['status_code'])}")
    samples = read_samples(custom_id, response.get("body"))
    if not samples.choices:
        return Reply(custom_id=custom_id, text="", error="no text in the reply")
    return samples


def _read(choice: dict[str, Any]) -> Sampled | None:
    """Read one answer; no content (null) is a text without a letter. 0 tokens: they are not known."""
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    if text is None and isinstance(message, dict):
        text = ""
    if not isinstance(text, str):
        return None
    logprobs = _logprobs(choice.get("logprobs"))
    logprob = sum(logprobs) if logprobs else None
    return Sampled(text, logprob, len(logprobs), choice.get("finish_reason") != "length")


def _logprobs(found: object) -> list[float]:
    """Take each token's log-probability from where either endpoint has it; [] if one of them can be none."""
    if not isinstance(found, dict):
        return []
    content, listed = found.get("content"), found.get("token_logprobs")
    if isinstance(content, list):
        listed = [part.get("logprob") if isinstance(part, dict) else None for part in content]
    each = listed if isinstance(listed, list) else []
    numbers = [
        float(one)
        for one in each
        if isinstance(one, int | float) and LEAST_LOGPROB <= one <= MOST_LOGPROB  # neither is NaN
    ]
    return numbers if len(numbers) == len(each) else []
