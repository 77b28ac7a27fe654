"""What a strong model wrote, as it stands in its replies and in the files of `sense synthesize`. Nothing of it is believed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from sense import jsonl
from sense.errors import ConfigError


class SynthTable(BaseModel):
    """A table as the strong model wrote it."""

    model_config = ConfigDict(extra="ignore")

    name: str
    create: str
    rows: list[list[str | int | float | bool | None]]


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
    """
    file = path / "databases.jsonl"
    if not file.exists():
        raise ConfigError(
            f"{path}: no databases.jsonl here; the run folder of 'sense synthesize' is expected"
        )
    return jsonl.read(file, SynthDatabase)
