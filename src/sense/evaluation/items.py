"""What is scored: the questions of a split, each with its prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sense.caches import file_digest, remembered
from sense.databases.schema import TABLES_FILE, load_schema
from sense.databases.spider import database_files, load_difficulties, load_questions, split_file
from sense.errors import DataError
from sense.evaluation.predictions import read_predictions
from sense.records import Question

VERSION = 1  # of how hardness is found: another number forgets what was found before


class Item(NamedTuple):
    """A question, its prediction (None: there is none), its hardness, and its database: folder and files."""

    question: Question
    sql: str | None
    hardness: str
    data: Path
    files: tuple[Path, ...]


def read_items(
    data: Path, split: str, *, predictions: Path, only_predicted: bool, has_difficulties: bool
) -> list[Item]:
    """Read questions and predictions.

    Args:
        data: folder of the questions and databases.
        split: which question file.
        predictions: the predictions, see `read_predictions`.
        only_predicted: leave out questions without a prediction.
        has_difficulties: the question file may state difficulties, which are taken in place of hardness.

    Raises:
        DataError: a file cannot be read, predictions are not of these questions, or none is left.
        DatabaseError: a database is missing.
    """
    questions = load_questions(data, split)
    predicted = read_predictions(predictions, questions)
    files = {db_id: database_files(data, db_id) for db_id in dict.fromkeys(each.db_id for each in questions)}
    difficulties = load_difficulties(data, split) if has_difficulties else {}
    levels = _levels(data, split, questions, files)
    items = [
        Item(question, sql, difficulties.get(question.id, level), data, files[question.db_id])
        for question, sql, level in zip(questions, predicted, levels, strict=True)
        if sql is not None or not only_predicted
    ]
    if not items:
        raise DataError(f"{predictions}: no question of split {split!r} has a prediction")
    return items


def _levels(
    data: Path, split: str, questions: Sequence[Question], files: Mapping[str, tuple[Path, ...]]
) -> list[str]:
    """Find the hardness of every gold query; kept for later runs, for it takes longer than to score them."""
    tables = data / TABLES_FILE
    digests = (
        [file_digest(tables)] if tables.exists() else sorted(file_digest(each[0]) for each in files.values())
    )

    def make() -> list[str]:
        from sense.evaluation.gold_hardness import gold_hardness  # here, for it is seldom needed twice

        schemas = {db_id: load_schema(data, db_id, each[0]) for db_id, each in files.items()}
        return [gold_hardness(question.gold_sql, schemas[question.db_id]) for question in questions]

    key = [VERSION, file_digest(split_file(data, split)), digests]
    levels: list[str] = remembered("hardness", key, make)
    return levels
