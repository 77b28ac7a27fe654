"""Answer the questions of a split with a model, greedily: one SQL query each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from sense import jsonl
from sense.databases import spider
from sense.llms import store
from sense.progress import meter, say
from sense.prompts.extract import extract_sql
from sense.prompts.text_to_sql import DEFAULT_FORMAT, Prompter, format_of, split_prompt, stops
from sense.records import Prediction, Question
from sense.rundir import RunDir
from sense.stage import InputPath, ModelName, Outcome, StageConfig, is_made

if TYPE_CHECKING:
    from sense.llms.local import Loaded


class Config(StageConfig):
    """Settings of `sense predict`."""

    model: ModelName = Field(
        description="known name, Hugging Face id, folder (model or adapter) or GGUF file"
    )
    data: InputPath = Field(description="folder in Spider's layout")
    split: str = Field("dev", description="question file, without .json")
    prompt_format: str | None = Field(
        None, description="id of the prompt format; by default the one that the model was trained with"
    )
    max_new_tokens: Annotated[int, Field(ge=1, le=2**20)] = Field(
        128, description="an answer is cut after so many tokens"
    )
    batch: Annotated[int, Field(ge=1)] = Field(96, description="questions answered together")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where it is native"
    )
    limit: Annotated[int, Field(ge=0)] = Field(
        0, description="answer only so many questions, spread evenly over the split; 0: all"
    )

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the model, the prompt format and the questions."""
        if self.prompt_format is not None:
            format_of(self.prompt_format)
        store.check_model(self.model, prompt_format=self.prompt_format, made=made)
        if not is_made(self.data, made):
            spider.check_split(self.data, self.split)


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Write `predictions.jsonl` in the order of the split; a rerun goes on after the last whole batch."""
    config.check()
    prompt_format = config.prompt_format or store.prompt_format_of(config.model) or DEFAULT_FORMAT
    questions = _spread(spider.load_questions(config.data, config.split), config.limit)
    prompter = Prompter(config.data, prompt_format=prompt_format)
    batches = _batches(questions, config.batch)
    from sense.llms.local import load  # torch is loaded once the input is known to be good

    loaded = load(config.model, dtype=config.dtype)
    run_dir.start()
    unordered = run_dir / "answers.jsonl"
    kept = [*jsonl.resume(unordered, Prediction), *jsonl.resume(run_dir / "predictions.jsonl", Prediction)]
    found = {str(prediction.id): prediction for prediction in kept}
    whole = [batch for batch in batches if all(str(question.id) in found for question in batch)]
    answered = [found[str(question.id)] for batch in whole for question in batch]
    jsonl.write(unordered, answered)
    if answered:
        say(f"predict: {len(answered)} predictions reused")
    rest = [batch for batch in batches if batch not in whole]
    with (
        jsonl.Appender(unordered) as file,
        meter("predict", total=len(questions), done=len(answered)) as shown,
    ):
        for batch, predictions in _answers(loaded, rest, prompter, config):
            file.add(*predictions)
            shown.advance(len(batch))
    by_id = {str(prediction.id): prediction for prediction in jsonl.read(unordered, Prediction)}
    jsonl.write(run_dir / "predictions.jsonl", (by_id[str(question.id)] for question in questions))
    unordered.unlink()
    return Outcome(summary={"predictions": len(questions), "prompt_format": prompt_format})


def _answers(
    loaded: Loaded, batches: list[list[Question]], prompter: Prompter, config: Config
) -> Iterator[tuple[list[Question], list[Prediction]]]:
    """Answer all questions together, those of one database side by side; batches come as they get whole."""
    from sense.llms.local import Job, sample

    asked = [(number, question) for number, batch in enumerate(batches) for question in batch]
    jobs = (
        Job(
            schema=prompter.schema_text(question.db_id), text=split_prompt(prompter.prompt(question)).question
        )
        for _, question in asked
    )
    found: list[dict[str, Prediction]] = [{} for _ in batches]
    written = sample(
        loaded,
        jobs,
        max_new_tokens=config.max_new_tokens,
        batch=config.batch,
        stops=stops(store.prompt_format_of(config.model)),
    )
    for index, answer in written:
        number, question = asked[index]
        sql = extract_sql(answer.text)
        found[number][str(question.id)] = Prediction(id=question.id, db_id=question.db_id, sql=sql)
        if len(found[number]) == len(batches[number]):
            yield batches[number], [found[number][str(each.id)] for each in batches[number]]


def _spread(questions: list[Question], limit: int) -> list[Question]:
    """Take `limit` questions evenly from the whole split, so that all its databases are in."""
    if not 0 < limit < len(questions):
        return questions
    return [questions[i * len(questions) // limit] for i in range(limit)]


def _batches(questions: list[Question], size: int) -> list[list[Question]]:
    by_database: dict[str, list[Question]] = {}
    for question in questions:
        by_database.setdefault(question.db_id, []).append(question)
    return [
        members[start : start + size]
        for members in by_database.values()
        for start in range(0, len(members), size)
    ]
