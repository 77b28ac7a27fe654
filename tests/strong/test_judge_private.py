"""The `judge` stage on a copy of the user's own database: nothing private is in any request."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.databases.spider import write_questions
from sense.errors import DataError
from sense.rundir import RunDir
from sense.strong.judge import Config, run
from sense.strong.own_database import build_or_copy, read_own

SECRETS = ("zq@secret", "717273", "Zq Secretson")
SCRIPT = """
CREATE TABLE person (
    id INTEGER PRIMARY KEY, name TEXT, email TEXT UNIQUE, ssn INT, city TEXT, g TEXT AS (email || '!')
);
INSERT INTO person VALUES (1, 'Zq Secretson', 'zq@secret', 717273, 'Oslo'), (2, NULL, NULL, 1, 'Rome');
CREATE TABLE login (owner TEXT REFERENCES person (email), place TEXT);
INSERT INTO login VALUES ('zq@secret', 'Bergen');
CREATE VIEW contact AS SELECT city, email AS address FROM person;
"""
PRIVATE = ("person.name", "*.email", "person.ssn")
TOUCHING = (
    "SELECT email FROM person",
    "SELECT * FROM person",
    "SELECT max(ssn) FROM person",
    "SELECT upper(name) || '' FROM person",
    "SELECT g FROM person",
    "SELECT owner FROM login",
    "SELECT address FROM contact",
    "SELECT x FROM (SELECT email AS x FROM person)",
    "SELECT json_extract('{}', name) FROM person",  # the error has the value
    "SELECT city FROM person WHERE ssn > (SELECT avg(ssn) FROM person)",
)
OTHERS = ("SELECT city FROM person ORDER BY id", "SELECT count(*) FROM person", "SELECT place FROM login")


def requests(folder: Path, **kept_back: Any) -> dict[str, str]:
    """Judge all queries about a database that was asked about so; return the requests, by query."""
    with closing(sqlite3.connect(folder / "own.sqlite")) as connection:
        connection.executescript(SCRIPT)
    settings = {"private": PRIVATE, "hide_private": False, "with_values": True} | kept_back
    line = read_own([folder / "own.sqlite"], **settings)[0].line()
    build_or_copy(line, folder / "data" / "database" / "own" / "own.sqlite")
    jsonl.write(folder / "databases.jsonl", [line.model_dump(mode="json")])
    asked = [
        {"question_id": number, "db_id": "own", "question": "What?", "query": sql}
        for number, sql in enumerate((*TOUCHING, *OTHERS))
    ]
    write_questions(folder / "data" / "train.json", asked)
    return judge(folder)


def judge(folder: Path, **settings: Any) -> dict[str, str]:
    config = Config.parse({"data": folder / "data", "workers": 1} | settings, where="test")
    run(config, RunDir(folder / "judged", stage="judge", config=config))
    texts = (json.dumps(line["body"]) for line in jsonl.read_objects(folder / "judged" / "requests.jsonl"))
    return dict(zip((*TOUCHING, *OTHERS), texts, strict=True))


def test_no_private_value_is_in_any_request(tmp_path: Path) -> None:
    sent = requests(tmp_path)
    assert [secret for secret in SECRETS if any(secret in text for text in sent.values())] == []
    assert ["Result of the SQL" in sent[sql] for sql in TOUCHING] == [False] * len(TOUCHING)


def test_what_reads_nothing_private_is_shown_with_its_rows(tmp_path: Path) -> None:
    sent = requests(tmp_path)
    assert "2 rows:\\ncolumn 1\\nOslo\\nRome" in sent[OTHERS[0]]
    assert ["Result of the SQL" in sent[sql] for sql in OTHERS] == [True] * len(OTHERS)
    assert "email text, ssn number, city text [Oslo | Rome]" in sent[OTHERS[0]]


def test_hidden_columns_are_not_even_named(tmp_path: Path) -> None:
    sent = requests(tmp_path, hide_private=True)
    assert all("ssn number" not in text and "city text [Oslo | Rome]" in text for text in sent.values())


def test_where_no_values_were_sent_none_are_now(tmp_path: Path) -> None:
    sent = requests(tmp_path, private=(), with_values=False)
    shown = [value for value in (*SECRETS, "Oslo", "Bergen") if any(value in each for each in sent.values())]
    assert shown == []


def test_a_marked_folder_without_word_of_what_is_private_is_refused(tmp_path: Path) -> None:
    requests(tmp_path)
    (tmp_path / "databases.jsonl").unlink()
    with pytest.raises(DataError, match=r"own: marked private by its file PRIVATE, but which columns are is"):
        judge(tmp_path, values=False)
