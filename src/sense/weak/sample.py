"""Sample SQL for training questions from a small fine-tuned model: the raw material of weak data."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from sense import jsonl
from sense.databases import spider
from sense.llms import store
from sense.progress import meter, say
from sense.prompts.extract import extract_sql
from sense.prompts.text_to_sql import DEFAULT_FORMAT, Prompter, format_of, split_prompt
from sense.records import Candidate, Question
from sense.rundir import RunDir
from sense.stage import InputPath, ModelName, Outcome, StageConfig, is_made

if TYPE_CHECKING:
    from sense.llms.local import Answer, Loaded


class Config(StageConfig):
    """Settings of `sense sample`."""

    model: ModelName = Field(description="the weak model: known name, Hugging Face id, folder or GGUF file")
    data: InputPath = Field(description="folder in Spider's layout")
    split: str = Field("train", description="question file, without .json")
    prompt_format: str | None = Field(
        None, description="id of the prompt format; by default the one that the model was trained with"
    )
    samples: Annotated[int, Field(ge=1)] = Field(8, description="samples of each question")
    temperature: Annotated[float, Field(gt=0)] = Field(1.0, description="sampling temperature")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        0.95, description="draw from the likeliest tokens of this mass, 64 at most"
    )
    max_new_tokens: Annotated[int, Field(ge=1)] = Field(
        96, description="a sample is cut after so many tokens"
    )
    batch: Annotated[int, Field(ge=1)] = Field(128, description="samples decoded together")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where it is native"
    )
    databases: Annotated[int, Field(ge=0)] = Field(
        0, description="sample for the questions of so many databases, drawn by seed; 0: all"
    )
    limit: Annotated[int, Field(ge=0)] = Field(
        0, description="sample for so many questions, drawn by seed; 0: all"
    )
    seed: int = Field(0, description="seed of the samples and of the questions drawn")

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the model, the prompt format and the questions."""
        if self.prompt_format is not None:
            format_of(self.prompt_format)
        store.check_model(self.model, prompt_format=self.prompt_format, made=made)
        if not is_made(self.data, made):
            spider.check_split(self.data, self.split)


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Write `candidates.jsonl`, database by database; a rerun goes on after the last whole batch."""
    config.check()
    questions = _chosen(spider.load_questions(config.data, config.split), config)
    prompt_format = config.prompt_format or store.prompt_format_of(config.model) or DEFAULT_FORMAT
    prompter = Prompter(config.data, prompt_format=prompt_format)
    batches = list(_batches(questions, config))
    from sense.llms.local import load  # torch is loaded once the input is known to be good

    loaded = load(config.model, dtype=config.dtype)
    run_dir.start()
    path = run_dir / "candidates.jsonl"
    done = _whole_batches(jsonl.resume(path, Candidate), batches, config)
    jsonl.write(path, done)
    if done:
        say(f"sample: {len(done)} candidates reused")
    finished = {candidate.id for candidate in done}
    rest = [batch for batch in batches if _id(batch[0], 0) not in finished]
    counted = len(done) // config.samples
    with jsonl.Appender(path) as file, meter("sample", total=len(questions), done=counted) as shown:
        for batch, sampled in _sampled(loaded, rest, prompter, config):
            file.add(*sampled)
            shown.advance(len(batch))
    candidates = jsonl.read(path, Candidate)
    return Outcome(
        summary={
            "questions": len(questions),
            "candidates": len(candidates),
            "different": len({(c.question_id, c.sql) for c in candidates}),
            "tokens": sum(c.tokens for c in candidates),
        }
    )


def _sampled(
    loaded: Loaded, batches: Sequence[list[Question]], prompter: Prompter, config: Config
) -> Iterator[tuple[list[Question], list[Candidate]]]:
    """Sample batch after batch; those of one database stand side by side and share its schema."""
    from sense.llms.local import Continuation, answer

    for db_id, group in groupby(batches, key=lambda batch: batch[0].db_id):
        members = list(group)
        asked = [[(question, k) for question in batch for k in range(config.samples)] for batch in members]
        branches = [
            Continuation(text=split_prompt(prompter.prompt(q)).question, seed=f"{config.seed}/{q.id}/{k}")
            for pairs in asked
            for q, k in pairs
        ]
        written = answer(
            loaded,
            prompter.schema_text(db_id),
            branches,
            max_new_tokens=config.max_new_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            batch=_questions_per_batch(config) * config.samples,
        )
        for batch, pairs, answers in zip(members, asked, written, strict=True):
            yield batch, [_candidate(q, k, answer) for (q, k), answer in zip(pairs, answers, strict=True)]


def _candidate(question: Question, sample: int, answer: Answer) -> Candidate:
    return Candidate(
        id=_id(question, sample),
        question_id=question.id,
        db_id=question.db_id,
        sample=sample,
        sql=extract_sql(answer.text),
        logprob=round(answer.logprob, 4),
        tokens=answer.tokens,
    )


def _chosen(questions: list[Question], config: Config) -> list[Question]:
    names = sorted({question.db_id for question in questions})
    if 0 < config.databases < len(names):
        drawn = set(random.Random(config.seed).sample(names, config.databases))
        questions = [question for question in questions if question.db_id in drawn]
    if not 0 < config.limit < len(questions):
        return questions
    kept = sorted(random.Random(config.seed).sample(range(len(questions)), config.limit))
    return [questions[i] for i in kept]


def _batches(questions: list[Question], config: Config) -> Iterator[list[Question]]:
    """Group questions by database, in the order of first questions; what is decoded together never varies."""
    by_database: dict[str, list[Question]] = {}
    for question in questions:
        by_database.setdefault(question.db_id, []).append(question)
    size = _questions_per_batch(config)
    for members in by_database.values():
        for start in range(0, len(members), size):
            yield members[start : start + size]


def _questions_per_batch(config: Config) -> int:
    return max(1, config.batch // config.samples)


def _whole_batches(
    candidates: list[Candidate], batches: Sequence[Sequence[Question]], config: Config
) -> list[Candidate]:
    """Keep the candidates of batches that were written to their end; the rest is decoded anew, as before."""
    by_id = {candidate.id: candidate for candidate in candidates}
    kept: list[Candidate] = []
    for batch in batches:
        ids = [_id(question, k) for question in batch for k in range(config.samples)]
        if all(i in by_id for i in ids):
            kept += [by_id[i] for i in ids]
    return kept


def _id(question: Question, sample: int) -> str:
    return f"{question.id}#{sample}"
