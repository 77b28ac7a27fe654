"""A worker process as its parent sees it: started, heard by a thread, timed, killed."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from dataclasses import asdict
from queue import SimpleQueue
from typing import IO, NamedTuple

from sense.execution.protocol import Message, Phase, from_line, to_line
from sense.execution.run import Limits

START_TIMEOUT_S = 60.0  # a Python process on a machine that is busy with other things
# The child imports what the parent imports, however that was started; -P keeps the current folder out of it.
BOOT = "import sys; sys.path[:] = sys.argv[1:]; from sense.execution.worker import main; main()"


class Event(NamedTuple):
    """A message from a worker; None when it has died, or has to because it is stuck."""

    worker: Worker
    message: Message | None
    stuck: bool = False


class Worker:
    """One worker process and what it is at."""

    def __init__(
        self, limits: Limits, events: SimpleQueue[Event], *, queue: deque[int] | None = None
    ) -> None:
        """Start the process; a thread puts what it says into `events`. `queue` is what it is to do."""
        self.queue: deque[int] = deque(queue or ())
        self.in_hand: int | None = None
        self.phase = Phase.START
        self._limits = limits
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-c", BOOT, *map(str, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._deadline = time.monotonic() + START_TIMEOUT_S
        self._listener = threading.Thread(target=self._listen, args=(events,), daemon=True)
        self._listener.start()
        self._send({"limits": asdict(limits)})

    def give(self, index: int, request: Message) -> None:
        """Hand over a request. If the process is dead already, its last event will say so."""
        self.in_hand = index
        self.phase = Phase.READY
        self._send(request)
        self._restart_clock()

    def note_phase(self, phase: Phase) -> None:
        """Note a sign of life: what the process has turned to."""
        self.phase = phase
        self._restart_clock()

    def is_free(self) -> bool:
        """Tell whether it waits for a request."""
        return self.in_hand is None and self.phase is not Phase.START

    def seconds_left(self) -> float:
        """Return the time until the process counts as stuck."""
        if self.is_free():
            return float("inf")
        return self._deadline - time.monotonic()

    def end(self) -> str:
        """Kill the process if it lives, clear up, and say how it died."""
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
        cause = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return ": ".join(["the worker process died", cause, *last_words])

    def _send(self, message: Message) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is dead; the listener tells
            self._process.stdin.write(to_line(message))
            self._process.stdin.flush()

    def _restart_clock(self) -> None:
        self._deadline = time.monotonic() + self._limits.timeout_s + self._limits.grace_s

    def _listen(self, events: SimpleQueue[Event]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                events.put(Event(self, from_line(line)))
        events.put(Event(self, None))
