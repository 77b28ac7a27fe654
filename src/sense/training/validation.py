"""Measure a model while it is trained, on questions that it is not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sense.databases import spider
from sense.execution.outcome import Match
from sense.execution.pool import CompareJob, compare_queries, default_gold_store
from sense.execution.rules import Rule
from sense.execution.run import Limits
from sense.llms.local import Continuation, Loaded, answer
from sense.prompts.extract import extract_sql
from sense.prompts.text_to_sql import Prompter, completion, split_prompt
from sense.records import Question
from sense.training.best import Evaluation
from sense.training.objectives import sft_loss
from sense.training.pack import plan_steps
from sense.training.settings import TrainingConfig
from sense.training.tokens import tokenize

MAX_NEW_TOKENS = 128
LIMITS = Limits(timeout_s=10)


class Validation:
    """The questions, ready to be asked again and again."""

    def __init__(self, config: TrainingConfig, loaded: Loaded) -> None:
        """Read the questions of `config.valid_data`.

        Raises:
            DataError: they cannot be read.
        """
        assert config.valid_data is not None
        self._config, self._loaded, self._data = config, loaded, config.valid_data
        questions = spider.load_questions(self._data, config.valid_split)
        count = min(config.valid_questions, len(questions))
        self._questions = [questions[i * len(questions) // count] for i in range(count)]
        self._prompter = Prompter(self._data, prompt_format=config.prompt_format)
        rows = [
            (str(q.id), self._prompter.prompt(q), [completion(q.gold_sql)])
            for q in self._questions
            if q.gold_sql
        ]
        fitting = [
            example
            for example in tokenize(rows, loaded.tokenizer)
            if len(example.schema) + len(example.branches[0]) <= config.max_tokens
        ]
        self._steps = plan_steps(
            fitting,
            epochs=1,
            branches_per_pack=config.branches_per_pack,
            packs_per_step=1,
            count_pairs=False,
            seed=0,
            pack_tokens=config.pack_tokens,
        )

    def measure(self, model: torch.nn.Module) -> dict[str, float]:
        """Mean loss of a gold token, and the share of questions answered right (greedily; our own rule)."""
        device = next(model.parameters()).device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self._config.bf16):
            figures = {"eval_loss": round(self._loss(model), 6)}
            if self._config.eval_ex:
                figures |= {"eval_ex": round(self._execution_accuracy(model), 4)}
        return figures | {"eval_n": len(self._questions)}

    @torch.no_grad()
    def _loss(self, model: torch.nn.Module) -> float:
        packs = [pack for step in self._steps for pack in step]
        if not packs:
            return float("nan")
        return sum(sft_loss(model, pack)[0].item() for pack in packs) / sum(
            pack.denominator for pack in packs
        )

    def _execution_accuracy(self, model: Any) -> float:
        loaded = Loaded(model=model, tokenizer=self._loaded.tokenizer, folder=self._loaded.folder)
        by_database: dict[str, list[Question]] = {}
        for question in self._questions:
            by_database.setdefault(question.db_id, []).append(question)
        jobs: list[CompareJob] = []
        for db_id, questions in by_database.items():
            asked = [Continuation(text=split_prompt(self._prompter.prompt(q)).question) for q in questions]
            written = answer(
                loaded,
                self._prompter.schema_text(db_id),
                asked,
                max_new_tokens=MAX_NEW_TOKENS,
                batch=len(asked),
            )
            answers = [one for batch in written for one in batch]
            files: tuple[Path, ...] = spider.database_files(self._data, db_id)
            jobs += [
                CompareJob(files, question.gold_sql, extract_sql(one.text), Rule.OWN)
                for question, one in zip(questions, answers, strict=True)
            ]
        found = compare_queries(jobs, limits=LIMITS, gold_store=default_gold_store())
        return sum(each.match is Match.SAME for each in found) / len(jobs)


def make_evaluation(config: TrainingConfig, loaded: Loaded) -> Evaluation | None:
    """Prepare the evaluation that the settings ask for, None if they ask for none."""
    if config.valid_data is None:
        return None
    keep = None if config.keep_best == "no" else f"eval_{config.keep_best}"
    return Evaluation(
        measure=Validation(config, loaded).measure,
        every=config.eval_steps,
        keep=keep,
        higher_is_better=config.keep_best == "ex",
    )
