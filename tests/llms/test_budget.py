"""Estimates and prices; that caps hold is tested through a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from sense.errors import ConfigError
from sense.llms.batch_files import Request
from sense.llms.budget import Estimate, Price, estimate_cost, read_prices, worst_case
from sense.records import Message


def request(model: str = "m", *contents: str) -> Request:
    messages = tuple(Message(role="user", content=content) for content in contents)
    return Request(custom_id="r", messages=messages, model=model, temperature=1, max_tokens=100)


def test_an_estimate_is_bytes_for_the_prompt_and_the_most_for_the_reply() -> None:
    prices = {"m": Price(input=1, output=10, batch_discount=0.25)}
    # 10 + 15 bytes: 10 tokens; 10 * 1 + 100 * 10 = 1010 millionths of a dollar, twice
    estimate = estimate_cost([request("m", "x" * 10, "é" * 7 + "x")] * 2, prices)
    assert estimate[:2] == (20, 200)
    assert estimate[2:] == pytest.approx((0.00202, 0.001515))


def test_without_a_price_the_cost_is_not_known() -> None:
    assert estimate_cost([request("new", "x" * 5)], {}) == Estimate(2, 100, None, None)


def test_nothing_costs_nothing() -> None:
    assert estimate_cost([], {}) == Estimate(0, 0, 0.0, 0.0)


def test_the_worst_case_is_a_token_for_each_byte_and_the_template() -> None:
    worst = worst_case(request("m", "é" * 10, "x"), Price(input=1, output=10))
    assert worst[:2] == (20 + 1 + 64 + 2 * 8, 100)
    assert worst.usd == pytest.approx(0.001101)


def test_the_table_of_prices_can_be_read() -> None:
    prices = read_prices()
    assert prices["gpt-4.1-mini"] == Price(input=0.4, output=1.6, batch_discount=0.5, as_of="2026-03")
    assert all(price.as_of and 0 < price.input < price.output for price in prices.values())


def test_prices_of_the_user_come_beside_those_of_sense_and_win(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("mine: {input: 1, output: 2}\ngpt-4o: {input: 3, output: 4}\n")
    prices = read_prices(tmp_path / "own.yaml")
    assert (prices["mine"], prices["gpt-4o"]) == (Price(input=1, output=2), Price(input=3, output=4))
    assert prices["gpt-4.1"] == read_prices()["gpt-4.1"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("m: {input: 1}", "'m.output' is missing", id="missing"),
        pytest.param("m: {input: 1, output: -2}", "'m.output'", id="negative"),
        pytest.param("m: {input: .nan, output: 2}", "'m.input'", id="nan"),
        pytest.param("m: {input: 1, output: 2, batch: 1}", "'m.batch' is not known here", id="unknown"),
        pytest.param("m: 3", "'m'", id="number"),
    ],
)
def test_a_table_that_cannot_be_read_names_the_field(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_prices(tmp_path / "prices.yaml")
