"""Keep of the strong model's data what holds when it is run: build each database, run every query.

The result is a folder in Spider's layout with a train and a test split: of most databases some questions are
held out (your own database), some databases are held out whole (a new domain).
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from sense import jsonl
from sense.databases import spider
from sense.databases.features import sql_features
from sense.databases.hardness import hardness
from sense.databases.schema import TABLES_FILE, Schema, entry_of_schema, schema_of_file
from sense.errors import DataError
from sense.execution.outcome import Ending
from sense.execution.pool import QueryJob, run_queries
from sense.execution.run import Limits
from sense.progress import meter, say
from sense.rundir import RunDir, write_json
from sense.stage import InputPath, InputPaths, Outcome, StageConfig
from sense.strong.checks import CHECKS, MEASURES, Bounds, Case, Check, Item, Kept
from sense.strong.decontaminate import HeldOut
from sense.strong.populate import Unbuildable, build
from sense.strong.written import SynthDatabase, read_databases

MAX_RESULT_BYTES = 4 * 2**20  # results wait here for their turn, dozens of them
EXAMPLES = 3  # of what each check found, in the summary


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
    max_per_skeleton: Annotated[int, Field(ge=1)] = Field(
        2, description="kept queries of a database that differ in values alone"
    )
    against: InputPaths = Field(
        (), description="question files of benchmarks: what resembles one of their questions is dropped"
    )
    strict_hardness: bool = Field(False, description="drop what is not of the hardness that was asked for")
    literals: Literal["report", "drop"] = Field(
        "report", description="what to do with SQL that compares with values its question does not say"
    )
    grammar: Literal["any", "spider"] = Field(
        "any", description="spider: drop what Spider's own parser does not read"
    )
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        10.0, description="seconds that a query may run"
    )
    workers: Annotated[int, Field(ge=0)] = Field(0, description="processes that run queries; 0: one a core")
    seed: int = Field(0, description="seed of the splits")


@dataclass(slots=True)
class Findings:
    """What a check found: how often, and the first of it."""

    count: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, item: Item, why: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append({"id": item.id, "reason": why, "question": item.question, "sql": item.sql})


class Splits(NamedTuple):
    """The kept items by split, and the names of the databases that are held out whole."""

    train: list[Item]
    test: list[Item]
    new_databases: frozenset[str]


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Build, run, check, split; writes `data/` in Spider's layout and `dropped.jsonl`."""
    databases = read_databases(config.source)
    items = jsonl.read(config.source / "items.jsonl", Item)
    if not items:
        raise DataError(f"{config.source}: no questions; the replies to 'sense synthesize' are still awaited")
    held_out = HeldOut(config.against)
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
    schemas = {name: schema_of_file(spider.database_file(data, name), name) for name in built}
    kept, fallen, findings = _check_all(usable, data, config, schemas=schemas, held_out=held_out)
    dropped += fallen
    jsonl.write(run_dir / "dropped.jsonl", dropped)
    jsonl.write(run_dir / "rejected-rows.jsonl", rejected)
    splits = split(kept, test_share=config.test_share, new_databases=config.new_databases, seed=config.seed)
    for name, members in (("train", splits.train), ("test", splits.test)):
        spider.write_questions(data / f"{name}.json", [_question_of(item) for item in members])
    write_json(data / TABLES_FILE, [entry_of_schema(schema) for schema in schemas.values()])
    summary = _summary(items, kept, dropped, splits, built, len(rejected)) | _details(findings, kept)
    if config.against:
        names = [name for each in databases for name in (each.db_id, each.domain)]
        summary["against"] = {
            "questions": {
                f"{path.parent.name}/{path.name}": len(questions)
                for path, questions in held_out.questions.items()
            },
            "same_names": held_out.same_names(names),
        }
    return Outcome(summary=summary)


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


def _check_all(
    items: Sequence[Item], data: Path, config: Config, *, schemas: Mapping[str, Schema], held_out: HeldOut
) -> tuple[list[Item], list[dict[str, Any]], dict[str, Findings]]:
    """Run every query and check; returns what is kept, what is dropped and why, and the counts."""
    strict = _strict(config)
    memory = Kept(items)
    bounds = Bounds(max_rows=config.max_rows, max_per_skeleton=config.max_per_skeleton)
    kept: list[Item] = []
    dropped: list[dict[str, Any]] = []
    found = {name: Findings() for name, _ in (*CHECKS, *MEASURES)}
    for item, ending in _run_all(items, data, config):
        schema = schemas[item.db_id]
        case = Case(item=item, ending=ending, schema=schema, kept=memory, held_out=held_out, bounds=bounds)
        verdict = next(((name, why) for name, check in strict if (why := check(case)) is not None), None)
        if verdict is not None:
            name, why = verdict
            found[name].add(item, why)
            dropped.append(
                {"id": item.id, "db_id": item.db_id, "check": name, "reason": why}
                | {"question": item.question, "sql": item.sql}
            )
            continue
        for name, measure in MEASURES:
            if (why := measure(case)) is not None:
                found[name].add(item, why)
        memory.add(case)
        kept.append(item.model_copy(update={"empty": not case.row_count}))  # as measured, not as claimed
    return kept, dropped, found


def _strict(config: Config) -> list[tuple[str, Check]]:
    """List what drops an item: the checks, and the measures that the settings make strict."""
    names = {
        "hardness_as_asked": config.strict_hardness,
        "values_said": config.literals == "drop",
        "in_spider_grammar": config.grammar == "spider",
    }
    return [*CHECKS, *((name, measure) for name, measure in MEASURES if names.get(name))]


def _question_of(item: Item) -> dict[str, Any]:
    marked: dict[str, Any] = {"empty": True} if item.empty else {}
    if item.evidence:
        marked["evidence"] = item.evidence
    if item.style is not None:
        marked["style"] = item.style
    if item.features is not None:
        marked["features"] = sorted(sql_features(item.sql))  # as measured
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


def _details(found: dict[str, Findings], kept: Sequence[Item]) -> dict[str, Any]:
    """Say what the checks dropped and the measures counted, with examples."""
    asked = Counter(name for item in kept for name in item.features or ())
    used = Counter(name for item in kept for name in item.features or () if name in sql_features(item.sql))
    features = {name: {"asked": asked[name], "used": used[name]} for name in sorted(asked)}
    return {
        "reported": {name: found[name].count for name, _ in MEASURES},
        **({"features": features} if features else {}),
        "examples": {name: findings.examples for name, findings in found.items() if findings.count},
    }
