"""Keep of the strong model's data what holds when it is run: build each database, run every query.

The result is a folder in Spider's layout with a train and a test split: of most databases some questions are
held out (your own database), some databases are held out whole (a new domain).
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from sense import jsonl
from sense.databases import spider
from sense.databases.hardness import hardness
from sense.databases.normal_form import normal_form
from sense.databases.schema import TABLES_FILE, entry_of_schema, schema_of_file
from sense.errors import DataError
from sense.execution.outcome import Ending, Rows, describe
from sense.execution.pool import QueryJob, run_queries
from sense.execution.run import Limits
from sense.progress import meter, say
from sense.rundir import RunDir, write_json
from sense.stage import InputPath, Outcome, StageConfig
from sense.strong.populate import Unbuildable, build
from sense.strong.written import SynthDatabase, read_databases

MAX_RESULT_BYTES = 4 * 2**20  # results wait here for their turn, dozens of them
MAX_EMPTY_SHARE = 0.05  # "nothing" is an answer, but one that many wrong queries give too


class Config(StageConfig):
    """Settings of `sense filter`."""

    source: InputPath = Field(description="run folder of 'sense synthesize'")
    test_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.25, description="share of a database's questions held out"
    )
    new_databases: Annotated[int, Field(ge=0)] = Field(
        2, description="databases held out whole, drawn by seed"
    )
    max_rows: Annotated[int, Field(ge=1)] = Field(
        200, description="a query with more rows answers no question"
    )
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        10.0, description="seconds that a query may run"
    )
    workers: Annotated[int, Field(ge=0)] = Field(0, description="processes that run queries; 0: one a core")
    seed: int = Field(0, description="seed of the splits")


class Item(BaseModel):
    """A question with its SQL, as `sense synthesize` wrote it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    db_id: str
    level: str
    question: str
    sql: str
    empty: bool = False


