"""The `pairs` stage: preference pairs of labeled candidates, a right one over a wrong one of one question."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict
from math import inf, isnan
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from sense import jsonl
from sense.databases.spider import check_databases, check_split, load_questions
from sense.errors import DataError
from sense.prompts.text_to_sql import DEFAULT_FORMAT, Prompter, completion, one_line
from sense.records import Label, PreferencePair, Question, Verdict
from sense.rundir import RunDir
from sense.stage import InputPath, Outcome, StageConfig, is_made
from sense.weak.pair_counts import Counts, Fate, WrongFate, count, table
from sense.weak.strategies import STRATEGIES, Choice, Kind, Query, kind_of, ranked, take_turns
from sense.weak.syntax import canonical

StrategyName = Literal["any", "gold", "nearest", "farthest", "balanced", "hardest"]


class Config(StageConfig):
    """Settings of `pairs`."""

    data: InputPath = Field(
        description="folder with the questions and databases, laid out as Spider's or BIRD's"
    )
    split: str = Field("train", description="the question file that was sampled for: train means train.json")
    verdicts: InputPath = Field(
        description="verdicts.jsonl of 'sense label'; what comes out is pairs.jsonl in the folder --out: "
        "prompts, each with a query to prefer and a wrong one; 'sense dpo' reads it"
    )
    prompt_format: str = Field(
        DEFAULT_FORMAT, description="how prompts are written; that of the model to be tuned"
    )
    strategy: StrategyName = Field(
        "any",
        description="which of a question's queries make a pair: any, drawn at random; gold, the same with "
        "the gold query preferred, whatever 'chosen' says; nearest or farthest, those written most or least "
        "alike; balanced, as many of each kind of error; hardest, the wrong one that the model likes most, "
        "against the right one that it likes most",
    )
    chosen: Literal["right", "gold", "right_or_gold"] = Field(
        "right",
        description="what is preferred: right candidates; gold, the gold query; right_or_gold, the gold "
        "query only where no candidate is right",
    )
    rejected: Literal["all", "runs", "fails"] = Field(
        "all",
        description="which wrong candidates are taken: runs, those with a wrong result; fails, the others",
    )
    match_length: bool = Field(
        False,
        description="of equally good choices take that whose two queries are most alike in length, for DPO "
        "learns lengths, too",
    )
    per_question: int = Field(1, ge=1, description="at most so many pairs of one question")
    per_database: int = Field(0, ge=0, description="at most so many pairs of one database; 0: any number")
    seed: int = Field(0, ge=0, description="seed of the draw")

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the questions and their databases."""
        if not is_made(self.data, made):
            check_split(self.data, self.split)


class Pairs(NamedTuple):
    """The pairs made and what they were made from."""

    pairs: list[PreferencePair]
    counts: Counts


class _Sides(NamedTuple):
    """A question's queries that can be chosen and rejected, and what became of each wrong candidate."""

    chosen: list[Query]
    rejected: list[Query]
    wrong: Counter[WrongFate]

    def fate(self) -> Fate:
        """Say why there are no pairs, or that there are, as far as the question itself goes."""
        if not self.chosen:
            return Fate.WITHOUT_RIGHT
        if self.rejected:
            return Fate.WITH_PAIRS
        if self.wrong[WrongFate.FILTERED]:
            return Fate.ONLY_FILTERED
        return Fate.ONLY_EQUAL if self.wrong[WrongFate.EQUAL] else Fate.WITHOUT_WRONG


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
    made = make_pairs(used, verdicts, config=config, prompt=prompter.prompt)
    run_dir.start()
    jsonl.write(run_dir / "pairs.jsonl", made.pairs)
    shortfall = None if made.pairs else "there are no pairs: no question has both a right and a wrong query"
    return Outcome(summary=asdict(made.counts), shortfall=shortfall)


def show(summary: dict[str, Any]) -> str:
    """Write what was kept, and why the rest was not, for a terminal."""
    return table(summary)


