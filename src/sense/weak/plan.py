"""Who makes which sample: the prompts of each model, and the candidates that its answers become."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sense.llms import store
from sense.llms.sampler import Prompt
from sense.prompts.text_to_sql import DEFAULT_FORMAT, Prompter, split_prompt
from sense.records import Question
from sense.weak.engines import WeakModel
from sense.weak.shares import share


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one model has to do. `places` has, for each prompt, its question and each seed's sample number."""

    name: str
    weak: WeakModel
    prompts: list[Prompt] = field(default_factory=list)
    places: list[tuple[Question, tuple[int, ...]]] = field(default_factory=list)

    def without(self, found: Container[str]) -> Plan:
        """Leave out the candidates that are there already."""
        rest = Plan(name=self.name, weak=self.weak)
        for prompt, (question, samples) in zip(self.prompts, self.places, strict=True):
            left = [n for n, k in enumerate(samples) if candidate_id(question, k) not in found]
            if left:
                rest.prompts.append(replace(prompt, seeds=tuple(prompt.seeds[n] for n in left)))
                rest.places.append((question, tuple(samples[n] for n in left)))
        return rest


def candidate_id(question: Question, sample: int) -> str:
    """Name a candidate."""
    return f"{question.id}#{sample}"


def make_plans(
    questions: Sequence[Question], models: Mapping[str, WeakModel], *, data: Path, samples: int, seed: int
) -> list[Plan]:
    """Share the samples among the models; the questions of a database stand side by side.

    A model that gets nothing, for it has too little weight, has no plan.
    """
    weights = {name: weak.weight for name, weak in models.items()}
    shares = share(weights, questions=len(questions), samples=samples, seed=seed)
    by_database: dict[str, list[tuple[Question, tuple[str, ...]]]] = {}
    for question, names in zip(questions, shares, strict=True):
        by_database.setdefault(question.db_id, []).append((question, names))
    ordered = [each for members in by_database.values() for each in members]
    plans: list[Plan] = []
    for name, weak in models.items():
        plan = Plan(name=name, weak=weak)
        prompter = Prompter(data, prompt_format=_prompt_format(weak))
        for question, names in ordered:
            own = tuple(k for k, model in enumerate(names) if model == name)
            if own:
                schema, text = split_prompt(prompter.prompt(question))
                seeds = tuple(f"{seed}/{question.id}/{k}" for k in own)
                where = f"database {question.db_id!r}, question {question.id}"
                plan.prompts.append(Prompt(schema=schema, text=text, seeds=seeds, name=where))
                plan.places.append((question, own))
        if plan.prompts:
            plans.append(plan)
    return plans


def _prompt_format(weak: WeakModel) -> str:
    return weak.prompt_format or store.prompt_format_of(weak.model) or DEFAULT_FORMAT
