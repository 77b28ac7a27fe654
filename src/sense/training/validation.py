"""Measure a model while it is trained, on questions that it is not trained on."""

from __future__ import annotations

from typing import Any

import torch

from sense.databases import spider
from sense.errors import DataError
from sense.execution.outcome import Match
from sense.execution.pool import CompareJob, compare_queries, default_gold_store
from sense.execution.rules import Rule
from sense.execution.run import Limits
from sense.llms.local import Job, Loaded, sample
from sense.progress import say
from sense.prompts.extract import extract_sql
from sense.prompts.text_to_sql import Prompter, completion, split_prompt, stops
from sense.training.best import Evaluation
from sense.training.objectives import sft_loss
from sense.training.pack import plan_steps
from sense.training.settings import TrainingConfig
from sense.training.tokens import tokenize

MAX_NEW_TOKENS = 128
BATCH = 96
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
        without = next((q.id for q in self._questions if not completion(q.gold_sql).strip()), None)
        if without is not None:
            raise DataError(
                f"{self._data}: split {config.valid_split!r}: question {without!r} has no SQL to compare with"
            )
        rows = [(str(q.id), self._prompter.prompt(q), [completion(q.gold_sql)]) for q in self._questions]
        examples = tokenize(rows, loaded.tokenizer)
        fitting = [e for e in examples if len(e.schema) + len(e.branches[0]) <= config.max_tokens]
        if not fitting:
            raise DataError(f"valid_data: no question of at most {config.max_tokens} tokens in {self._data}")
        if len(fitting) < len(examples):
            say(f"valid_data: {len(examples) - len(fitting)} questions are too long to take part in the loss")
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
        return sum(sft_loss(model, pack)[0].item() for pack in packs) / sum(
            pack.denominator for pack in packs
        )

    def _execution_accuracy(self, model: Any) -> float:
        loaded = Loaded(model=model, tokenizer=self._loaded.tokenizer, folder=self._loaded.folder)
        asked = sorted(self._questions, key=lambda question: question.db_id)  # a schema's stand side by side
        jobs = (
            Job(
                schema=self._prompter.schema_text(q.db_id),
                text=split_prompt(self._prompter.prompt(q)).question,
            )
            for q in asked
        )
        written = sample(
            loaded, jobs, max_new_tokens=MAX_NEW_TOKENS, batch=BATCH, stops=stops(self._config.prompt_format)
        )
        comparisons = [
            CompareJob(
                spider.database_files(self._data, asked[index].db_id),
                asked[index].gold_sql,
                extract_sql(one.text),
                Rule.OWN,
            )
            for index, one in written
        ]
        found = compare_queries(comparisons, limits=LIMITS, gold_store=default_gold_store())
        return sum(each.match is Match.SAME for each in found) / len(comparisons)


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
