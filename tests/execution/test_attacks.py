"""Statements and databases made to do harm, each between harmless neighbors: it must cost itself alone."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from sense.errors import DatabaseError
from sense.execution.gold_store import GoldStore
from sense.execution.outcome import Comparison, Ending, Match, Refused, Rows, SqlError, Timeout, TooMuch
from sense.execution.pool import CompareJob, Pool, QueryJob, compare_queries, run_queries
from sense.execution.rules import Rule
from sense.execution.run import Limits, run_query

from .attacks import (
    ATTACKS,
    ENDLESS,
    ODD,
    SIZES,
    UNDER_THE_CAPS,
    WRITES,
    Attack,
    colliding_rows,
    counting,
    doubling,
    make_target,
)
from .test_pool import needs_proc, workers_of

LIMITS = Limits(
    timeout_s=0.4, grace_s=0.4, max_rows=50_000, max_bytes=32 * 2**20, memory_bytes=512 * 2**20, keep_from_s=0
)
LATEST_S = LIMITS.timeout_s + 1.0
LOOK_EVERY_S = 0.1
NEIGHBOR = "SELECT count(*) FROM item"
RIGHT = Rows(1, ((3,),))
SAME = Comparison(Match.SAME, "", 1.0)
MATCHES = {
    Rows: {Match.DIFFERENT, Match.CANDIDATE_TOO_MUCH},  # too much is to compare large results
    SqlError: {Match.CANDIDATE_ERROR},
    Refused: {Match.CANDIDATE_REFUSED},
    Timeout: {Match.CANDIDATE_TIMEOUT},
    TooMuch: {Match.CANDIDATE_TOO_MUCH},
}
# What the rules make of a text before SQLite sees it may take as long as a query.
OF_A_CANDIDATE = set(Match) - {Match.GOLD_FAILED, Match.WORKER_DIED, Match.SAME}


class Seen(NamedTuple):
    """How each attack and neighbor ended, how long each attack took, and what was found afterwards."""

    endings: dict[str, Ending | Comparison]
    neighbors: list[Ending | Comparison]
    seconds: dict[str, float]
    changed: list[str]
    workers_left: list[int]
    peak_bytes: int


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("target")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SENSE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.chdir(folder)
        yield make_target(folder / "target.sqlite")


@pytest.fixture(scope="module")
def as_queries(target: Path) -> Seen:
    """Run all attacks one after the other, so that each has its own time."""
    jobs = [QueryJob(target, NEIGHBOR)]
    for attack in ATTACKS:
        jobs += [QueryJob(target, attack.sql), QueryJob(target, NEIGHBOR)]
    return observe(target, ATTACKS, lambda: run_queries(jobs, limits=LIMITS, workers=1))


@pytest.fixture(scope="module")
def as_candidates(target: Path) -> Seen:
    pairs = [("SELECT 'gold'", attack.sql) for attack in ATTACKS]
    return observe(target, ATTACKS, lambda: compare_between_neighbors(target, pairs, Rule.BIRD))


AS_GOLD = [*WRITES, *ODD, *SIZES[:10], *ENDLESS[::5]]


@pytest.fixture(scope="module")
def as_golds(target: Path) -> Seen:
    pairs = [(attack.sql, "SELECT 'candidate'") for attack in AS_GOLD]
    return observe(target, AS_GOLD, lambda: compare_between_neighbors(target, pairs, Rule.BIRD))


def compare_between_neighbors(
    database: Path, pairs: list[tuple[str, str]], rule: Rule, workers: int = 2
) -> Iterator[Comparison]:
    jobs = [CompareJob((database,), NEIGHBOR, "SELECT 3", rule)]
    for number, (gold, candidate) in enumerate(pairs):
        jobs.append(CompareJob((database,), gold, candidate, rule))
        jobs.append(CompareJob((database,), NEIGHBOR, f"SELECT 3 -- {number}", rule))
    return compare_queries(jobs, limits=LIMITS, workers=workers)


def observe(
    database: Path, attacks: list[Attack], run: Callable[[], Iterator[Ending] | Iterator[Comparison]]
) -> Seen:
    before = files_of(database.parent)
    found: list[Ending | Comparison] = []
    times: list[float] = []
    with looking_at_workers() as peak:
        for ending in run():
            found.append(ending)
            times.append(time.monotonic())
    after = files_of(database.parent)
    names = [attack.name for attack in attacks]
    seconds = {name: times[2 * n + 1] - times[2 * n] for n, name in enumerate(names)}
    return Seen(
        endings=dict(zip(names, found[1::2], strict=True)),
        neighbors=found[::2],
        seconds=seconds,
        changed=[name for name in before | after if before.get(name) != after.get(name)],
        workers_left=workers_of(os.getpid()),
        peak_bytes=peak[0],
    )


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@contextmanager
def looking_at_workers() -> Iterator[list[int]]:
    """Watch how much memory a worker has had at most."""
    peak = [0]
    done = threading.Event()

    def look() -> None:
        while not done.wait(LOOK_EVERY_S):
            for pid in workers_of(os.getpid()):
                peak[0] = max(peak[0], peak_bytes(pid))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def peak_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return max((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), default=0)


def of_each(attacks: list[Attack]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "attack", [pytest.param(attack, id=ascii(attack.name)[1:-1][:60]) for attack in attacks]
    )


def test_attacks_have_names_of_their_own() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 200


@of_each(ATTACKS)
def test_an_attack_ends_as_it_must(as_queries: Seen, attack: Attack) -> None:
    assert isinstance(as_queries.endings[attack.name], attack.endings)


@of_each(ATTACKS)
def test_a_candidate_ends_as_it_must(as_candidates: Seen, attack: Attack) -> None:
    found = as_candidates.endings[attack.name]
    assert isinstance(found, Comparison)
    assert found.match in set().union(*(MATCHES[kind] for kind in attack.endings))


@of_each(AS_GOLD)
def test_a_gold_query_that_fails_is_no_fault_of_the_candidate(as_golds: Seen, attack: Attack) -> None:
    found = as_golds.endings[attack.name]
    assert isinstance(found, Comparison)
    allowed = {Match.GOLD_FAILED} if attack.endings != (Rows,) else set()
    assert found.match in allowed | ({Match.DIFFERENT} if Rows in attack.endings else set())


def test_a_result_under_the_caps_is_whole(target: Path) -> None:
    limits = replace(LIMITS, timeout_s=20.0)
    jobs = [QueryJob(target, attack.sql) for attack in UNDER_THE_CAPS]
    counts = [len(ending.rows) for ending in run_queries(jobs, limits=limits) if isinstance(ending, Rows)]
    assert counts == [1, 50_000, 30, 10]


@pytest.mark.parametrize("way", ["as_queries", "as_candidates", "as_golds"])
def test_attacks_leave_no_trace(way: str, request: pytest.FixtureRequest) -> None:
    seen: Seen = request.getfixturevalue(way)
    assert {*seen.neighbors} == {RIGHT if way == "as_queries" else SAME}
    assert seen.changed == []
    assert seen.workers_left == []


@needs_proc
def test_workers_stay_within_their_memory(as_queries: Seen, as_candidates: Seen) -> None:
    assert 0 < as_queries.peak_bytes < LIMITS.memory_bytes
    assert 0 < as_candidates.peak_bytes < LIMITS.memory_bytes


def test_attacks_end_in_time(as_queries: Seen, target: Path) -> None:
    """Those that were late are run again by themselves: another process may have had the core."""
    again = [attack for attack in ATTACKS if as_queries.seconds[attack.name] > LATEST_S]
    assert len(again) < 10
    for attack in again:
        jobs = [QueryJob(target, NEIGHBOR), QueryJob(target, attack.sql)]
        seen = observe(target, [attack], partial(run_queries, jobs, limits=LIMITS, workers=1))
        assert seen.seconds[attack.name] < LATEST_S


# What a rule does to the text of a query is work in the worker, too.
TEXTS = [
    *(attack.sql for attack in ODD if len(attack.sql) > 20_000),
    "SELECT '" + "/* " * 300_000,
    "SELECT " + "/* " * 300_000,
    "SELECT " + "'a" * 400_000,
    "SELECT 'a' " + "\"'" * 400_000,
    "SELECT " + "[" * 900_000,
    "SELECT " + "1" * 900_000,
    "SELECT " + ".1" * 400_000,
    "SELECT DISTINCT " + "value " * 150_000,
    "SELECT " + "YEAR ( CURDATE ( " * 50_000,
    "SELECT " + "< " * 400_000,
    "SELECT 1 " + "ORDER BY " * 100_000,
    "SELECT 1;" * 100_000,
]


@pytest.mark.parametrize("rule", [Rule.SPIDER, Rule.SPIDER_PLUG_VALUE, Rule.ROBUST])
def test_a_text_that_is_slow_to_prepare_costs_itself_alone(target: Path, rule: Rule) -> None:
    texts = TEXTS if rule is Rule.SPIDER else TEXTS[::2]  # the others take most of these up to their deadline
    pairs = [("SELECT 'gold' WHERE 1 = 1", sql) for sql in texts]
    found = list(compare_between_neighbors(target, pairs, rule))
    allowed = OF_A_CANDIDATE | ({Match.SAME} if rule is Rule.SPIDER_PLUG_VALUE else set())
    assert {*found[::2]} == {SAME}
    assert {comparison.match for comparison in found[1::2]} <= allowed


@pytest.mark.parametrize("rule", [Rule.SPIDER, Rule.ROBUST, Rule.SPIDER_CAUSE])
def test_columns_that_fit_in_many_orders_cost_their_item_alone(target: Path, rule: Rule) -> None:
    def mixed(columns: int, add: int) -> str:
        terms = [f"(n * {k} + n / {k + add}) % 2" for k in range(3, 3 + columns)]
        return f"SELECT {', '.join(terms)} FROM many WHERE n < 200"

    nulls = "SELECT " + ", ".join(["NULL"] * 10)
    bits = ", ".join(f"(n >> {shift} & 1) <> (n * n >> {shift} & 1)" for shift in range(12))
    rows = "SELECT " + ", ".join(f"n % {k}" for k in range(2, 14)) + " FROM many"
    pairs = [
        (nulls, nulls + " -- again"),
        (nulls + " FROM many", nulls + " FROM many ORDER BY n"),
        (mixed(12, 1), mixed(12, 2)),
        (mixed(30, 1), mixed(30, 2)),
        (f"SELECT {bits} FROM many", f"SELECT {bits} FROM many ORDER BY n DESC"),
        (rows, rows.replace("n % 5", "(n + 1) % 5") + " ORDER BY 1"),
    ]
    found = list(compare_between_neighbors(target, pairs, rule, workers=1))
    matches = [comparison.match for comparison in found]
    if rule is Rule.SPIDER_CAUSE:  # no verdict: the reason tells
        assert {*matches} == {Match.DIFFERENT}
        return
    assert {*matches[::2]} == {Match.SAME}
    assert matches[1:4:2] == [Match.SAME, Match.SAME]
    assert {*matches} <= {Match.SAME, Match.DIFFERENT, Match.CANDIDATE_TOO_MUCH}


def test_rows_that_collide_cost_their_item_alone(target: Path) -> None:
    pairs = [("SELECT 1, 2", colliding_rows(20_000))]
    before, found, after = compare_between_neighbors(target, pairs, Rule.BIRD, workers=1)
    assert (before, after) == (SAME, SAME)
    assert found.match in (Match.DIFFERENT, Match.CANDIDATE_TOO_MUCH)


def test_candidates_made_of_one_share_one_time_limit(target: Path) -> None:
    endless = counting() + " WHERE 1 <> 2 AND 3 <> 4 AND 5 <> 6"
    start = time.monotonic()
    pairs = [("SELECT 'gold' WHERE 1 = 1 OR 2 = 2 OR 3 = 3", endless)]  # 4 values in 7 places
    _, found, _ = compare_between_neighbors(target, pairs, Rule.SPIDER_PLUG_VALUE, workers=1)
    assert found.match is Match.CANDIDATE_TIMEOUT
    assert time.monotonic() - start < 10


def test_a_query_larger_than_a_workers_memory_is_too_much(target: Path) -> None:
    limits = Limits(timeout_s=5, memory_bytes=160 * 2**20)
    huge = "SELECT '" + "a" * 100_000_000 + "'"
    jobs = [QueryJob(target, sql) for sql in (NEIGHBOR, huge, NEIGHBOR)]
    assert [*map(type, run_queries(jobs, limits=limits, workers=1))] == [Rows, TooMuch, Rows]


def test_a_message_does_not_repeat_the_query(target: Path) -> None:
    ending = run_query(target, "SELECT " + "a" * 900_000, limits=LIMITS)
    assert isinstance(ending, SqlError)
    assert len(ending.message) <= 1_000


def test_compiled_queries_do_not_take_the_memory_of_others(target: Path) -> None:
    limits = Limits(timeout_s=10, memory_bytes=200 * 2**20)
    heavy = doubling(13, "SELECT p.x + q.x x FROM a{n} p, a{n} q LIMIT 5")
    jobs = [QueryJob(target, sql) for n in range(20) for sql in (f"{heavy} -- {n}", f"{NEIGHBOR} -- {n}")]
    assert {*run_queries(jobs, limits=limits, workers=1)} == {Rows(1, ((1,),)), RIGHT}


def test_a_row_over_the_cap_is_too_much(target: Path) -> None:
    limits = Limits(max_bytes=10 * 2**20, max_value_bytes=2**20)
    assert isinstance(
        run_query(target, "SELECT " + ", ".join(["zeroblob(1000000)"] * 20), limits=limits), TooMuch
    )


def test_running_again_to_decode_takes_no_second_time_limit(target: Path) -> None:
    """The text that is no UTF-8 comes when much of the time has passed."""
    counted = counting().replace("FROM c)", f"FROM c LIMIT {measured_count(0.6)})")
    sql = f"SELECT a, n FROM ({counted.replace('count(*)', 'count(*) AS n')}), odd"
    start = time.monotonic()
    assert isinstance(run_query(target, sql, limits=Limits(timeout_s=1.0)), Timeout | Rows)
    assert time.monotonic() - start < 1.15


def measured_count(seconds: float) -> int:
    """Find how far SQLite counts in so many seconds."""
    with closing(sqlite3.connect(":memory:")) as connection:
        start = time.monotonic()
        connection.execute(counting().replace("FROM c)", "FROM c LIMIT 500000)")).fetchall()
        return int(500_000 * seconds / (time.monotonic() - start))


@needs_proc
def test_workers_killed_between_items_cost_nothing(target: Path) -> None:
    found = []
    for ending in run_queries([QueryJob(target, NEIGHBOR)] * 12, limits=Limits(), workers=1):
        found.append(ending)
        for pid in workers_of(os.getpid()):
            os.kill(pid, signal.SIGKILL)
    assert found == [RIGHT] * 12


@needs_proc
def test_a_crash_leaves_no_core_file(target: Path) -> None:
    with Pool(LIMITS, workers=1) as pool:
        list(pool.run([QueryJob(target, NEIGHBOR)]))
        (pid,) = workers_of(os.getpid())
        limits = Path(f"/proc/{pid}/limits").read_text()
    assert re.search(r"core file size +0 +0 ", limits)


# Databases


@pytest.mark.parametrize("make", ["missing", "folder", "symlink", "pipe", "empty", "text", "headless"])
def test_what_is_no_database_is_an_error(tmp_path: Path, make: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSE_HOME", str(tmp_path / "home"))
    path = tmp_path / "bad.sqlite"
    match make:
        case "folder":
            path.mkdir()
        case "symlink":
            path.symlink_to(tmp_path / "nowhere")
        case "pipe":
            os.mkfifo(path)
        case "empty":
            path.touch()
        case "text":
            path.write_text("no database\n" * 1000)
        case "headless":
            path.write_bytes(b"\0" * 100 + make_target(tmp_path / "good.sqlite").read_bytes()[100:])
    with pytest.raises(DatabaseError, match=r"bad\.sqlite"):
        list(run_queries([QueryJob(path, "SELECT 1")], limits=LIMITS, workers=1))
    jobs = [CompareJob((path,), "SELECT 1", "SELECT 2", Rule.BIRD)]
    with pytest.raises(DatabaseError, match=r"bad\.sqlite"):
        list(compare_queries(jobs, limits=LIMITS, workers=1, gold_store=tmp_path / "gold"))


READS = [
    "SELECT * FROM item ORDER BY price",
    "SELECT sum(n) FROM many",
    "SELECT name FROM item WHERE price = 2.5",
    "SELECT * FROM notes WHERE notes MATCH 'b*'",
    "SELECT * FROM words WHERE words MATCH 'pen'",
    "SELECT id FROM area WHERE low < 5",
    "SELECT count(*) FROM sqlite_master",
]


def test_a_corrupt_file_is_an_error_at_most(target: Path, tmp_path: Path) -> None:
    content = target.read_bytes()
    rng = random.Random(7)
    kinds = set()
    with Pool(LIMITS, workers=2) as pool:
        for number in range(60):
            path = tmp_path / f"{number}.sqlite"
            damaged = bytearray(content)
            for _ in range(rng.randint(1, 200)):
                damaged[rng.randrange(4096, len(damaged))] = rng.randrange(256)
            if number % 4 == 3:  # the end is missing, too
                del damaged[rng.randrange(8192, len(damaged)) :]
            path.write_bytes(damaged)
            try:
                found = list(pool.run([QueryJob(path, sql) for sql in READS]))
                kinds |= {*map(type, found)}
            except DatabaseError:
                kinds.add(DatabaseError)
            assert path.read_bytes() == damaged
        assert list(pool.run([QueryJob(target, NEIGHBOR)])) == [RIGHT]
    assert {Rows, SqlError} <= kinds <= {Rows, SqlError, Refused, Timeout, TooMuch, DatabaseError}
    assert len(list(tmp_path.iterdir())) == 60


def test_a_write_ahead_log_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(make_target(tmp_path / "live.sqlite"))) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("DELETE FROM item WHERE id = 1")
        connection.commit()
        folder = tmp_path / "copy"
        folder.mkdir()
        for file in tmp_path.glob("live.sqlite*"):
            shutil.copy(file, folder / file.name)
    database = folder / "live.sqlite"
    before = {name: content for name, content in files_of(folder).items() if not name.endswith("-shm")}
    ending, refused = run_queries(
        [QueryJob(database, NEIGHBOR), QueryJob(database, "PRAGMA wal_checkpoint(TRUNCATE)")],
        limits=LIMITS,
        workers=1,
    )
    assert ending == Rows(1, ((2,),))
    assert isinstance(refused, Refused)
    after = files_of(folder)
    assert {name: after[name] for name in before} == before


HOSTILE = {
    "generated": "CREATE TABLE t(a, b AS (zeroblob(1000000000)), c AS (hex(zeroblob(a))));"
    "INSERT INTO t(a) VALUES (9000000)",
    "check": "CREATE TABLE t(a CHECK (length(hex(randomblob(1000))) > a)); INSERT INTO t VALUES (1)",
    "loop": "CREATE VIEW t AS SELECT * FROM u; CREATE VIEW u AS SELECT * FROM t",
    "nested": "CREATE VIEW v0 AS SELECT 1 x;"
    + "".join(f"CREATE VIEW v{n + 1} AS SELECT p.x FROM v{n} p, v{n} q LIMIT 9;" for n in range(40))
    + "CREATE VIEW t AS SELECT * FROM v40",
    "broken-view": "CREATE VIEW t AS SELECT absent FROM nowhere",
    "dangerous-view": "CREATE VIEW t AS SELECT load_extension('x'), fts3_tokenizer('simple')",
    "odd-names": 'CREATE TABLE t("a"";b", "\n", "", "ß"); INSERT INTO t VALUES (1, 2, 3, 4);'
    'CREATE VIRTUAL TABLE "x""; DROP TABLE t; --" USING fts5(body)',
    "bytes-as-name": "CREATE VIRTUAL TABLE t USING fts5(a); PRAGMA writable_schema = ON;"
    "UPDATE sqlite_master SET name = CAST(x'ff41' AS TEXT) WHERE name = 't'",
    "many-tables": "BEGIN;" + "".join(f"CREATE TABLE t{n}(a);" for n in range(3_000)) + "COMMIT",
    "like-a-system-table": "CREATE TABLE t(a); PRAGMA writable_schema = ON;"
    "UPDATE sqlite_master SET name = 'sqlite_x', tbl_name = 'sqlite_x', sql = 'CREATE TABLE sqlite_x(a)'"
    " WHERE name = 't'",
    "endless-as-virtual": f"CREATE VIEW t AS {counting()}; PRAGMA writable_schema = ON;"
    "INSERT INTO sqlite_master VALUES ('table', 't', 't', 0, 'CREATE VIRTUAL TABLE u USING fts5(a)')",
    "broken-schema": "CREATE TABLE t(a); PRAGMA writable_schema = ON;"
    "UPDATE sqlite_master SET sql = 'CREATE TABLE t(' WHERE name = 't'",
    "triggers": "CREATE TABLE t(a); CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO t VALUES (1); END",
}


UNREADABLE = {"broken-schema", "endless-as-virtual", "bytes-as-name"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_hurts_nobody_else(target: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(HOSTILE[name])
    queries = [
        "SELECT * FROM t",
        counting(),
        "SELECT count(*) FROM t",
        "INSERT INTO t VALUES (1)",
        "SELECT 1",
    ]
    jobs = [job for sql in queries for job in (QueryJob(path, sql), QueryJob(target, NEIGHBOR))]
    before = files_of(tmp_path)
    with Pool(LIMITS, workers=1) as pool:
        if name in UNREADABLE:
            with pytest.raises(DatabaseError, match=r"malformed|decode"):
                list(pool.run(jobs))
            assert list(pool.run([QueryJob(target, NEIGHBOR)])) == [RIGHT]
        else:
            found = list(pool.run(jobs))
            assert {*found[1::2]} == {RIGHT}
            assert isinstance(found[2], Timeout | SqlError)
            assert isinstance(found[6], Refused | SqlError | Timeout)
            assert {*map(type, found)} <= {Rows, SqlError, Refused, Timeout, TooMuch}
    assert files_of(tmp_path) == before


# Results of gold queries on disk

GOLD = "SELECT id, name FROM item WHERE id = 1"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "gold"


def compare_with_store(database: Path, store: Path, limits: Limits = LIMITS) -> list[Comparison]:
    pairs = [(GOLD, GOLD), (GOLD, "SELECT 1, 'pen'"), (NEIGHBOR, "SELECT 3")]
    jobs = [CompareJob((database,), gold, candidate, Rule.BIRD) for gold, candidate in pairs]
    return list(compare_queries(jobs, limits=limits, workers=1, gold_store=store))


def file_of_results(store: Path) -> Path:
    """Find the file of the one database, and forget the verdicts that would make it needless."""
    (store / "verdicts.sqlite").unlink(missing_ok=True)
    (file,) = store.glob("*.sqlite")
    return file


def tamper(store: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file_of_results(store), isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def overwrite(rows: str, columns: str = "2", has_bytes: str = "0") -> str:
    return (
        f"UPDATE result SET rows = {rows}, columns = {columns}, has_bytes = {has_bytes} WHERE sql = '{GOLD}'"
    )


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param([overwrite("'no JSON'")], id="no-json"),
        pytest.param([overwrite("'[[1, '")], id="half"),
        pytest.param([overwrite("''")], id="empty"),
        pytest.param([overwrite("NULL")], id="null"),
        pytest.param([overwrite("5")], id="number"),
        pytest.param([overwrite("x'fffe'")], id="bytes"),
        pytest.param([overwrite("CAST(x'5b5b312c2022ff225d5d' AS TEXT)")], id="invalid-utf8"),
        pytest.param([overwrite("'7'")], id="no-list"),
        pytest.param([overwrite("'[1, 2]'")], id="no-rows"),
        pytest.param([overwrite("'\"pen\"'")], id="text-for-rows"),
        pytest.param([overwrite("'[[1]]'")], id="fewer-columns"),
        pytest.param([overwrite("'[[1, \"pen\"]]'", columns="'two'")], id="columns-in-words"),
        pytest.param([overwrite("'[[1, [\"pen\"]]]'")], id="a-list-for-a-value"),
        pytest.param([overwrite('\'[[1, {"hex": "xy"}]]\'', has_bytes="1")], id="no-hex"),
        pytest.param([overwrite("'[[1, {\"a\": 1}]]'", has_bytes="1")], id="another-object"),
        pytest.param([overwrite(f"'{'[' * 100_000}'")], id="deep"),
        pytest.param([overwrite("'[[1, \"' || hex(zeroblob(100000000)) || '\"]]'")], id="huge"),
        pytest.param(["DROP TABLE result"], id="no-table"),
        pytest.param(["DROP TABLE result", "CREATE TABLE result(a)"], id="another-table"),
        pytest.param(
            ["DROP TABLE result", f"CREATE VIEW result AS SELECT n sql, 1 AS columns FROM ({counting()})"],
            id="view",
        ),
    ],
)
def test_a_kept_result_that_is_damaged_is_made_again(
    target: Path, store: Path, statements: list[str]
) -> None:
    assert compare_with_store(target, store) == [SAME] * 3
    tamper(store, *statements)
    assert compare_with_store(target, store) == [SAME] * 3


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_file_of_results_is_as_good_as_none(target: Path, store: Path, content: bytes) -> None:
    compare_with_store(target, store)
    assert file_of_results(store).exists()
    for path in store.iterdir():
        path.write_bytes(content)
    assert compare_with_store(target, store) == [SAME] * 3


def test_a_folder_that_cannot_be_written_is_done_without(target: Path, store: Path) -> None:
    store.touch()
    assert compare_with_store(target, store) == [SAME] * 3
    store.unlink()
    compare_with_store(target, store)
    kept = file_of_results(store)
    for path in store.iterdir():
        path.unlink()
    kept.mkdir()
    assert compare_with_store(target, store) == [SAME] * 3
    store.chmod(0o500)
    assert compare_with_store(target, store) == [SAME] * 3
    store.chmod(0o700)


def test_a_query_that_is_no_text_is_not_looked_up(target: Path, store: Path) -> None:
    surrogate = "SELECT '\ud800'"
    jobs = [CompareJob((target,), sql, sql, Rule.BIRD) for sql in (NEIGHBOR, surrogate)]
    neighbor, found = compare_queries(jobs, limits=LIMITS, workers=1, gold_store=store)
    assert neighbor == SAME
    assert found.match is Match.GOLD_FAILED
    assert "worker" not in found.reason


def test_a_slow_query_does_not_keep_others_from_the_store(target: Path, store: Path) -> None:
    limits = Limits(timeout_s=3.0, keep_from_s=0)
    candidates = [counting(), *(f"SELECT {n} + 0" for n in range(1, 128))]  # two in a batch
    jobs = [CompareJob((target,), f"SELECT {n}", sql, Rule.BIRD) for n, sql in enumerate(candidates)]
    times: list[float] = []
    found = list(
        compare_queries(
            jobs,
            limits=limits,
            workers=2,
            gold_store=store,
            on_done=lambda: times.append(time.monotonic()),
        )
    )
    assert [comparison.match for comparison in found] == [Match.CANDIDATE_TIMEOUT] + [Match.SAME] * 127
    assert times[100] < times[-1] - limits.timeout_s / 2


def test_processes_that_write_at_once_get_in_nobodys_way(target: Path, store: Path) -> None:
    jobs = [CompareJob((target,), f"SELECT {n}", f"SELECT {n} + 0", Rule.BIRD) for n in range(300)]
    found: list[list[Comparison]] = []

    def work() -> None:
        found.append(list(compare_queries(jobs, limits=Limits(keep_from_s=0), workers=1, gold_store=store)))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (store / "verdicts.sqlite").unlink()
    work()
    assert found == [[SAME] * 300] * 4
    with closing(sqlite3.connect(file_of_results(store))) as connection:
        assert connection.execute("SELECT count(*) FROM result").fetchone() == (300,)


WRITER = """
import sys
from pathlib import Path
from sense.execution.gold_store import GoldStore
from sense.execution.outcome import Rows
store = GoldStore(Path(sys.argv[1]))
print(flush=True)
for n in range(10**9):
    store.put("abc", f"SELECT {sys.argv[2]}{n}", Rows(2, (("x" * 5000, n),) * 20))
    if n % 7 == 0:
        store.save()
