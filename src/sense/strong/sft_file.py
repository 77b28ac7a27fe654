"""Write questions as a file to fine-tune on, in TRL's columns, for other trainers; `sense sft` needs none."""

from __future__ import annotations

from pathlib import Path

from sense import jsonl
from sense.databases.spider import load_questions
from sense.prompts.text_to_sql import Prompter, completion
from sense.records import SftExample

SFT_FILE = "sft.jsonl"


def write_sft_file(path: Path, data: Path, *, split: str = "train") -> int:
    """Write the questions of a split as `sense sft` puts them to a model; return how many there are."""
    prompter = Prompter(data)
    return jsonl.write(
        path,
        (
            SftExample(
                id=question.id,
                db_id=question.db_id,
                prompt=prompter.prompt(question),
                completion=completion(question.gold_sql),
            )
            for question in load_questions(data, split)
        ),
    )
