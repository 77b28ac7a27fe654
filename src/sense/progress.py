"""Progress of a long job on standard error: a bar with an ETA on a terminal, else a line now and then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_EVERY_S = 20.0  # often enough to see life in a log, seldom enough to read it


class Meter:
    """Counts finished items of one job and shows them."""

    def __init__(self, label: str, *, total: int, done: int = 0) -> None:
        """Start at `done` of `total` items; `done` are those that an earlier run had finished."""
        self._label, self._total, self._done, self._first = label, total, done, done
        self._started = self._said = time.monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not is_follower():
            self._bar = _make_bar()
            self._task = self._bar.add_task(label, total=total, completed=done, note="")
            self._bar.start()

    def advance(self, count: int = 1, *, note: str = "") -> None:
        """Count `count` more items; `note` stands beside the bar (a loss, say)."""
        self._done += count
        if self._bar is not None:
            self._bar.update(self._task, advance=count, note=note)
            return
        now = time.monotonic()
        if now - self._said >= LINE_EVERY_S:
            self._said = now
            per_item_s = (now - self._started) / max(1, self._done - self._first)
            eta_s = per_item_s * (self._total - self._done)
            say(f"{self._label}: {self._done}/{self._total}, ETA {clock(eta_s)}{'  ' + note if note else ''}")

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _make_bar() -> Progress:
    from rich.console import Console  # here, for it takes longer to load than a quick command takes to run
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("ETA"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )  # fmt: skip


@contextmanager
def meter(label: str, *, total: int, done: int = 0) -> Iterator[Meter]:
    """Show a meter while the block runs."""
    shown = Meter(label, total=total, done=done)
    try:
        yield shown
    finally:
        shown.close()


def is_follower() -> bool:
    """Tell whether this is one of several processes of a training, and not the one that writes and speaks."""
    return os.environ.get("RANK", "0") != "0"


def say(line: str) -> None:
    """Tell the user something on standard error, which is never part of a command's result."""
    if is_follower():
        return
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def clock(seconds: float) -> str:
    """Write a duration as people do.

    >>> clock(75), clock(3700)
    ('1:15', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
