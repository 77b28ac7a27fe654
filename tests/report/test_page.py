from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.errors import ConfigError, DatabaseError, DataError
from sense.records import Score
from sense.report import page
from sense.rundir import RunDir
from sense.stage import Outcome

from .conftest import ANSWERS, QUESTIONS, Workplace

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Reader(HTMLParser):
    """Collects the page's text, tags and attributes, and checks that every tag is closed in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def having(self, attribute: str) -> list[str]:
        return [value or "" for _, attrs in self.tags for name, value in attrs.items() if name == attribute]


def make(workplace: Workplace, out: Path, **settings: Any) -> tuple[Outcome, str]:
    given: dict[str, Any] = {"data": workplace.data, "workers": 1} | settings
    config = page.Config(scores=workplace.scores, runs=workplace.runs, **given)
    outcome = page.run(config, RunDir(out, stage="report", config=config))
    return outcome, (out / "index.html").read_text(encoding="utf-8")


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_summary_holds_the_numbers_of_every_model(workplace: Workplace, tmp_path: Path) -> None:
    outcome, _ = make(workplace, tmp_path / "report")
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary == json.loads(json.dumps(outcome.summary))
    assert summary["ex"] == {"base": 1 / 3, "sft": 2 / 3, "sense": 1 / 3}
    assert summary["intervals"]["sft"] == [0.1, 0.9]
    assert (summary["n"], summary["scored"]["base"]) == (4, 3)
    assert summary["by_hardness"]["medium"]["sft"] == {"ex": 1.0, "interval": [1.0, 1.0], "n": 1, "scored": 1}
    assert list(summary["by_group"]) == ["new"]


def test_each_model_is_compared_with_the_one_before_and_the_last_with_the_first(
    workplace: Workplace, tmp_path: Path
) -> None:
    outcome, html = make(workplace, tmp_path / "report")
    differences = outcome.summary["differences"]
    assert list(differences) == ["sft - base", "sense - sft", "sense - base"]
    gained_lost = {name: (found["gained"], found["lost"]) for name, found in differences.items()}
    assert gained_lost == {"sft - base": (1, 0), "sense - sft": (0, 1), "sense - base": (1, 1)}
    assert differences["sft - base"]["mean"] == pytest.approx(1 / 3)
    assert differences["sense - base"]["mcnemar_p"] == 1.0
    text = read(html).text
    assert "From base to sft, accuracy changed by +33.3 points" in text
    assert "1 question gained, 0 lost" in text


def test_page_shows_accuracy_by_hardness_and_group(workplace: Workplace, tmp_path: Path) -> None:
    _, html = make(workplace, tmp_path / "report")
    reader = read(html)
    order = [
        reader.text.index(label)
        for label in ("overall", "easy", "medium", "hard n", "extra", "new databases")
    ]
    assert order == sorted(order)
    assert "33.3 10.0 \N{EN DASH} 90.0" in reader.text
    assert "Not judged, and counted in no number: 1 of 4 questions." in reader.text


def test_page_shows_what_each_stage_made_and_how_long_it_took(workplace: Workplace, tmp_path: Path) -> None:
    text = read(make(workplace, tmp_path / "report")[1]).text
    assert "kept 230 dropped duplicate 900, empty result 70 1:15" in text
    assert "train filter steps 60 1:01:40" in text


def test_untrusted_text_is_never_markup(workplace: Workplace, tmp_path: Path) -> None:
    _, html = make(workplace, tmp_path / "report")
    reader = read(html)
    assert html.count("<script") == 1
    assert all("alert" not in script for script in reader.scripts)
    assert QUESTIONS[2][0] in reader.text
    assert "<b>Ann</b>" in reader.text
    assert "<b>Ann</b>" not in html


def test_page_asks_for_nothing_over_a_network(workplace: Workplace, tmp_path: Path) -> None:
    _, html = make(workplace, tmp_path / "report")
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", html)
    assert {value[0] for name in ("src", "href", "xlink:href") for value in read(html).having(name)} <= {"#"}
    assert "default-src 'none'" in html


def test_tables_and_plots_can_be_read_aloud(workplace: Workplace, tmp_path: Path) -> None:
    reader = read(make(workplace, tmp_path / "report")[1])
    headers = [attrs for tag, attrs in reader.tags if tag == "th"]
    assert headers
    assert all(attrs.get("scope") in ("col", "row") for attrs in headers)
    plots = [attrs for tag, attrs in reader.tags if tag == "svg"]
    assert len(plots) == 1 + 1 + 4  # the intervals, SFT's loss, four of DPO
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in plots)
    assert "sft: loss over 60 steps: training from 2 to 0.0333" in reader.having("aria-label")


def test_ids_are_unique_and_references_lead_somewhere(workplace: Workplace, tmp_path: Path) -> None:
    _, html = make(workplace, tmp_path / "report")
    reader = read(html)
    ids = reader.having("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in reader.having("href")} | set(re.findall(r"url\(#([^)]*)\)", html)) <= set(
        ids
    )


def test_wrong_answers_show_what_both_queries_return(workplace: Workplace, tmp_path: Path) -> None:
    reader = read(make(workplace, tmp_path / "report")[1])
    answers = [attrs for tag, attrs in reader.tags if attrs.get("class") == "answer"]
    assert [attrs["data-hardness"] for attrs in answers] == ["easy", "hard"]
    assert "no such column: nowhere" in reader.text
    assert "2 more rows" in reader.text
    assert "✓ base had it right" in reader.text
    assert "✗ sft wrong too" in reader.text


def test_without_data_no_query_is_run(workplace: Workplace, tmp_path: Path) -> None:
    text = read(make(workplace, tmp_path / "report", data=None)[1]).text
    assert QUESTIONS[2][2] in text
    assert "Ann" not in text


def test_no_more_wrong_answers_than_asked_for(workplace: Workplace, tmp_path: Path) -> None:
    _, html = make(workplace, tmp_path / "report", max_wrong=1)
    assert html.count("<article") == 1
    assert "1 of 2, drawn at random" in read(html).text


def test_the_same_inputs_make_the_same_page(workplace: Workplace, tmp_path: Path) -> None:
    assert make(workplace, tmp_path / "one")[1] == make(workplace, tmp_path / "two")[1]


def test_one_model_alone_has_a_page(workplace: Workplace, tmp_path: Path) -> None:
    alone = replace(workplace, scores={"base": workplace.scores["base"]}, runs=())
    outcome, html = make(alone, tmp_path / "report")
    assert outcome.summary["differences"] == {}
    assert "There is nothing to compare." in read(html).text


def test_text_that_utf8_cannot_hold_does_not_stop_the_report(workplace: Workplace, tmp_path: Path) -> None:
    for folder in workplace.scores.values():
        path = folder / "scores.jsonl"
        path.write_text(path.read_text().replace("How many", "\\ud800 many"))
    assert "? many singers" in read(make(workplace, tmp_path / "report")[1]).text


def drop_scores(workplace: Workplace) -> None:
    (workplace.scores["sft"] / "scores.jsonl").unlink()


def drop_summary(workplace: Workplace) -> None:
    (workplace.scores["sft"] / "summary.json").unlink()


def empty_summary(workplace: Workplace) -> None:
    (workplace.scores["sft"] / "summary.json").write_text("{}")


def score_by_another_rule(workplace: Workplace) -> None:
    path = workplace.scores["sft"] / "summary.json"
    path.write_text(path.read_text().replace("spider", "bird"))


def drop_a_question(workplace: Workplace) -> None:
    path = workplace.scores["sft"] / "scores.jsonl"
    jsonl.write(path, jsonl.read(path, Score)[1:])


def change_a_question(workplace: Workplace) -> None:
    path = workplace.scores["sft"] / "scores.jsonl"
    path.write_text(path.read_text().replace("older than 40", "older than 50"))


def repeat_a_question(workplace: Workplace) -> None:
    path = workplace.scores["sft"] / "scores.jsonl"
    jsonl.write(path, jsonl.read(path, Score) * 2)


def drop_run_file(workplace: Workplace) -> None:
    (workplace.runs[0] / "run.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(drop_scores, "score-sft: scores.jsonl is missing", id="no scores"),
        pytest.param(drop_summary, "summary.json: no such file", id="no summary"),
        pytest.param(empty_summary, "summary.json: 'ex' is missing", id="summary without numbers"),
        pytest.param(score_by_another_rule, "EX by the rule of spider", id="another rule"),
        pytest.param(drop_a_question, "different questions: 1 of them", id="a question is missing"),
        pytest.param(change_a_question, "different questions: 1 is not the same", id="a question differs"),
        pytest.param(repeat_a_question, "question 0 is scored twice", id="a question is there twice"),
        pytest.param(drop_run_file, "filter: no run folder of sense", id="no run folder"),
    ],
)
def test_unfit_inputs_are_named_before_anything_is_written(
    workplace: Workplace, tmp_path: Path, damage: Any, message: str
) -> None:
    damage(workplace)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        make(workplace, tmp_path / "report")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_a_missing_database_is_named_before_anything_is_written(workplace: Workplace, tmp_path: Path) -> None:
    (workplace.data / "database" / "concert" / "concert.sqlite").unlink()
    with pytest.raises(DatabaseError, match="concert"):
        make(workplace, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_without_matplotlib_the_extra_is_named(
    workplace: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        sys.modules, "matplotlib", None
    )  # an import of it now fails as if it were not installed
    with pytest.raises(ConfigError, match=re.escape('pip install "sense-sql[report]"')):
        make(workplace, tmp_path / "report")


def test_fixture_answers_are_as_long_as_the_questions() -> None:
    assert {len(answers) for answers in ANSWERS.values()} == {len(QUESTIONS)}
