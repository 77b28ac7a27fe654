"""The `synthesize` stage with plan `quotas`: slots, repairs, rounds by what was measured, caps."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.errors import ConfigError
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.strong import filter as filter_stage
from sense.strong import measure
from sense.strong.generate import Config

from .conftest import DATABASE

Synthesize = Callable[..., Outcome]
ONE = {"databases": 1, "questions_per_database": 4, "rounds": 1, "feature_minimum": 0}
HARDNESS_FREE = {"hardness_quota": dict.fromkeys(("easy", "medium", "hard", "extra"), 0)}
EASY = {"question": "How many birds?", "sql": "SELECT COUNT(*) FROM bird"}
SLOTS = [
    {"slot": 1, **EASY},
    {"slot": 2, "question": "Who is there?", "sql": "SELECT id, name FROM falconer", "evidence": "e"},
    {"slot": 3, "question": "What?", "sql": "SELECT kind FROM bird WHERE id = (SELECT MAX(id) FROM bird)"},
    {"slot": 4, "question": "Nobody?", "sql": "SELECT kind FROM bird WHERE kind = 'owl'"},
]


class Server:
    """Answers chat completions with a database or with questions, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        asked, bodies = self.asked, self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                bodies.append(body)
                asked.append(body["messages"][-1]["content"])
                answer = {"questions": SLOTS[:3]} if "The list:" in asked[-1] else DATABASE
                message = {"role": "assistant", "content": json.dumps(answer)}
                reply = {
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
                }
                data = json.dumps(reply).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()
        self.settings = {
            "provider": "api",
            "base_url": f"http://127.0.0.1:{self._http.server_address[1]}/v1",
        }

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def lines(tmp_path: Path, name: str) -> list[dict[str, Any]]:
    return jsonl.read_objects(tmp_path / "synth" / f"{name}.jsonl")


def names(tmp_path: Path, file: str = "requests") -> list[str]:
    return [re.sub(r"-[0-9a-f]{8}$", "", line["custom_id"]) for line in lines(tmp_path, file)]


def text(tmp_path: Path, name: str) -> str:
    asked = {line["custom_id"][:-9]: line for line in lines(tmp_path, "requests")}
    return str(asked[name]["body"]["messages"][-1]["content"])


def test_questions_are_asked_for_as_soon_as_their_own_database_is_there(
    synthesize: Synthesize, tmp_path: Path
) -> None:
    both = ONE | {"databases": 2}
    synthesize(**both)
    assert names(tmp_path) == ["database-001", "database-002"]
    synthesize(("database-002", DATABASE), **both)
    first = names(tmp_path)
    synthesize(("database-001", DATABASE), ("database-002", DATABASE), **both)
    assert len(first) == 3 and set(first) < set(names(tmp_path))
    # The domain of the catalog names the database, whatever the reply calls it.
    assert [f"{line['db_id']}/1" for line in lines(tmp_path, "databases")] == names(tmp_path)[2:]


def test_items_hold_what_their_slot_asked_for(synthesize: Synthesize, tmp_path: Path) -> None:
    synthesize(**ONE)
    synthesize(("database-001", DATABASE), **ONE)
    name = names(tmp_path)[1]
    outcome = synthesize(("database-001", DATABASE), (name, {"questions": SLOTS}), **ONE)
    assert (outcome.complete, outcome.summary["questions"], outcome.summary["would_be_kept"]) == (True, 4, 3)
    first, second, *_ = lines(tmp_path, "items")
    assert first["id"] == f"{name}-01" and second["evidence"] == "e"
    listed = re.findall(r"^1\. (\w+);.* style: (\w+)$", text(tmp_path, name), re.MULTILINE)
    assert listed == [(first["level"], first["style"])]
    assert first.keys() >= {"db_id", "question", "sql", "features"}


