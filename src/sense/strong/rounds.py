"""What a plan has come to: which requests there are, and what the replies so far gave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sense.llms.batch_files import Reply, Request, make_request
from sense.records import Message
from sense.strong.own_database import OwnDatabase
from sense.strong.slots import LaterSlots
from sense.strong.written import SynthDatabase, Unreadable


@dataclass(slots=True, kw_only=True)
class Progress:
    """Grows while a plan is gone through against the replies that there are; files are written of it.

    `malformed` says of each reply, or part of one, why it could not be read; `dropped` has questions that
    could, and must not be used. `databases` were written by the model, `own` are the user's.
    """

    replies: Mapping[str, Reply]
    model: str
    temperature: float
    reply_tokens: int
    requests: list[Request] = field(default_factory=list)
    databases: list[SynthDatabase] = field(default_factory=list)
    own: list[OwnDatabase] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    malformed: list[dict[str, str]] = field(default_factory=list)
    dropped: list[dict[str, str]] = field(default_factory=list)
    later_slots: list[LaterSlots] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    short_of: list[str] = field(default_factory=list)

    def make(self, name: str, messages: Sequence[Message]) -> Request:
        """Make a request."""
        return make_request(
            name,
            messages,
            model=self.model,
            temperature=self.temperature,
            max_tokens=self.reply_tokens,
        )

    def ask(self, name: str, messages: Sequence[Message]) -> Request:
        """Add a request."""
        request = self.make(name, messages)
        self.requests.append(request)
        return request

    def reply_to(self, request: Request) -> Reply | None:
        """Return the reply to a request; None while it is awaited."""
        return self.replies.get(request.custom_id)

    def note(self, request: Request, unreadable: Sequence[Unreadable]) -> None:
        """Keep why a reply could not be read."""
        self.malformed += [{"custom_id": request.custom_id, "reason": each.reason} for each in unreadable]

    def awaited(self) -> list[Request]:
        """List the requests that have no reply yet."""
        return [request for request in self.requests if request.custom_id not in self.replies]
