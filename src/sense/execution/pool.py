"""Run many queries in worker processes, surviving those that hang or die: only the item in hand is lost.

Results come in the order of the jobs, each as soon as it and all before it are there. A worker that hangs is
killed; the item that it was stuck with has timed out. The item in hand of a worker that died otherwise (it
was killed from outside, say) is tried once more in a new one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Self

from sense.caches import file_digest, home
from sense.databases.sqlite import has_unfinished_changes
from sense.errors import ConfigError, DatabaseError
from sense.execution.outcome import Comparison, Ending, Match, Timeout, TooMuch, WorkerDied, describe
from sense.execution.process import Event, Worker
from sense.execution.protocol import NOTHING, Message, Phase, decode_ending
from sense.execution.rules import Rule
from sense.execution.run import MAX_SQL_BYTES, Limits
from sense.execution.spawn import cores
from sense.execution.verdict_store import VerdictStore, verdict_key

BATCHES_PER_WORKER = 32  # of few items near the end: no worker is left alone with many slow ones
MAX_BATCH = 128
MAX_AHEAD = 64  # queries that may be done before an earlier one is: their rows are held in memory
MAX_DEATHS = 2  # of workers with one item in hand, before it is given up
MAX_IDLE_DEATHS = 5  # in a row, of workers with nothing in hand: something is wrong with the machine


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


class Batch(NamedTuple):
    """Jobs that one worker takes at a time: what is said of each, and what is said once for all of them."""

    items: dict[int, list[Any]]
    head: Message


@dataclass(frozen=True, slots=True)
class _Lost:
    """No answer came: the worker had to be killed as stuck, or died by itself."""

    phase: Phase
    stuck: bool
    reason: str


class Pool:
    """Worker processes. They are started by `with`, and get ready while what they are to do is being read."""

    def __init__(self, limits: Limits, *, workers: int = 0, gold_store: Path | None = None) -> None:
        """Describe the pool.

        Args:
            limits: what each query may use.
            workers: processes; 0 for one on each core that this process may use.
            gold_store: folder where the results of gold queries, and verdicts, are kept for other runs; None:
                they are not.
        """
        self._limits, self._gold_store = limits, gold_store
        self._size = workers or cores()
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._crew: list[Worker] = []
        self._digests: dict[Path, str | None] = {}
        self._store = None if gold_store is None else VerdictStore(gold_store)

    def __enter__(self) -> Self:
        """Start the processes."""
        self._fill(self._size)
        return self

    def __exit__(self, *_: object) -> None:
        """End them."""
        self._end()
        if self._store is not None:
            self._store.close()

    def stop(self) -> None:
        """End the processes; the next call starts new ones."""
        self._end()

    def run(self, jobs: Sequence[QueryJob], *, on_done: Callable[[], None] | None = None) -> Iterator[Ending]:
        """Run queries and yield how each ended.

        Args:
            jobs: the queries.
            on_done: called once for each job when it has ended, which may be before its turn to be yielded.

        Raises:
            DatabaseError: a database is missing or not an SQLite file.
            ConfigError: worker processes cannot be started.
        """
        waiting: dict[int, Ending] = {}
        turn = 0
        for index, reply in self._work(_query_batches(jobs), max_ahead=MAX_AHEAD):
            waiting[index] = _ending(reply, self._limits)
            if on_done is not None:
                on_done()
            while turn in waiting:
                yield waiting.pop(turn)
                turn += 1

    def compare(
        self, jobs: Sequence[CompareJob], *, on_done: Callable[[], None] | None = None
    ) -> Iterator[Comparison]:
        """Compare candidates with gold queries, and yield what came of each. Equal jobs are run once.

        Arguments and errors are those of `run`.
        """
        first: dict[CompareJob, int] = {}
        places = [first.setdefault(job, len(first)) for job in jobs]
        unique = list(first)
        copies = Counter(places)
        found: dict[int, Comparison] = {}
        turn = 0
        for index, comparison in self._compare(unique):
            found[index] = comparison
            if on_done is not None:
                for _ in range(copies[index]):
                    on_done()
            while turn < len(places) and places[turn] in found:
                yield found[places[turn]]
                turn += 1

    def _compare(self, jobs: Sequence[CompareJob]) -> Iterator[tuple[int, Comparison]]:
        """Yield what is known from earlier runs, then the rest in the order in which it is done."""
        if self._store is None:
            known: dict[int, Comparison] = {}
            keys: dict[int, bytes] = {}
        else:
            keys = {index: key for index, job in enumerate(jobs) if (key := self._key(job)) is not None}
            kept = self._store.get(keys.values())
            known = {index: kept[key] for index, key in keys.items() if key in kept}
        yield from known.items()
        fresh: dict[bytes, Comparison] = {}
        batches = self._compare_batches({index: job for index, job in enumerate(jobs) if index not in known})
        try:
            for index, reply in self._work(batches, max_ahead=len(jobs)):
                comparison = _comparison(reply, self._limits)
                if index in keys:
                    fresh[keys[index]] = comparison
                yield index, comparison
        finally:
            if self._store is not None:
                self._store.put(fresh)

    def _key(self, job: CompareJob) -> bytes | None:
        digests = [digest for path in job.databases if (digest := self._digest(path)) is not None]
        if len(digests) < len(job.databases):
            return None
        return verdict_key(digests, gold_sql=job.gold_sql, candidate_sql=job.candidate_sql, rule=job.rule)

    def _compare_batches(self, jobs: Mapping[int, CompareJob]) -> Iterator[Batch]:
        """Cut the jobs into batches of one rule and database each, in the order in which they begin."""
        size = max(1, min(MAX_BATCH, len(jobs) // (self._size * BATCHES_PER_WORKER)))
        batches: list[tuple[CompareJob, dict[int, list[Any]]]] = []
        growing: dict[tuple[tuple[Path, ...], Rule], dict[int, list[Any]]] = {}
        for index, job in jobs.items():
            items = growing.get((job.databases, job.rule))
            if items is None or len(items) == size:
                items = growing[job.databases, job.rule] = {}
                batches.append((job, items))
            items[index] = [_cut(job.gold_sql), _cut(job.candidate_sql)]
        for job, items in batches:
            databases = [[str(path), self._digest(path)] for path in job.databases]
            yield Batch(items, {"databases": databases, "rule": job.rule})

    def _digest(self, path: Path) -> str | None:
        """Hash a database for the store; None where results are not kept or the file is not all of it."""
        if path not in self._digests:
            self._digests[path] = self._find_digest(path)
        return self._digests[path]

    def _find_digest(self, path: Path) -> str | None:
        if self._gold_store is None or not path.is_file():  # to read a pipe would take for ever
            return None
        if has_unfinished_changes(path):
            return None
        try:
            return file_digest(path)
        except OSError:
            return None  # the worker that opens it will say what is wrong

    def _work(self, batches: Iterator[Batch], *, max_ahead: int) -> Iterator[tuple[int, Any | _Lost]]:
        """Yield an item's index and reply in the order in which they are done."""
        desk = _Desk(batches, max_ahead=max_ahead)
        deaths: Counter[int] = Counter()
        try:
            while desk.find(self._crew):
                self._fill(self._size)
                for worker in self._crew:
                    if worker.wants_more() and (batch := desk.take(self._crew)) is not None:
                        items = [[index, *item] for index, item in batch.items.items()]
                        worker.give(list(batch.items), {**batch.head, "items": items})
                        desk.given.setdefault(worker, {}).update(dict.fromkeys(batch.items, batch))
                event = self._next_event()
                if event.message is None:
                    yield from self._bury(event.worker, desk, deaths)
                elif "ready" in event.message:
                    event.worker.is_ready = True
                else:
                    deaths[NOTHING] = 0
                    for index, reply in event.message["answers"]:
                        event.worker.in_hand.remove(index)
                        desk.given[event.worker].pop(index)
                        yield index, reply
        finally:
            if any(worker.in_hand for worker in self._crew):
                self._end()

    def _bury(self, worker: Worker, desk: _Desk, deaths: Counter[int]) -> Iterator[tuple[int, _Lost]]:
        """Put back what a dead worker had not done, and give up what it had in hand if that is to blame."""
        self._crew.remove(worker)
        work, reason = worker.end()
        unfinished = list(worker.in_hand)
        stuck = worker.stuck_with == work.item
        if work.item in worker.in_hand:
            deaths[work.item] += 1
            if stuck or deaths[work.item] == MAX_DEATHS:
                unfinished.remove(work.item)
                yield work.item, _Lost(work.phase, stuck=stuck, reason=reason)
        else:
            deaths[NOTHING] += 1
            if deaths[NOTHING] == MAX_IDLE_DEATHS:
                what = "die again and again" if worker.is_ready else "cannot be started"
                raise ConfigError(f"the processes that run SQL {what}: {reason}")
        desk.put_back(worker, unfinished)

    def _next_event(self) -> Event:
        """Wait for what happens next; a worker over its time is killed, which is its last event."""
        longest_s = self._limits.timeout_s + self._limits.grace_s  # by then a worker may have begun an item
        while True:
            left_s = min(worker.seconds_left() for worker in self._crew)
            wait_s = None if left_s == float("inf") else max(0.0, min(left_s, longest_s))
            try:
                return self._events.get(timeout=wait_s)
            except Empty:
                for worker in self._crew:
                    if worker.seconds_left() <= 0:
                        worker.kill_as_stuck()

    def _fill(self, size: int) -> None:
        while len(self._crew) < size:
            self._crew.append(Worker(self._limits, self._events, gold_store=self._gold_store))

    def _end(self) -> None:
        while self._crew:
            self._crew.pop().end()
        self._events = SimpleQueue()