@pytest.mark.parametrize(
    ("slots", "kept", "reason"),
    [
        pytest.param([SLOTS[0], {"slot": 2}], 1, "question 2: 'question' is missing", id="a field missing"),
        pytest.param([SLOTS[0], SLOTS[0]], 1, "slot 1 was not asked for, or is answered twice", id="twice"),
        pytest.param([SLOTS[0], SLOTS[1] | {"slot": 9}], 1, "slot 9 was not asked for", id="unknown slot"),
    ],
)
def test_a_question_that_cannot_be_used_drops_itself_only(
    synthesize: Synthesize, tmp_path: Path, slots: list[dict[str, Any]], kept: int, reason: str
) -> None:
    synthesize(**ONE)
    synthesize(("database-001", DATABASE), **ONE)
    answer = (names(tmp_path)[1], {"questions": slots})
    outcome = synthesize(("database-001", DATABASE), answer, **ONE)
    assert outcome.summary["questions"] == kept
    assert reason in lines(tmp_path, "malformed")[0]["reason"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param("sorry", "no JSON object in the reply", id="prose"),
        pytest.param({"db_id": "x"}, "'domain' is missing", id="fields missing"),
        pytest.param(
            DATABASE | {"tables": [{"name": "a", "create": "DROP TABLE a", "rows": []}]},
            "not a plain CREATE TABLE statement",
            id="cannot be built",
        ),
    ],
)
def test_a_malformed_reply_gets_one_repair_then_is_counted(
    synthesize: Synthesize, tmp_path: Path, reply: object, reason: str
) -> None:
    synthesize(**ONE)
    assert synthesize(("database-001", reply), **ONE).summary["malformed"] == 0
    assert names(tmp_path, "requests-awaiting-replies") == ["database-001/repair"]
    assert reason in text(tmp_path, "database-001/repair")
    outcome = synthesize(("database-001-", reply), ("database-001/repair", reply), **ONE)
    assert (outcome.complete, outcome.summary["malformed"], outcome.summary["requests"]) == (True, 1, 2)


def test_a_repaired_reply_counts(synthesize: Synthesize, tmp_path: Path) -> None:
    synthesize(**ONE)
    synthesize(("database-001", "sorry"), **ONE)
    synthesize(("database-001-", "sorry"), ("database-001/repair", DATABASE), **ONE)
    assert len(lines(tmp_path, "databases")) == 1
    assert lines(tmp_path, "malformed") == []


def test_the_next_round_asks_for_what_was_measured_to_be_missing(
    synthesize: Synthesize, tmp_path: Path
) -> None:
    """Four were asked for; one returns no rows, so three would be kept: one is missing, two are asked for."""
    settings = ONE | HARDNESS_FREE | {"rounds": 2, "questions_wanted": 4}
    answers: list[tuple[str, object]] = [("database-001", DATABASE)]
    synthesize(**settings)
    synthesize(*answers, **settings)
    name = names(tmp_path)[1]
    answers.append((name, {"questions": SLOTS}))
    outcome = synthesize(*answers, **settings)
    assert (outcome.complete, outcome.summary["asked_by_round"]) == (False, [4, 2])
    second = name.removesuffix("1") + "2"
    assert names(tmp_path, "requests-awaiting-replies") == [second]
    assert "Write 2 new" in text(tmp_path, second)
    assert "ask for other things:\n- How many birds?\n" in text(tmp_path, second)
    more = {"slot": 1, "question": "List the kinds.", "sql": "SELECT kind FROM bird"}
    outcome = synthesize(*answers, (second, {"questions": [more]}), **settings)
    assert (outcome.complete, outcome.shortfall, outcome.summary["would_be_kept"]) == (True, None, 4)
    assert lines(tmp_path, "items")[-1]["id"] == f"{second}-01"


