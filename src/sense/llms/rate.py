"""How fast to ask a server: as many requests at a time as it takes, none while it asks to be left alone."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

START_AT = 2  # requests at a time; a server that takes more shows it within a few replies
MAX_BACKOFF_S = 60.0  # servers count what they allow by the minute


class AdaptiveLimit:
    """How many requests may be in flight: more with every answer, half with a refusal.

    Source: TCP's congestion control (RFC 5681): up to the first refusal one more for each answer, from then
    on one more for each round of answers; all refusals of one round halve once.
    """

    def __init__(self, *, most: int) -> None:
        """Start small; never allow more than `most`."""
        self._most = most
        self._limit = float(min(START_AT, most))
        self._paused_until = 0.0
        self.round = 0  # grows with each halving; a request notes the one in which it went out

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return int(self._limit)

    def on_answer(self) -> None:
        """Allow more."""
        step = 1 / self._limit if self.round else 1
        self._limit = min(self._most, self._limit + step)

    def on_refusal(self, sent_in: int) -> None:
        """Allow half, unless the refused request went out before the last halving."""
        if sent_in == self.round:
            self._limit = max(1.0, self._limit / 2)
            self.round += 1

    def pause(self, seconds: float, *, now: float) -> None:
        """Allow nothing for so long; `now` is a monotonic time."""
        self._paused_until = max(self._paused_until, now + seconds)

    def pause_left_s(self, now: float) -> float:
        """Return for how long nothing is allowed yet."""
        return max(0.0, self._paused_until - now)


def retry_after_s(header: str | None, *, now: datetime) -> float | None:
    """Read a Retry-After header, which holds seconds or a date; None where it is neither.

    Source: RFC 9110, section 10.2.3. Fractions of a second are taken too, for some servers send them.

    >>> retry_after_s("Wed, 21 Oct 2026 07:28:00 GMT", now=datetime(2026, 10, 21, 7, 27, tzinfo=UTC))
    60.0
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except (ValueError, OverflowError):
            return None
        zoned = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (zoned - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def backoff_s(tries: int, *, first_s: float, rng: random.Random) -> float:
    """Draw how long to wait after so many failed tries: anything up to a bound that doubles with each.

    Source: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), "full jitter".
    """
    return rng.uniform(0, min(MAX_BACKOFF_S, first_s * 2 ** (tries - 1)))