@dataclass(slots=True)
class Kept:
    """What has been kept so far, for the checks that look at more than one item."""

    questions: set[tuple[str, str]]
    queries: set[tuple[str, str]]
    empty: Counter[str]
    asked: Counter[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An item under the checks: how its query ended, and what was kept before it."""

    item: Item
    ending: Ending
    kept: Kept
    max_rows: int


class Splits(NamedTuple):
    """The kept items by split, and the names of the databases that are held out whole."""

    train: list[Item]
    test: list[Item]
    new_databases: frozenset[str]


def _is_text(case: Case) -> str | None:
    if not any(character.isalnum() for character in case.item.question):
        return "the question is empty"
    # JSON can spell halves of characters, which no file can hold.
    whole = (case.item.question + case.item.sql).encode(errors="replace").decode()
    return None if whole == case.item.question + case.item.sql else "not Unicode"


def _runs(case: Case) -> str | None:
    return None if isinstance(case.ending, Rows) else describe(case.ending)


def _returns_rows(case: Case) -> str | None:
    if _row_count(case):
        return None
    if not case.item.empty:
        return "no rows"
    allowed = MAX_EMPTY_SHARE * case.kept.asked[case.item.db_id]
    return "more empty results than allowed" if case.kept.empty[case.item.db_id] + 1 > allowed else None


def _says_something(case: Case) -> str | None:
    assert isinstance(case.ending, Rows)
    if any(value is not None for row in case.ending.rows for value in row):
        return None
    return "nothing but NULL" if case.ending.rows else None


def _bounded(case: Case) -> str | None:
    count = _row_count(case)
    return f"{count} rows" if count > case.max_rows else None


def _has_hardness(case: Case) -> str | None:
    return "not parsed" if hardness(case.item.sql) is None else None


def _new_question(case: Case) -> str | None:
    return "asked before" if _question_key(case.item) in case.kept.questions else None


def _new_query(case: Case) -> str | None:
    return "same query as one before" if _query_key(case.item) in case.kept.queries else None


# Each check says why an item is dropped, None if it stays. The first that says something is counted.
CHECKS: tuple[tuple[str, Callable[[Case], str | None]], ...] = (
    ("is_text", _is_text),
    ("runs", _runs),
    ("returns_rows", _returns_rows),
    ("says_something", _says_something),
    ("bounded", _bounded),
    ("has_hardness", _has_hardness),
    ("new_question", _new_question),
    ("new_query", _new_query),
)


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Build, run, check, split; writes `data/` in Spider's layout and `dropped.jsonl`."""
    databases = read_databases(config.source)
    items = jsonl.read(config.source / "items.jsonl", Item)
    if not items:
        raise DataError(f"{config.source}: no questions; the replies to 'sense synthesize' are still awaited")
    run_dir.start()
    data = run_dir / "data"
    built, unbuildable, rejected = _build_all(databases, data)
    dropped = [
        {"id": name, "db_id": name, "check": "builds", "reason": why} for name, why in unbuildable.items()
    ]
    usable = [item for item in items if item.db_id in built]
    dropped += [
        {"id": item.id, "db_id": item.db_id, "check": "builds", "reason": "its database could not be built"}
        for item in items
        if item.db_id not in built
    ]
    kept: list[Item] = []
    memory = Kept(
        questions=set(), queries=set(), empty=Counter(), asked=Counter(item.db_id for item in usable)
    )
    for item, ending in _run_all(usable, data, config):
        case = Case(item=item, ending=ending, kept=memory, max_rows=config.max_rows)
        verdict = next(((name, why) for name, check in CHECKS if (why := check(case)) is not None), None)
        if verdict is not None:
            dropped.append(
                {"id": item.id, "db_id": item.db_id, "check": verdict[0], "reason": verdict[1]}
                | {"question": item.question, "sql": item.sql}
            )
            continue
        memory.questions.add(_question_key(item))
        memory.queries.add(_query_key(item))
        is_empty = isinstance(ending, Rows) and not ending.rows
        memory.empty[item.db_id] += is_empty
        kept.append(item.model_copy(update={"empty": is_empty}))  # as measured, not as claimed
    jsonl.write(run_dir / "dropped.jsonl", dropped)
    jsonl.write(run_dir / "rejected-rows.jsonl", rejected)
    splits = split(kept, test_share=config.test_share, new_databases=config.new_databases, seed=config.seed)
    for name, members in (("train", splits.train), ("test", splits.test)):
        spider.write_questions(data / f"{name}.json", [_question_of(item) for item in members])
    schemas = [schema_of_file(spider.database_file(data, name), name) for name in built]
    write_json(data / TABLES_FILE, [entry_of_schema(schema) for schema in schemas])
    return Outcome(summary=_summary(items, kept, dropped, splits, built, len(rejected)))


def split(items: Sequence[Item], *, test_share: float, new_databases: int, seed: int) -> Splits:
    """Hold out whole databases, and of each other one the same share of every measured hardness.

    Raises:
        DataError: no other database would be left.
    """
    names = sorted({item.db_id for item in items})
    if new_databases >= len(names):
        raise DataError(
            f"{new_databases} databases are to be held out whole, "
            f"but only {len(names)} have questions that were kept"
        )
    rng = random.Random(seed)
    new = set(rng.sample(names, new_databases))
    groups: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        groups[item.db_id, str(hardness(item.sql))].append(item)
    held: set[str] = {item.id for item in items if item.db_id in new}
    owed: dict[str, float] = defaultdict(float)  # what rounding has left over, database by database
    for (db_id, _), members in sorted(groups.items()):
        if db_id not in new:
            wanted = owed[db_id] + test_share * len(members)
            taken = min(len(members), int(wanted + 0.5))
            owed[db_id] = wanted - taken
            held |= {item.id for item in rng.sample(members, taken)}
    return Splits(
        train=[item for item in items if item.id not in held],
        test=[item for item in items if item.id in held],
        new_databases=frozenset(new),
    )


def _build_all(
    databases: Sequence[SynthDatabase], data: Path
) -> tuple[dict[str, dict[str, int]], dict[str, str], list[dict[str, str]]]:
    """Build every database; returns rows by table of the built ones, reasons of the others, rows left out."""
    built: dict[str, dict[str, int]] = {}
    unbuildable: dict[str, str] = {}
    rejected: list[dict[str, str]] = []
    reused = 0
    for database in databases:
        path = data / "database" / database.db_id / f"{database.db_id}.sqlite"
        reused += path.exists()
        path.unlink(missing_ok=True)
        result = build(database, path)
        if isinstance(result, Unbuildable):
            unbuildable[database.db_id] = result.reason
            continue
        built[database.db_id] = result.rows
        rejected += [{"db_id": database.db_id, "reason": reason} for reason in result.rejected_rows]
    if reused:
        say(f"filter: {reused} databases of an interrupted run made anew")
    return built, unbuildable, rejected


def _run_all(items: Sequence[Item], data: Path, config: Config) -> Iterator[tuple[Item, Ending]]:
    """Yield items with how their queries ended, one by one: all results together may not fit in memory."""
    jobs = [QueryJob(spider.database_file(data, item.db_id), item.sql) for item in items]
    limits = Limits(timeout_s=config.timeout_s, max_rows=10 * config.max_rows, max_bytes=MAX_RESULT_BYTES)
    with meter("filter", total=len(jobs)) as shown:
        endings = run_queries(jobs, limits=limits, workers=config.workers, on_done=shown.advance)
        yield from zip(items, endings, strict=True)


def _row_count(case: Case) -> int:
    assert isinstance(case.ending, Rows)
    return len(case.ending.rows)


def _question_key(item: Item) -> tuple[str, str]:
    return item.db_id, "".join(character for character in item.question.lower() if character.isalnum())


def _query_key(item: Item) -> tuple[str, str]:
    return item.db_id, normal_form(item.sql)


def _question_of(item: Item) -> dict[str, Any]:
    marked = {"empty": True} if item.empty else {}
    return {
        "question_id": item.id,
        "db_id": item.db_id,
        "question": item.question,
        "query": item.sql,
        "level_asked": item.level,
        "hardness": str(hardness(item.sql)),
        **marked,
    }


def _summary(
    items: Sequence[Item],
    kept: Sequence[Item],
    dropped: Sequence[dict[str, Any]],
    splits: Splits,
    built: dict[str, dict[str, int]],
    rejected_rows: int,
) -> dict[str, Any]:
    by_database = Counter(item.db_id for item in kept)
    new = splits.new_databases
    return {
        "items": len(items),
        "kept": len(kept),
        "dropped": dict(Counter(str(item["check"]) for item in dropped)),
        "databases": len(built),
        "rejected_rows": rejected_rows,
        "train": len(splits.train),
        "test_seen": sum(item.db_id not in new for item in splits.test),
        "test_new": sum(item.db_id in new for item in splits.test),
        "hardness": dict(Counter(str(hardness(item.sql)) for item in kept)),
        "as_asked": sum(str(hardness(item.sql)) == item.level for item in kept),
        "by_database": {
            name: {"questions": by_database[name], "new": name in new, "rows": rows}
            for name, rows in built.items()
        },
    }
