"""What every way of asking a model has in common, and the simplest: replies that are there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sense.llms.batch_files import Reply, Request


class Provider(Protocol):
    """A way to have requests answered."""

    def ask(self, requests: Sequence[Request], *, on_reply: Callable[[Reply], None]) -> None:
        """Answer those it can; hand over each reply as it comes, from the calling thread."""
        ...


class KnownReplies:
    """Answers what has been answered before, as by batch output files, and nothing else."""

    def __init__(self, replies: Mapping[str, Reply]) -> None:
        """Take replies by request id."""
        self._replies = replies

    def ask(self, requests: Sequence[Request], *, on_reply: Callable[[Reply], None]) -> None:
        """Hand over the replies that there are, in the order of the requests."""
        for request in requests:
            if request.custom_id in self._replies:
                on_reply(self._replies[request.custom_id])
