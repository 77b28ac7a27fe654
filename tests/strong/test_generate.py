"""The `synthesize` stage with plan `fixed`, on replies of every kind."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.errors import ConfigError
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.strong.generate import Config, run

from .conftest import DATABASE, DEMO

Synthesize = Callable[..., Outcome]
OUTPUTS = ("requests", "databases", "items", "malformed")
QUESTIONS = {"questions": [{"question": "How many birds?", "sql": "SELECT COUNT(*) FROM bird"}]}
BOTH = (("database-001", DATABASE), ("database-002", DATABASE | {"db_id": "loft"}))


@pytest.fixture
def synthesize(synthesize: Synthesize) -> Synthesize:
    """Run it as the demo does."""
    return partial(synthesize, plan="fixed")


def lines(tmp_path: Path, name: str) -> list[dict[str, Any]]:
    return jsonl.read_objects(tmp_path / "synth" / f"{name}.jsonl")


def names(tmp_path: Path, file: str = "requests") -> list[str]:
    return [re.sub(r"-[0-9a-f]{8}$", "", line["custom_id"]) for line in lines(tmp_path, file)]


def test_without_replies_databases_are_asked_for(synthesize: Synthesize, tmp_path: Path) -> None:
    outcome = synthesize()
    assert names(tmp_path) == names(tmp_path, "requests-awaiting-replies") == ["database-001", "database-002"]
    assert (outcome.complete, outcome.summary["awaiting_replies"]) == (False, 2)
    assert "2 requests await replies" in str(outcome.shortfall)


def test_questions_are_asked_for_once_every_database_is_there(synthesize: Synthesize, tmp_path: Path) -> None:
    synthesize()
    assert synthesize(BOTH[0]).summary["requests"] == 2
    outcome = synthesize(*BOTH)
    assert outcome.summary["requests"] == 2 + 2 * 4
    assert names(tmp_path, "requests-awaiting-replies")[:2] == ["mews/easy", "mews/medium"]
    asked = lines(tmp_path, "requests")[2]["body"]["messages"][1]["content"]
    assert "bird:\nid,kind,keeper\n1,kestrel,1\n2,merlin,1\n3,hobby,NULL\n" in asked


def test_it_is_complete_when_every_request_has_its_reply(synthesize: Synthesize, tmp_path: Path) -> None:
    synthesize()
    synthesize(*BOTH)
    answers = [(name, QUESTIONS) for name in names(tmp_path)[2:]]
    outcome = synthesize(*BOTH, *answers)
    assert (outcome.complete, outcome.shortfall, outcome.summary["questions"]) == (True, None, 8)
    assert not (tmp_path / "synth" / "requests-awaiting-replies.jsonl").exists()
    assert lines(tmp_path, "items")[0] == {
        "id": "mews/easy/01", "db_id": "mews", "level": "easy", "empty": False, **QUESTIONS["questions"][0]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param("", "no JSON object in the reply", id="empty"),
        pytest.param("I am sorry, I cannot do that.", "no JSON object in the reply", id="prose"),
        pytest.param("{" * 1_000_000, "no JSON object in the reply", id="a megabyte"),
        pytest.param('{"a":' * 200_000, "no JSON object in the reply", id="a deep megabyte"),
        pytest.param(json.dumps(DATABASE)[:-20], "no JSON object in the reply", id="cut"),
        pytest.param([DATABASE], None, id="in a list"),
        pytest.param({"db_id": "x"}, "'domain' is missing", id="fields missing"),
        pytest.param(
            DATABASE | {"db_id": 7}, "'db_id': Input should be a valid string, got 7", id="number for a text"
        ),
        pytest.param(DATABASE | {"tables": []}, "'tables': List should have at least 1 item", id="no tables"),
        pytest.param(
            DATABASE | {"tables": {"a": 1}}, "'tables': Input should be a valid list", id="object for a list"
        ),
        pytest.param(
            DATABASE | {"tables": [{"name": "a", "create": "b", "rows": [[{}]]}]},
            "'tables.0.rows.0.0",
            id="object in a row",
        ),
        pytest.param(
            DATABASE | {"tables": [{"name": "a", "create": "b", "rows": [[float("nan")]]}]},
            "got nan",
            id="NaN",
        ),
        pytest.param(
            DATABASE | {"tables": [{"name": "a", "create": "b", "rows": [[float("inf")]]}]},
            "got inf",
            id="Infinity",
        ),
        pytest.param('{"domain": ' + "9" * 5_000 + "}", "no JSON object in the reply", id="5,000 digits"),
    ],
)
def test_a_reply_that_is_no_database_is_counted_and_its_reason_kept(
    synthesize: Synthesize, tmp_path: Path, reply: object, reason: str | None
) -> None:
    synthesize()
    outcome = synthesize(("database-001", reply), BOTH[1])
    assert outcome.summary["databases"] == (1 if reason else 2)
    assert [reason in line["reason"] for line in lines(tmp_path, "malformed") if reason] == [True] * bool(
        reason
    )


@pytest.mark.parametrize(
    ("db_id", "plain"),
    [
        pytest.param("../../etc/x", "etc_x", id="path"),
        pytest.param("..", "database", id="dots"),
        pytest.param("Mews & Löfts\0", "mews_l_fts", id="marks"),
        pytest.param("x" * 500, "x" * 40, id="long"),
    ],
)
def test_no_name_leads_out_of_the_folder(
    synthesize: Synthesize, tmp_path: Path, db_id: str, plain: str
) -> None:
    synthesize()
    synthesize(("database-001", DATABASE | {"db_id": db_id}), BOTH[1])
    assert [line["db_id"] for line in lines(tmp_path, "databases")] == [plain, "loft"]


def test_two_databases_of_one_name_become_two(synthesize: Synthesize, tmp_path: Path) -> None:
    synthesize()
    synthesize(BOTH[0], ("database-002", DATABASE))
    assert [line["db_id"] for line in lines(tmp_path, "databases")] == ["mews", "mews_2"]


def test_half_a_character_and_huge_numbers_pass_through_the_files(
    synthesize: Synthesize, tmp_path: Path
) -> None:
    synthesize()
    odd = json.loads(json.dumps(DATABASE))
    odd["tables"][0]["rows"] = [[10**30, "\ud800"]]
    synthesize(("database-001", odd), BOTH[1])
    assert lines(tmp_path, "databases")[0]["tables"][0]["rows"] == [[10**30, "\ud800"]]


@pytest.mark.parametrize(
    "reply",
    [
        "",
        '{"questions": {}}',
        '{"questions": ["a"]}',
        '{"questions": [{"question": "a"}]}',
        '{"answers": []}',
    ],
)
def test_a_reply_that_holds_no_questions_is_a_shortfall(
    synthesize: Synthesize, tmp_path: Path, reply: str
) -> None:
    synthesize()
    synthesize(*BOTH)
    answers = [(name, QUESTIONS) for name in names(tmp_path)[2:]]
    outcome = synthesize(*BOTH, (answers[0][0], reply), *answers[1:])
    assert (outcome.complete, outcome.summary["questions"], outcome.summary["malformed"]) == (True, 7, 1)
    assert "1 replies could not be read" in str(outcome.shortfall)


def test_a_question_that_cannot_be_read_drops_itself_only(synthesize: Synthesize, tmp_path: Path) -> None:
    synthesize()
    synthesize(*BOTH)
    first, *others = [(name, QUESTIONS) for name in names(tmp_path)[2:]]
    mixed = {"questions": [{"question": "No SQL?"}, *QUESTIONS["questions"]]}
    outcome = synthesize(*BOTH, (first[0], mixed), *others)
    assert (outcome.summary["questions"], outcome.summary["malformed"]) == (8, 1)
    assert [line["reason"] for line in lines(tmp_path, "malformed")] == ["question 1: 'sql' is missing"]
    assert lines(tmp_path, "items")[0]["id"] == "mews/easy/01"


def test_a_reply_is_stored_once_and_need_not_be_given_again(synthesize: Synthesize, tmp_path: Path) -> None:
    synthesize()
    synthesize(BOTH[0])
    outcome = synthesize(BOTH[1])
    assert outcome.summary["databases"] == 2
    synthesize(*BOTH)
    assert len(lines(tmp_path, "replies")) == 2


def test_a_reply_to_another_wording_is_not_taken(synthesize: Synthesize, tmp_path: Path) -> None:
    synthesize()
    asked = lines(tmp_path, "requests")[0]["custom_id"]
    other = asked[:-1] + ("0" if asked[-1] != "0" else "1")
    outcome = synthesize((other, DATABASE), BOTH[1])
    assert (outcome.summary["databases"], outcome.summary["awaiting_replies"]) == (1, 1)


def test_a_better_reply_for_one_database_leaves_the_other_requests_as_they_were(
    synthesize: Synthesize, tmp_path: Path
) -> None:
    synthesize()
    synthesize(("database-001", "sorry"), BOTH[1])
    before = {line["custom_id"] for line in lines(tmp_path, "requests")}
    synthesize(*BOTH)
    after = {line["custom_id"] for line in lines(tmp_path, "requests")}
    assert (len(before), len(after), before <= after) == (2 + 4, 2 + 8, True)


def test_other_settings_need_another_folder(synthesize: Synthesize) -> None:
    synthesize()
    with pytest.raises(ConfigError, match="changed: seed: 1 -> 2"):
        synthesize(seed=2)


def test_the_shipped_replies_answer_every_request(tmp_path: Path) -> None:
    more = {"easy": 20, "medium": 20}
    replies = sorted(DEMO.glob("replies-*.jsonl"))
    settings = {"plan": "fixed", "model": "strong-model", "seed": 1, "replies": replies}
    settings["more_questions"] = more
    config = Config.parse(settings, where="test")
    summary = run(config, RunDir(tmp_path / "synth", stage="synthesize", config=config)).summary
    written = b"".join((tmp_path / "synth" / f"{name}.jsonl").read_bytes() for name in OUTPUTS)
    assert hashlib.sha256(written).hexdigest()[:16] == "64b992e6ad0f12dc"
    counts = [summary[key] for key in ("requests", "awaiting_replies", "malformed", "databases")]
    assert counts == [8 + 8 * 4 + 8 * 2, 0, 0, 8]
    assert summary["questions"] == 8 * (4 * 18 + 2 * 20)


def test_more_questions_are_asked_for_when_the_first_ones_are_known(
    synthesize: Synthesize, tmp_path: Path
) -> None:
    more = {"easy": 2}
    synthesize(more_questions=more)
    synthesize(*BOTH, more_questions=more)
    first = [(name, QUESTIONS) for name in names(tmp_path)[2:]]
    outcome = synthesize(*BOTH, *first, more_questions=more)
    assert names(tmp_path, "requests-awaiting-replies") == ["mews/easy/more", "loft/easy/more"]
    asked = lines(tmp_path, "requests-awaiting-replies")[0]["body"]["messages"][1]["content"]
    assert "ask others:\n- How many birds?\n" in asked
    last = [(name, QUESTIONS) for name in names(tmp_path, "requests-awaiting-replies")]
    outcome = synthesize(*BOTH, *first, *last, more_questions=more)
    assert (outcome.complete, outcome.summary["questions"]) == (True, 10)
    assert [line["id"] for line in lines(tmp_path, "items")][-2:] == ["mews/easy/02", "loft/easy/02"]


def test_a_request_that_failed_at_the_service_is_asked_again(tmp_path: Path) -> None:
    run_dir = "synth"
    config = Config.parse({"plan": "fixed", "databases": 1}, where="test")
    run(config, RunDir(tmp_path / run_dir, stage="synthesize", config=config))
    [name] = [line["custom_id"] for line in lines(tmp_path, "requests")]
    replies = tmp_path / "replies.jsonl"
    jsonl.write(replies, [{"custom_id": name, "response": None, "error": {"message": "rate limit"}}])
    config = Config.parse({"plan": "fixed", "databases": 1, "replies": replies}, where="test")
    outcome = run(config, RunDir(tmp_path / run_dir, stage="synthesize", config=config))
    assert (outcome.summary["failed"], outcome.summary["awaiting_replies"], outcome.complete) == (1, 1, False)
