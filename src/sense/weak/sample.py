"""Sample SQL for training questions from a small fine-tuned model: the raw material of weak data."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, Literal

from pydantic import Field

from sense import jsonl
from sense.databases import spider
from sense.llms import store
from sense.progress import meter, say
from sense.prompts.extract import extract_sql
from sense.prompts.text_to_sql import DEFAULT_FORMAT, Prompter, format_of, split_prompt
from sense.records import Candidate, Question
from sense.rundir import RunDir
from sense.stage import InputPath, ModelName, Outcome, StageConfig


class Config(StageConfig):
    """Settings of `sense sample`."""

    model: ModelName = Field(description="the weak model: known name, Hugging Face id, folder or GGUF file")
    data: InputPath = Field(description="folder in Spider's layout")
    split: str = Field("train", description="question file, without .json")
    prompt_format: str = Field(DEFAULT_FORMAT, description="id of the prompt format; must be the model's own")
    samples: Annotated[int, Field(ge=1)] = Field(8, description="samples of each question")
    temperature: Annotated[float, Field(gt=0)] = Field(1.0, description="sampling temperature")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        0.95, description="draw from the likeliest tokens of this mass"
    )
    max_new_tokens: Annotated[int, Field(ge=1)] = Field(
        96, description="a sample is cut after so many tokens"
    )
    batch: Annotated[int, Field(ge=1)] = Field(64, description="samples decoded together")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where it is native"
    )
    limit: Annotated[int, Field(ge=0)] = Field(
        0, description="sample for so many questions, drawn by seed; 0: all"
    )
    seed: int = Field(0, description="seed of the samples and of the questions drawn")


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Write `candidates.jsonl`, database by database; a rerun goes on after the last whole batch."""
    format_of(config.prompt_format)
    store.check_exists(config.model)
    store.check_prompt_format(config.model, config.prompt_format)
    questions = _chosen(spider.load_questions(config.data, config.split), config)
    spider.check_databases(config.data, questions)
    prompter = Prompter(config.data, prompt_format=config.prompt_format)
    batches = list(_batches(questions, config))
    run_dir.start()
    path = run_dir / "candidates.jsonl"
    done = _whole_batches(jsonl.resume(path, Candidate), batches, config)
    jsonl.write(path, done)
    finished = {candidate.id for candidate in done}
    if done:
        say(f"sample: {len(done)} candidates reused")
    open_batches = [batch for batch in batches if _id(batch[0], 0) not in finished]
    if open_batches:
        _sample(open_batches, prompter, config, path, total=len(questions), done=len(done) // config.samples)
    candidates = jsonl.read(path, Candidate)
    return Outcome(
        summary={
            "questions": len(questions),
            "candidates": len(candidates),
            "different": len({(c.question_id, c.sql) for c in candidates}),
            "tokens": sum(c.tokens for c in candidates),
        }
    )


def _sample(
    batches: Sequence[Sequence[Question]],
    prompter: Prompter,
    config: Config,
    path: object,
    *,
    total: int,
    done: int,
) -> None:
    from sense.llms.local import Branch, answer, load  # torch is loaded once the input is known to be good

    loaded = load(config.model, dtype=config.dtype)
    with jsonl.Appender(path) as file, meter("sample", total=total, done=done) as shown:  # type: ignore[arg-type]
        for db_id, group in groupby(batches, key=lambda batch: batch[0].db_id):
            members = list(group)
            branches = [
                Branch(text=split_prompt(prompter.prompt(q)).question, seed=f"{config.seed}/{q.id}/{k}")
                for batch in members
                for q in batch
                for k in range(config.samples)
            ]
            answers = answer(
                loaded,
                prompter.schema_text(db_id),
                branches,
                max_new_tokens=config.max_new_tokens,
                temperature=config.temperature,
                top_p=config.top_p,
                batch=_questions_per_batch(config) * config.samples,
            )
            for batch, written in zip(members, answers, strict=True):
                asked = [(q, k) for q in batch for k in range(config.samples)]
                file.add(
                    *(
                        Candidate(
                            id=_id(q, k),
                            question_id=q.id,
                            db_id=q.db_id,
                            sample=k,
                            sql=extract_sql(a.text),
                            logprob=round(a.logprob, 4),
                            tokens=a.tokens,
                        )
                        for (q, k), a in zip(asked, written, strict=True)
                    )
                )
                shown.advance(len(batch))


def _chosen(questions: list[Question], config: Config) -> list[Question]:
    if not 0 < config.limit < len(questions):
        return questions
    kept = sorted(random.Random(config.seed).sample(range(len(questions)), config.limit))
    return [questions[i] for i in kept]


def _batches(questions: list[Question], config: Config) -> Iterator[list[Question]]:
    """Group questions by database, in the order of their first questions; what is decoded together never varies."""
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
    """Keep the candidates of batches that were written to their end; the rest is decoded anew, as it was before."""
    by_id = {candidate.id: candidate for candidate in candidates}
    kept: list[Candidate] = []
    for batch in batches:
        ids = [_id(question, k) for question in batch for k in range(config.samples)]
        if all(i in by_id for i in ids):
            kept += [by_id[i] for i in ids]
    return kept


def _id(question: Question, sample: int) -> str:
    return f"{question.id}#{sample}"
