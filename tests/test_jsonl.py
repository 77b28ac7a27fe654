"""JSON Lines: what is wrong is found where it is, and a killed job loses half a line at most."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense import jsonl
from sense.errors import DataError
from sense.records import Label, Prediction, Verdict

ONE = Prediction(id=1, db_id="pets", sql="SELECT 1")
TWO = Prediction(id="b", db_id="pets", sql="SELECT 'é\n'")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "predictions.jsonl"


def test_what_was_written_is_read(file: Path) -> None:
    assert jsonl.write(file, [ONE, TWO]) == 2
    assert jsonl.read(file, Prediction) == [ONE, TWO]


def test_a_label_is_read_as_a_label(file: Path) -> None:
    verdict = Verdict(
        candidate_id="1-0", question_id=1, db_id="pets", sql="", logprob=-0.5, label=Label.UNJUDGED
    )
    jsonl.write(file, [verdict])
    assert jsonl.read(file, Verdict) == [verdict]


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_survives(text: str) -> None:
    line = jsonl.to_line({"sql": text})
    assert line.count("\n") == 1
    assert jsonl.json.loads(line.encode()) == {"sql": text}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param(b'{"id": 1, "db_id": "pets"}', ":2: 'sql' is missing", id="field"),
        pytest.param(
            b'{"id": 1, "db_id": "pets", "sql": 3}',
            ":2: 'sql': Input should be a valid string, got 3",
            id="type",
        ),
        pytest.param(b'{"id": 1, "db_', ":2: not JSON", id="half a line"),
        pytest.param(b'"\xff"', ":2: not JSON", id="not UTF-8"),
        pytest.param(b"[" * 100_000, ":2: not JSON", id="deep"),
        pytest.param(b"1" * 5_000, ":2: not JSON", id="huge number"),
        pytest.param(b"[1]", ":2: ", id="no object"),
    ],
)
def test_an_error_names_file_line_and_field(file: Path, line: bytes, message: str) -> None:
    file.write_bytes(jsonl.to_line(ONE).encode() + line + b"\n")
    with pytest.raises(DataError) as error:
        jsonl.read(file, Prediction)
    assert str(error.value).startswith(f"{file}{message}")


def test_a_long_value_is_cut_in_the_message(file: Path) -> None:
    jsonl.write(file, [{"id": 1, "db_id": "pets", "sql": ["x" * 10_000]}])
    with pytest.raises(DataError) as error:
        jsonl.read(file, Prediction)
    assert len(str(error.value)) < len(str(file)) + 200


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        jsonl.read(file, Prediction)
    with pytest.raises(DataError, match="this is a folder"):
        jsonl.read(file.parent, Prediction)


def test_objects_are_read_without_a_record_type(file: Path) -> None:
    file.write_text('{"a": 1}\n\n[2]\n')
    with pytest.raises(DataError, match=r":3: an object like \{\.\.\.\} is expected, not list"):
        jsonl.read_objects(file)


def test_half_a_last_line_is_dropped_and_written_anew(file: Path) -> None:
    file.write_text(jsonl.to_line(ONE) + jsonl.to_line(TWO)[:-9])
    assert jsonl.resume(file, Prediction) == [ONE]
    with jsonl.Appender(file) as appender:
        appender.add(TWO)
    assert jsonl.read(file, Prediction) == [ONE, TWO]


def test_an_appender_alone_takes_off_half_a_line(file: Path) -> None:
    file.write_text("half")
    with jsonl.Appender(file) as appender:
        appender.add(ONE, TWO)
    assert jsonl.read(file, Prediction) == [ONE, TWO]


def test_nothing_to_resume_is_no_error(file: Path) -> None:
    assert jsonl.resume(file, Prediction) == []


def test_a_write_that_fails_leaves_the_old_file(file: Path) -> None:
    jsonl.write(file, [ONE])
    with pytest.raises(ZeroDivisionError):
        jsonl.write(file, (1 // 0 for _ in range(2)))
    assert jsonl.read(file, Prediction) == [ONE]
