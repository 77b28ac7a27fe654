"""Run many queries in worker processes, surviving those that hang or die: only the item in hand is lost.

Results come in the order of the jobs, each as soon as it and all before it are there.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from sense.errors import ConfigError, DatabaseError
from sense.execution.outcome import Comparison, Ending, Match, Timeout, TooMuch, WorkerDied, describe
from sense.execution.process import Event, Worker
from sense.execution.protocol import Message, Phase, decode_ending
from sense.execution.rules import Rule
from sense.execution.run import Limits

CHUNK_JOBS = 32  # comparisons of one database that one worker takes at a time, for its cache of gold results
MAX_AHEAD = 64  # queries that may be done before an earlier one is: their rows are held in memory


@dataclass(frozen=True, slots=True)
class QueryJob:
    """A query to run."""

    database: Path
    sql: str


@dataclass(frozen=True, slots=True)
class CompareJob:
    """A candidate to hold against the gold query, on each of the databases (one, or all of a test suite)."""

    databases: tuple[Path, ...]
    gold_sql: str
    candidate_sql: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class _Lost:
    """No answer came: the worker had to be killed as stuck, or died by itself."""

    phase: Phase
    stuck: bool
    reason: str


def run_queries(
    jobs: Sequence[QueryJob],
    *,
    limits: Limits,
    workers: int = 0,
    on_done: Callable[[], None] | None = None,
) -> Iterator[Ending]:
    """Run queries and yield how each ended.

    Args:
        jobs: the queries.
        limits: what each of them may use.
        workers: processes; 0 for one on each core that this process may use.
        on_done: called once for each job when it has ended, which may be before its turn to be yielded.

    Raises:
        DatabaseError: a database is missing or not an SQLite file.
        ConfigError: worker processes cannot be started.
    """
    requests: list[Message] = [{"database": str(job.database), "sql": job.sql} for job in jobs]
    chunks = [[index] for index in range(len(requests))]
    waiting: dict[int, Ending] = {}
    turn = 0
    for index, reply in _work(requests, chunks, limits=limits, workers=workers, max_ahead=MAX_AHEAD):
        waiting[index] = _ending(reply, limits)
        if on_done is not None:
            on_done()
        while turn in waiting:
            yield waiting.pop(turn)
            turn += 1


def compare_queries(
    jobs: Sequence[CompareJob],
    *,
    limits: Limits,
    workers: int = 0,
    on_done: Callable[[], None] | None = None,
) -> Iterator[Comparison]:
    """Compare candidates with gold queries, and yield what came of each. Equal jobs are run once.

    Arguments and errors are those of `run_queries`.
    """
    unique = list(dict.fromkeys(jobs))
    places = {job: place for place, job in enumerate(unique)}
    copies = [0] * len(unique)
    for job in jobs:
        copies[places[job]] += 1
    found: dict[int, Comparison] = {}
    turn = 0
    requests = [_compare_request(job) for job in unique]
    chunks = _chunks(unique)
    for index, reply in _work(requests, chunks, limits=limits, workers=workers, max_ahead=len(unique)):
        found[index] = _comparison(reply, limits)
        if on_done is not None:
            for _ in range(copies[index]):
                on_done()
        while turn < len(jobs) and places[jobs[turn]] in found:
            yield found[places[jobs[turn]]]
            turn += 1


def _compare_request(job: CompareJob) -> Message:
    return {
        "databases": [str(path) for path in job.databases],
        "gold_sql": job.gold_sql,
        "candidate_sql": job.candidate_sql,
        "rule": job.rule,
    }


def _chunks(jobs: Sequence[CompareJob]) -> list[list[int]]:
    """Cut the jobs into pieces of one database each, in the order in which the pieces begin."""
    chunks: list[list[int]] = []
    growing: dict[tuple[Path, ...], list[int]] = {}
    for index, job in enumerate(jobs):
        chunk = growing.get(job.databases)
        if chunk is None or len(chunk) == CHUNK_JOBS:
            chunk = growing[job.databases] = []
            chunks.append(chunk)
        chunk.append(index)
    return chunks


def _work(
    requests: Sequence[Message], chunks: Sequence[list[int]], *, limits: Limits, workers: int, max_ahead: int
) -> Iterator[tuple[int, Message | _Lost]]:
    """Yield a request's index and reply in the order in which they are done."""
    waiting = deque(chunks)
    events: SimpleQueue[Event] = SimpleQueue()
    crew: list[Worker] = []
    open_count = len(requests)
    try:
        crew.extend(Worker(limits, events) for _ in range(min(workers or _cores(), open_count)))
        while open_count:
            for worker in crew:
                if worker.is_free() and _find_work(worker, waiting, crew=crew, max_ahead=max_ahead):
                    index = worker.queue.popleft()
                    worker.give(index, requests[index])
            event = _next_event(events, crew)
            worker = event.worker
            if worker not in crew:
                continue
            if event.message is not None and "phase" in event.message:
                worker.note_phase(Phase(event.message["phase"]))
                continue
            index_done, reply = worker.in_hand, event.message
            worker.in_hand = None
            open_count -= index_done is not None
            if reply is None:
                crew.remove(worker)
                lost = _Lost(worker.phase, stuck=event.stuck, reason=worker.end())
                if lost.phase is Phase.START:
                    raise ConfigError(f"the processes that run SQL cannot be started: {lost.reason}")
                if open_count:
                    crew.append(Worker(limits, events, queue=worker.queue))
            if index_done is not None:
                yield index_done, lost if reply is None else reply
    finally:
        for worker in crew:
            worker.end()


