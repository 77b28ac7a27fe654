"""Start the processes of `execution.worker`, if wanted before anybody knows what they are to do.

They take about as long to get ready as a quick command takes to read its settings and files. So a command
that will need them has them started first of all. One that nobody asks for ends with the command.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, NamedTuple

import sense

# The child imports what the parent imports, however that was started; -P keeps the current folder out of it,
# and -S saves the time of looking for packages that it does not need.
BOOT = "import sys; sys.path[:] = sys.argv[1:]; from sense.execution.worker import main; main()"
BOARD_BYTES = 64  # room for `protocol.Board`


class Spawned(NamedTuple):
    """A process, the file behind its board, and the one that takes its last words."""

    process: subprocess.Popen[bytes]
    board: IO[bytes]
    errors: IO[bytes]


_waiting: list[Spawned] = []


def prepare(count: int = 0) -> None:
    """Start processes that `spawn` will hand out; 0 for one on each core that this process may use."""
    _waiting.extend(_start() for _ in range(count or cores()))


def spawn() -> Spawned:
    """Hand out a process that was prepared, else start one."""
    return _waiting.pop() if _waiting else _start()


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start() -> Spawned:
    board: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - both live as long as the process
    errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
    board.truncate(BOARD_BYTES)
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-S", "-c", BOOT, str(Path(sense.__file__).parents[1]), *map(str, sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        pass_fds=(board.fileno(),),
    )
    return Spawned(process, board, errors)
