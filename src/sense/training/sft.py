"""Supervised fine-tuning: learn the gold SQL of questions, human and synthetic; a schema is paid for once."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sense import jsonl
from sense.databases import spider
from sense.errors import DataError
from sense.progress import is_follower
from sense.prompts.examples import examples_of
from sense.records import SftExample
from sense.rundir import RunDir
from sense.stage import InputPaths, Outcome, is_made
from sense.training.settings import TrainingConfig


class Config(TrainingConfig):
    """Settings of `sense sft`."""

    data: InputPaths = Field(description="one or more folders in Spider's layout; their questions are mixed")
    split: str = Field("train", description="question file of each folder, without .json")
    limit: Annotated[int, Field(ge=0)] = Field(
        0, description="learn from so many questions, drawn by seed; 0: all"
    )

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the model and at the questions."""
        super().check(made)
        for folder in self.data:
            if not is_made(folder, made):
                spider.check_split(folder, self.split)


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Fine-tune and save `model/`; what was learnt from stands in `examples.jsonl`, in TRL's columns."""
    config.check()
    examples = make_examples(config)
    from sense.training import session, trainer  # torch is loaded once the input is known to be good
    from sense.training.objectives import sft_loss
    from sense.training.validation import make_evaluation

    run_dir.check_disk()
    loaded = session.open_model(config)
    rows = [(str(example.id), example.prompt, [example.completion]) for example in examples]
    learnable = session.lay_out(rows, loaded, config, label="sft")
    evaluation = make_evaluation(config, loaded)
    run_dir.start(need_bytes=session.disk_needed(loaded, config))
    saved = session.is_saved(run_dir)
    if not is_follower():
        jsonl.write(run_dir / "examples.jsonl", examples)
    if not saved:
        gathered = trainer.train(
            loaded.model,
            learnable.steps,
            pack_loss=sft_loss,
            hyperparameters=session.hyperparameters_of(config),
            folder=run_dir.path,
            label="sft",
            evaluation=evaluation,
        )
        session.save(loaded, run_dir, config, stage="sft", gathered=gathered)
    trainer.remove_checkpoints(run_dir.path)
    return Outcome(summary={**learnable.counts, **trainer.totals(run_dir.path)})


def make_examples(config: Config) -> list[SftExample]:
    """Build the prompts and completions of all folders; ids carry the folder's number if there are several.

    Raises:
        DataError: a folder has no such split, or a question has no gold SQL.
    """
    examples: list[SftExample] = []
    for number, folder in enumerate(config.data):
        prefix = f"{number}:" if len(config.data) > 1 else ""
        examples += examples_of(folder, config.split, prompt_format=config.prompt_format, prefix=prefix)
    if not examples:
        raise DataError(f"{config.data[0]}: split {config.split!r} has no questions")
    if 0 < config.limit < len(examples):
        chosen = sorted(random.Random(config.seed).sample(range(len(examples)), config.limit))
        examples = [examples[i] for i in chosen]
    return examples
