"""What is scored: the questions of a split, each with its prediction."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sense.databases.spider import database_files, load_questions
from sense.errors import DataError
from sense.evaluation.predictions import read_predictions
from sense.records import Question


class Item(NamedTuple):
    """A question, its prediction (None: there is none), and its database: folder and files."""

    question: Question
    sql: str | None
    data: Path
    files: tuple[Path, ...]


def read_items(data: Path, split: str, *, predictions: Path, only_predicted: bool) -> list[Item]:
    """Read questions and predictions.

    Args:
        data: folder of the questions and databases.
        split: which question file.
        predictions: the predictions, see `read_predictions`.
        only_predicted: leave out questions without a prediction.

    Raises:
        DataError: a file cannot be read, predictions are not of these questions, or none is left.
        DatabaseError: a database is missing.
    """
    questions = load_questions(data, split)
    predicted = read_predictions(predictions, questions)
    files = {db_id: database_files(data, db_id) for db_id in dict.fromkeys(each.db_id for each in questions)}
    items = [
        Item(question, sql, data, files[question.db_id])
        for question, sql in zip(questions, predicted, strict=True)
        if sql is not None or not only_predicted
    ]
    if not items:
        raise DataError(f"{predictions}: no question of split {split!r} has a prediction")
    return items
