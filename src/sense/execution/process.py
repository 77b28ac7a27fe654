"""A worker process as its parent sees it: started, heard by a thread, timed, killed."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from sense.execution.protocol import NOTHING, Board, Message, Phase, Work, from_line, to_line
from sense.execution.run import Limits
from sense.execution.spawn import spawn

START_TIMEOUT_S = 60.0  # a Python process on a machine that is busy with other things


class Event(NamedTuple):
    """A message from a worker; None when it has died."""

    worker: Worker
    message: Message | None


class Worker:
    """One worker process and what it is given to do."""

    def __init__(self, limits: Limits, events: SimpleQueue[Event], *, gold_store: Path | None) -> None:
        """Start the process; a thread puts what it says into `events`."""
        self.in_hand: deque[int] = deque()  # the items given to it and not answered yet, in their order
        self.is_ready = False
        self.stuck_with: int | None = None
        self._limits = limits
        self._last_batch = 0
        self._process, self._board_file, self._errors = spawn()
        self._board = Board(self._board_file)
        self._board.note(NOTHING, Phase.READY)
        self._given_at = time.monotonic()
        self._listener = threading.Thread(target=self._listen, args=(events,), daemon=True)
        self._listener.start()
        self._send(
            {
                "limits": asdict(limits),
                "board": self._board_file.fileno(),
                "gold_store": None if gold_store is None else str(gold_store),
            }
        )

    def give(self, indices: list[int], batch: Message) -> None:
        """Hand over a batch. If the process is dead already, its last event will say so."""
        if self.is_free():
            self._given_at = time.monotonic()
        self.in_hand.extend(indices)
        self._last_batch = len(indices)
        self._send({"batch": batch})

    def wants_more(self) -> bool:
        """Tell whether to give it a batch: it should have the next one before it is done with this one."""
        return len(self.in_hand) <= self._last_batch // 2

    def is_free(self) -> bool:
        """Tell whether it has nothing to do."""
        return self.is_ready and not self.in_hand

    def seconds_left(self) -> float:
        """Return the time until the process counts as stuck with what it is at."""
        if self.is_free() or self.stuck_with is not None:
            return float("inf")
        work = self._board.read()
        is_loading = not self.is_ready or work.item == NOTHING  # it runs no SQL
        allowed_s = START_TIMEOUT_S if is_loading else self._limits.timeout_s + self._limits.grace_s
        return max(self._given_at, work.since) + allowed_s - time.monotonic()

    def kill_as_stuck(self) -> None:
        """Kill it; its last event will follow."""
        self.stuck_with = self._board.read().item
        self._process.kill()

    def end(self) -> tuple[Work, str]:
        """Kill the process if it lives, clear up, and say what it was at and how it died."""
        self._process.kill()
        code = self._process.wait()
        self._listener.join()
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._errors.seek(0)
        last_words = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        self._errors.close()
        work = self._board.read()
        self._board.close()
        self._board_file.close()
        cause = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return work, ": ".join(["the worker process died", cause, *last_words])

    def _send(self, message: Message) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is dead; the listener tells
            self._process.stdin.write(to_line(message))
            self._process.stdin.flush()

    def _listen(self, events: SimpleQueue[Event]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                events.put(Event(self, from_line(line)))
        events.put(Event(self, None))