def _find_work(worker: Worker, waiting: deque[list[int]], *, crew: list[Worker], max_ahead: int) -> bool:
    """Fill a free worker's queue: the next chunk, or what another worker would come to last."""
    if worker.queue:
        return True
    if waiting:
        first = waiting[0][0]
        in_hand = [other.in_hand for other in crew if other.in_hand is not None]
        if first - min(in_hand, default=first) >= max_ahead:
            return False
        worker.queue.extend(waiting.popleft())
        return True
    busiest = max(crew, key=lambda other: len(other.queue))
    if busiest.queue:
        worker.queue.append(busiest.queue.pop())
    return bool(worker.queue)


def _next_event(events: SimpleQueue[Event], crew: Sequence[Worker]) -> Event:
    """Wait for what happens next; a worker over its time counts as dead once all messages are read."""
    while True:
        try:
            return events.get(timeout=max(0.0, min(worker.seconds_left() for worker in crew)))
        except Empty:
            for worker in crew:
                if worker.seconds_left() <= 0:
                    return Event(worker, None, stuck=True)


def _ending(reply: Message | _Lost, limits: Limits) -> Ending:
    if isinstance(reply, _Lost):
        if not reply.stuck:
            return WorkerDied(reply.reason)
        if reply.phase is Phase.ANSWER:
            return TooMuch("handing over the result took too long")
        return Timeout(limits.timeout_s)
    _check(reply)
    return decode_ending(reply["ending"])


def _comparison(reply: Message | _Lost, limits: Limits) -> Comparison:
    if isinstance(reply, _Lost):
        stopped = describe(Timeout(limits.timeout_s))
        match reply.phase:
            case Phase.GOLD:
                reason = stopped if reply.stuck else reply.reason
                return Comparison(Match.GOLD_FAILED, f"gold query: {reason}")
            case Phase.CANDIDATE if reply.stuck:
                return Comparison(Match.CANDIDATE_TIMEOUT, stopped)
            case Phase.COMPARE if reply.stuck:
                return Comparison(Match.CANDIDATE_TOO_MUCH, "comparing the results took too long")
            case _:
                return Comparison(Match.WORKER_DIED, reply.reason)
    _check(reply)
    return Comparison(Match(reply["comparison"][0]), reply["comparison"][1])


def _check(reply: Message) -> None:
    if "database_error" in reply:
        raise DatabaseError(reply["database_error"])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
