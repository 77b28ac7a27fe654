"""The section on errors by kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sense import jsonl
from sense.evaluation.errors_by_kind import ErrorKind
from sense.records import Score
from sense.report.comparison import read_scored
from sense.report.errors import EXAMPLES, WORDS, errors_by_kind

from .conftest import Workplace
from .test_page import make, read

GOLD = "SELECT name FROM singer WHERE age > 40"
# What each of two models answers: right, another column, another number, nothing.
BASE = (GOLD, "SELECT id FROM singer WHERE age > 40", "SELECT name FROM singer WHERE age > 50", "")
TUNED = (GOLD, GOLD, GOLD.replace("40", "41"), GOLD.replace("40", "42"))


def score_answers(folder: Path, answers: tuple[str, ...], *, times: int = 1) -> None:
    scores = [
        Score(
            id=at, db_id="concert", ex=int(sql == GOLD), match="missing" if not sql else "different",
            reason="" if sql else "no prediction", hardness="easy", question=f"<i>{at}</i>", gold_sql=GOLD,
            sql=sql,
        )
        for at, sql in enumerate(answers * times)
    ]  # fmt: skip
    jsonl.write(folder / "scores.jsonl", scores)


@pytest.fixture
def answered(workplace: Workplace) -> Workplace:
    folders = {name: workplace.scores[name] for name in ("base", "sft")}
    for folder, answers in zip(folders.values(), (BASE, TUNED), strict=True):
        score_answers(folder, answers)
    return Workplace(scores=folders, runs=(), data=workplace.data)


def test_every_kind_has_its_own_words() -> None:
    assert set(WORDS) == set(ErrorKind)
    assert len({label for label, _ in WORDS.values()}) == len(ErrorKind)


def test_kinds_are_counted_for_each_model_the_most_frequent_first(answered: Workplace) -> None:
    errors = errors_by_kind(read_scored(answered.scores))
    assert [(kind.label, dict(kind.counts)) for kind in errors.kinds] == [
        ("value", {"base": 1, "sft": 2}),
        ("no prediction", {"base": 1, "sft": 0}),
        ("column", {"base": 1, "sft": 0}),
    ]
    assert errors.wrong == {"base": 3, "sft": 2}
    assert errors.summary["sft"]["by_kind"] == {"wrong_value": 2}


def test_examples_are_of_the_last_model_and_few(answered: Workplace) -> None:
    for folder in answered.scores.values():
        score_answers(folder, TUNED, times=10)
    (kind,) = errors_by_kind(read_scored(answered.scores)).kinds
    assert (kind.counts["sft"], len(kind.examples)) == (20, EXAMPLES)


def test_page_shows_counts_shares_and_details(answered: Workplace, tmp_path: Path) -> None:
    reader = read(make(answered, tmp_path / "report", data=None)[1])
    assert "value the same condition with another constant 1 (33.3) 2 (100.0)" in reader.text
    assert "no prediction there is none for the question 1 (33.3) \N{EN DASH}" in reader.text
    assert "all wrong answers 3 2" in reader.text
    assert reader.text.count("singer.age > 41 instead of singer.age > 40") == 2  # as example, as wrong answer
    assert "<i>2</i>" in reader.text
    assert "#errors" in reader.having("href")


def test_wrong_answers_can_be_filtered_by_kind(answered: Workplace, tmp_path: Path) -> None:
    reader = read(make(answered, tmp_path / "report", data=None)[1])
    assert reader.having("data-kind") == ["value", "value"]
    assert "kind" in reader.having("data-filter")


def test_summary_counts_errors_of_every_model(answered: Workplace, tmp_path: Path) -> None:
    make(answered, tmp_path / "report", data=None)
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["errors"]["base"]["by_hardness"] == {
        "easy": {"missing": 1, "wrong_column": 1, "wrong_value": 1}
    }
    assert "examples" not in summary["errors"]["base"]


def test_without_wrong_answers_there_is_no_section(answered: Workplace, tmp_path: Path) -> None:
    for folder in answered.scores.values():
        score_answers(folder, (GOLD, GOLD))
    reader = read(make(answered, tmp_path / "report", data=None)[1])
    assert "errors" not in reader.having("id")
    assert "#errors" not in reader.having("href")
