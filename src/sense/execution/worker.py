"""A process that runs queries for `execution.pool` and may be killed at any moment.

Standard input and output belong to the protocol (`execution.protocol`). The process ends when its input ends,
even in the middle of a query.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

from sense.errors import DatabaseError
from sense.execution.compare import TooManyColumnOrders, difference
from sense.execution.outcome import (
    Comparison,
    Ending,
    Match,
    Refused,
    Rows,
    SqlError,
    Timeout,
    TooMuch,
    WorkerDied,
    describe,
)
from sense.execution.protocol import Message, Phase, encode_ending, from_line, to_line
from sense.execution.rules import RULES, Rule
from sense.execution.run import Limits, run_query, size_bytes

GOLD_CACHE_BYTES = 64 * 2**20  # the results of hundreds of gold queries; one that is larger is run again
HEAP_SHARE = 0.75  # of the memory for SQLite itself; the rest is for Python's copy of the result

CANDIDATE_FAILURES = {
    SqlError: Match.CANDIDATE_ERROR,
    Refused: Match.CANDIDATE_REFUSED,
    Timeout: Match.CANDIDATE_TIMEOUT,
    TooMuch: Match.CANDIDATE_TOO_MUCH,
    WorkerDied: Match.WORKER_DIED,
}

Announce = Callable[[Phase], None]


class GoldCache:
    """Results of gold queries, the latest used kept, up to a total size."""

    def __init__(self, max_bytes: int = GOLD_CACHE_BYTES) -> None:
        """Start empty."""
        self._max_bytes = max_bytes
        self._used_bytes = 0
        self._kept: OrderedDict[tuple[Path, str], tuple[Ending, int]] = OrderedDict()

    def get(self, database: Path, sql: str) -> Ending | None:
        """Return how the query ended before, None if that is not kept."""
        found = self._kept.get((database, sql))
        if found is None:
            return None
        self._kept.move_to_end((database, sql))
        return found[0]

    def put(self, database: Path, sql: str, ending: Ending) -> None:
        """Keep how the query ended, at the cost of what was not used for longest."""
        size = len(sql) + (size_bytes(ending.rows) if isinstance(ending, Rows) else 0)
        if size > self._max_bytes:
            return
        self._kept[database, sql] = (ending, size)
        self._used_bytes += size
        while self._used_bytes > self._max_bytes:
            _, (_, freed) = self._kept.popitem(last=False)
            self._used_bytes -= freed


class Judge:
    """Compares candidates with gold queries, each gold query run once while the cache holds its result."""

    def __init__(self, limits: Limits, announce: Announce) -> None:
        """Take the limits of a query, and whom to tell which side is at work."""
        self._limits, self._announce = limits, announce
        self._cache = GoldCache()

    def compare(self, databases: list[Path], *, gold_sql: str, candidate_sql: str, rule: Rule) -> Comparison:
        """Compare on every database: the same only if the same on all. A gold query must run on all of them.

        Raises:
            DatabaseError: a database is missing or not an SQLite file.
        """
        steps = RULES[rule]
        prepared_gold = steps.prepare_gold(gold_sql)
        prepared_candidate = steps.prepare_candidate(candidate_sql)
        golds: list[Rows] = []
        for database in databases:
            gold = self._run_gold(database, prepared_gold)
            if not isinstance(gold, Rows):
                reason = _where(f"gold query: {describe(gold)}", database, databases)
                return Comparison(Match.GOLD_FAILED, reason)
            golds.append(gold)
        for database, gold in zip(databases, golds, strict=True):
            self._announce(Phase.CANDIDATE)
            candidate = run_query(database, prepared_candidate, limits=self._limits)
            if not isinstance(candidate, Rows):
                reason = _where(describe(candidate), database, databases)
                return Comparison(CANDIDATE_FAILURES[type(candidate)], reason)
            self._announce(Phase.COMPARE)
            try:
                if not steps.is_same(gold, candidate, prepared_gold):
                    reason = _where(difference(gold, candidate), database, databases)
                    return Comparison(Match.DIFFERENT, reason)
            except TooManyColumnOrders:
                return Comparison(Match.CANDIDATE_TOO_MUCH, "too many orders of the columns to try")
            except MemoryError:
                return Comparison(Match.CANDIDATE_TOO_MUCH, "out of memory in comparing the results")
        return Comparison(Match.SAME, "")

    def _run_gold(self, database: Path, sql: str) -> Ending:
        ending = self._cache.get(database, sql)
        if ending is None:
            self._announce(Phase.GOLD)
            ending = run_query(database, sql, limits=self._limits)
            self._cache.put(database, sql, ending)
        return ending


def main() -> None:
    """Answer requests until the input ends."""
    # Ctrl-C reaches the whole group; it is for the parent to end its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()

    limits = Limits(**from_line(requests.get())["limits"])
    _bound_memory(limits.memory_bytes)

    def tell(line: bytes) -> None:
        output.write(line)
        output.flush()

    def announce(phase: Phase) -> None:
        tell(to_line({"phase": phase}))

    judge = Judge(limits, announce)
    announce(Phase.READY)
    while True:
        tell(_answer(from_line(requests.get()), judge, limits=limits, announce=announce))


def _answer(request: Message, judge: Judge, *, limits: Limits, announce: Announce) -> bytes:
    try:
        if "sql" in request:
            announce(Phase.CANDIDATE)
            ending = run_query(Path(request["database"]), request["sql"], limits=limits)
            announce(Phase.ANSWER)
            return _ending_line(ending)
        comparison = judge.compare(
            [Path(path) for path in request["databases"]],
            gold_sql=request["gold_sql"],
            candidate_sql=request["candidate_sql"],
            rule=Rule(request["rule"]),
        )
        return to_line({"comparison": [comparison.match, comparison.reason]})
    except DatabaseError as error:
        return to_line({"database_error": str(error)})


def _ending_line(ending: Ending) -> bytes:
    try:
        return to_line({"ending": encode_ending(ending)})
    except MemoryError:
        return to_line({"ending": encode_ending(TooMuch("out of memory in handing over the result"))})


def _listen(lines: BinaryIO, requests: SimpleQueue[bytes]) -> None:
    for line in lines:
        requests.put(line)
    os._exit(0)  # nobody is left to answer to, and a query in hand would not hear of it


def _bound_memory(memory_bytes: int) -> None:
    # The process limit first, SQLite's own for platforms without one.
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"PRAGMA hard_heap_limit = {int(memory_bytes * HEAP_SHARE)}")


def _where(reason: str, database: Path, databases: list[Path]) -> str:
    return reason if len(databases) == 1 else f"{reason} (on {database.name})"


if __name__ == "__main__":
    main()
