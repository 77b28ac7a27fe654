"""What a strong model wrote, when it is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from sense import jsonl
from sense.errors import ConfigError, DataError
from sense.strong.written import read_databases

from .conftest import DATABASE


def test_what_was_written_is_read(tmp_path: Path) -> None:
    jsonl.write(tmp_path / "databases.jsonl", [DATABASE])
    (database,) = read_databases(tmp_path)
    assert database.model_dump() == DATABASE


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the run folder of 'sense synthesize' is expected"):
        read_databases(tmp_path)


@pytest.mark.parametrize("db_id", ["../../etc/x", "", ".", "a/b", "Mews", "a\n", "é", "a\0"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, db_id: str) -> None:
    jsonl.write(tmp_path / "databases.jsonl", [DATABASE | {"db_id": db_id}])
    with pytest.raises(DataError, match="'db_id' must be lower-case letters, digits and _"):
        read_databases(tmp_path)


def test_two_databases_of_one_name_are_refused(tmp_path: Path) -> None:
    jsonl.write(tmp_path / "databases.jsonl", [DATABASE, DATABASE])
    with pytest.raises(DataError, match="two databases are called 'mews'"):
        read_databases(tmp_path)