"""


def test_a_writer_killed_at_any_moment_leaves_whole_results(store: Path) -> None:
    for number in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store), f"{number}"], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.02 + 0.013 * number)
            writer.kill()
    after = GoldStore(store)
    with closing(sqlite3.connect(file_of_results(store))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = [sql for (sql,) in connection.execute("SELECT sql FROM result")]
    assert kept
    assert all(after.get("abc", sql) == Rows(2, (("x" * 5000, int(sql[8:])),) * 20) for sql in kept)
    after.put("abc", "SELECT 1", RIGHT)
    after.save()
    assert GoldStore(store).get("abc", "SELECT 1") == RIGHT


@pytest.mark.parametrize(
    ("gold", "candidate"),
    [
        pytest.param("SELECT '[7]' -> 0", "SELECT '[7]' - > 0", id="split-operator"),
        pytest.param("SELECT '[7]' ->> 0", "SELECT '[7]' -> > 0", id="split-long-operator"),
        pytest.param("SELECT 1", "SELECT\v1", id="vertical-tab"),
        pytest.param("SELECT 1", "SELECT\x1f1", id="separator"),
        pytest.param("SELECT 1", "SELECT 1\x1c", id="separator-at-the-end"),
    ],
)
def test_only_what_sqlite_reads_alike_counts_as_the_gold_query(
    target: Path, gold: str, candidate: str
) -> None:
    job = CompareJob((target,), gold, candidate, Rule.BIRD)
    (found,) = compare_queries([job], limits=LIMITS, workers=1)
    assert found.match is Match.CANDIDATE_ERROR
