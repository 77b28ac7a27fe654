"""The three forms of prediction files."""

import json
from pathlib import Path

import pytest

from sense.errors import DataError
from sense.evaluation.predictions import read_predictions
from sense.records import Question

QUESTIONS = [Question(id=n, db_id="pets", question="?") for n in (10, 11, 12)]


def prediction(question_id: object, sql: str, db_id: str = "pets") -> str:
    return json.dumps({"id": question_id, "db_id": db_id, "sql": sql}) + "\n"


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_ids_match_in_any_order_and_type(tmp_path: Path) -> None:
    path = write(tmp_path, "p.jsonl", prediction("12", "C") + prediction(10, "A"))
    assert read_predictions(path, QUESTIONS) == ["A", None, "C"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            prediction(10, "A") + prediction(3, "B"), ":2: there is no question with id 3", id="unknown"
        ),
        pytest.param(
            prediction(10, "A") + "\n" + prediction("10", "B"),
            ":3: a second prediction for question '10'",
            id="duplicate after an empty line",
        ),
        pytest.param(
            prediction(10, "A", "cars"), ":1: this prediction is for database 'cars'", id="database"
        ),
        pytest.param('{"id": 10, "db_id": "pets"}', ":1: 'sql' is missing", id="field"),
    ],
)
def test_error_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, "p.jsonl", text)
    with pytest.raises(DataError) as caught:
        read_predictions(path, QUESTIONS)
    assert str(caught.value).startswith(f"{path}{message}")


@pytest.mark.parametrize("suffix", [".sql", ".txt"])
def test_lines_stand_in_the_order_of_the_questions(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, "p" + suffix, "A\tpets\r\n\n")
    assert read_predictions(path, QUESTIONS) == ["A", None, None]
    path.write_text("A\n\nC x\n")
    assert read_predictions(path, QUESTIONS) == ["A", None, "C x"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        pytest.param(
            "SELECT a,\tb FROM t", r":1: after a tab the db_id 'pets' is expected, got 'b FROM t'", id="tab"
        ),
        pytest.param("SELECT a\tcars", "the db_id 'pets' is expected, got 'cars'", id="another-split"),
        pytest.param("SELECT\ta\tpets", "the db_id 'pets' is expected", id="tab-and-db_id"),
    ],
)
def test_sql_with_a_tab_is_no_line(tmp_path: Path, line: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read_predictions(write(tmp_path, "p.sql", line + "\n"), QUESTIONS)


def test_birds_lines_are_read_as_well(tmp_path: Path) -> None:
    path = write(tmp_path, "p.sql", "A\t----- bird -----\tpets\n")
    assert read_predictions(path, QUESTIONS) == ["A", None, None]


def test_more_lines_than_questions_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "p.sql", "A\nB\nC\nD\n")
    with pytest.raises(DataError, match=r"p\.sql:4: 4 lines for 3 questions"):
        read_predictions(path, QUESTIONS)


@pytest.mark.parametrize(("first", "third"), [("0", "2"), ("10", "12")])
def test_bird_numbers_by_position_or_by_id(tmp_path: Path, first: str, third: str) -> None:
    value = {third: "C\t----- bird -----\tpets", first: "A"}
    path = write(tmp_path, "p.json", json.dumps(value))
    assert read_predictions(path, QUESTIONS) == ["A", None, "C"]


def test_birds_failed_requests_are_missing(tmp_path: Path) -> None:
    path = write(tmp_path, "p.json", '{"0": 0, "1": " \\t----- bird -----\\tpets"}')
    assert read_predictions(path, QUESTIONS) == [None, None, None]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param(
            "p.json", '{"0": "A\\t----- bird -----\\tcars"}', "key '0': this prediction is for", id="database"
        ),
        pytest.param(
            "p.json", '{"3": "A"}', "key '3': there is no question with this id or position", id="key"
        ),
        pytest.param("p.json", "[]", "is expected, not list", id="list"),
        pytest.param("p.json", '{\n"0" 1}', r"p\.json:2: not JSON", id="broken"),
        pytest.param(
            "p.csv", "", r"unknown form of predictions '\.csv'.*known: \.json, \.jsonl, \.sql", id="form"
        ),
    ],
)
def test_error_names_the_cause(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_predictions(write(tmp_path, name, text), QUESTIONS)


def test_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"p\.sql: no such file"):
        read_predictions(tmp_path / "p.sql", QUESTIONS)
