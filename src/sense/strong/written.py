"""What a strong model wrote, as it stands in its replies and in the files of `sense synthesize`.

Nothing of it is believed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from sense import jsonl
from sense.errors import ConfigError, DataError, shorten
from sense.prompts.extract import extract_json
from sense.prompts.synthesis import rows_as_csv

Q = TypeVar("Q", bound="SynthQuestion")

ROWS_SHOWN = 60  # of each table, in a request for questions
MAX_NAME_CHARS = 40


class SynthTable(BaseModel):
    """A table as the strong model wrote it."""

    model_config = ConfigDict(extra="ignore")

    name: str
    create: str
    rows: list[list[str | int | FiniteFloat | bool | None]]


class SynthDatabase(BaseModel):
    """A database as the strong model wrote it; `db_id` is made unique here."""

    model_config = ConfigDict(extra="ignore")

    domain: str
    db_id: str
    tables: Annotated[list[SynthTable], Field(min_length=1)]


class SynthQuestion(BaseModel):
    """A question as the strong model wrote it, with the level that was asked for."""

    model_config = ConfigDict(extra="ignore")

    question: str
    sql: str
    empty: bool = False


class SlotQuestion(SynthQuestion):
    """A question that was asked for by a slot; `evidence` says what its words mean."""

    slot: int
    evidence: str = ""


class Unreadable(NamedTuple):
    """Why a reply, or a part of one, cannot be read."""

    reason: str


def parse_database(text: str) -> SynthDatabase | Unreadable:
    """Read a reply that should hold a database."""
    value = extract_json(text)
    if value is None:
        return Unreadable("no JSON object in the reply")
    try:
        return SynthDatabase.model_validate(value)
    except ValidationError as error:
        return Unreadable(jsonl.first_complaint(error))


def parse_questions(text: str, kind: type[Q]) -> tuple[list[Q], list[Unreadable]]:
    """Read a reply that should hold questions: those that can be read, and what is wrong with the others."""
    value = extract_json(text)
    if value is None:
        return [], [Unreadable("no JSON object in the reply")]
    listed = value.get("questions")
    if not isinstance(listed, list):
        return [], [Unreadable("'questions' is missing")]
    questions: list[Q] = []
    unreadable: list[Unreadable] = []
    for number, item in enumerate(listed, start=1):
        try:
            questions.append(kind.model_validate(item))
        except ValidationError as error:
            unreadable.append(Unreadable(f"question {number}: {jsonl.first_complaint(error)}"))
    return questions, unreadable


def plain_name(text: str, taken: Sequence[str]) -> str:
    """Make a name that may become a folder and a file, and that is not taken.

    >>> plain_name("../Oyster Beds", ["oyster_beds"])
    'oyster_beds_2'
    """
    plain = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:MAX_NAME_CHARS] or "database"
    return next(n for n in (plain, *(f"{plain}_{i}" for i in range(2, len(taken) + 3))) if n not in taken)


def create_statements(database: SynthDatabase) -> list[str]:
    """List the CREATE TABLE statements, each with its semicolon."""
    return [table.create.strip().rstrip(";") + ";" for table in database.tables]


def rows_text(database: SynthDatabase) -> str:
    """Show the rows of all tables as CSV."""
    return "\n".join(
        rows_as_csv(table.name, _column_names(table), table.rows, limit=ROWS_SHOWN)
        for table in database.tables
    )


def read_databases(path: Path) -> list[SynthDatabase]:
    """Read what an earlier `synthesize` wrote.

    Raises:
        ConfigError: the folder holds no such result.
        DataError: a `db_id` is no plain name, or that of two databases.
    """
    file = path / "databases.jsonl"
    if not file.exists():
        raise ConfigError(
            f"{path}: no databases.jsonl here; the run folder of 'sense synthesize' is expected"
        )
    databases = jsonl.read(file, SynthDatabase)
    taken: set[str] = set()
    for database in databases:
        if not _PLAIN_NAME.fullmatch(database.db_id):
            raise DataError(
                f"{file}: 'db_id' must be lower-case letters, digits and _, got {shorten(database.db_id)}"
            )
        if database.db_id in taken:
            raise DataError(f"{file}: two databases are called {database.db_id!r}")
        taken.add(database.db_id)
    return databases


_PLAIN_NAME = re.compile(r"[a-z0-9_]+")  # it becomes a folder and a file


def _column_names(table: SynthTable) -> list[str]:
    """Take the names of the columns from a CREATE TABLE, as far as a heading needs them."""
    body = table.create[table.create.find("(") + 1 : table.create.rfind(")")]
    parts = re.split(r",(?![^(]*\))", body)
    words = [part.split() for part in parts if part.split()]
    keywords = {"PRIMARY", "FOREIGN", "UNIQUE", "CHECK", "CONSTRAINT"}
    return [word[0].strip('"`[]') for word in words if word[0].upper().split("(")[0] not in keywords]
