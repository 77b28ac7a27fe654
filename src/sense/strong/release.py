"""The `data build` stage: from a data release, small texts, a folder in Spider's layout, byte for byte.

A release is a folder with `databases.jsonl` (each database as it was written: CREATE TABLE statements and
rows) and one question file or more (`train.json`). Databases are built as `sense filter` built them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from sense.databases.schema import TABLES_FILE, entry_of_schema, schema_of_file
from sense.databases.spider import load_questions
from sense.errors import DataError
from sense.progress import meter
from sense.rundir import RunDir, write_json
from sense.stage import InputPath, Outcome, StageConfig
from sense.strong.populate import Unbuildable, build
from sense.strong.sft_file import SFT_FILE, write_sft_file
from sense.strong.written import read_databases


class Config(StageConfig):
    """Settings of `data build`."""

    source: InputPath = Field(description="the release: a folder with databases.jsonl and train.json")
    sft_file: bool = Field(False, description=f"write {SFT_FILE} of train.json too, for other trainers")


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Build the databases, write tables.json, and copy the question files.

    Raises:
        ConfigError: the folder is no release.
        DataError: a database cannot be built, or a question has none.
    """
    databases = read_databases(config.source)
    known = {database.db_id for database in databases}
    splits = sorted(path.stem for path in config.source.glob("*.json") if path.name != TABLES_FILE)
    if not splits:
        raise DataError(f"{config.source}: there is no question file like train.json in it")
    questions: dict[str, int] = {}
    for split in splits:
        found = load_questions(config.source, split)
        unknown = next((question for question in found if question.db_id not in known), None)
        if unknown is not None:
            raise DataError(
                f"{config.source / split}.json: question {unknown.id!r} is about {unknown.db_id!r}, which is "
                f"not in databases.jsonl"
            )
        questions[split] = len(found)
    run_dir.start()
    entries: list[dict[str, Any]] = []
    rows = 0
    with meter("data build", total=len(databases)) as shown:
        for database in databases:
            path = run_dir / "database" / database.db_id / f"{database.db_id}.sqlite"
            result = build(database, path)
            if isinstance(result, Unbuildable):
                raise DataError(f"{config.source}: database {database.db_id!r}: {result.reason}")
            rows += sum(result.rows.values())
            entries.append(entry_of_schema(schema_of_file(path, database.db_id)))
            shown.advance()
    write_json(run_dir / TABLES_FILE, entries)
    for split in splits:
        _copy(config.source / f"{split}.json", run_dir / f"{split}.json")
    summary: dict[str, Any] = {"databases": len(databases), "rows": rows, "questions": questions}
    if config.sft_file:
        summary["sft_examples"] = write_sft_file(run_dir / SFT_FILE, run_dir.path)
    return Outcome(summary=summary)


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(target.name + ".part")
    shutil.copyfile(source, part)
    part.replace(target)
