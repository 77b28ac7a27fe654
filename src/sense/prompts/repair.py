"""Ask once more for an answer that could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sense.records import Message


def repair_request(messages: Sequence[Message], *, reason: str) -> list[Message]:
    """Repeat a request, with what was wrong with the answer; the answer itself is not sent back."""
    *before, last = messages
    more = (
        f"An earlier answer to this could not be read: {reason}. Answer again, completely, "
        "with one valid JSON object of the form above and nothing else."
    )
    return [*before, replace(last, content=f"{last.content}\n\n{more}")]
