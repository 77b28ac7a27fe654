"""What resembles a held-out question or query."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sense.databases.skeleton import skeleton
from sense.errors import ConfigError, DataError
from sense.strong.decontaminate import HeldOut

SPIDER = {
    "db_id": "concert_singer",
    "question": "Show the names and release years of the songs by the youngest singer",
    "query": "SELECT song_name FROM singer ORDER BY age LIMIT 1",
}
BIRD = {
    "db_id": "pets_1",
    "question": "How many pets weigh over ten?",
    "SQL": "SELECT count(*) FROM pets WHERE weight > 10",
}
OURS = {"db_id": "mews", "question": "Birds?", "gold_sql": ""}


@pytest.fixture
def held_out(tmp_path: Path) -> HeldOut:
    (tmp_path / "dev.json").write_text(json.dumps([SPIDER]))
    (tmp_path / "mini.json").write_text(json.dumps([BIRD]))
    (tmp_path / "own.jsonl").write_text(json.dumps(OURS) + "\n")
    return HeldOut([tmp_path / name for name in ("dev.json", "mini.json", "own.jsonl")])


@pytest.mark.parametrize(
    ("question", "file"),
    [
        pytest.param(SPIDER["question"].upper() + "!", "dev.json", id="the same"),
        pytest.param(
            "Now show the names and release years of the songs, please", "dev.json", id="8 in a row"
        ),
        pytest.param(
            "And which names and release years of the songs do ducks like?",
            None,
            id="7 in a row, 4 of 9 runs",
        ),
        pytest.param("How many pets weigh over three?", "mini.json", id="2 of 3 short runs"),
        pytest.param("How many pets weigh under three?", None, id="1 of 3 short runs"),
        pytest.param("birds", "own.jsonl", id="the same, of one word"),
        pytest.param("Hawks?", None, id="another, of one word"),
    ],
)
def test_a_question_like_a_held_out_one_is_found(held_out: HeldOut, question: str, file: str | None) -> None:
    found = held_out.like_question(question)
    assert (found and found.file.name) == file


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param(
            "select Song_Name from Singer as s order by s.age limit 5",
            "dev.json: " + SPIDER["query"],
            id="other number",
        ),
        pytest.param(
            "SELECT count(*) FROM pets AS p WHERE 3 < p.weight",
            "mini.json: " + BIRD["SQL"],
            id="written otherwise",
        ),
        pytest.param("SELECT song_name FROM singer ORDER BY name LIMIT 1", None, id="another column"),
        pytest.param("SELECT song_name FROM singers ORDER BY age LIMIT 1", None, id="another table"),
    ],
)
def test_a_query_of_the_same_shape_over_the_same_names_is_found(
    held_out: HeldOut, sql: str, expected: str | None
) -> None:
    found = held_out.like_query(skeleton(sql))
    assert (found and str(found)) == expected


def test_names_of_databases_that_are_theirs_too_are_told(held_out: HeldOut) -> None:
    assert held_out.same_names(["Concert singers", "pet", "petshop", "mews_2"]) == {
        "dev.json": ["Concert singers"],
        "mini.json": ["pet"],
        "own.jsonl": ["mews_2"],
    }


def test_of_two_files_with_one_name_none_is_read_for_the_other(tmp_path: Path) -> None:
    for name in ("dev.json", "dev.jsonl"):
        (tmp_path / name).write_text(json.dumps(OURS))
    with pytest.raises(ConfigError, match=r"dev\.json is there too"):
        HeldOut([tmp_path / "dev.jsonl"])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such split"):
        HeldOut([tmp_path / "dev.json"])
