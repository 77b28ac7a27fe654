"""A data set of questions and SQL in Spider's layout, read and taken apart to be measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlglot import exp

from sense.databases.features import sql_features
from sense.databases.gold_facts import Names, Place, parse
from sense.databases.hardness import hardness
from sense.databases.schema import Schema, load_schema
from sense.databases.skeleton import skeleton, template
from sense.databases.spider import database_file, load_questions
from sense.databases.sql_tokens import code_tokens
from sense.errors import DataError
from sense.progress import meter
from sense.records import Question
from sense.strong.near_duplicates import words

SPLIT = "train"  # of a folder that is given without a question file


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is measured of a query; its hardness is None where it cannot be read."""

    skeleton: str
    template: str
    hardness: str | None
    features: frozenset[str]
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Questions with their words and queries, one by one, and the schemas of the databases that are asked.

    `used_tables` and `used_columns` are what some query names, by database; `*` names no column.
    """

    questions: Sequence[Question]
    words: Sequence[Sequence[str]]
    queries: Sequence[Query]
    schemas: Mapping[str, Schema]
    used_tables: Mapping[str, frozenset[str]]
    used_columns: Mapping[str, frozenset[Place]]


def split_of(path: Path) -> tuple[Path, str]:
    """Tell folder and split: a folder means its train split, a question file itself.

    >>> split_of(Path("spider/train_spider.json"))
    (PosixPath('spider'), 'train_spider')
    """
    return (path.parent, path.stem) if path.suffix in (".json", ".jsonl") else (path, SPLIT)


def read_schemas(path: Path) -> tuple[list[Question], dict[str, Schema]]:
    """Read the questions of a data set and the schemas they are about.

    Raises:
        DataError: they cannot be read, there are none, or one has no SQL.
        DatabaseError: a database is missing.
    """
    data, split = split_of(path)
    questions = load_questions(data, split)
    if not questions:
        raise DataError(f"{path}: there are no questions in it")
    for question in questions:
        if not question.gold_sql.strip():
            raise DataError(f"{path}: question {question.id!r} has no SQL, so the set cannot be measured")
    names = dict.fromkeys(question.db_id for question in questions)
    return questions, {name: load_schema(data, name, database_file(data, name)) for name in names}


def take_apart(name: str, questions: Sequence[Question], schemas: Mapping[str, Schema]) -> DataSet:
    """Measure every query of a data set once; `name` is for the progress line."""
    texts = dict.fromkeys(question.gold_sql for question in questions)
    with meter(f"report: {name}", total=len(texts)) as shown:
        known: dict[str, Query] = {}
        for sql in texts:
            known[sql] = _query(sql)
            shown.advance()
    of_database: dict[str, dict[str, None]] = {}
    for question in questions:
        of_database.setdefault(question.db_id, {})[question.gold_sql] = None
    used = {db_id: _used(golds, schemas[db_id]) for db_id, golds in of_database.items()}
    return DataSet(
        questions=questions,
        words=[words(question.question) for question in questions],
        queries=[known[question.gold_sql] for question in questions],
        schemas=schemas,
        used_tables={db_id: tables for db_id, (tables, _) in used.items()},
        used_columns={db_id: columns for db_id, (_, columns) in used.items()},
    )


def _query(sql: str) -> Query:
    return Query(
        skeleton=skeleton(sql),
        template=template(sql),
        hardness=hardness(sql),
        features=frozenset(feature.value for feature in sql_features(sql)),
        tokens=len(code_tokens(sql)),
    )


def _used(golds: Iterable[str], schema: Schema) -> tuple[frozenset[str], frozenset[Place]]:
    names = Names(schema)
    spelled = {table.name.lower(): table.name for table in schema.tables}
    tables: set[str] = set()
    columns: set[Place] = set()
    for sql in golds:
        tree = parse(sql)
        if tree is None:
            continue
        tables |= {
            spelled[table.name.lower()] for table in tree.find_all(exp.Table) if table.name.lower() in spelled
        }
        columns |= {
            place for column in tree.find_all(exp.Column) if (place := names.place(column)) is not None
        }
    return frozenset(tables), frozenset(columns)
