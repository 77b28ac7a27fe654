"""Questions and their SQL as a model learns them: a prompt, and the completion that is to follow."""

from __future__ import annotations

from pathlib import Path

from sense.databases import spider
from sense.errors import DataError
from sense.prompts.text_to_sql import DEFAULT_FORMAT, Prompter, completion
from sense.records import SftExample


def examples_of(
    folder: Path, split: str, *, prompt_format: str = DEFAULT_FORMAT, prefix: str = ""
) -> list[SftExample]:
    """Build the prompts and completions of a split of a folder in Spider's layout.

    Args:
        folder: the data.
        split: question file of the folder, without .json.
        prompt_format: id of a format.
        prefix: put before every id, to tell folders apart.

    Raises:
        DataError: there is no such split, or a question has no SQL.
    """
    questions = spider.load_questions(folder, split)
    prompter = Prompter(folder, prompt_format=prompt_format)
    examples: list[SftExample] = []
    for question in questions:
        sql = completion(question.gold_sql)
        if not sql.strip():
            raise DataError(f"{folder}: split {split!r}: question {question.id!r} has no SQL to learn from")
        examples.append(
            SftExample(
                id=f"{prefix}{question.id}" if prefix else question.id,
                db_id=question.db_id,
                prompt=prompter.prompt(question),
                completion=sql,
            )
        )
    return examples
