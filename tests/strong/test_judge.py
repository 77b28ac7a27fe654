"""The `judge` stage, and what `filter` makes of the opinions and answers of others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.databases.spider import load_questions
from sense.errors import ConfigError, DataError
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.strong.judge import Config, run

from .conftest import DATABASE

Filtered = Callable[..., tuple[Outcome, Path]]
Judged = Callable[..., Outcome]
ITEMS = [
    {"id": f"mews/{n}", "db_id": "mews", "level": "easy", "question": question, "sql": sql}
    for n, question, sql in [
        (1, "Which kinds of bird are there?", "SELECT kind FROM bird"),
        (2, "Who keeps birds?", "SELECT name FROM falconer"),
        (3, "How many keepers have we got?", "SELECT COUNT(*) FROM falconer"),
        (4, "List the numbers of all animals.", "SELECT id FROM bird"),
    ]
]


@pytest.fixture
def first(filtered: Filtered) -> Path:
    """A filtered folder with four questions, one of them held out."""
    return filtered([DATABASE], ITEMS, name="first")[1]


@pytest.fixture
def judge(first: Path, tmp_path: Path) -> Judged:
    """Run `judge` in tmp_path/judged, with replies by the beginning of the request's name."""

    def run_it(*answers: tuple[str, object], **settings: Any) -> Outcome:
        replies: list[Path] = []
        if answers:
            asked = [line["custom_id"] for line in lines(tmp_path, "requests")]
            replies = [tmp_path / "judge-replies.jsonl"]
            jsonl.write(
                replies[0],
                (
                    _reply(next(name for name in asked if name.startswith(f"{start}-")), said)
                    for start, said in answers
                ),
            )
        given = {"data": first / "data", "replies": replies, "workers": 1} | settings
        config = Config.parse(given, where="test")
        run_dir = RunDir(tmp_path / "judged", stage="judge", config=config)
        outcome = run(config, run_dir)
        run_dir.finish(outcome, seconds=0.0)
        return outcome

    return run_it


def _reply(custom_id: str, said: object) -> dict[str, Any]:
    content = said if isinstance(said, str) else json.dumps(said)
    body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return {"custom_id": custom_id, "response": {"status_code": 200, "body": body}}


def lines(tmp_path: Path, name: str) -> list[dict[str, Any]]:
    return jsonl.read_objects(tmp_path / "judged" / f"{name}.jsonl")


def asked_about(first: Path) -> list[str]:
    return [str(question.id) for question in load_questions(first / "data", "train")]


def test_schema_question_sql_and_the_first_rows_are_shown(judge: Judged, first: Path, tmp_path: Path) -> None:
    outcome = judge()
    assert (outcome.complete, outcome.summary["awaiting_replies"]) == (False, 3)
    by_name = {line["custom_id"].rsplit("-", 1)[0]: line["body"] for line in lines(tmp_path, "requests")}
    assert list(by_name) == [f"judge/{name}" for name in asked_about(first)]
    text = next(body["messages"][1]["content"] for name, body in by_name.items() if name != "judge/mews/3")
    assert "table bird ( id number key, kind text [hobby | kestrel | merlin]" in text
    assert "Question: " in text and "SQL: SELECT " in text
    assert "rows:\ncolumn 1\n" in text


def test_without_values_none_is_sent(judge: Judged, tmp_path: Path) -> None:
    judge(values=False)
    text = json.dumps(lines(tmp_path, "requests"))
    assert "kind text" in text
    assert [value for value in ("kestrel", "merlin", "hobby", "Ann", "Bo\\n") if value in text] == []


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param("Yes, it does.", "no JSON object in the reply", id="prose"),
        pytest.param({"verdict": "maybe", "reason": ""}, "'verdict': Input should be", id="other word"),
        pytest.param({"reason": "x"}, "'verdict' is missing", id="no verdict"),
    ],
)
def test_a_malformed_reply_is_asked_for_once_more_and_then_is_unsure(
    judge: Judged, first: Path, tmp_path: Path, reply: object, reason: str
) -> None:
    judge()
    one, two, three = (f"judge/{name}" for name in asked_about(first))
    good = {"reason": "so", "verdict": "yes"}
    outcome = judge((one, reply), (two, good), (three, good))
    assert (outcome.complete, outcome.summary["awaiting_replies"]) == (False, 1)
    again = lines(tmp_path, "requests-awaiting-replies")[0]["body"]["messages"][1]["content"]
    assert f"could not be read: {reason}" in again
    outcome = judge((one, reply), (two, good), (three, good), (f"{one}/repair", reply))
    assert (outcome.complete, outcome.summary["malformed"]) == (True, 1)
    assert outcome.summary["verdicts"] == {"yes": 2, "no": 0, "unsure": 1}
    unsure = next(line for line in lines(tmp_path, "judgements") if line["verdict"] == "unsure")
    assert reason in unsure["reason"]


def test_a_reply_is_stored_and_need_not_be_given_again(judge: Judged, first: Path) -> None:
    judge()
    names = [f"judge/{name}" for name in asked_about(first)]
    judge(*((name, {"verdict": "yes"}) for name in names[:2]))
    outcome = judge((names[2], {"verdict": "no"}))
    assert (outcome.complete, outcome.summary["verdicts"]) == (True, {"yes": 2, "no": 1, "unsure": 0})


