"""Questions that nearly repeat another: which count as such, and that none is missed."""

from __future__ import annotations

import random

import pytest

from sense.strong.near_duplicates import SAME_SHARE, SeenQuestions, words

LONG = "List the names of all the birds that were flown on at least three days in the month of May last year"


@pytest.mark.parametrize(
    ("one", "other", "is_near"),
    [
        pytest.param("How many birds are there?", "how many BIRDS are there", True, id="marks and case"),
        pytest.param("Birds?", "Birds!", True, id="one word"),
        pytest.param("How many birds are there?", "How many hawks are there?", False, id="a word of five"),
        pytest.param(LONG, LONG.replace("May", "June"), True, id="a word of many"),  # 20 of 26
        pytest.param("What is a b c d e f g?", "What is a b c d e f h?", False, id="last word"),  # 8 of 14
        pytest.param(
            "Which of our birds is the heaviest?", "The heaviest is which of our birds?", False, id="order"
        ),
    ],
)
def test_near_is_who_shares_seven_tenths_of_the_word_triples(one: str, other: str, is_near: bool) -> None:
    seen = SeenQuestions([one, other])
    seen.take(one)
    assert seen.find(other) == (one if is_near else None)


def test_a_question_that_was_not_announced_is_found_too() -> None:
    seen = SeenQuestions([])
    seen.take(LONG)
    assert seen.find(LONG.upper()) == LONG


def similarity(one: str, other: str) -> float:
    """Compute it the plain way."""
    triples = []
    for text in (one, other):
        padded = ["", "", *words(text), "", ""]
        triples.append({tuple(padded[i : i + 3]) for i in range(len(padded) - 2)})
    return len(triples[0] & triples[1]) / len(triples[0] | triples[1])


@pytest.mark.parametrize("seed", range(3))
def test_none_is_missed_and_none_is_made_up(seed: int) -> None:
    rng = random.Random(seed)
    sentence = [rng.choice("abcdefgh") for _ in range(18)]
    texts: list[str] = []
    for _ in range(150):  # each a change of the same sentence: many are near the bound
        changed = [word if rng.random() > 0.08 else rng.choice("abcdefgh") for word in sentence]
        texts.append(" ".join(changed[: rng.randint(10, 18)]))
    seen = SeenQuestions(texts)
    taken: list[str] = []
    for text in texts:
        expected = next((other for other in taken if similarity(text, other) >= SAME_SHARE), None)
        assert seen.find(text) == expected
        if expected is None:
            seen.take(text)
            taken.append(text)
    assert 20 < len(taken) < 150
