"""The cutting of SQL into tokens."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense.databases.sql_tokens import code_tokens, tokens

anything = st.text(alphabet="aA1 '\"`[]-/*;.\n\\é", max_size=40)


@given(anything)
def test_the_tokens_of_a_query_are_the_query(sql: str) -> None:
    assert "".join(token.text for token in tokens(sql)) == sql


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        pytest.param("SELECT a1 FROM t", ["SELECT", "a1", "FROM", "t"], id="plain"),
        pytest.param("a 'it''s b' c", ["a", "c"], id="string"),
        pytest.param('a "b ""c""" d', ["a", "d"], id="name"),
        pytest.param("a `b` [c d] e", ["a", "e"], id="other-quotes"),
        pytest.param("a -- b\nc", ["a", "c"], id="line-comment"),
        pytest.param("a /* b\n' */ c", ["a", "c"], id="block-comment"),
        pytest.param("a 'b", ["a", "b"], id="open-string"),
        pytest.param("a [b c", ["a"], id="open-bracket"),
        pytest.param("1e5 0x1F a", ["a"], id="numbers"),
    ],
)
def test_what_is_quoted_holds_no_words(sql: str, words: list[str]) -> None:
    assert [token.text for token in tokens(sql) if token.kind == "word"] == words


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        pytest.param("SELECT A", ["select", "a"], id="lower case"),
        pytest.param("a-- b\n+/* c */d/*", ["a", "+", "d"], id="comments"),
        pytest.param("t1 . Name", ["t1 . name"], id="a name with its table"),
        pytest.param('"a b".[c.d].`e`, t.*', ['"a b".[c.d].`e`', ",", "t.*"], id="quoted names"),
        pytest.param("'it''s'", ["'it''s'"], id="a quote in a text"),
        pytest.param("1.5e-3-2.e4", ["1.5e-3", "-", "2.e4"], id="numbers"),
        pytest.param("a<>b||c->>d", ["a", "<>", "b", "||", "c", "->>", "d"], id="marks of several signs"),
        pytest.param("'a", ["'", "a"], id="an open text"),
    ],
)
def test_code_is_cut_into_words_literals_and_marks(sql: str, expected: list[str]) -> None:
    assert code_tokens(sql) == expected


@given(anything)
def test_code_is_all_but_white_space_and_comments(sql: str) -> None:
    kept = "".join(token.text for token in tokens(sql) if token.kind != "comment")
    assert len("".join("".join(code_tokens(sql)).split())) <= len("".join(kept.lower().split()))


@pytest.mark.parametrize("piece", ["[", "'", '"', "`", "/*", "--", "a.", "a .", "( ", "''a", 'a."'])
def test_no_text_takes_more_than_linear_time(piece: str) -> None:
    started = time.monotonic()
    code_tokens(piece * 100_000)
    for _ in tokens(piece * 100_000):
        pass
    assert time.monotonic() - started < 5  # a quadratic search takes minutes
