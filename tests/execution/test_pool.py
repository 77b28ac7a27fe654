"""Many queries in processes that may hang or die."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from sense.errors import ConfigError, DatabaseError
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
)
from sense.execution.pool import CompareJob, Pool, QueryJob, compare_queries, run_queries
from sense.execution.rules import Rule
from sense.execution.run import Limits

QUICK = Limits(timeout_s=0.5, grace_s=0.5)
PATIENT = Limits(timeout_s=30)
SLOW_COUNT = 3_000_000
COUNTING = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c{limit}) SELECT count(*) FROM c"
SLOW = COUNTING.format(limit=f" LIMIT {SLOW_COUNT}")
ENDLESS = COUNTING.format(limit="")
# One SQLite instruction of many minutes: nothing inside the process can stop it.
STUCK = "SELECT instr(hex(zeroblob(4000000)), hex(zeroblob(2000000)) || '1')"

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")


def run(database: Path, *queries: str, limits: Limits = QUICK, workers: int = 2) -> list[Ending]:
    return list(run_queries([QueryJob(database, sql) for sql in queries], limits=limits, workers=workers))


def compare(*jobs: CompareJob, limits: Limits = QUICK, workers: int = 2) -> list[Comparison]:
    return list(compare_queries(jobs, limits=limits, workers=workers))


def job(database: Path, gold: str, candidate: str, rule: Rule = Rule.SPIDER) -> CompareJob:
    return CompareJob((database,), gold, candidate, rule)


def workers_of(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
            command = (stat.parent / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(ppid) == parent and state != "Z" and "sense.execution.worker" in command:
            found.append(int(stat.parent.name))
    return found


def kill_workers(times: int) -> None:
    """Kill, so many times, the worker that is at work, each time soon after it has begun."""

    def strike() -> None:
        killed: set[int] = set()
        while len(killed) < times:
            time.sleep(0.4)
            for pid in set(workers_of(os.getpid())) - killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)

    threading.Thread(target=strike, daemon=True).start()


def test_endings_come_in_the_order_of_the_queries(shop: Path) -> None:
    numbers = range(200)
    endings = run(shop, *(f"SELECT {number}" for number in numbers))
    assert endings == [Rows(1, ((number,),)) for number in numbers]


def test_every_kind_of_ending_comes_through(shop: Path) -> None:
    values = "SELECT 1, 2.5, 'é\n', x'00ff', NULL, 1e999"
    endings = run(
        shop, values, "SELEC", "DROP TABLE item", ENDLESS, "SELECT zeroblob(1000000000)", "SELECT 1 WHERE 0"
    )
    assert endings[0] == Rows(6, ((1, 2.5, "é\n", b"\x00\xff", None, float("inf")),))
    assert [type(ending) for ending in endings[1:]] == [SqlError, Refused, Timeout, TooMuch, Rows]


def test_a_query_that_cannot_be_interrupted_is_killed_and_its_neighbors_run(shop: Path) -> None:
    assert run(shop, "SELECT 1", STUCK, "SELECT 2", workers=1) == [
        Rows(1, ((1,),)),
        Timeout(0.5),
        Rows(1, ((2,),)),
    ]


@needs_proc
def test_a_killed_worker_costs_nothing_but_time(shop: Path) -> None:
    jobs = [QueryJob(shop, sql) for sql in ("SELECT 1", SLOW, "SELECT 2", "SELECT 3")]
    endings = run_queries(jobs, limits=PATIENT, workers=1)
    first = next(endings)
    kill_workers(1)
    assert [first, *endings] == [Rows(1, ((number,),)) for number in (1, SLOW_COUNT, 2, 3)]


@needs_proc
def test_what_kills_its_worker_twice_is_lost_alone(shop: Path) -> None:
    jobs = [QueryJob(shop, sql) for sql in ("SELECT 1", ENDLESS, "SELECT 2", "SELECT 3")]
    endings = run_queries(jobs, limits=PATIENT, workers=1)
    first = next(endings)
    kill_workers(2)
    lost, *rest = endings
    assert [first, *rest] == [Rows(1, ((number,),)) for number in (1, 2, 3)]
    assert lost == WorkerDied("the worker process died: killed by signal 9")


@needs_proc
@pytest.mark.parametrize(
    ("gold", "candidate", "match"),
    [
        pytest.param(ENDLESS, "SELECT 1", Match.GOLD_FAILED, id="gold"),
        pytest.param("SELECT 1", ENDLESS, Match.WORKER_DIED, id="candidate"),
    ],
)
def test_a_killed_worker_tells_which_side_was_at_work(
    shop: Path, gold: str, candidate: str, match: Match
) -> None:
    jobs = [job(shop, "SELECT 1", "SELECT 1"), job(shop, gold, candidate), job(shop, "SELECT 2", "SELECT 2")]
    comparisons = compare_queries(jobs, limits=PATIENT, workers=1)
    first = next(comparisons)
    kill_workers(2)
    assert [first.match, *(found.match for found in comparisons)] == [Match.SAME, match, Match.SAME]


def test_a_pool_serves_several_calls(shop: Path) -> None:
    with Pool(QUICK, workers=2) as pool:
        assert list(pool.run([QueryJob(shop, "SELECT 1")])) == [Rows(1, ((1,),))]
        stopped_early = pool.compare([job(shop, "SELECT 1", f"SELECT {n}") for n in range(50)])
        next(stopped_early)
        stopped_early.close()  # type: ignore[attr-defined]
        found = list(pool.compare([job(shop, "SELECT 1", f"SELECT {n}") for n in range(50)]))
    assert [number for number, each in enumerate(found) if each.match is Match.SAME] == [1]


def test_a_query_that_takes_all_memory_is_too_much(shop: Path) -> None:
    limits = Limits(timeout_s=30, memory_bytes=120 * 2**20)
    hungry = "SELECT a.n FROM many a, many b, many c ORDER BY hex(randomblob(1000))"
    ending, after = run(shop, hungry, "SELECT 1", limits=limits, workers=1)
    assert ending == TooMuch("out of memory")
    assert after == Rows(1, ((1,),))


@needs_proc
def test_no_worker_is_left_behind(shop: Path) -> None:
    endings = run_queries([QueryJob(shop, "SELECT 1"), QueryJob(shop, ENDLESS)], limits=PATIENT, workers=2)
    next(endings)
    assert workers_of(os.getpid())
    endings.close()  # type: ignore[attr-defined]
    assert workers_of(os.getpid()) == []


@needs_proc
def test_workers_end_with_a_killed_parent(shop: Path) -> None:
    program = (
        "import sys; from pathlib import Path;"
        "from sense.execution.pool import *; from sense.execution.run import *;"
        "list(run_queries([QueryJob(Path(sys.argv[1]), sys.argv[2])], limits=Limits(timeout_s=60)))"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(shop), STUCK]) as parent:
        wait_until(lambda: bool(workers_of(parent.pid)))
        (worker,) = workers_of(parent.pid)
        time.sleep(0.3)  # into the query
        parent.kill()
    wait_until(lambda: not is_running(worker))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: object, within_s: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_files_in_the_current_folder_are_not_imported(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sqlite3.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    assert run(shop, "SELECT 1") == [Rows(1, ((1,),))]


def test_a_missing_database_ends_the_run(shop: Path) -> None:
    with pytest.raises(DatabaseError, match="no such SQLite file"):
        run(shop.with_name("none.sqlite"), "SELECT 1")
    with pytest.raises(DatabaseError, match="no such SQLite file"):
        compare(job(shop.with_name("none.sqlite"), "SELECT 1", "SELECT 1"))


def test_workers_that_cannot_start_are_no_endless_loop(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A Python that does not start is not to be had otherwise.
    monkeypatch.setattr(sys, "executable", str(shutil.which("false")))
    with pytest.raises(ConfigError, match="cannot be started"):
        run(shop, "SELECT 1")


def test_no_jobs_need_no_workers() -> None:
    assert list(run_queries([], limits=QUICK)) == []
    assert list(compare_queries([], limits=QUICK)) == []


@pytest.mark.parametrize(
    ("gold", "candidate", "spider", "bird"),
    [
        pytest.param(
            "SELECT id, name FROM item", "SELECT name, id FROM item", "same", "different", id="columns"
        ),
        pytest.param(
            "SELECT price FROM item", "SELECT DISTINCT price FROM item", "same", "same", id="distinct"
        ),
        pytest.param(
            "SELECT price FROM item",
            "SELECT price FROM item GROUP BY 1",
            "different",
            "same",
            id="duplicates",
        ),
        pytest.param(
            "SELECT id FROM item ORDER BY id",
            "SELECT id FROM item ORDER BY id DESC",
            "different",
            "same",
            id="order",
        ),
        pytest.param(
            "SELECT count(DISTINCT price) FROM item",
            "SELECT count(price) FROM item",
            "same",
            "different",
            id="count",
        ),
        pytest.param(
            "SELECT market_value FROM item",
            "SELECT market_value FROM item",
            "candidate_error",
            "same",
            id="value",
        ),
        pytest.param("SELECT id FROM item WHERE 0", "SELECT 1, 2 WHERE 0", "same", "same", id="empty"),
        pytest.param(
            "SELECT id FROM item WHERE 0",
            "DELETE FROM item",
            "candidate_refused",
            "candidate_refused",
            id="delete",
        ),
        pytest.param("SELECT id FROM item WHERE 0", "", "candidate_error", "candidate_error", id="nothing"),
        pytest.param("SELECT 1", "SELECT 1; SELECT 2", "same", "candidate_refused", id="two-statements"),
        pytest.param("SELECT id FROM item", "SELEC id", "candidate_error", "candidate_error", id="syntax"),
        pytest.param(
            "SELECT a FROM nothing", "SELECT a FROM nothing", "gold_failed", "gold_failed", id="gold"
        ),
        pytest.param("SELECT a FROM odd", "SELECT 'AB'", "same", "same", id="invalid-utf8"),
        pytest.param(
            "SELECT id FROM item WHERE id > = 2", "SELECT 2 UNION SELECT 3", "same", "gold_failed", id="> ="
        ),
    ],
)
def test_rules_judge_as_their_official_scripts(
    shop: Path, gold: str, candidate: str, spider: str, bird: str
) -> None:
    before = shop.read_bytes()
    found = compare(job(shop, gold, candidate, Rule.SPIDER), job(shop, gold, candidate, Rule.BIRD), workers=1)
    assert [comparison.match for comparison in found] == [Match(spider), Match(bird)]
    assert shop.read_bytes() == before


@pytest.mark.parametrize("endless", [ENDLESS, STUCK], ids=["endless", "stuck"])
def test_a_timeout_is_blamed_on_the_side_that_caused_it(shop: Path, endless: str) -> None:
    jobs = [job(shop, endless, "SELECT 1"), job(shop, "SELECT 1", endless), job(shop, "SELECT 1", "SELECT 1")]
    assert compare(*jobs) == [
        Comparison(Match.GOLD_FAILED, "gold query: stopped after 0.5 s"),
        Comparison(Match.CANDIDATE_TIMEOUT, "stopped after 0.5 s"),
        Comparison(Match.SAME, "", 1.0),
    ]


def test_a_suite_must_agree_on_every_database(shop: Path) -> None:
    variant = shop.with_name("variant.sqlite")
    variant.write_bytes(shop.read_bytes())
    with closing(sqlite3.connect(variant)) as connection:
        connection.execute("INSERT INTO item VALUES (4, 'cap', 9.0, 1)")
        connection.execute("DROP TABLE odd")
        connection.commit()
    suite = (shop, variant)
    lucky, right, unrunnable = compare(
        CompareJob(suite, "SELECT count(*) FROM item", "SELECT 3", Rule.SPIDER),
        CompareJob(suite, "SELECT count(*) FROM item", "SELECT count(id) FROM item", Rule.SPIDER),
        CompareJob(suite, "SELECT a FROM odd", "SELEC", Rule.SPIDER),
    )
    assert lucky.match is Match.DIFFERENT
    assert "variant.sqlite" in lucky.reason
    assert right.match is Match.SAME
    assert unrunnable.match is Match.GOLD_FAILED


def test_equal_jobs_are_run_once_and_counted_each(shop: Path) -> None:
    ticks: list[None] = []
    coin = job(shop, "SELECT abs(random()) % 2", "SELECT 1 -- heads")
    jobs = [coin, job(shop, "SELECT 1", "SELECT 1")] * 30
    found = list(compare_queries(jobs, limits=QUICK, workers=2, on_done=lambda: ticks.append(None)))
    assert len(found) == len(ticks) == 60
    assert len(set(found[::2])) == 1


def test_jobs_of_many_databases_keep_their_order(shop: Path) -> None:
    copies = [shop.with_name(f"{number}.sqlite") for number in range(3)]
    for copy in copies:
        copy.write_bytes(shop.read_bytes())
    jobs = [job(copies[n % 3], f"SELECT {n}", f"SELECT {n // 2 * 2}") for n in range(120)]
    expected = [Match.SAME if n % 2 == 0 else Match.DIFFERENT for n in range(120)]
    assert [comparison.match for comparison in compare(*jobs)] == expected
