from __future__ import annotations

import math

import pytest

from sense.records import Label, PreferencePair, Question, Verdict
from sense.report.confidence import Confidence, pooled
from sense.report.pair_lengths import measure_lengths
from sense.report.weak import Asked, majority_is_right, measure

R, W, E = Label.RIGHT, Label.WRONG, Label.ERROR
GOLD = "SELECT name FROM singer"


def verdict(sql: str, label: Label, logprob: float | None = -1.0, *, overturned: bool = False) -> Verdict:
    return Verdict(
        candidate_id="0#0", question_id=0, db_id="concert", sql=sql, logprob=logprob, label=label,
        reason="no such column: age" if label is E else "", overturned=overturned,
    )  # fmt: skip


def asked(number: int, *verdicts: Verdict, hardness: str = "easy") -> Asked:
    question = Question(id=number, db_id="concert", question="Who sings?", gold_sql=GOLD)
    return Asked(question=question, hardness=hardness, verdicts=verdicts)


@pytest.mark.parametrize(
    ("verdicts", "is_right"),
    [
        pytest.param([("a", R, -9), ("b", W, -1), ("b", W, -1)], False, id="the most frequent one wins"),
        pytest.param([("a", E, -1), ("a", E, -1), ("b", R, -9)], True, id="what does not run has no vote"),
        pytest.param([("a", E, -1)], False, id="nothing runs"),
        pytest.param([("a", R, -2), ("b", W, -1)], False, id="the more probable one breaks a tie"),
        pytest.param([("a", R, -1), ("b", W, None)], True, id="an unknown probability breaks none"),
        pytest.param(
            [("SELECT a FROM t", R, -9), ("select A from t AS x", R, -9), ("SELECT b FROM t", W, -1)],
            True,
            id="spelling parts no votes",
        ),
    ],
)
def test_majority(verdicts: list[tuple[str, Label, float | None]], is_right: bool) -> None:
    found = [verdict(sql, label, logprob) for sql, label, logprob in verdicts]
    assert majority_is_right(found) is is_right


def test_shares_are_means_over_questions() -> None:
    four = asked(0, verdict("a", R), verdict("b", W), verdict("c", W), verdict("d", E))
    one = asked(1, verdict("a", R))
    summary = measure([four, one], unjudged=2, seed=0).summary
    assert (summary["candidates"], summary["unjudged"], summary["samples"]) == (7, 2, [1, 4])
    assert summary["share_of"]["right"]["mean"] == (1 / 4 + 1) / 2
    assert summary["share_of"]["right"]["n"] == 2
    assert summary["labels"] == {"right": 2, "wrong": 2, "error": 1, "timeout": 0, "refused": 0}


def test_pass_at_k_goes_as_far_as_every_question_has_candidates() -> None:
    three = [asked(n, verdict("a", R), verdict("b", W), verdict("c", W)) for n in range(2)]
    summary = measure(three, unjudged=0, seed=0).summary
    assert {k: share["mean"] for k, share in summary["pass_at"].items()} == pytest.approx(
        {"1": 1 / 3, "2": 2 / 3, "3": 1}
    )
    assert list(summary["majority_at"]) == ["1", "2", "3"]


def test_overturned_is_a_share_of_what_the_database_alone_calls_right() -> None:
    some = asked(0, verdict("a", R), verdict("b", W, overturned=True), verdict("c", W))
    none = asked(1, verdict("c", W))
    overturned = measure([some, none], unjudged=0, seed=0).summary["overturned"]
    assert (overturned["mean"], overturned["n"]) == (0.5, 1)


def test_kinds_of_error_are_of_one_candidate_a_question_and_by_hardness() -> None:
    column = verdict("SELECT age FROM singer", E)
    questions = [asked(0, column, column), asked(1, column, hardness="hard"), asked(2, verdict(GOLD, R))]
    summary = measure(questions, unjudged=0, seed=0).summary
    assert summary["diagnosed"] == 2
    assert summary["kinds"]["unknown column"]["n"] == 2
    assert {level: list(part["kinds"]) for level, part in summary["by_hardness"].items()} == {
        "easy": ["unknown column"],
        "hard": ["unknown column"],
    }


def test_confidence_counts_a_query_of_a_question_once() -> None:
    often = [verdict("a", R, -1.0)] * 5
    question = asked(0, *often, verdict("b", W, -2.0), verdict("c", W, -0.5), verdict("d", W, math.nan))
    found = measure([question], unjudged=0, seed=0)
    assert found.logprobs == {"right": [-1.0], "not right": [-2.0, -0.5]}
    assert (found.summary["auc_within"]["mean"], found.summary["auc_pooled"]["mean"]) == (0.5, 0.5)


def test_between_questions_confidence_can_tell_what_it_cannot_within_one() -> None:
    questions = [Confidence([-1.0], [-1.0]), Confidence([-1.0], []), Confidence([], [-5.0])]
    estimate = pooled(questions, seed=0, resamples=200)
    assert estimate is not None
    assert estimate.mean == (2 * 0.5 + 2 * 1) / 4
    assert 0.5 <= estimate.low < estimate.mean < estimate.high == 1


def test_without_probabilities_nothing_is_said_of_confidence() -> None:
    summary = measure([asked(0, verdict("a", R, None), verdict("b", W, None))], unjudged=0, seed=0).summary
    assert (summary["auc_pooled"], summary["auc_within"]) == (None, None)


def test_lengths_of_pairs_leave_out_white_space_around() -> None:
    sides = [("SELECT a\n", " SELECT abc"), ("SELECT abcd", "SELECT a"), ("SELECT a", "SELECT b")]
    pairs = [
        PreferencePair(id=str(at), db_id="concert", prompt="", chosen=chosen, rejected=rejected)
        for at, (chosen, rejected) in enumerate(sides)
    ]
    found = measure_lengths(pairs, seed=0)
    assert found.lengths == {"chosen": [8, 11, 8], "rejected": [10, 8, 8]}
    assert found.summary["difference"]["mean"] == pytest.approx(1 / 3)
    assert found.summary["rejected_longer"]["mean"] == found.summary["chosen_longer"]["mean"] == 1 / 3
