"""Write questions as a file to fine-tune on, in TRL's columns, for other trainers; `sense sft` needs none."""

from __future__ import annotations

from pathlib import Path

from sense import jsonl
from sense.prompts.examples import examples_of

SFT_FILE = "sft.jsonl"


def write_sft_file(path: Path, data: Path, *, split: str = "train") -> int:
    """Write the questions of a split as `sense sft` puts them to a model; return how many there are."""
    return jsonl.write(path, examples_of(data, split))
