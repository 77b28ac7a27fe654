"""The folder layout of Spider, and what BIRD changes in it: question files, one folder for each database.

    data/dev.json, data/train_spider.json, ...   a list of questions; `<split>.jsonl`, one a line, is read too
    data/database/<db_id>/<db_id>.sqlite         BIRD: dev_databases, train_databases

Schemas (`tables.json`) are the matter of `databases.schema`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sense import jsonl
from sense.caches import file_digest, remembered
from sense.databases.sqlite import check_file
from sense.errors import DatabaseError, DataError
from sense.records import Question, QuestionId

DATABASE_FOLDERS = ("database", "dev_databases", "train_databases", "test_database")
GOLD_KEYS = ("query", "SQL", "gold_sql")  # Spider's, BIRD's, ours; the first one names the field in errors
ID_KEYS = ("question_id", "id")
PRIVATE_MARK = "PRIVATE"  # a file beside a database that is not to leave the machine
LARGE_FILE_BYTES = 2**20  # Spider's question files hold syntax trees too, ten times what is read of them
VERSION = 1  # of what is read of them: another number forgets what was read before


def load_questions(data: Path, split: str) -> list[Question]:
    """Read the questions of a split in the order of its file.

    A question's id is its own `question_id` or `id`, else its position from 0. An empty `query` says that the
    gold SQL is not known.

    Raises:
        DataError: there is no such folder or split, the file is no JSON, a field is missing or of the wrong
            type, or two questions have one id.
    """
    path = split_file(data, split)
    found = path.stat()
    return list(_load_questions(path, found.st_mtime_ns, found.st_size))


# A command looks at its questions before it starts, and reads them when it does.
@lru_cache(maxsize=2)
def _load_questions(path: Path, _changed_ns: int, size: int) -> tuple[Question, ...]:
    if size < LARGE_FILE_BYTES:
        return _read_questions(path)

    def make() -> list[tuple[QuestionId, str, str, str, str]]:
        return [(q.id, q.db_id, q.question, q.gold_sql, q.evidence) for q in _read_questions(path)]

    return tuple(
        Question(id=each[0], db_id=each[1], question=each[2], gold_sql=each[3], evidence=each[4])
        for each in remembered("questions", [VERSION, file_digest(path)], make)
    )


def _read_questions(path: Path) -> tuple[Question, ...]:
    questions: list[Question] = []
    places: dict[str, str] = {}
    for position, (where, item) in enumerate(_items(path)):
        question = _question(item, position=position, where=where)
        other = places.setdefault(str(question.id), where)
        if other != where:
            raise DataError(f"{where}: id {question.id!r} is that of {other} too; ids must differ")
        questions.append(question)
    return tuple(questions)


def check_split(data: Path, split: str) -> None:
    """Raise what `load_questions` and `check_databases` would raise for a split."""
    check_databases(data, load_questions(data, split))


def load_difficulties(data: Path, split: str) -> dict[QuestionId, str]:
    """Read BIRD's own `difficulty` of the questions that state it, by question id."""
    found: dict[QuestionId, str] = {}
    for position, (where, item) in enumerate(_items(split_file(data, split))):
        if "difficulty" in item:
            found[_id(item, position=position, where=where)] = _text(item, "difficulty", where=where)
    return found


def split_file(data: Path, split: str) -> Path:
    """Find the question file of a split.

    Raises:
        DataError: there is no such folder, or no such split; the error lists the splits that are there.
    """
    if not data.is_dir():
        raise DataError(f"{data}: no such data folder")
    for path in (data / f"{split}.json", data / f"{split}.jsonl"):
        if path.is_file():
            return path
    there = sorted(
        path.stem
        for path in data.iterdir()
        if path.suffix in (".json", ".jsonl") and not path.stem.endswith("tables")
    )
    raise DataError(f"{data / split}.json: no such split; splits there: {', '.join(there) or 'none'}")


