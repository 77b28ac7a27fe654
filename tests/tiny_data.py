"""A small data folder in Spider's layout: two databases, seven questions that take turns."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

QUESTIONS = [
    ("pets", "How many pets?", "SELECT COUNT(*) FROM pet"),
    ("pets", "Names of all pets?", "SELECT name FROM pet"),
    ("pets", "Oldest pet?", "SELECT name FROM pet ORDER BY age DESC LIMIT 1"),
    ("shops", "Cities?", "SELECT city FROM shop"),
    ("shops", "Cities with two shops?", "SELECT city FROM shop GROUP BY city HAVING COUNT(*) = 2"),
    ("pets", "Average age?", "SELECT AVG(age) FROM pet"),
    ("shops", "How many shops?", "SELECT COUNT(*) FROM shop"),
]
TABLES = {
    "pets": "CREATE TABLE pet (id INTEGER PRIMARY KEY, name TEXT, age INTEGER);"
    "INSERT INTO pet VALUES (1, 'Rex', 3), (2, 'Tom', 5)",
    "shops": "CREATE TABLE shop (id INTEGER PRIMARY KEY, city TEXT); INSERT INTO shop VALUES (1, 'Bern')",
}


@pytest.fixture
def pets_and_shops(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for db_id, script in TABLES.items():
        path = folder / "database" / db_id / f"{db_id}.sqlite"
        path.parent.mkdir(parents=True)
        connection = sqlite3.connect(path)
        connection.executescript(script)
        connection.close()
    # Ids of their own, which are no positions.
    items = [
        {"db_id": db_id, "question": question, "query": sql, "id": f"q{n * 10}"}
        for n, (db_id, question, sql) in enumerate(QUESTIONS)
    ]
    for split in ("train", "dev"):
        (folder / f"{split}.json").write_text(json.dumps(items))
    return folder
