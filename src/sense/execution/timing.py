"""Time gold queries against candidates: one process, one query at a time, the runs of both sides in turn.

The figures are worth something only on a machine that is doing nothing else; no one sees to that here.
What is on the clock is what the official scripts have there, see `Clock`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, BinaryIO, Literal

from sense.databases.sqlite import open_read_only
from sense.errors import ConfigError, DatabaseError
from sense.execution.bounds import bound_memory
from sense.execution.outcome import Refused, Rows, SqlError, Timeout, TooMuch, WorkerDied
from sense.execution.run import Guard, Limits, ending_of, fence, run_query

START_TIMEOUT_S = 60.0  # a Python process on a machine that is busy with other things
BEAT_S = 0.5  # between two signs of life: a message before each run would wake the parent during it
SILENCE_S = 10.0  # without a sign of life: far more than one can be late by
# The child imports what the parent imports, however that was started; -P keeps the current folder out of it.
BOOT = "import sys; sys.path[:] = sys.argv[1:]; from sense.execution.timing import main; main()"

Side = Literal["gold", "candidate"]
# "execute": until the first row is there, as in the older VES. "fetch": until all rows are there and the
# connection is closed, as in R-VES. Both begin with reading the schema, as on a connection just opened.
Clock = Literal["execute", "fetch"]
Failure = SqlError | Refused | Timeout | TooMuch | WorkerDied
Message = dict[str, Any]

FAILURES = {kind.__name__: kind for kind in (SqlError, Refused, Timeout, TooMuch, WorkerDied)}


@dataclass(frozen=True, slots=True)
class TimeJob:
    """Two queries to time against each other."""

    database: Path
    gold_sql: str
    candidate_sql: str


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds a run; the runs of one position followed each other."""

    gold_s: tuple[float, ...]
    candidate_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Untimed:
    """One side did not end with rows, in the run that warms up or in a timed one."""

    side: Side
    ending: Failure


Timing = Times | Untimed


def time_pairs(
    jobs: Sequence[TimeJob],
    *,
    limits: Limits,
    repeats: int,
    clock: Clock = "fetch",
    on_done: Callable[[], None] | None = None,
) -> Iterator[Timing]:
    """Run gold and candidate once to warm up, then in turn, and yield the times of each job.

    Each run has a connection of its own, behind the fences of `execution.run`; to open it and to put these up
    is not on the clock.

    Args:
        jobs: the pairs; that their results are the same is not looked at.
        limits: what each run may use; the official scripts bound all runs of a pair together.
        repeats: runs of each side.
        clock: what is timed.
        on_done: called once for each job when it has ended.

    Raises:
        DatabaseError: a database is missing or not an SQLite file.
        ConfigError: the process that runs the queries cannot be started.

    Source: AlibabaResearch/DAMO-ConvAI, bird/llm/src/evaluation_ves.py ("execute"), and
        bird-bench/mini_dev, evaluation_ves.py ("fetch"), both execute_sql and iterated_execute_sql.
    """
    worker: _Worker | None = None
    try:
        for job in jobs:
            worker = worker or _Worker(limits, repeats=repeats, clock=clock)
            timing = worker.time(job)
            if worker.has_ended:
                worker = None
            if on_done is not None:
                on_done()
            yield timing
    finally:
        if worker is not None:
            worker.end()


