from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.errors import ConfigError, DataError
from sense.records import Label, PreferencePair, Verdict
from sense.report import page
from sense.report.plots import bin_edges
from sense.report.tables import text_table
from sense.rundir import RunDir

from .conftest import QUESTIONS, Workplace
from .test_page import make, read
from .test_strong import SHIPS, SINGERS, make_set


@pytest.fixture
def inputs(workplace: Workplace, tmp_path: Path) -> dict[str, Any]:
    """Write verdicts of every question of the workplace, pairs, and two data sets."""
    questions = [{"db_id": "concert", "question": asked, "query": gold} for asked, _, gold in QUESTIONS]
    (workplace.data / "train.json").write_text(json.dumps(questions))
    labels = (Label.RIGHT, Label.WRONG, Label.ERROR, Label.UNJUDGED)
    verdicts = tmp_path / "verdicts.jsonl"
    jsonl.write(
        verdicts,
        (
            Verdict(
                candidate_id=f"{number}#{at}", question_id=number, db_id="concert", logprob=-1.0 - at,
                sql=f"SELECT <b>{at}</b> FROM singer", label=label,
            )
            for number in range(len(QUESTIONS))
            for at, label in enumerate(labels)
        ),
    )  # fmt: skip
    pairs = tmp_path / "pairs.jsonl"
    pair = PreferencePair(id="0-0", db_id="concert", prompt="", chosen="SELECT 1", rejected="SELECT 1, 2")
    jsonl.write(pairs, [pair])
    return {
        "weak": {"<b>small</b>": verdicts},
        "pairs": {"drawn": pairs},
        "strong": {"singers": make_set(tmp_path / "singers", "singer", SINGERS)},
        "compare": {"ships": make_set(tmp_path / "ships", "ship", SHIPS)},
    }


def make_alone(out: Path, **settings: Any) -> tuple[dict[str, Any], str]:
    config = page.Config(**settings)
    outcome = page.run(config, RunDir(out, stage="report", config=config))
    return outcome.summary, (out / "index.html").read_text(encoding="utf-8")


def test_sections_stand_beside_the_scores(
    workplace: Workplace, inputs: dict[str, Any], tmp_path: Path
) -> None:
    outcome, html = make(workplace, tmp_path / "report", **inputs)
    reader = read(html)
    assert {"#strong", "#weak", "#accuracy"} <= set(reader.having("href"))
    assert "candidates 16 4 not judged" in reader.text
    assert "right 33.3 % 33.3 \N{EN DASH} 33.3, n = 4" in reader.text
    assert "rejected is longer 100.0 %" in reader.text
    assert "columns that a query names 50.0 %" in reader.text
    assert {"ex", "weak", "pairs", "strong"} <= outcome.summary.keys()
    written = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert written["strong"] == outcome.summary["strong"]


def test_sections_keep_the_rules_of_the_page(
    workplace: Workplace, inputs: dict[str, Any], tmp_path: Path
) -> None:
    _, html = make(workplace, tmp_path / "report", **inputs)
    reader = read(html)
    ids = reader.having("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in reader.having("href")} <= set(ids)
    assert "<b>small</b>" in reader.text
    assert "<b>small</b>" not in html
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in reader.tags if tag == "th")


def test_a_report_on_data_alone_needs_no_scores(
    workplace: Workplace, inputs: dict[str, Any], tmp_path: Path
) -> None:
    summary, html = make_alone(tmp_path / "report", data=workplace.data, **inputs)
    reader = read(html)
    assert set(reader.having("href")) >= {"#strong", "#weak"}
    assert {"accuracy", "wrong", "pipeline", "errors"}.isdisjoint(reader.having("id"))
    assert text_table(summary) == ""


def test_one_section_alone_has_a_page(inputs: dict[str, Any], tmp_path: Path) -> None:
    summary, html = make_alone(tmp_path / "report", pairs=inputs["pairs"])
    assert "Weak data" in read(html).text
    assert summary["pairs"]["drawn"]["difference"]["mean"] == -3


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        pytest.param(["weak"], "weak_data", id="no questions"),
        pytest.param(["compare", "pairs"], "needs strong", id="nothing to compare"),
        pytest.param([], "scores", id="nothing at all"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    inputs: dict[str, Any], tmp_path: Path, keep: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_alone(tmp_path / "report", **{name: inputs[name] for name in keep})
    assert not (tmp_path / "report").exists()


def test_two_sets_of_one_name_are_refused(inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'singers' is a name in strong too"):
        make_alone(tmp_path / "report", strong=inputs["strong"], compare=inputs["strong"])


def test_verdicts_of_other_questions_are_refused(
    workplace: Workplace, inputs: dict[str, Any], tmp_path: Path
) -> None:
    (path,) = inputs["weak"].values()
    path.write_text(path.read_text().replace('"question_id": 3', '"question_id": 4'))
    with pytest.raises(DataError, match=r"candidate '3#0': .* has no question 4 about 'concert'"):
        make_alone(tmp_path / "report", weak=inputs["weak"], weak_data=workplace.data)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        pytest.param([5.0], 4.5, 5.5, id="one whole number"),
        pytest.param([0.25], 0.25, 1.25, id="one value"),
        pytest.param([0.0] * 500 + [1.0] * 500 + [9e9], -0.5, 1.5, id="one far out"),
    ],
)
def test_bins_hold_most_values(values: list[float], low: float, high: float) -> None:
    edges = bin_edges(values)
    assert (edges[0], edges[-1]) == (low, high)