def make_pairs(
    questions: Iterable[Question],
    verdicts: Iterable[Verdict],
    *,
    config: Config,
    prompt: Callable[[Question], str],
) -> Pairs:
    """Pair queries that differ by more than spelling, never twice the same.

    The order of the verdicts does not count. A question without a right query is counted as such, whether or
    not it has a wrong one. An answer without any query teaches nothing and is left out.
    """
    of_question: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        of_question.setdefault(str(verdict.question_id), []).append(verdict)
    strategy = STRATEGIES[config.strategy]
    fates: Counter[Fate] = Counter()
    wrong: Counter[WrongFate] = Counter()
    kinds: Counter[Kind | None] = Counter()
    asked: list[tuple[Question, list[Choice]]] = []
    for question in questions:
        sides = _sides(question, of_question.get(str(question.id), []), config)
        wrong += sides.wrong
        kinds.update(query.kind for query in sides.rejected)
        fates[sides.fate()] += 1
        if sides.fate() is Fate.WITH_PAIRS:
            choices = [Choice(a, b) for a in sides.chosen for b in sides.rejected]
            rng = random.Random(f"{config.seed}/{question.id}")
            asked.append((question, ranked(choices, strategy, match_length=config.match_length, rng=rng)))
    taken = take_turns(
        [(question.db_id, choices) for question, choices in asked],
        strategy,
        per_question=config.per_question,
        per_database=config.per_database,
        rng=random.Random(config.seed),
    )
    capped = sum(not choices for choices in taken)
    fates += Counter({Fate.WITH_PAIRS: -capped, Fate.CAPPED: capped})
    pairs = [
        _pair(question, n, choice=choice, prompt=prompt(question))
        for (question, _), choices in zip(asked, taken, strict=True)
        for n, choice in enumerate(choices)
    ]
    return Pairs(pairs, count(pairs, fates=fates, wrong=wrong, kinds=kinds))


def _sides(question: Question, verdicts: Sequence[Verdict], config: Config) -> _Sides:
    # Of the spellings of one query, the one that the model likes most stands for all.
    ordered = sorted(verdicts, key=lambda each: (-_liking(each), each.sql, each.candidate_id))
    right: dict[str, Query] = {}
    for query in (_query(each) for each in ordered if each.label is Label.RIGHT):
        right.setdefault(query.form, query)
    gold_sql = one_line(question.gold_sql)
    gold = {} if not gold_sql else {canonical(gold_sql): Query(sql=gold_sql, form=canonical(gold_sql))}
    equal = right.keys() | gold.keys()
    wrong: Counter[WrongFate] = Counter()
    rejected: dict[str, Query] = {}
    for query in (query for each in ordered if (query := _query(each)).kind is not None):
        fate = _wrong_fate(query, equal, rejected, config)
        wrong[fate] += 1
        if fate is WrongFate.KEPT:
            rejected[query.form] = query
    chosen = "gold" if config.strategy == "gold" else config.chosen
    preferred = gold if chosen == "gold" or (chosen == "right_or_gold" and not right) else right
    return _Sides(list(preferred.values()), list(rejected.values()), wrong)


def _wrong_fate(query: Query, equal: Set[str], kept: Mapping[str, Query], config: Config) -> WrongFate:
    if not query.sql:
        return WrongFate.BLANK
    if query.form in equal:
        return WrongFate.EQUAL
    if config.rejected != "all" and (config.rejected == "runs") is not (query.kind is Kind.WRONG_RESULT):
        return WrongFate.FILTERED
    return WrongFate.REPEATED if query.form in kept else WrongFate.KEPT


def _query(verdict: Verdict) -> Query:
    sql = one_line(verdict.sql)
    return Query(sql=sql, form=canonical(sql), liking=_liking(verdict), kind=kind_of(verdict))


def _liking(verdict: Verdict) -> float:
    return -inf if verdict.logprob is None or isnan(verdict.logprob) else verdict.logprob


def _pair(question: Question, n: int, *, choice: Choice, prompt: str) -> PreferencePair:
    return PreferencePair(
        id=f"{question.id}-{n}",
        db_id=question.db_id,
        prompt=prompt,
        chosen=completion(choice.chosen.sql),
        rejected=completion(choice.rejected.sql),
        kind=choice.rejected.kind or "",
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
