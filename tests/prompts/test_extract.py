"""What is read out of a model's answer."""

from __future__ import annotations

import time

import pytest

from sense.prompts.extract import extract_json, extract_sql


@pytest.mark.parametrize(
    ("answer", "sql"),
    [
        pytest.param(" SELECT a FROM t", "SELECT a FROM t", id="bare"),
        pytest.param("```sql\nSELECT a\nFROM t\n```\nThat is it.", "SELECT a FROM t", id="fenced"),
        pytest.param("```sql SELECT a FROM t```", "SELECT a FROM t", id="fenced on one line"),
        pytest.param("```sql\nSELECT a FROM", "SELECT a FROM", id="fence cut by the token limit"),
        pytest.param("SELECT a FROM t; SELECT b FROM t", "SELECT a FROM t", id="second query"),
        pytest.param("SELECT a FROM t; DROP TABLE t", "SELECT a FROM t", id="second statement"),
        pytest.param("SELECT ';' FROM t; x", "SELECT ';' FROM t", id="semicolon in quotes"),
        pytest.param("SELECT a -- b; c\nFROM t; d", "SELECT a FROM t", id="semicolon in a comment"),
        pytest.param("SELECT a FROM t\nquestion: next?", "SELECT a FROM t", id="goes on with a question"),
        pytest.param("SELECT a FROM t\n\nIt lists a.", "SELECT a FROM t", id="explained"),
        pytest.param("I do not know.", "I do not know.", id="prose"),
        pytest.param("", "", id="empty"),
        pytest.param("\n<think>SELECT b;\n\n</think>\n\n SELECT a", "SELECT a", id="thought"),
        pytest.param(
            "<think>```sql\nSELECT b```</think>```sql\nSELECT a```", "SELECT a", id="thought in SQL"
        ),
        pytest.param("<think>SELECT b", "", id="thought cut by the token limit"),
        pytest.param("SELECT '<think>' FROM t", "SELECT '<think>' FROM t", id="no thought"),
    ],
)
def test_the_first_query_is_taken(answer: str, sql: str) -> None:
    assert extract_sql(answer) == sql


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        pytest.param('{"a": 1}', {"a": 1}, id="bare"),
        pytest.param('```json\n{"a": 1}\n```', {"a": 1}, id="fenced"),
        pytest.param('```json\n{"a": "```sql"}\n```', {"a": "```sql"}, id="a fence in a value"),
        pytest.param('As {asked}: {"a": 1} Bye {b}.', {"a": 1}, id="prose with braces"),
        pytest.param("{ }", {}, id="empty object"),
        pytest.param('{"a": "\\ud800"}', {"a": "\ud800"}, id="half a character"),
        pytest.param("", None, id="empty"),
        pytest.param("I cannot do that.", None, id="prose"),
        pytest.param("[1, 2]", None, id="a list"),
        pytest.param('{"a": [1, 2', None, id="cut"),
        pytest.param('{"a": ' + "[" * 100_000, None, id="too deep"),
        pytest.param('{"a": ' + "9" * 5_000 + "}", None, id="an integer of 5,000 digits"),
    ],
)
def test_the_json_object_is_found(answer: str, value: object) -> None:
    assert extract_json(answer) == value


@pytest.mark.parametrize("piece", ["{", "<think>", "```\n", '{"a":', "'", "[", "/*", "a"])
def test_a_megabyte_is_read_at_once(piece: str) -> None:
    started = time.monotonic()
    extract_json(piece * (1_000_000 // len(piece)))
    extract_sql(piece * (1_000_000 // len(piece)))
    assert time.monotonic() - started < 5
