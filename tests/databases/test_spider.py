"""Spider's folder layout: what is read, and what is said of a folder that does not hold it."""

import json
from pathlib import Path

import pytest

from sense.databases.spider import (
    check_databases,
    database_file,
    database_files,
    load_difficulties,
    load_questions,
    write_questions,
)
from sense.errors import DatabaseError, DataError
from sense.records import Question

SPIDER = {"db_id": "pets", "question": "How many?", "query": "SELECT count(*) FROM pet"}
BIRD = {"db_id": "pets", "question": "How many?", "SQL": "SELECT 1", "evidence": "all", "question_id": 7}


def folder(tmp_path: Path, name: str, *items: object) -> Path:
    (tmp_path / name).write_text(json.dumps(items))
    return tmp_path


def make_database(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"SQLite format 3\0")
    return path


def test_position_is_the_id_where_the_file_has_none(tmp_path: Path) -> None:
    data = folder(tmp_path, "dev.json", SPIDER, SPIDER)
    first = Question(id=0, db_id="pets", question="How many?", gold_sql="SELECT count(*) FROM pet")
    assert load_questions(data, "dev")[0] == first
    assert [question.id for question in load_questions(data, "dev")] == [0, 1]


def test_birds_keys_are_known(tmp_path: Path) -> None:
    data = folder(tmp_path, "dev.json", BIRD | {"difficulty": "simple"})
    expected = Question(id=7, db_id="pets", question="How many?", gold_sql="SELECT 1", evidence="all")
    assert load_questions(data, "dev") == [expected]
    assert load_difficulties(data, "dev") == {7: "simple"}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_questions(tmp_path / "train.json", [SPIDER | {"id": "q-é"}])
    assert [question.id for question in load_questions(tmp_path, "train")] == ["q-é"]
    assert [path.name for path in tmp_path.iterdir()] == ["train.json"]


def test_one_question_a_line_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(json.dumps(SPIDER) + "\n\n" + json.dumps(SPIDER) + "\n")
    assert len(load_questions(tmp_path, "own")) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            '[\n{"db_id": "a",\n"question" "b"}]', ":3: not JSON: Expecting ':' delimiter", id="broken"
        ),
        pytest.param("{}", ": a list of questions is expected, not dict", id="no list"),
        pytest.param("[]", ": there are no questions in it", id="empty"),
        pytest.param("[1]", ": question 0: an object like {...} is expected, not int", id="no object"),
        pytest.param('[{"db_id": "a", "question": "b"}]', ": question 0: 'query' is missing", id="no query"),
        pytest.param(
            '[{"db_id": "a", "question": 3, "query": ""}]',
            ": question 0: 'question' must be a text, got 3",
            id="type",
        ),
        pytest.param(
            '[{"db_id": "", "question": "b", "query": ""}]', ": question 0: 'db_id' is empty", id="db_id"
        ),
        pytest.param(
            '[{"db_id": "a", "question": "b", "SQL": "", "id": 1},{"db_id":"a", "question": "b", "SQL": ""}]',
            ": question 1: id 1 is that of {path}: question 0 too; ids must differ",
            id="same id",
        ),
    ],
)
def test_error_names_the_place(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "dev.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        load_questions(tmp_path, "dev")
    assert str(caught.value) == f"{path}" + message.replace("{path}", str(path))


def test_bytes_that_are_no_text_are_placed(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_bytes(b'[\n"\xff"]')
    with pytest.raises(DataError, match=r"dev\.json:2: not UTF-8"):
        load_questions(tmp_path, "dev")


def test_error_in_json_lines_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text("\n" + json.dumps(SPIDER) + '\n{"db_id": "a", "question": "b"}\n')
    with pytest.raises(DataError, match=r"dev\.jsonl:3: 'query' is missing"):
        load_questions(tmp_path, "dev")


def test_missing_split_names_those_that_are_there(tmp_path: Path) -> None:
    data = folder(folder(tmp_path, "train_spider.json", SPIDER), "tables.json")
    with pytest.raises(DataError, match=r"dev\.json: no such split; splits there: train_spider$"):
        load_questions(data, "dev")


def test_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such data folder"):
        load_questions(tmp_path / "nowhere", "dev")


def test_main_file_comes_first(tmp_path: Path) -> None:
    paths = [make_database(tmp_path / "database" / "pets" / f"{name}.sqlite") for name in ("pets", "a", "z")]
    make_database(tmp_path / "database" / "pets" / "schema.sql")
    assert database_files(tmp_path, "pets") == tuple(paths)
    assert database_file(tmp_path, "pets") == paths[0]


def test_birds_folder_is_found(tmp_path: Path) -> None:
    path = make_database(tmp_path / "dev_databases" / "pets" / "pets.sqlite")
    assert database_files(tmp_path, "pets") == (path,)


def test_missing_database_is_named_with_its_place(tmp_path: Path) -> None:
    make_database(tmp_path / "dev_databases" / "pets" / "pets.sqlite")
    questions = [Question(id=n, db_id=db_id, question="?") for n, db_id in enumerate(["pets", "cars"])]
    with pytest.raises(DatabaseError) as caught:
        check_databases(tmp_path, questions)
    assert str(caught.value) == f"database 'cars': no such file {tmp_path}/dev_databases/cars/cars.sqlite"


@pytest.mark.parametrize("db_id", ["..", "", "../pets", "a/b", "a\\b", "/etc", "a\0"])
def test_no_db_id_leads_out_of_the_folder(tmp_path: Path, db_id: str) -> None:
    with pytest.raises(DatabaseError, match="a db_id must be the name of one folder"):
        database_files(tmp_path, db_id)
