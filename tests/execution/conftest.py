"""A small shop, as a real SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "shop.sqlite")) as connection:
        connection.executescript(
            """
            CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, market_value INT);
            INSERT INTO item VALUES (1, 'pen', 1.0, 5), (2, 'ink', 2.5, 5), (3, 'pad', 2.5, NULL);
            CREATE TABLE odd(a TEXT);
            INSERT INTO odd VALUES (CAST(x'41ff42' AS TEXT));
            CREATE TABLE many(n INT);
            INSERT INTO many WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1000)
              SELECT n FROM c;
            CREATE VIRTUAL TABLE notes USING fts5(body);
            INSERT INTO notes VALUES ('a blue pen');
            """
        )
    return folder / "shop.sqlite"
