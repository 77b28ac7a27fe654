"""Read predictions: our JSON Lines (by id), Spider's lines (by position), BIRD's JSON (by id or position)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from sense import jsonl
from sense.errors import DataError, nearest
from sense.records import Prediction, Question

BIRD_SEPARATOR = "\t----- bird -----\t"  # stands between the SQL and the db_id


def read_predictions(path: Path, questions: Sequence[Question]) -> list[str | None]:
    """Return the predicted SQL of each question, in the questions' order; None where there is no prediction.

    Raises:
        DataError: the file is missing, of no known form, or its predictions are not those of these questions.
    """
    read = READERS.get(path.suffix)
    if read is None:
        raise DataError(
            f"{path}: unknown form of predictions {path.suffix!r}; {nearest(path.suffix, READERS)}"
        )
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    return read(path, questions)


def _read_jsonl(path: Path, questions: Sequence[Question]) -> list[str | None]:
    known = {str(question.id): question for question in questions}
    found: dict[str, str] = {}
    records = jsonl.read(path, Prediction)
    lines = [number for number, line in enumerate(path.read_bytes().split(b"\n"), start=1) if line.strip()]
    for line, prediction in zip(lines, records, strict=True):
        where, key = f"{path}:{line}", str(prediction.id)
        if key not in known:
            raise DataError(f"{where}: there is no question with id {prediction.id!r} in the split")
        if key in found:
            raise DataError(f"{where}: a second prediction for question {prediction.id!r}; one is expected")
        _check_database(prediction.db_id, known[key], where=where)
        found[key] = prediction.sql
    return [found.get(str(question.id)) for question in questions]


def _read_lines(path: Path, questions: Sequence[Question]) -> list[str | None]:
    """Read one query a line, in the questions' order; a tab and the db_id may follow. Empty: none."""
    try:
        lines = path.read_text(encoding="utf-8").rstrip().split("\n")
    except UnicodeDecodeError as error:
        broken = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{broken}: not UTF-8: {error.reason}") from None
    if len(lines) > len(questions):
        raise DataError(
            f"{path}:{len(questions) + 1}: {len(lines)} lines for {len(questions)} questions; one each is "
            f"expected, in the order of the split"
        )
    found: list[str | None] = []
    for number, (line, question) in enumerate(zip(lines, questions, strict=False), start=1):
        sql, *rest = line.strip().replace(BIRD_SEPARATOR, "\t").split("\t")
        if rest and rest != [question.db_id]:
            raise DataError(
                f"{path}:{number}: after a tab the db_id {question.db_id!r} is expected, got "
                f"{rest[-1]!r:.60}; SQL with tabs, or another split? a .jsonl file can hold tabs"
            )
        found.append(sql.strip() or None)
    return found + [None] * (len(questions) - len(lines))


def _read_bird(path: Path, questions: Sequence[Question]) -> list[str | None]:
    try:
        value = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error.reason}") from None
    if not isinstance(value, dict):
        raise DataError(
            f"{path}: an object like {{'0': 'SELECT ...'}} is expected, not {type(value).__name__}"
        )
    by_id = {str(question.id): index for index, question in enumerate(questions)}
    # BIRD numbers by position, which is the id too, save in its mini-dev.
    places = by_id if value.keys() <= by_id.keys() else {str(index): index for index in range(len(questions))}
    found: list[str | None] = [None] * len(questions)
    for key, text in value.items():
        where = f"{path}: key {key!r}"
        if key not in places:
            raise DataError(f"{where}: there is no question with this id or position in the split")
        if not isinstance(text, str):  # what BIRD's own scripts leave where a request failed
            continue
        sql, separator, db_id = text.partition(BIRD_SEPARATOR)
        if separator:
            _check_database(db_id.strip(), questions[places[key]], where=where)
        found[places[key]] = sql.strip() or None
    return found


def _check_database(db_id: str, question: Question, *, where: str) -> None:
    if db_id != question.db_id:
        raise DataError(
            f"{where}: this prediction is for database {db_id!r}, question {question.id!r} is about "
            f"{question.db_id!r}; is it of another split?"
        )


READERS: dict[str, Callable[[Path, Sequence[Question]], list[str | None]]] = {
    ".jsonl": _read_jsonl,
    ".sql": _read_lines,
    ".txt": _read_lines,
    ".json": _read_bird,
}
