"""Sample SQL for training questions from small models, one or several: the raw material of weak data.

A model runs here, or behind a server, or is asked by batch files: see `engines`. Candidates are written when
they come, and stand in the end by question and sample. Rounds are a matter of recipes: a later `sample` names
the model that an earlier `dpo` has made.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from sense import jsonl
from sense.databases import spider
from sense.errors import ModelError
from sense.llms.batch_files import Request, write_requests
from sense.llms.choices import read_sample_replies
from sense.llms.sampler import Ended, Sampled, Sampler
from sense.progress import Meter, meter, say
from sense.prompts.extract import extract_sql
from sense.prompts.text_to_sql import format_of
from sense.records import Candidate, Question
from sense.rundir import RunDir
from sense.stage import InputPath, InputPaths, ModelName, Outcome, StageConfig, is_made
from sense.weak.engines import (
    ENDPOINTS,
    ENGINES,
    Dtype,
    EndpointName,
    EngineName,
    Sampling,
    WeakModel,
    WeakModelSetting,
    check_goes_together,
    check_prices,
    check_private,
    check_taken,
    left_of,
)
from sense.weak.plan import Plan, candidate_id, make_plans

OF_ONE_MODEL = ("model", "engine", "base_url", "endpoint", "prompt_format")
MODEL_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")  # a model's name becomes part of a file's
AWAITED = "requests-awaiting-replies"


class Config(StageConfig):
    """Settings of `sense sample`."""

    MAY_GROW: ClassVar[frozenset[str]] = frozenset({"replies"})
    SPEED_ONLY: ClassVar[frozenset[str]] = frozenset(
        {"concurrency", "max_requests", "max_tokens", "max_usd", "prices"}
    )

    model: ModelName | None = Field(
        None,
        description="known name, Hugging Face id, folder, GGUF file, or a server's name of it",
    )
    engine: EngineName = Field(
        "local",
        description="what runs it: local (transformers), vllm, gguf (llama.cpp), "
        "api (an OpenAI-compatible server), batch (by files)",
    )
    base_url: str | None = Field(None, description="of a server, such as http://localhost:8000/v1; for api")
    endpoint: EndpointName = Field(
        "chat",
        description="what answers: chat, or completions: bare, for a model trained on our prompts; for api, "
        f"and for batch, where {AWAITED}.jsonl is to be sent to the service of this endpoint",
    )
    prompt_format: str | None = Field(
        None, description="id of the prompt format; by default the one that the model was trained with"
    )
    models: dict[str, WeakModelSetting] = Field(
        {},
        description="several models in place of one: NAME=MODEL or NAME={model: M, engine: E, weight: 2}; "
        "each question's samples are shared among them by weight",
    )
    data: InputPath = Field(
        description="folder with the questions and databases, laid out as Spider's or BIRD's"
    )
    split: str = Field("train", description="question file, without .json")
    samples: Annotated[int, Field(ge=1)] = Field(8, description="samples of each question")
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        1.0, description="sampling temperature"
    )
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(
        0.95, description="draw from the likeliest tokens of this mass"
    )
    max_new_tokens: Annotated[int, Field(ge=1, le=2**20)] = Field(
        96, description="a sample is cut after so many tokens"
    )
    batch: Annotated[int, Field(ge=1)] = Field(128, description="samples decoded together; for local")
    dtype: Dtype = Field("auto", description="auto: bfloat16 where it is native; for local and vllm")
    replies: InputPaths = Field(
        (),
        description="batch output files with the replies that have come so far; without any, the requests "
        f"are written to {AWAITED}.jsonl: have a batch service answer that file, and give the same command "
        "with what came back; for batch",
    )
    databases: Annotated[int, Field(ge=0)] = Field(
        0, description="sample for the questions of so many databases, drawn by seed; 0: all"
    )
    limit: Annotated[int, Field(ge=0)] = Field(
        0, description="sample for so many questions, drawn by seed; 0: all"
    )
    seed: int = Field(0, description="seed of the samples and of the questions drawn")
    concurrency: Annotated[int, Field(ge=1)] = Field(
        16, description="requests at a time, at the most; for api"
    )
    max_requests: Annotated[int, Field(ge=1)] | None = Field(
        None, description="send no more requests than this each time; for api"
    )
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(
        None, description="use no more tokens than this each time, prompts and answers; for api"
    )
    max_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="spend no more US dollars than this each time; for api"
    )
    prices: Path | None = Field(
        None,
        description="YAML file with what more models cost, in US dollars per million tokens: "
        "MODEL: {input: 0.15, output: 0.6}; for api",
    )

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if not self.models and self.model is None:
            raise ValueError("'model' is needed, or several 'models'")
        for name in OF_ONE_MODEL if self.models else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is for one model; with 'models' say it of each: models.NAME.{name}")
        for name in self.models:
            if not MODEL_NAME.fullmatch(name):
                raise ValueError(f"models: name {name!r}: letters, digits, '_', '.' and '-' are expected")
        check_goes_together(self.engine, base_url=self.base_url, endpoint=self.endpoint)
        chosen = {weak.engine for weak in self.models.values()} if self.models else {self.engine}
        fields = type(self).model_fields.items()
        check_taken(chosen, [name for name, field in fields if getattr(self, name) != field.default])
        return self

    def weak_models(self) -> dict[str, WeakModel]:
        """Return the models by name; a single one has none."""
        one = {name: getattr(self, name) for name in OF_ONE_MODEL}
        return dict(self.models) or {"": WeakModel.model_validate(one)}

    def inputs(self) -> Iterator[tuple[str, Path]]:
        """Yield the models of `models` too, each under its name."""
        yield from super().inputs()
        for name, weak in self.models.items():
            if Path(weak.model).exists():
                yield f"models.{name}", Path(weak.model)

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the models, their prices, the prompt formats and the questions."""
        for weak in self.weak_models().values():
            if weak.prompt_format is not None:
                format_of(weak.prompt_format)
            ENGINES[weak.engine].check(weak, made)
        if self.max_usd is not None or self.prices is not None:
            check_prices(self.weak_models().values(), self.prices, needed=self.max_usd is not None)
        if not is_made(self.data, made):
            spider.check_split(self.data, self.split)


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Write `candidates.jsonl`, by question and sample in the end; a rerun asks for what is missing.

    Raises:
        SenseError: an input or a model cannot be used, or a server is down; what came is kept.
    """
    config.check()
    questions = _chosen(spider.load_questions(config.data, config.split), config)
    check_private(config.weak_models().values(), config.data, (question.db_id for question in questions))
    asked = _sampling(config)
    path = run_dir / "candidates.jsonl"
    plans = make_plans(
        questions, config.weak_models(), data=config.data, samples=config.samples, seed=config.seed
    )
    # A model that cannot be loaded leaves no folder; where there is one, it may not be needed any more.
    ready = [] if path.exists() else [_make(plans[0], asked)]
    run_dir.start()
    found = {candidate.id: candidate for candidate in jsonl.resume(path, Candidate)}
    if found:
        say(f"sample: {len(found)} candidates reused")
    total = len(questions) * config.samples
    endings: dict[str, Ended] = {}
    with jsonl.Appender(path) as file, meter("sample", total=total, done=len(found)) as shown:
        for plan in plans:
            waiting = plan.without(found)
            if waiting.prompts:
                sampler = ready.pop() if ready else _make(waiting, asked)
                try:
                    ended = endings[plan.name] = _sample(sampler, waiting, file=file, shown=shown)
                except ModelError as error:
                    missing = total - path.read_bytes().count(b"\n")
                    raise ModelError(f"{error}; {missing} of {total} samples are missing") from None
                del sampler  # its memory is for the next one
                asked = replace(asked, caps=left_of(asked.caps, ended.usage))
    written = {candidate.id: candidate for candidate in jsonl.read(path, Candidate)}
    ids = [candidate_id(question, k) for question in questions for k in range(config.samples)]
    candidates = [written[i] for i in ids if i in written]
    if list(written.values()) != candidates:
        jsonl.write(path, candidates)
    awaited = _write_awaited(run_dir, config, endings)
    summary = summarize(candidates, endings) | {"questions": len(questions)}
    missing = total - len(candidates)
    shortfall = _shortfall(endings, missing=missing, total=total, awaited=awaited) if missing else None
    return Outcome(summary=summary, shortfall=shortfall, complete=not missing)


def summarize(candidates: Sequence[Candidate], endings: Mapping[str, Ended]) -> dict[str, Any]:
    """Count candidates, of all models and of each; `usage` is of this go alone, where a server tells it."""
    of_model: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        of_model.setdefault(candidate.model, []).append(candidate)
    summary = _counts(candidates)
    if of_model.keys() - {""}:
        summary["models"] = {name: _counts(own) for name, own in sorted(of_model.items())}
    usage: Counter[str] = Counter()
    for ended in endings.values():
        usage.update(ended.usage)
    return summary | ({"usage": dict(usage)} if usage else {})


def _counts(candidates: Sequence[Candidate]) -> dict[str, Any]:
    cut = sum(not candidate.finished for candidate in candidates)
    return {
        "candidates": len(candidates),
        "different": len({(candidate.question_id, candidate.sql) for candidate in candidates}),
        "tokens": sum(candidate.tokens for candidate in candidates),
        "share_unfinished": cut / len(candidates) if candidates else None,
    }


def _sampling(config: Config) -> Sampling:
    from sense.llms.budget import Caps  # its prices are YAML, which is slow to load

    return Sampling(
        samples=config.samples,
        max_new_tokens=config.max_new_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        batch=config.batch,
        dtype=config.dtype,
        concurrency=config.concurrency,
        caps=Caps(max_requests=config.max_requests, max_tokens=config.max_tokens, max_usd=config.max_usd),
        prices=config.prices,
        replies=read_sample_replies(config.replies),
        seed=config.seed,
    )


def _make(plan: Plan, asked: Sampling) -> Sampler:
    return ENGINES[plan.weak.engine].make(plan.weak, asked, plan.prompts)


def _sample(sampler: Sampler, plan: Plan, *, file: jsonl.Appender, shown: Meter) -> Ended:
    def keep(prompt: int, answers: Mapping[int, Sampled]) -> None:
        question, samples = plan.places[prompt]
        file.add(*(_candidate(question, samples[n], one, name=plan.name) for n, one in answers.items()))
        shown.advance(len(answers))

    return sampler.sample(plan.prompts, on_answers=keep)


def _candidate(question: Question, sample: int, sampled: Sampled, *, name: str) -> Candidate:
    return Candidate(
        id=candidate_id(question, sample),
        question_id=question.id,
        db_id=question.db_id,
        sample=sample,
        sql=extract_sql(sampled.text),
        logprob=None if sampled.logprob is None else round(sampled.logprob, 4),
        tokens=sampled.tokens,
        finished=sampled.finished,
        model=name,
    )


def _write_awaited(run_dir: RunDir, config: Config, endings: Mapping[str, Ended]) -> list[Path]:
    """Write the requests that batch services are to answer, a file for each model; return the files."""
    files: list[Path] = []
    for name, weak in config.weak_models().items():
        path = run_dir / (f"{AWAITED}-{name}.jsonl" if name else f"{AWAITED}.jsonl")
        requests: Sequence[Request] = endings[name].unanswered if name in endings else ()
        if weak.engine == "batch" and requests:
            write_requests(path, requests, endpoint=ENDPOINTS[weak.endpoint])
            files.append(path)
        else:
            path.unlink(missing_ok=True)
    return files


def _shortfall(endings: Mapping[str, Ended], *, missing: int, total: int, awaited: Sequence[Path]) -> str:
    failed = [why for ended in endings.values() for why in ended.failed]
    parts = [f"{missing} of {total} samples are missing"]
    if failed:
        parts.append(f"requests failed: {len(failed)}, the first: {failed[0]}")
    if awaited:
        files = ", ".join(map(str, awaited))
        parts.append(f"have {files} answered, then give the same command with --replies FILE ...")
    else:
        parts.append("the same command asks for these, and for no others, again")
    return "; ".join(parts)


def _chosen(questions: list[Question], config: Config) -> list[Question]:
    names = sorted({question.db_id for question in questions})
    if 0 < config.databases < len(names):
        drawn = set(random.Random(config.seed).sample(names, config.databases))
        questions = [question for question in questions if question.db_id in drawn]
    if not 0 < config.limit < len(questions):
        return questions
    kept = sorted(random.Random(config.seed).sample(range(len(questions)), config.limit))
    return [questions[i] for i in kept]
