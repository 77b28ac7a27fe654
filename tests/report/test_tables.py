from __future__ import annotations

from typing import Any

import pytest

from sense.report.tables import headline, text_table, verdict

PART = {"ex": 0.5, "interval": [0.25, 0.75], "n": 9, "scored": 8}
SUMMARY: dict[str, Any] = {
    "metric": "EX",
    "ex": {"base": 0.5, "sft": 0.625},
    "intervals": {"base": [0.25, 0.75], "sft": [0.375, 0.875]},
    "n": 9,
    "scored": {"base": 8, "sft": 8},
    "by_hardness": {"easy": {"base": PART, "sft": PART | {"scored": 7}}, "extra": {"base": PART}},
    "by_group": {"seen": {"base": PART, "sft": PART}},
    "differences": {
        "sft - base": {
            "mean": 0.125,
            "low": -0.25,
            "high": 0.5,
            "mcnemar_p": 1.0,
            "gained": 2,
            "lost": 1,
            "n": 8,
        }
    },
}


def test_text_table_has_a_row_for_each_model_and_a_line_for_each_difference() -> None:
    lines = text_table(SUMMARY).splitlines()
    base, sft = (at for at, line in enumerate(lines) if line.startswith(("base  ", "sft  ")))
    assert (lines[base].split()[:2], lines[base + 1].split()[0]) == (["base", "50.0"], "25.0-75.0")
    assert (lines[sft].split()[:2], lines[sft + 1].split()[0]) == (["sft", "62.5"], "37.5-87.5")
    assert lines[-1].startswith("sft - base: +12.5 points [-25.0, +50.0]; 2 questions gained, 1 lost")


def test_text_table_is_plain_text() -> None:
    assert "\x1b" not in text_table(SUMMARY)


def test_columns_are_overall_then_hardness_then_groups() -> None:
    assert [column.label for column in headline(SUMMARY)] == ["overall", "easy", "extra", "seen databases"]


def test_a_count_is_shared_only_if_all_models_have_it() -> None:
    overall, easy, extra, _ = headline(SUMMARY)
    assert (overall.shared_n, easy.shared_n, extra.shared_n) == (8, None, None)
    assert extra.cells["sft"] is None


@pytest.mark.parametrize(
    ("low", "mean", "high", "p", "word"),
    [
        pytest.param(0.01, 0.1, 0.2, 0.01, "better", id="above zero"),
        pytest.param(-0.2, -0.1, -0.01, 0.01, "worse", id="below zero"),
        pytest.param(0.0, 0.1, 0.2, 0.04, "undecided", id="touches zero"),
        pytest.param(0.01, 0.1, 0.2, 0.06, "on the edge", id="the two disagree"),
    ],
)
def test_verdict_needs_the_interval_and_the_test(
    low: float, mean: float, high: float, p: float, word: str
) -> None:
    assert verdict({"low": low, "mean": mean, "high": high, "mcnemar_p": p}).startswith(word)
