"""The rate at which a server is asked."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from sense.llms.rate import MAX_BACKOFF_S, AdaptiveLimit, backoff_s, retry_after_s

NOW = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)


def limit_after(events: str, *, most: int = 16) -> int:
    """Play answers (+) and refusals (-), each sent when the last event was known."""
    rate = AdaptiveLimit(most=most)
    for event in events:
        if event == "+":
            rate.on_answer()
        else:
            rate.on_refusal(rate.round)
    return rate.limit


@pytest.mark.parametrize(
    ("events", "limit"),
    [
        pytest.param("", 2, id="start"),
        pytest.param("++++++", 8, id="one-more-for-each-answer"),
        pytest.param("+" * 40, 16, id="never-more-than-the-most"),
        pytest.param("++++++-", 4, id="half"),
        pytest.param("++++++-++++", 4, id="then-one-more-for-a-round"),
        pytest.param("++++++-+++++", 5, id="of-answers"),
        pytest.param("-----", 1, id="never-less-than-one"),
    ],
)
def test_the_limit_grows_with_answers_and_halves_with_refusals(events: str, limit: int) -> None:
    assert limit_after(events) == limit


def test_the_limit_may_be_one() -> None:
    assert limit_after("+++", most=1) == 1


def test_refusals_of_one_round_halve_once() -> None:
    rate = AdaptiveLimit(most=16)
    for _ in range(14):
        rate.on_answer()
    for _ in range(16):
        rate.on_refusal(0)
    assert rate.limit == 8


def test_the_longer_of_two_pauses_holds() -> None:
    rate = AdaptiveLimit(most=16)
    rate.pause(5, now=100)
    rate.pause(1, now=101)
    assert (rate.pause_left_s(102), rate.pause_left_s(106)) == (3, 0)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("20", 20, id="seconds"),
        pytest.param("0.05", 0.05, id="fraction"),
        pytest.param("-3", 0, id="negative"),
        pytest.param("Wed, 21 Oct 2026 07:28:30 GMT", 30, id="date"),
        pytest.param("Wed, 21 Oct 2026 09:28:30 +0200", 30, id="date-elsewhere"),
        pytest.param("Wed, 21 Oct 2026 07:28:30 -0000", 30, id="date-without-zone"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0, id="date-gone-by"),
        *(pytest.param(text, None, id=text or "empty") for text in ("", "soon", "nan", "inf", "1e999")),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_s(header, now=NOW) == seconds


def test_the_wait_is_drawn_below_a_bound_that_doubles() -> None:
    rng = random.Random(0)
    for tries, bound in ((1, 1.0), (2, 2.0), (4, 8.0), (50, MAX_BACKOFF_S)):
        waits = [backoff_s(tries, first_s=1.0, rng=rng) for _ in range(300)]
        assert min(waits) >= 0 and 0.9 * bound < max(waits) <= bound
