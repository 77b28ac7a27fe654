"""The cutting of SQL into tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sense.execution.tokens import tokens


@given(st.text(alphabet="aA1 '\"`[]-/*;.\n\\é", max_size=40))
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
        pytest.param("1e5 0x1F a", ["a"], id="numbers"),
    ],
)
def test_what_is_quoted_holds_no_words(sql: str, words: list[str]) -> None:
    assert [token.text for token in tokens(sql) if token.kind == "word"] == words