def test_slots_of_a_later_round_stay_as_they_were_drawn(
    synthesize: Synthesize, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that comes to other counts later must not change requests that may have been answered."""
    settings = ONE | HARDNESS_FREE | {"rounds": 2, "questions_wanted": 4}
    synthesize(**settings)
    synthesize(("database-001", DATABASE), **settings)
    answer = (names(tmp_path)[1], {"questions": SLOTS})
    synthesize(("database-001", DATABASE), answer, **settings)
    before = names(tmp_path), lines(tmp_path, "requests")
    monkeypatch.setattr(measure, "CHECKS", (("none", lambda case: "no"),))  # no setting changes the checks
    synthesize(("database-001", DATABASE), answer, **settings)
    assert (names(tmp_path), lines(tmp_path, "requests")) == before
    # So do those of another run, whose replies are given.
    kept = shutil.copy(tmp_path / "synth" / "later-slots.jsonl", tmp_path / "later-slots.jsonl")
    shutil.rmtree(tmp_path / "synth")
    synthesize(later_slots=kept, **settings)
    synthesize(("database-001", DATABASE), later_slots=kept, **settings)
    synthesize(("database-001", DATABASE), answer, later_slots=kept, **settings)
    assert lines(tmp_path, "requests") == before[1]


def test_what_would_be_kept_is_what_filter_keeps(synthesize: Synthesize, tmp_path: Path) -> None:
    synthesize(**ONE)
    synthesize(("database-001", DATABASE), **ONE)
    questions = [*SLOTS[:3], SLOTS[0] | {"slot": 4}]  # the last one is asked twice
    answer = (names(tmp_path)[1], {"questions": questions})
    summary = synthesize(("database-001", DATABASE), answer, **ONE).summary
    config = filter_stage.Config.parse({"source": tmp_path / "synth", "new_databases": 0}, where="test")
    run_dir = RunDir(tmp_path / "filtered", stage="filter", config=config)
    kept = filter_stage.run(config, run_dir).summary
    assert summary["would_be_kept"] == kept["kept"] == 3
    assert summary["hardness"] == kept["hardness"]


def test_what_resembles_a_benchmarks_question_counts_as_not_kept(
    synthesize: Synthesize, tmp_path: Path
) -> None:
    """One of three, so that a second round is due; what the first one asks stays the same."""
    benchmark = tmp_path / "dev.json"
    benchmark.write_text(json.dumps([{"db_id": "x", "question": "how MANY birds", "query": "SELECT 1"}]))
    settings = ONE | HARDNESS_FREE | {"rounds": 2, "questions_wanted": 3}
    asked: list[tuple[list[int], list[dict[str, Any]]]] = []
    for against in ([], [benchmark]):
        synthesize(against=against, **settings)
        synthesize(("database-001", DATABASE), against=against, **settings)
        answer = (names(tmp_path)[1], {"questions": SLOTS})
        summary = synthesize(("database-001", DATABASE), answer, against=against, **settings).summary
        asked.append((summary["asked_by_round"], lines(tmp_path, "requests")))
        shutil.rmtree(tmp_path / "synth")
    assert [by_round for by_round, _ in asked] == [[4], [4, 2]]
    assert asked[0][1] == asked[1][1][:2]


def test_half_a_stored_reply_is_dropped_and_asked_for_again(synthesize: Synthesize, tmp_path: Path) -> None:
    both = ONE | {"databases": 2}
    synthesize(**both)
    synthesize(("database-001", DATABASE), ("database-002", DATABASE), **both)
    stored = tmp_path / "synth" / "replies.jsonl"
    stored.write_bytes(stored.read_bytes()[:-10])  # as a kill may leave it
    assert synthesize(**both).summary["databases"] == 1
    assert names(tmp_path, "requests-awaiting-replies")[0] == "database-002"


def test_what_is_short_after_the_last_round_is_said(synthesize: Synthesize, tmp_path: Path) -> None:
    settings = ONE | {"questions_wanted": 4}
    synthesize(**settings)
    synthesize(("database-001", DATABASE), **settings)
    answer = (names(tmp_path)[1], {"questions": SLOTS})
    outcome = synthesize(("database-001", DATABASE), answer, **settings)
    assert outcome.complete
    assert outcome.shortfall == "short of the quotas after 1 rounds: 3 of 4 questions, 0 extra of 1"


def test_a_dry_run_shows_the_next_round_and_the_run_goes_on_from_it(
    synthesize: Synthesize, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = synthesize(dry_run=True, model="gpt-4o", **ONE)
    assert outcome.summary["next_round"]["requests"] == 1
    said = capsys.readouterr().err
    assert "dry run: 1 requests, about" in said and "check before you rely on them" in said
    assert names(tmp_path, "requests-awaiting-replies") == ["database-001"]
    assert synthesize(("database-001", DATABASE), model="gpt-4o", **ONE).summary["databases"] == 1


def test_a_dry_run_asks_no_server(synthesize: Synthesize, server: Server) -> None:
    synthesize(dry_run=True, **ONE | server.settings)
    assert server.asked == []


def test_a_server_is_asked_for_what_is_missing_and_for_nothing_twice(
    synthesize: Synthesize, server: Server, tmp_path: Path
) -> None:
    """The cap lets one request out in the first go; the second asks for the rest."""
    both = ONE | server.settings | {"databases": 2}
    outcome = synthesize(max_requests=1, **both)
    assert (outcome.complete, len(lines(tmp_path, "replies")), len(server.asked)) == (False, 1, 1)
    assert "have no reply yet" in str(outcome.shortfall)
    outcome = synthesize(**both)
    assert (outcome.complete, outcome.summary["questions"], outcome.summary["awaiting_replies"]) == (
        True,
        6,
        0,
    )
    assert len(server.asked) == len(set(server.asked)) == len(lines(tmp_path, "replies")) == 4
    assert (outcome.summary["prompt_tokens"], outcome.summary["completion_tokens"]) == (40, 20)


def test_a_cap_in_dollars_without_a_price_is_refused_before_anything_is_written(
    synthesize: Synthesize, server: Server, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="max_usd needs the price of 'mine'"):
        synthesize(max_usd=1, **ONE | server.settings | {"model": "mine"})
    assert server.asked == [] and not list(tmp_path.rglob("run.json"))


def test_a_server_is_told_how_long_a_reply_may_be(synthesize: Synthesize, server: Server) -> None:
    synthesize(reply_tokens=77, **ONE | server.settings)
    assert {body["max_tokens"] for body in server.bodies} == {77}


def test_what_the_replies_cost_is_said_at_the_users_prices(
    synthesize: Synthesize, server: Server, tmp_path: Path
) -> None:
    """Two requests of 10 and 5 tokens, at 2 and 8 USD a million."""
    (tmp_path / "prices.yaml").write_text("mine: {input: 2, output: 8, batch_discount: 0.5}")
    mine = ONE | server.settings | {"model": "mine"}
    assert synthesize(prices=tmp_path / "prices.yaml", **mine).summary["usd"] == pytest.approx(120e-6)
    assert synthesize(**mine).summary["usd"] is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"provider": "api"}, "provider api needs base_url", id="no server"),
        pytest.param({"plan": "fixed", "rounds": 2}, "rounds is no setting of plan fixed", id="rounds"),
        pytest.param({"more_questions": {"easy": 1}}, "is no setting of plan quotas", id="more"),
        pytest.param({"databases": 1000}, "plan quotas has 252 databases, not 1000", id="too many"),
        pytest.param({"plan": "fixed", "databases": 61}, "has 60 databases, not 61", id="areas"),
        pytest.param({"hardness_quota": {"easy": 0.5}}, "less than or equal to 0.25", id="quota"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.parse(settings, where="test")


def test_replies_may_be_given_as_a_folder(synthesize: Synthesize, tmp_path: Path) -> None:
    synthesize(**ONE)
    body = {"choices": [{"message": {"role": "assistant", "content": json.dumps(DATABASE)}}]}
    line = {"custom_id": lines(tmp_path, "requests")[0]["custom_id"]}
    (tmp_path / "folder").mkdir()
    jsonl.write(tmp_path / "folder" / "a.jsonl", [line | {"response": {"status_code": 200, "body": body}}])
    assert synthesize(replies=tmp_path / "folder", **ONE).summary["databases"] == 1
