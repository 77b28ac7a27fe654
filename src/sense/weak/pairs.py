"""The `pairs` stage: preference pairs of labeled candidates, a right one over a wrong one of one question."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from sense import jsonl
from sense.databases.normal_form import normal_form
from sense.databases.spider import check_databases, check_split, load_questions
from sense.errors import DataError
from sense.prompts.text_to_sql import DEFAULT_FORMAT, Prompter, completion, one_line
from sense.records import Label, PreferencePair, Question, Verdict
from sense.rundir import RunDir
from sense.stage import InputPath, Outcome, StageConfig, is_made

NOT_RIGHT = {Label.WRONG, Label.ERROR, Label.TIMEOUT, Label.REFUSED}

Strategy = Literal["any", "gold"]


class Config(StageConfig):
    """Settings of `pairs`."""

    data: InputPath = Field(
        description="folder with the questions and databases, laid out as Spider's or BIRD's"
    )
    split: str = Field("train", description="the question file that was sampled for: train means train.json")
    verdicts: InputPath = Field(description="verdicts.jsonl of 'sense label'")
    prompt_format: str = Field(
        DEFAULT_FORMAT, description="how prompts are written; that of the model to be tuned"
    )
    strategy: Strategy = Field(
        "any",
        description="what is preferred: any, a right candidate drawn at random; gold, the gold query",
    )
    per_question: int = Field(1, ge=1, description="at most so many pairs of one question")
    seed: int = Field(0, ge=0, description="seed of the draw")

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the questions and their databases."""
        if not is_made(self.data, made):
            check_split(self.data, self.split)


class Counts(NamedTuple):
    """How many questions gave pairs, and why the others gave none."""

    pairs: int
    questions: int
    with_pairs: int
    without_right: int
    without_wrong: int
    only_equal: int


class Pairs(NamedTuple):
    """The pairs made and what they were made from."""

    pairs: list[PreferencePair]
    counts: Counts


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Write pairs.jsonl.

    Raises:
        ConfigError: there is no such prompt format.
        DataError: the questions or verdicts cannot be read, or do not belong together.
        DatabaseError: a database is missing.
    """
    questions = load_questions(config.data, config.split)
    verdicts = jsonl.read(config.verdicts, Verdict)
    used = _used_questions(config.verdicts, questions, verdicts)
    check_databases(config.data, used)
    prompter = Prompter(config.data, prompt_format=config.prompt_format)
    made = make_pairs(
        used,
        verdicts,
        prompt=prompter.prompt,
        strategy=config.strategy,
        per_question=config.per_question,
        rng=random.Random(config.seed),
    )
    run_dir.start()
    jsonl.write(run_dir / "pairs.jsonl", made.pairs)
    shortfall = None if made.pairs else "there are no pairs: no question has both a right and a wrong query"
    return Outcome(summary=made.counts._asdict(), shortfall=shortfall)


def make_pairs(
    questions: Iterable[Question],
    verdicts: Iterable[Verdict],
    *,
    prompt: Callable[[Question], str],
    strategy: Strategy,
    per_question: int,
    rng: random.Random,
) -> Pairs:
    """Pair queries that differ by more than spelling, at random and never twice the same.

    A question without a right query is counted as such, whether or not it has a wrong one. An answer
    without any query teaches nothing and is left out.
    """
    of_question: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        of_question.setdefault(str(verdict.question_id), []).append(verdict)
    pairs: list[PreferencePair] = []
    missing = {"right": 0, "wrong": 0, "difference": 0}
    total = with_pairs = 0
    for question in questions:
        total += 1
        own = of_question.get(str(question.id), [])
        right = _distinct(_preferred(question, own, strategy))
        wrong = _distinct(v.sql for v in own if v.label in NOT_RIGHT and one_line(v.sql))
        choices = [(right[a], wrong[b]) for a in right for b in wrong if a != b]
        if not choices:
            missing["right" if not right else "wrong" if not wrong else "difference"] += 1
            continue
        with_pairs += 1
        text = prompt(question)
        drawn = rng.sample(choices, min(per_question, len(choices)))
        pairs += [_pair(question, n, prompt=text, queries=queries) for n, queries in enumerate(drawn)]
    counts = Counts(
        pairs=len(pairs),
        questions=total,
        with_pairs=with_pairs,
        without_right=missing["right"],
        without_wrong=missing["wrong"],
        only_equal=missing["difference"],
    )
    return Pairs(pairs, counts)


def _preferred(question: Question, verdicts: Sequence[Verdict], strategy: Strategy) -> Iterator[str]:
    if strategy == "any":
        yield from (verdict.sql for verdict in verdicts if verdict.label is Label.RIGHT)
    elif question.gold_sql:
        yield question.gold_sql


def _distinct(queries: Iterable[str]) -> dict[str, str]:
    """Keep the first query of each normal form."""
    found: dict[str, str] = {}
    for sql in queries:
        found.setdefault(normal_form(sql), sql)
    return found


def _pair(question: Question, n: int, *, prompt: str, queries: tuple[str, str]) -> PreferencePair:
    chosen, rejected = queries
    return PreferencePair(
        id=f"{question.id}-{n}",
        db_id=question.db_id,
        prompt=prompt,
        chosen=completion(chosen),
        rejected=completion(rejected),
    )


def _used_questions(path: Path, questions: Sequence[Question], verdicts: Sequence[Verdict]) -> list[Question]:
    """Return the questions that have verdicts, in the split's order."""
    known = {str(question.id): question for question in questions}
    for verdict in verdicts:
        where = f"{path}: candidate {verdict.candidate_id!r}"
        question = known.get(str(verdict.question_id))
        if question is None:
            raise DataError(f"{where}: there is no question with id {verdict.question_id!r} in the split")
        if question.db_id != verdict.db_id:
            raise DataError(
                f"{where}: it is for database {verdict.db_id!r}, its question is about {question.db_id!r}; "
                f"was it sampled for another split?"
            )
    if not verdicts:
        raise DataError(f"{path}: there are no verdicts in it")
    with_verdicts = {str(verdict.question_id) for verdict in verdicts}
    return [question for question in questions if str(question.id) in with_verdicts]