class _Desk:
    """The batches that wait, and those that were given out."""

    def __init__(self, batches: Iterator[Batch], *, max_ahead: int) -> None:
        self._coming = batches
        self._waiting: deque[Batch] = deque()
        self._max_ahead = max_ahead
        self.given: dict[Worker, dict[int, Batch]] = {}  # each item's

    def find(self, crew: Sequence[Worker]) -> bool:
        """Tell whether anything is left to do."""
        return any(worker.in_hand for worker in crew) or self._peek() is not None

    def take(self, crew: Sequence[Worker]) -> Batch | None:
        """Take the next batch; None if there is none, or it is too far ahead of what is in hand."""
        batch = self._peek()
        if batch is None:
            return None
        first = next(iter(batch.items))
        in_hand = [worker.in_hand[0] for worker in crew if worker.in_hand]
        if first - min(in_hand, default=first) >= self._max_ahead:
            return None
        return self._waiting.popleft()

    def put_back(self, worker: Worker, unfinished: list[int]) -> None:
        """Put items of a worker's batch before all others, each on its own: one of them may be a killer."""
        given = self.given.pop(worker, {})
        for index in reversed(unfinished):
            batch = given[index]
            self._waiting.appendleft(Batch({index: batch.items[index]}, batch.head))

    def _peek(self) -> Batch | None:
        if not self._waiting and (batch := next(self._coming, None)) is not None:
            self._waiting.append(batch)
        return self._waiting[0] if self._waiting else None


