"""Gold and candidate timed against each other, in a process that may hang or die."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest

from sense.errors import DatabaseError
from sense.execution.outcome import Refused, SqlError, Timeout, TooMuch, WorkerDied
from sense.execution.run import Limits
from sense.execution.timing import Clock, Failure, TimeJob, Times, Timing, Untimed, time_pairs

QUICK = Limits(timeout_s=0.5, grace_s=0.5)
COUNT = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {}) SELECT {} FROM c"
ENDLESS = COUNT.format("n + 1", "count(*)")
# One SQLite instruction of many minutes: nothing inside the process can stop it.
STUCK = "SELECT instr(hex(zeroblob(4000000)), hex(zeroblob(2000000)) || '1')"

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def timings(
    database: Path, *pairs: tuple[str, str], limits: Limits = QUICK, repeats: int = 3, clock: Clock = "fetch"
) -> list[Timing]:
    jobs = [TimeJob(database, gold, candidate) for gold, candidate in pairs]
    return list(time_pairs(jobs, limits=limits, repeats=repeats, clock=clock))


def timed(database: Path, gold: str, candidate: str, *, repeats: int, clock: Clock = "fetch") -> Times:
    (found,) = timings(database, (gold, candidate), limits=Limits(), repeats=repeats, clock=clock)
    assert isinstance(found, Times)
    return found


def children() -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            command = (stat.parent / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == os.getpid() and state != "Z" and "execution.timing" in command:
            found.append(int(stat.parent.name))
    return found


def test_each_side_is_timed_so_many_times(shop: Path) -> None:
    found = timed(shop, "SELECT 1", "SELECT name FROM item", repeats=7)
    assert (len(found.gold_s), len(found.candidate_s)) == (7, 7)
    assert all(0 < seconds < 10 for seconds in found.gold_s + found.candidate_s)


def test_a_slow_candidate_takes_longer(shop: Path) -> None:
    found = timed(shop, "SELECT 1", COUNT.format(200_000, "count(*)"), repeats=5)
    assert median(found.candidate_s) > 5 * median(found.gold_s)


def test_the_clock_may_stop_before_rows_are_fetched(shop: Path) -> None:
    rows = COUNT.format(50_000, "n")
    to_the_first = timed(shop, rows, rows, repeats=3, clock="execute")
    to_the_last = timed(shop, rows, rows, repeats=3, clock="fetch")
    assert median(to_the_last.gold_s) > 5 * median(to_the_first.gold_s)


@pytest.mark.parametrize(
    ("sql", "ending"),
    [
        pytest.param("SELECT absent FROM item", SqlError("no such column: absent"), id="error"),
        pytest.param("DELETE FROM item", Refused("only reading is allowed, not DELETE"), id="write"),
        pytest.param("SELECT n FROM many", TooMuch("more than 500 rows"), id="rows"),
        pytest.param(ENDLESS, Timeout(0.5), id="endless"),
        pytest.param(STUCK, Timeout(0.5), id="stuck"),
    ],
)
def test_what_does_not_end_with_rows_is_not_timed(shop: Path, sql: str, ending: Failure) -> None:
    limits = Limits(timeout_s=0.5, grace_s=0.5, max_rows=500)
    before = shop.read_bytes()
    gold, candidate, after = timings(
        shop, (sql, "SELECT 1"), ("SELECT 1", sql), ("SELECT 1",) * 2, limits=limits
    )
    assert gold == Untimed("gold", ending)
    assert candidate == Untimed("candidate", ending)
    assert isinstance(after, Times)
    assert shop.read_bytes() == before


def test_a_timed_run_has_its_own_deadline(shop: Path) -> None:
    # It ends at once in warming up: the endless part waits until the second has changed.
    second = "CAST(strftime('%s', 'now') AS INT)"
    later = int(time.time()) + 2
    sql = f"SELECT CASE WHEN {second} >= {later} THEN ({ENDLESS}) ELSE 0 END"
    # With so much grace, who ended the run in time was not the parent.
    limits = Limits(timeout_s=0.5, grace_s=300)
    (found,) = timings(shop, ("SELECT 1", sql), limits=limits, repeats=1_000_000)
    assert found == Untimed("candidate", Timeout(0.5))


@needs_proc
def test_a_dead_worker_costs_its_job_alone(shop: Path) -> None:
    jobs = [TimeJob(shop, "SELECT 1", "SELECT 1")] * 3
    jobs[1] = TimeJob(shop, "SELECT 1", ENDLESS)
    running = time_pairs(jobs, limits=Limits(timeout_s=60), repeats=1)
    assert isinstance(next(running), Times)
    # By then it is at the candidate, and has said so.
    threading.Timer(1.5, os.kill, (children()[0], signal.SIGKILL)).start()
    assert next(running) == Untimed("candidate", WorkerDied("the worker process died: killed by signal 9"))
    assert isinstance(next(running), Times)


@needs_proc
def test_one_process_times_all_and_ends_with_them(shop: Path) -> None:
    running = time_pairs([TimeJob(shop, "SELECT 1", "SELECT 1")] * 3, limits=QUICK, repeats=2)
    seen = [tuple(children()) for _ in running]
    assert len(set(seen)) == len(seen[0]) == 1
    assert children() == []


@needs_proc
def test_what_is_given_up_leaves_no_process(shop: Path) -> None:
    running = time_pairs([TimeJob(shop, "SELECT 1", "SELECT 1")] * 3, limits=QUICK, repeats=2)
    next(running)
    assert len(children()) == 1
    assert isinstance(running, Generator)
    running.close()
    assert children() == []


def test_every_job_is_reported(shop: Path) -> None:
    done: list[None] = []
    jobs = [TimeJob(shop, "SELECT 1", sql) for sql in ("SELECT 1", "SELECT", "SELECT 2")]
    for count, _ in enumerate(
        time_pairs(jobs, limits=QUICK, repeats=1, on_done=lambda: done.append(None)), 1
    ):
        assert len(done) == count


def test_text_that_is_not_utf8_is_timed_all_the_same(shop: Path) -> None:
    assert timed(shop, "SELECT a FROM odd", "SELECT a FROM odd", repeats=1).gold_s


def test_reading_a_write_ahead_log_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1);")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert timed(path, "SELECT a FROM t", "SELECT 1", repeats=2).gold_s
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_missing_database_is_the_users_error(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="no such SQLite file"):
        timings(tmp_path / "none.sqlite", ("SELECT 1", "SELECT 1"))


def test_no_jobs_need_no_process(shop: Path) -> None:
    assert timings(shop) == []
