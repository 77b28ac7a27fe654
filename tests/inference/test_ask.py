"""`sense ask` with a small random model: it writes something, and that is run in the sandbox."""

import json
from pathlib import Path

import pytest

from sense import cli
from sense.errors import DatabaseError
from sense.inference.ask import ask


def test_an_answer_is_sql_and_how_running_it_ended(
    llama_folder: Path, pets_and_shops: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = pets_and_shops / "database/pets/pets.sqlite"
    before = database.read_bytes()
    argv = ["ask", "How many pets?", "--model", str(llama_folder), "--database", str(database), "--json"]
    code = cli.main(argv)
    answer = json.loads(capsys.readouterr().out)
    # A model that knows nothing writes no SQL that runs: done, but short of an answer.
    assert (code, answer["rows"]) == (1, [])
    assert answer["sql"]
    assert answer["ending"]
    assert database.read_bytes() == before


def test_a_missing_database_is_an_error_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"none\.sqlite"):
        ask("How many?", database=tmp_path / "none.sqlite", model="no/such-model")