def run_queries(
    jobs: Sequence[QueryJob],
    *,
    limits: Limits,
    workers: int = 0,
    on_done: Callable[[], None] | None = None,
) -> Iterator[Ending]:
    """Run queries in a pool of their own, see `Pool.run`."""
    if not jobs:
        return
    with Pool(limits, workers=min(workers or cores(), len(jobs))) as pool:
        yield from pool.run(jobs, on_done=on_done)


def compare_queries(
    jobs: Sequence[CompareJob],
    *,
    limits: Limits,
    workers: int = 0,
    gold_store: Path | None = None,
    on_done: Callable[[], None] | None = None,
) -> Iterator[Comparison]:
    """Compare in a pool of their own, see `Pool.compare`."""
    if not jobs:
        return
    with Pool(limits, workers=min(workers or cores(), len(jobs)), gold_store=gold_store) as pool:
        yield from pool.compare(jobs, on_done=on_done)


def default_gold_store() -> Path:
    """Return the folder in the user's cache where results of gold queries are kept."""
    return home() / "gold"


def _query_batches(jobs: Sequence[QueryJob]) -> Iterator[Batch]:
    for index, job in enumerate(jobs):
        yield Batch({index: [_cut(job.sql)]}, {"databases": [[str(job.database), None]]})


def _cut(sql: str) -> str:
    """Shorten what is too long to be run: that is found all the same, and a worker has room for it."""
    return sql[: MAX_SQL_BYTES + 1]


def _ending(reply: Any | _Lost, limits: Limits) -> Ending:
    if isinstance(reply, _Lost):
        if not reply.stuck:
            return WorkerDied(reply.reason)
        if reply.phase is Phase.ANSWER:
            return TooMuch("handing over the result took too long")
        return Timeout(limits.timeout_s)
    _check(reply)
    return decode_ending(reply["ending"])


def _comparison(reply: Any | _Lost, limits: Limits) -> Comparison:
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
    return Comparison(Match(reply[0]), reply[1], reply[2])


def _check(reply: Any) -> None:
    if isinstance(reply, dict) and "database_error" in reply:
        raise DatabaseError(reply["database_error"])