def write_questions(path: Path, questions: Sequence[dict[str, Any]]) -> None:
    """Write a question file as Spider does, so that it is there completely or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(list(questions), file, ensure_ascii=False, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def database_file(data: Path, db_id: str) -> Path:
    """Find the main file of a database, `<db_id>.sqlite`.

    Raises:
        DatabaseError: it is not there, or `db_id` is no plain name.
    """
    if db_id in ("", ".", "..") or any(mark in db_id for mark in "/\\\0"):
        raise DatabaseError(f"database {db_id!r}: a db_id must be the name of one folder")
    for folder in DATABASE_FOLDERS:
        path = data / folder / db_id / f"{db_id}.sqlite"
        if path.is_file():
            return path
    expected = data / _databases_of(data) / db_id / f"{db_id}.sqlite"
    raise DatabaseError(f"database {db_id!r}: no such file {expected}")


def is_private(data: Path, db_id: str) -> bool:
    """Tell whether a database is marked as one that is not to leave the machine.

    Raises:
        DatabaseError: as `database_file`.
    """
    return database_file(data, db_id).with_name(PRIVATE_MARK).exists()


def database_files(data: Path, db_id: str) -> tuple[Path, ...]:
    """Find all files of a database, the main one first; the distilled test suites have many.

    Raises:
        DatabaseError: the main file is not there, or `db_id` is no plain name.
    """
    main = database_file(data, db_id)
    return main, *sorted(path for path in main.parent.glob("*.sqlite") if path.is_file() and path != main)


def check_databases(data: Path, questions: Iterable[Question]) -> None:
    """Check before any work that every question has its database.

    Raises:
        DatabaseError: names the first database that has no file, or one that is no SQLite database.
    """
    for db_id in dict.fromkeys(question.db_id for question in questions):
        for path in database_files(data, db_id):
            check_file(path)


def _databases_of(data: Path) -> str:
    return next((folder for folder in DATABASE_FOLDERS if (data / folder).is_dir()), DATABASE_FOLDERS[0])


def _items(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return each object of a question file and how an error calls its place."""
    if path.suffix == ".jsonl":
        objects = jsonl.read_objects(path)
        lines = [n for n, line in enumerate(path.read_bytes().split(b"\n"), start=1) if line.strip()]
        items = [(f"{path}:{line}", item) for line, item in zip(lines, objects, strict=True)]
    else:
        items = [(f"{path}: question {index}", item) for index, item in enumerate(_json_list(path))]
    if not items:
        raise DataError(f"{path}: there are no questions in it")
    for where, item in items:
        if not isinstance(item, dict):
            raise DataError(f"{where}: an object like {{...}} is expected, not {type(item).__name__}")
    return items


def _json_list(path: Path) -> list[Any]:
    try:
        value = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8: {error.reason}") from None
    if not isinstance(value, list):
        raise DataError(f"{path}: a list of questions is expected, not {type(value).__name__}")
    return value


def _question(item: dict[str, Any], *, position: int, where: str) -> Question:
    gold_key = next((key for key in GOLD_KEYS if key in item), GOLD_KEYS[0])
    db_id = _text(item, "db_id", where=where)
    if not db_id:
        raise DataError(f"{where}: 'db_id' is empty")
    return Question(
        id=_id(item, position=position, where=where),
        db_id=db_id,
        question=_text(item, "question", where=where),
        gold_sql=_text(item, gold_key, where=where),
        evidence=_text(item, "evidence", where=where) if item.get("evidence") is not None else "",
    )


def _id(item: dict[str, Any], *, position: int, where: str) -> QuestionId:
    for key in ID_KEYS:
        value = item.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise DataError(f"{where}: {key!r} must be a number or a text, got {value!r}")
        return value
    return position


def _text(item: dict[str, Any], key: str, *, where: str) -> str:
    if key not in item:
        raise DataError(f"{where}: {key!r} is missing")
    value = item[key]
    if not isinstance(value, str):
        raise DataError(f"{where}: {key!r} must be a text, got {value!r}")
    return value