def test_a_dry_run_says_what_it_would_cost(judge: Judged) -> None:
    outcome = judge(dry_run=True)
    assert outcome.complete is False
    assert outcome.summary["next_round"]["requests"] == 3
    assert outcome.summary["next_round"]["completion_tokens"] == 3 * 80


def test_a_server_needs_its_address() -> None:
    with pytest.raises(ConfigError, match="provider api needs base_url"):
        Config.parse({"data": "x", "provider": "api"}, where="test")


def opinions(tmp_path: Path, *said: tuple[str, str, str]) -> Path:
    path = tmp_path / "judgements.jsonl"
    jsonl.write(path, ({"id": name, "verdict": verdict, "reason": why} for name, verdict, why in said))
    return path


def answers(tmp_path: Path, **labels: str) -> Path:
    path = tmp_path / "verdicts.jsonl"
    words = {"r": "right", "w": "wrong", "e": "error", "u": "unjudged"}
    same = {"db_id": "mews", "sql": "", "logprob": 0.0}
    jsonl.write(
        path,
        (
            {"candidate_id": f"{name}#{n}", "question_id": f"mews/{name[1:]}", "label": words[letter], **same}
            for name, letters in labels.items()
            for n, letter in enumerate(letters)
        ),
    )
    return path


def dropped(folder: Path) -> list[tuple[str, str, str]]:
    return [
        (line["id"], line["check"], line["reason"]) for line in jsonl.read_objects(folder / "dropped.jsonl")
    ]


def test_what_is_judged_wrong_is_dropped_and_counted(filtered: Filtered, tmp_path: Path) -> None:
    path = opinions(tmp_path, ("mews/2", "no", "all, not those with birds"), ("mews/1", "unsure", ""))
    outcome, folder = filtered([DATABASE], ITEMS, judgements=path)
    assert dropped(folder) == [("mews/2", "not_judged_wrong", "all, not those with birds")]
    assert outcome.summary["judged"] == {"yes": 0, "no": 1, "unsure": 1, "without": 2}
    assert [each["id"] for each in outcome.summary["examples"]["not_judged_wrong"]] == ["mews/2"]


@pytest.mark.parametrize(
    ("letters", "min_agree", "reason"),
    [
        pytest.param("rrww", 0.5, None, id="half"),
        pytest.param("rwwe", 0.5, "1 of 4 answers agree", id="fewer"),
        pytest.param("rwww", 0.25, None, id="as few as allowed"),
        pytest.param("ruuu", 0.5, None, id="what was not judged does not count"),
        pytest.param("uuuu", 0.5, None, id="nothing judged"),
        pytest.param("wwww", 0.0, None, id="no matter"),
    ],
)
def test_enough_answers_must_agree(
    filtered: Filtered, tmp_path: Path, letters: str, min_agree: float, reason: str | None
) -> None:
    path = answers(tmp_path, m1="rr", m3=letters)
    _, folder = filtered([DATABASE], ITEMS, round_trip=path, min_agree=min_agree)
    assert dropped(folder) == ([("mews/3", "answered_alike", reason)] if reason else [])


def test_items_without_answers_are_kept_and_counted(filtered: Filtered, tmp_path: Path) -> None:
    outcome, _ = filtered([DATABASE], ITEMS, round_trip=answers(tmp_path, m1="rr"))
    assert (outcome.summary["kept"], outcome.summary["answered"]) == (4, {"with": 1, "without": 3})


def test_a_filtered_folder_is_filtered_again_and_its_splits_stay(
    filtered: Filtered, first: Path, tmp_path: Path
) -> None:
    train = asked_about(first)
    path = opinions(tmp_path, (train[0], "no", "wrong"))
    outcome, second = filtered([DATABASE], ITEMS, source=first, name="second", judgements=path)
    assert asked_about(second) == train[1:]
    assert (second / "data" / "test.json").read_bytes() == (first / "data" / "test.json").read_bytes()
    database = Path("data", "database", "mews", "mews.sqlite")
    assert (second / database).read_bytes() == (first / database).read_bytes()
    assert (outcome.summary["items"], outcome.summary["kept"]) == (4, 3)


def test_opinions_of_other_items_are_refused(filtered: Filtered, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"judgements\.jsonl: it says nothing of any item of the source"):
        filtered([DATABASE], ITEMS, judgements=opinions(tmp_path, ("loft/1", "no", "")))
    assert not (tmp_path / "filtered").exists()


def test_the_file_for_other_trainers_has_their_columns(filtered: Filtered) -> None:
    outcome, folder = filtered([DATABASE], ITEMS, sft_file=True)
    examples = jsonl.read_objects(folder / "sft.jsonl")
    assert outcome.summary["sft_examples"] == len(examples) == 3
    assert [each["id"] for each in examples] == asked_about(folder)
    assert examples[0]["prompt"].startswith("database mews\ntable falconer ( id number key, name text")
    assert examples[0]["prompt"].endswith("\nsql:")
    assert examples[0]["completion"].startswith(" SELECT ")
