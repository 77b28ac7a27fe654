"""The `data split` stage: hold out the questions of whole databases, to choose settings and weights by.

A model is chosen on questions about databases that it was not trained on, and never on those that its scores
are reported on.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from sense.databases import spider
from sense.databases.schema import TABLES_FILE
from sense.errors import ConfigError
from sense.records import Question
from sense.rundir import RunDir
from sense.stage import InputPath, Outcome, StageConfig, is_made


class Config(StageConfig):
    """Settings of `data split`."""

    data: InputPath = Field(description="folder in Spider's layout")
    split: str = Field("train", description="question file to split, without .json")
    databases: Annotated[int, Field(ge=1)] = Field(
        20, description="hold out the questions of so many databases, drawn by seed"
    )
    seed: int = Field(0, description="seed of the draw")

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the questions."""
        if not is_made(self.data, made):
            spider.check_split(self.data, self.split)


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Write `train.json` and `valid.json`; databases are linked, not copied. Questions keep their ids.

    Raises:
        ConfigError: no database would be left to train on.
    """
    config.check()
    questions = spider.load_questions(config.data, config.split)
    names = sorted({question.db_id for question in questions})
    if config.databases >= len(names):
        raise ConfigError(
            f"databases: {config.databases} of {len(names)} cannot be held out: at most {len(names) - 1}"
        )
    held_out = set(random.Random(config.seed).sample(names, config.databases))
    run_dir.start()
    for name in names:
        source = spider.database_file(config.data, name).parent.resolve()
        link = run_dir / "database" / name
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(source)
    if (config.data / TABLES_FILE).exists():
        shutil.copyfile(config.data / TABLES_FILE, run_dir / TABLES_FILE)
    parts = {
        "train": [_entry(q) for q in questions if q.db_id not in held_out],
        "valid": [_entry(q) for q in questions if q.db_id in held_out],
    }
    for split, entries in parts.items():
        spider.write_questions(run_dir / f"{split}.json", entries)
    return Outcome(
        summary={split: len(entries) for split, entries in parts.items()} | {"held_out": sorted(held_out)}
    )


def _entry(question: Question) -> dict[str, Any]:
    hint = {"evidence": question.evidence} if question.evidence else {}
    return {
        "id": question.id,
        "db_id": question.db_id,
        "question": question.question,
        **hint,
        "query": question.gold_sql,
    }
