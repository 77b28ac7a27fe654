"""The prompt of a text-to-SQL model: schema first, which many questions share; then evidence and question.

A prompt's format has an id that is kept beside the weights trained on it; a model is never asked in another
one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sense.databases import spider
from sense.databases.schema import Schema, load_schema, schema_of_file
from sense.databases.values import example_values
from sense.errors import ConfigError, nearest
from sense.prompts.schema_text import Values, compact, ddl
from sense.records import Question

MAX_SCHEMA_CHARS = 6_000  # about 2,000 tokens: beyond it the example values are left out of the prompt


class Format(NamedTuple):
    """How a schema is written, and how many example values its columns show."""

    schema_text: Callable[[Schema, Values], str]
    values_per_column: int
    all_values_up_to: int


FORMATS: dict[str, Format] = {
    "compact-1": Format(compact, 2, 6),
    "compact-names-1": Format(compact, 0, 0),
    "ddl-1": Format(ddl, 2, 6),
}
DEFAULT_FORMAT = "compact-1"


class SplitPrompt(NamedTuple):
    """A prompt in its two parts: what all questions about a database share, and the rest."""

    schema: str
    question: str


class Prompter:
    """Writes prompts for the questions of one data folder; each database is read once."""

    def __init__(self, data: Path, *, prompt_format: str = DEFAULT_FORMAT) -> None:
        """Take a folder in Spider's layout and the id of a format.

        Raises:
            ConfigError: there is no such format.
        """
        self._data = data
        self._format = format_of(prompt_format)
        self._schemas: dict[str, str] = {}

    def schema_text(self, db_id: str) -> str:
        """Return the shared first part of every prompt about a database."""
        if db_id not in self._schemas:
            database = spider.database_file(self._data, db_id)
            schema = load_schema(self._data, db_id, database)
            self._schemas[db_id] = _bounded(self._format, schema, database)
        return self._schemas[db_id]

    def prompt(self, question: Question) -> str:
        """Return the whole prompt of a question."""
        return self.schema_text(question.db_id) + question_text(question.question, question.evidence)


def schema_prompt_of_file(database: Path, *, prompt_format: str = DEFAULT_FORMAT) -> str:
    """Return the shared first part for a database that belongs to no data folder."""
    return _bounded(format_of(prompt_format), schema_of_file(database, database.stem), database)


def question_text(question: str, evidence: str = "") -> str:
    """Return the part of a prompt that belongs to one question.

    >>> question_text("How many\\n singers?", "")
    'question: How many singers?\\nsql:'
    """
    hint = f"evidence: {_flat(evidence)}\n" if evidence.strip() else ""
    return f"{hint}question: {_flat(question)}\nsql:"


def completion(sql: str) -> str:
    """Return what the model is to answer: the query on one line after a space.

    >>> completion("SELECT  a FROM t WHERE b = 'x  y';")
    " SELECT a FROM t WHERE b = 'x  y'"
    """
    return " " + one_line(sql)


def split_prompt(prompt: str) -> SplitPrompt:
    """Split a prompt where its schema ends; a prompt of another make is all question."""
    match = _QUESTION_START.search(prompt)
    return (
        SplitPrompt("", prompt)
        if match is None
        else SplitPrompt(prompt[: match.start()], prompt[match.start() :])
    )


def may_be(prompt: str, prompt_format: str) -> bool:
    """Tell whether a prompt may be of a format, by how its schema begins."""
    return prompt.startswith("database ") == (format_of(prompt_format).schema_text is compact)


def stops(trained_format: str | None) -> tuple[str, ...]:
    """Return the texts behind which nothing of an answer is read.

    Args:
        trained_format: the prompt format that the model was trained with; such a model writes a query on one
            line. None: another, which writes as it likes until it asks itself the next question.
    """
    return ("\nquestion:", "\nevidence:") if trained_format is None else ("\n",)


def format_of(prompt_format: str) -> Format:
    """Look up a format.

    Raises:
        ConfigError: there is no such format.
    """
    if prompt_format not in FORMATS:
        raise ConfigError(f"unknown prompt format {prompt_format!r}; {nearest(prompt_format, FORMATS)}")
    return FORMATS[prompt_format]


def one_line(sql: str) -> str:
    """Fold white space and comments outside of quotes, and take off closing semicolons.

    >>> one_line("SELECT a -- it's the name\\nFROM t;")
    'SELECT a FROM t'
    """
    folded = _BLANK_OR_QUOTED.sub(lambda match: match[0] if match[0][0] in "'\"`[" else " ", sql)
    return folded.strip().rstrip("; ")


_QUESTION_START = re.compile(r"^(?:evidence|question): ", re.MULTILINE)
# A comment without an end goes to the end of the text, as in SQLite.
_BLANK_OR_QUOTED = re.compile(
    r"'(?:[^']|'')*'|\"[^\"]*\"|`[^`]*`|\[[^\[\]]*\]|(?:\s|--[^\n]*|/\*.*?(?:\*/|\Z))+", re.DOTALL
)


def _bounded(style: Format, schema: Schema, database: Path) -> str:
    if style.values_per_column:
        values = example_values(
            database, schema, per_column=style.values_per_column, all_up_to=style.all_values_up_to
        )
        text = style.schema_text(schema, values)
        if len(text) <= MAX_SCHEMA_CHARS:
            return text
    return style.schema_text(schema, {})


def _flat(text: str) -> str:
    return " ".join(text.split())
