"""What is known of gold queries before anything is run: how hard each is, and which SQL features it has."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from sense.caches import file_digest, remembered
from sense.databases.features import sql_features
from sense.databases.schema import TABLES_FILE, load_schema
from sense.databases.spider import database_file, load_difficulties, load_questions, split_file
from sense.records import QuestionId

VERSION = 2  # of how the facts are found: another number forgets what was found before


class GoldFacts(NamedTuple):
    """By question: the hardness, and the features in alphabetical order."""

    hardness: dict[QuestionId, str]
    features: dict[QuestionId, list[str]]


def gold_facts(data: Path, split: str, *, has_difficulties: bool) -> GoldFacts:
    """Find the facts of a split's gold queries; kept for later runs, for it takes longer than to score them.

    Args:
        data: folder of the questions and databases.
        split: which question file.
        has_difficulties: the question file may state difficulties, which are taken in place of hardness.
    """
    questions = load_questions(data, split)
    names = sorted({question.db_id for question in questions})
    tables = data / TABLES_FILE
    schemas = [tables] if tables.exists() else [database_file(data, name) for name in names]

    def make() -> list[list[object]]:
        from sense.evaluation.gold_hardness import gold_hardness  # here, for it is seldom needed twice

        known = {name: load_schema(data, name, database_file(data, name)) for name in names}
        return [
            [gold_hardness(each.gold_sql, known[each.db_id]), sorted(sql_features(each.gold_sql))]
            for each in questions
        ]

    key = [VERSION, file_digest(split_file(data, split)), *map(file_digest, schemas)]
    found = remembered("gold-facts", key, make)
    hardness = {question.id: level for question, (level, _) in zip(questions, found, strict=True)}
    features = {question.id: each for question, (_, each) in zip(questions, found, strict=True)}
    difficulties = load_difficulties(data, split) if has_difficulties else {}
    return GoldFacts(hardness | difficulties, features)
