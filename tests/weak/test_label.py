"""The `label` stage on a real database."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.errors import DataError
from sense.execution.outcome import Match
from sense.records import Candidate, Label, Verdict
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.weak.label import LABELS, Config, pass_at_k, run, summarize

GOLD = "SELECT name FROM pet"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "database" / "pets" / "pets.sqlite"
    path.parent.mkdir(parents=True)
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE pet (name, age); INSERT INTO pet VALUES ('Rex', 3), ('Tom', 5)")
    connection.close()
    questions = [
        {"db_id": "pets", "question": "Names?", "query": GOLD},
        {"db_id": "pets", "question": "Broken?", "query": "SELECT nothing FROM pet"},
    ]
    (tmp_path / "data" / "train.json").write_text(json.dumps(questions))
    return tmp_path / "data"


def candidate(sample: int, sql: str, *, question_id: int = 0, db_id: str = "pets") -> Candidate:
    return Candidate(
        id=f"{question_id}-{sample}",
        question_id=question_id,
        db_id=db_id,
        sample=sample,
        sql=sql,
        logprob=-1.0,
        tokens=5,
    )


def label(data: Path, candidates: list[Candidate], **settings: Any) -> tuple[Outcome, list[Verdict]]:
    jsonl.write(data.parent / "candidates.jsonl", candidates)
    settings = {"data": data, "candidates": data.parent / "candidates.jsonl", "workers": 1} | settings
    config = Config.parse(settings, where="test")
    outcome = run(config, RunDir(data.parent / "out", stage="label", config=config))
    return outcome, jsonl.read(data.parent / "out" / "verdicts.jsonl", Verdict)


def verdict(question_id: int, mark: Label) -> Verdict:
    return Verdict(candidate_id="c", question_id=question_id, db_id="pets", sql="", logprob=0.0, label=mark)


def test_every_match_has_a_label() -> None:
    assert LABELS.keys() == set(Match)


def test_each_ending_has_its_label_in_the_candidates_order(data: Path) -> None:
    queries = ["SELECT age FROM pet", GOLD, "SELECT nme FROM pet", ENDLESS, "DELETE FROM pet", GOLD]
    outcome, verdicts = label(data, [candidate(n, sql) for n, sql in enumerate(queries)], timeout_s=0.3)
    labels = [each.label.value for each in verdicts]
    assert labels == ["wrong", "right", "error", "timeout", "refused", "right"]
    assert [each.candidate_id for each in verdicts] == [f"0-{n}" for n in range(6)]
    assert outcome.summary["share_right"] == 2 / 6
    assert outcome.summary["questions_with_both"] == 1
    assert outcome.shortfall is None


def test_command_given_again_adds_nothing(data: Path) -> None:
    first = label(data, [candidate(0, GOLD)])
    assert label(data, [candidate(0, GOLD)]) == first


def test_failing_gold_is_unjudged(data: Path) -> None:
    outcome, verdicts = label(data, [candidate(0, GOLD), candidate(0, GOLD, question_id=1)])
    assert [each.label for each in verdicts] == [Label.RIGHT, Label.UNJUDGED]
    assert outcome.summary["share_right"] == 1.0
    assert outcome.shortfall == "1 of 2 candidates are unjudged: their gold query fails"


def test_killed_run_goes_on_where_it_stopped(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    candidates = [candidate(n, f"SELECT name, {n} FROM pet") for n in range(3)] + [candidate(3, GOLD)]
    _, before = label(data, candidates)
    path = data.parent / "out" / "verdicts.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    # A mark in the first line shows that it is kept and not made anew.
    path.write_text(lines[0].replace('"reason": "', '"reason": "KEPT ') + lines[1] + lines[2][:20])
    _, after = label(data, candidates)
    assert [each.candidate_id for each in after] == [each.candidate_id for each in before]
    assert after[0].reason.startswith("KEPT ")
    assert after[1:] == before[1:]
    assert "label: 2 verdicts are there already, 2 candidates to go" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        pytest.param([], "there are no candidates in it", id="none"),
        pytest.param(
            [candidate(0, GOLD, question_id=9)], "no question with id 9 in the split", id="question"
        ),
        pytest.param([candidate(0, GOLD, db_id="cars")], "it is for database 'cars'", id="database"),
        pytest.param(
            [candidate(0, GOLD), candidate(0, GOLD)], "candidate '0-0': its id occurs twice", id="twice"
        ),
    ],
)
def test_nothing_is_written_on_bad_input(data: Path, candidates: list[Candidate], message: str) -> None:
    with pytest.raises(DataError, match=message):
        label(data, candidates)
    assert not (data.parent / "out").exists()


@pytest.mark.parametrize(
    ("samples", "right", "k", "expected"),
    [(4, 0, 4, 0.0), (4, 1, 1, 0.25), (4, 2, 2, 1 - 1 / 6), (4, 3, 2, 1.0), (1, 1, 1, 1.0)],
)
def test_pass_at_k_counts_draws_without_replacement(
    samples: int, right: int, k: int, expected: float
) -> None:
    assert pass_at_k(samples=samples, right=right, k=k) == pytest.approx(expected)


def test_pass_at_k_is_averaged_over_judged_questions() -> None:
    marks = [Label.RIGHT, Label.WRONG, Label.ERROR]
    verdicts = (
        [verdict(0, mark) for mark in marks] + [verdict(1, Label.RIGHT)] * 3 + [verdict(2, Label.UNJUDGED)]
    )
    # of 3 samples 1 and 3 are right: pass@1 (1/3 + 1) / 2, pass@2 (2/3 + 1) / 2; 4 is more than 3
    assert summarize(verdicts)["pass_at"] == {"1": pytest.approx(2 / 3), "2": pytest.approx(5 / 6)}
    assert summarize([])["pass_at"] == {}


def test_spellings_of_one_query_are_one_run_of_its_completion(data: Path) -> None:
    queries = [GOLD, "SELECT name\nFROM pet ;; ", "SELECT  name FROM pet -- all", "SELECT age FROM pet"]
    outcome, verdicts = label(data, [candidate(n, sql) for n, sql in enumerate(queries)], rule="bird")
    assert [each.label.value for each in verdicts] == ["right", "right", "right", "wrong"]
    assert verdicts[1].sql == queries[1]
    assert outcome.summary["distinct_run"] == 2
