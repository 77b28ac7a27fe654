"""Have a model judge whether questions and their SQL agree; `sense filter` drops those that do not.

The model sees schema, question, SQL and the first rows of the result; of databases of the user's own nothing
that `synthesize` was told to keep private. It is asked as `synthesize` asks: by files or through a server. A
reply of another form is asked for once more, and then counts as unsure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sense import jsonl
from sense.databases import spider
from sense.execution.pool import QueryJob, run_queries
from sense.execution.run import Limits
from sense.llms.batch_files import Reply, Request, make_request
from sense.progress import meter, say
from sense.prompts.extract import extract_json
from sense.prompts.judge import judge_request
from sense.records import Agreement, Judgement, Message, Question
from sense.rundir import RunDir
from sense.stage import InputPath, Outcome, is_made
from sense.strong.asking import Answer, Asked, AskingConfig, answer, ask, what_to_do
from sense.strong.estimate import estimate, used
from sense.strong.shown_to_judge import Showing
from sense.strong.written import Unreadable

MAX_ROWS = 10_000  # of a result; more are not worth the wait
MAX_REASON_CHARS = 500  # a sentence is asked for
LIKELY_TOKENS_OF_REPLY = 80


class Config(AskingConfig):
    """Settings of `sense judge`."""

    data: InputPath = Field(description="folder in Spider's layout, such as data/ of 'sense filter'")
    split: str = Field("train", description="question file of the folder, without .json")
    values: bool = Field(True, description="show example values of columns and the first rows of the result")
    temperature: Annotated[float, Field(ge=0, le=2)] = Field(0.0, description="sampling temperature")
    reply_tokens: Annotated[int, Field(ge=1)] = Field(
        2_000, description="a reply is cut after so many tokens; room for a model that thinks first"
    )
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        10.0, description="seconds that a query may run"
    )
    workers: Annotated[int, Field(ge=0)] = Field(0, description="processes that run queries; 0: one a core")

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the questions, their databases and the prices."""
        super().check(made)
        if not is_made(self.data, made):
            spider.check_split(self.data, self.split)


class _Opinion(BaseModel):
    model_config = ConfigDict(extra="ignore")

    verdict: Agreement
    reason: str = ""


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Ask about every question of the split; writes `judgements.jsonl`, of those that are answered.

    Raises:
        SenseError: a provider cannot ask at all; replies that came before are stored.
    """
    config.check()
    questions = spider.load_questions(config.data, config.split)
    showing = Showing(config.data, with_values=config.values)
    showing.check({question.db_id for question in questions})
    results = _results(config, questions, showing)
    messages = {
        question.id: judge_request(
            schema=showing.schema_text(question.db_id),
            question=question.question,
            evidence=question.evidence,
            sql=question.gold_sql,
            result=result,
        )
        for question, result in zip(questions, results, strict=True)
    }
    judge = partial(_answer, config=config)

    def plan(replies: Mapping[str, Reply]) -> list[Request]:
        return [each for name, asked in messages.items() for each in judge(replies, name, asked).requests]

    asked = ask(config, run_dir, plan)
    answers = {name: judge(asked.replies, name, about) for name, about in messages.items()}
    judgements = [_judgement(name, each.value) for name, each in answers.items() if each.value is not None]
    jsonl.write(run_dir / "judgements.jsonl", judgements)
    malformed = sum(isinstance(each.value, Unreadable) for each in answers.values())
    return _outcome(config, run_dir, asked, judgements=judgements, malformed=malformed)


def parse_opinion(text: str) -> _Opinion | Unreadable:
    """Read a reply that should hold an opinion."""
    value = extract_json(text)
    if value is None:
        return Unreadable("no JSON object in the reply")
    try:
        return _Opinion.model_validate(value)
    except ValidationError as error:
        return Unreadable(jsonl.first_complaint(error))


def _answer(
    replies: Mapping[str, Reply], name: int | str, messages: Sequence[Message], *, config: Config
) -> Answer[_Opinion]:
    make = partial(
        make_request, model=config.model, temperature=config.temperature, max_tokens=config.reply_tokens
    )
    return answer(replies, f"judge/{name}", messages, make=make, read=parse_opinion)


def _judgement(name: int | str, opinion: _Opinion | Unreadable) -> Judgement:
    if isinstance(opinion, Unreadable):
        return Judgement(id=name, verdict=Agreement.UNSURE, reason=f"unreadable reply: {opinion.reason}")
    return Judgement(id=name, verdict=opinion.verdict, reason=opinion.reason[:MAX_REASON_CHARS])


def _results(config: Config, questions: Sequence[Question], showing: Showing) -> list[str]:
    """Write what each query returns, as far as it may be shown; nothing where no values may be."""
    if not config.values:
        return [""] * len(questions)
    jobs = [QueryJob(spider.database_file(config.data, each.db_id), each.gold_sql) for each in questions]
    limits = Limits(timeout_s=config.timeout_s, max_rows=MAX_ROWS)
    with meter("judge", total=len(jobs)) as shown:
        endings = run_queries(jobs, limits=limits, workers=config.workers, on_done=shown.advance)
        return [
            showing.result_text(question, ending) for question, ending in zip(questions, endings, strict=True)
        ]


def _outcome(
    config: Config, run_dir: RunDir, asked: Asked, *, judgements: Sequence[Judgement], malformed: int
) -> Outcome:
    awaited, answered = asked.awaited(), asked.answered()
    say(f"judge: {len(asked.requests)} requests, {len(answered)} replies, {malformed} malformed")
    counts = Counter(str(each.verdict) for each in judgements)
    summary: dict[str, Any] = {
        "requests": len(asked.requests),
        "awaiting_replies": len(awaited),
        "failed": sum(request.custom_id in asked.failed for request in awaited),
        "malformed": malformed,
        "verdicts": {str(verdict): counts[verdict] for verdict in Agreement},
        **used(answered, config),
    }
    if config.dry_run:
        summary["next_round"] = estimate(awaited, config, tokens_of_reply=lambda _: LIKELY_TOKENS_OF_REPLY)
        return Outcome(summary=summary, complete=False)
    if awaited:
        return Outcome(summary=summary, shortfall=what_to_do(config, run_dir, len(awaited)), complete=False)
    return Outcome(summary=summary)
