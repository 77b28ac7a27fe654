"""What a strong model wrote, as it stands in its replies and in the files of `sense synthesize`.

Nothing of it is believed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from sense import jsonl
from sense.errors import ConfigError, DataError, shorten


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