class _Worker:
    """The process as its parent sees it."""

    def __init__(self, limits: Limits, *, repeats: int, clock: Clock) -> None:
        self.has_ended = False
        self._limits = limits
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-P", "-c", BOOT, *map(str, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._send({"limits": asdict(limits), "repeats": repeats, "clock": clock})
        if not self._hear(START_TIMEOUT_S):
            raise ConfigError(f"the process that times SQL cannot be started: {self.end()}")

    def time(self, job: TimeJob) -> Timing:
        """Time a job; if that costs the process its life, `has_ended` says so."""
        self._send({**asdict(job), "database": str(job.database)})
        side: Side = "gold"
        while True:
            message = self._hear(SILENCE_S)
            if message == {}:
                return Untimed(side, WorkerDied(self.end()))
            if message is not None and "database_error" in message:
                raise DatabaseError(message["database_error"])
            if message is not None and "for_s" not in message:
                return _decode(message)
            if message is not None:
                side = message["side"]
            if message is None or message["for_s"] > self._limits.timeout_s + self._limits.grace_s:
                self.end()
                return Untimed(side, Timeout(self._limits.timeout_s))

    def end(self) -> str:
        """Kill the process if it lives, clear up, and say how it died."""
        self.has_ended = True
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
            self._process.stdin.write(_to_line(message))
            self._process.stdin.flush()

    def _hear(self, timeout_s: float) -> Message | None:
        """Return the next message, an empty one if the process has died, None if it is silent."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except Empty:
            return None
        message: Message = json.loads(line)
        return message

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                self._lines.put(line)
        self._lines.put(b"{}")


class _Bench:
    """Times jobs inside the process. `running` is the side at work and since when."""

    def __init__(self, limits: Limits, *, repeats: int, clock: Clock) -> None:
        self.running: tuple[Side, float] | None = None
        self._limits, self._repeats, self._clock = limits, repeats, clock

    def time(self, job: TimeJob) -> Timing:
        sides: tuple[tuple[Side, str], ...] = (("gold", job.gold_sql), ("candidate", job.candidate_sql))
        times: dict[Side, list[float]] = {"gold": [], "candidate": []}
        for side, sql in sides:
            self.running = side, time.monotonic()
            failure = _warm_up(job.database, sql, limits=self._limits)
            if failure is not None:
                return Untimed(side, failure)
        for _ in range(self._repeats):
            for side, sql in sides:
                self.running = side, time.monotonic()
                found = _run_seconds(job.database, sql, limits=self._limits, clock=self._clock)
                if not isinstance(found, float):
                    return Untimed(side, found)
                times[side].append(found)
        return Times(tuple(times["gold"]), tuple(times["candidate"]))


def main() -> None:
    """Time the jobs that come by standard input, a line of JSON each, until it ends."""
    # Ctrl-C reaches the whole group; it is for the parent to end its worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A copy: Python aborts at its end, and says no more why, if a thread is reading sys.stdin itself.
    lines = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    lock = threading.Lock()

    def tell(message: Message) -> None:
        with lock:
            output.write(_to_line(message))
            output.flush()

    requests: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_listen, args=(lines, requests), daemon=True).start()
    setup = requests.get()
    limits = Limits(**setup["limits"])
    bound_memory(limits.memory_bytes)
    bench = _Bench(limits, repeats=setup["repeats"], clock=setup["clock"])
    threading.Thread(target=_beat, args=(bench, tell), daemon=True).start()
    tell({"ready": True})
    while True:
        request = requests.get()
        job = TimeJob(Path(request["database"]), request["gold_sql"], request["candidate_sql"])
        try:
            answer = _encode(bench.time(job))
        except DatabaseError as error:
            answer = {"database_error": str(error)}
        bench.running = None
        tell(answer)


def _warm_up(database: Path, sql: str, *, limits: Limits) -> Failure | None:
    ending = run_query(database, sql, limits=limits)
    return None if isinstance(ending, Rows) else ending


def _run_seconds(database: Path, sql: str, *, limits: Limits, clock: Clock) -> float | Failure:
    connection = open_read_only(database)
    guard = Guard()
    try:
        seconds = _read_schema_seconds(database)
        fence(connection, guard, limits)
        connection.text_factory = bytes  # as fast as str, and whatever a text holds it can be fetched
        guard.begin(limits.timeout_s)
        start = time.perf_counter()
        cursor = connection.execute(sql)
        if clock == "fetch":
            # In one go: the caps were kept in warming up, and to count bytes takes as long as to fetch them.
            _rows = cursor.fetchall()
            connection.close()
        return seconds + time.perf_counter() - start
    except MemoryError:
        return TooMuch("out of memory")
    except (sqlite3.Error, UnicodeError) as error:
        ending = ending_of(error, guard, limits)
        assert not isinstance(ending, Rows)
        return ending
    finally:
        connection.close()


def _read_schema_seconds(database: Path) -> float:
    """Time the reading of the schema; the connection of the query has read it before its fence stands."""
    address = f"{database.absolute().as_uri()}?mode=ro&immutable=1"  # nothing is put beside the file
    with closing(sqlite3.connect(address, uri=True)) as connection:
        start = time.perf_counter()
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 0")
        return time.perf_counter() - start


def _beat(bench: _Bench, tell: Callable[[Message], None]) -> None:
    while True:
        time.sleep(BEAT_S)
        running = bench.running
        if running is not None:
            tell({"side": running[0], "for_s": time.monotonic() - running[1]})


def _listen(lines: BinaryIO, requests: SimpleQueue[Message]) -> None:
    for line in lines:
        requests.put(json.loads(line))
    os._exit(0)  # nobody is left to answer to, and a query in hand would not hear of it


def _encode(timing: Timing) -> Message:
    if isinstance(timing, Times):
        return asdict(timing)
    return {"side": timing.side, "kind": type(timing.ending).__name__, "ending": asdict(timing.ending)}


def _decode(message: Message) -> Timing:
    if "kind" in message:
        return Untimed(message["side"], FAILURES[message["kind"]](**message["ending"]))
    return Times(tuple(message["gold_s"]), tuple(message["candidate_s"]))


def _to_line(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"
