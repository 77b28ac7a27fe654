"""The `suite build` stage: from a data folder and its gold queries, a data folder with test suites.

The run folder is itself laid out as Spider's: `sense score --data` on it gives test-suite accuracy.

    database/<db_id>/<db_id>.sqlite         the original
    database/<db_id>/<db_id>_v01.sqlite     variants of it
    <split>.json, tables.json               as they were; of the chosen databases' questions only
    suites.jsonl                            one line a database: `execution.suite.SuiteCounts`
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sense import jsonl
from sense.databases.schema import TABLES_FILE
from sense.databases.spider import (
    ID_KEYS,
    check_split,
    database_file,
    load_questions,
    split_file,
    write_questions,
)
from sense.errors import ConfigError, DataError, nearest
from sense.execution.rules import Rule
from sense.execution.run import Limits
from sense.execution.suite import Effort, SuiteCounts, build_suite
from sense.progress import meter, say
from sense.records import Question
from sense.rundir import RUN_FILE, RunDir, write_json
from sense.stage import InputPath, Outcome, StageConfig, is_made

SUITES_FILE, SUMMARY_FILE = "suites.jsonl", "summary.json"
BUILDING = ".building"  # nothing in it is read: a suite is moved out of it when it is whole
OWN_FILES = frozenset({RUN_FILE, SUITES_FILE, SUMMARY_FILE, TABLES_FILE})


class Config(StageConfig):
    """Settings of `suite build`."""

    data: InputPath = Field(
        description="folder with the questions and databases, laid out as Spider's or BIRD's"
    )
    split: str = Field("dev", description="whose gold queries are used: dev means dev.json")
    databases: tuple[str, ...] = Field(
        (), description="which databases; all that the split asks about if none"
    )
    rule: Literal["own", "spider", "bird"] = Field(
        "own",
        description="whose rule says that two results differ: bird, or spider; own is Spider's without its "
        "rewriting of the word 'value' in candidates",
    )
    variants: int = Field(12, ge=1, le=99, description="how many variants of a database are kept at most")
    tries: int = Field(48, ge=1, description="how many are made to choose from")
    neighbors: int = Field(60, ge=1, description="how many mistaken forms of a gold query are tried at most")
    timeout_s: float = Field(5, gt=0, le=86_400, description="how long one query may run, in seconds")
    workers: int = Field(0, ge=0, description="how many queries run at a time; 0: one for each processor")
    seed: int = Field(0, ge=0, description="seed of all that is drawn")

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the questions and their databases."""
        if not is_made(self.data, made):
            check_split(self.data, self.split)
            _questions(self)


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Build one database's suite after the other; a rerun goes on with those that are not there yet.

    Raises:
        ConfigError: the split has no question on a database that is named, or has the name of a file of ours.
        DataError: the questions cannot be read, or have no gold queries.
        DatabaseError: a database is missing or cannot be read.
    """
    questions = _questions(config)
    chosen = {question.db_id: database_file(config.data, question.db_id) for question in questions}
    run_dir.start(need_bytes=sum(path.stat().st_size for path in chosen.values()))
    _write_questions(config, run_dir, questions)
    done = {counts.db_id for counts in jsonl.resume(run_dir / SUITES_FILE, SuiteCounts)}
    if done:
        say(f"suite: {len(done)} databases are there already, {len(chosen) - len(done)} to go")
    effort = Effort(
        variants=config.variants,
        tries=config.tries,
        neighbors=config.neighbors,
        seed=config.seed,
        rule=Rule(config.rule),
        limits=Limits(timeout_s=config.timeout_s),
        workers=config.workers,
    )
    with (
        meter("suite", total=len(chosen), done=len(done)) as shown,
        jsonl.Appender(run_dir / SUITES_FILE) as file,
    ):
        for db_id, database in chosen.items():
            if db_id in done:
                continue
            mine = [question for question in questions if question.db_id == db_id]
            golds = [question.gold_sql for question in mine if question.gold_sql]
            file.add(asdict(_build(run_dir, db_id, database, golds=golds, effort=effort)))
            shown.advance(note=db_id)
    shutil.rmtree(run_dir / BUILDING, ignore_errors=True)
    suites = jsonl.read(run_dir / SUITES_FILE, SuiteCounts)
    summary = {"split": config.split, "rule": config.rule, "seed": config.seed} | summarize(suites)
    write_json(run_dir / SUMMARY_FILE, summary)
    return Outcome(summary=summary, shortfall=_shortfall(suites))


def summarize(suites: Sequence[SuiteCounts]) -> dict[str, Any]:
    """Add up the counts; a share is of the neighbors that run, None where there are none."""
    neighbors = sum(suite.neighbors for suite in suites)
    original = sum(suite.by_original for suite in suites)
    whole = sum(suite.by_suite for suite in suites)
    kinds = sorted({kind for suite in suites for kind in suite.by_kind})
    return {
        "databases": len(suites),
        "golds": sum(suite.golds for suite in suites),
        "golds_failed": sum(suite.golds_failed for suite in suites),
        "neighbors": neighbors,
        "told_apart_by_original": original / neighbors if neighbors else None,
        "told_apart_by_suite": whole / neighbors if neighbors else None,
        "variants": sum(suite.kept for suite in suites),
        "tried": sum(suite.tried for suite in suites),
        "bytes": sum(suite.bytes for suite in suites),
        "seconds": round(sum(suite.seconds for suite in suites), 1),
        "by_kind": {
            kind: {
                name: sum(getattr(suite.by_kind[kind], name) for suite in suites if kind in suite.by_kind)
                for name in ("neighbors", "by_original", "by_suite")
            }
            for kind in kinds
        },
    }


def _build(
    run_dir: RunDir, db_id: str, database: Path, *, golds: Sequence[str], effort: Effort
) -> SuiteCounts:
    """Build a suite aside and move it to its place; one without its line in suites.jsonl is made anew."""
    part, folder = run_dir / BUILDING / db_id, run_dir / "database" / db_id
    for left in (part, folder):
        shutil.rmtree(left, ignore_errors=True)
    part.mkdir(parents=True)
    counts = build_suite(database, part, db_id=db_id, golds=golds, effort=effort)
    folder.parent.mkdir(exist_ok=True)
    part.rename(folder)
    return counts


def _questions(config: Config) -> list[Question]:
    """Read the questions on the chosen databases."""
    if split_file(config.data, config.split).name in OWN_FILES:
        raise ConfigError(f"split {config.split!r}: a run folder has a file of that name of its own")
    questions = load_questions(config.data, config.split)
    there = {question.db_id for question in questions}
    for db_id in config.databases:
        if db_id not in there:
            raise ConfigError(
                f"database {db_id!r}: split {config.split!r} asks nothing about it; {nearest(db_id, there)}"
            )
    chosen = [
        question for question in questions if not config.databases or question.db_id in config.databases
    ]
    for db_id in dict.fromkeys(question.db_id for question in chosen):
        if not any(question.gold_sql for question in chosen if question.db_id == db_id):
            raise DataError(f"split {config.split!r}: no question about database {db_id!r} has a gold query")
    return chosen


def _write_questions(config: Config, run_dir: RunDir, questions: Sequence[Question]) -> None:
    tables = config.data / TABLES_FILE
    if tables.is_file():
        shutil.copyfile(tables, run_dir / TABLES_FILE)
    file = split_file(config.data, config.split)
    if not config.databases:
        shutil.copyfile(file, run_dir / file.name)
        return
    # An id that was a position has to be written down: positions are others now.
    kept = {str(question.id) for question in questions}
    items: list[dict[str, Any]] = (
        jsonl.read_objects(file) if file.suffix == ".jsonl" else json.loads(file.read_bytes())
    )
    named = [
        item | ({} if any(item.get(key) is not None for key in ID_KEYS) else {ID_KEYS[0]: position})
        for position, item in enumerate(items)
    ]
    written = [
        item for item in named if str(next(item[key] for key in ID_KEYS if item.get(key) is not None)) in kept
    ]
    write_questions(run_dir / f"{config.split}.json", written)


def _shortfall(suites: Sequence[SuiteCounts]) -> str | None:
    failed = sum(suite.golds_failed for suite in suites)
    without = [suite for suite in suites if suite.unbuildable]
    said = [f"{failed} gold queries do not run on their databases and were left out"] if failed else []
    if without:
        said.append(f"no variants of {without[0].db_id!r}: {without[0].unbuildable}")
        said += [f"nor of {len(without) - 1} other databases"] if len(without) > 1 else []
    return "; ".join(said) or None
