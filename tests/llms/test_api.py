"""Asking a chat server, through a real one on loopback that fails in every way it is told to."""

from __future__ import annotations

import json
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, ChatServer, chat, refusal, serve

from sense.errors import ConfigError, DiskError, ModelError
from sense.llms.api import GIVE_UPS_IN_A_ROW, ApiProvider, ApiSettings
from sense.llms.batch_files import Reply, Request, make_request
from sense.llms.budget import Caps, Price
from sense.records import Message

KEY = "sk-secret-123"
# 2 bytes of question, 72 tokens for the template, 50 of reply: a request's worst case is 124 tokens
MAX_TOKENS = 50


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("SENSE_API_KEY", KEY)


def questions(count: int) -> list[str]:
    return [f"{i:02d}" for i in range(count)]


def ask_for(*texts: str) -> list[Request]:
    return [
        make_request(
            text, [Message(role="user", content=text)], model="m", temperature=0.5, max_tokens=MAX_TOKENS
        )
        for text in texts
    ]


def provider(server: ChatServer | str, **changed: Any) -> ApiProvider:
    url = server if isinstance(server, str) else server.url
    settings = {"base_url": url, "first_backoff_s": 0.01, "timeout_s": 10.0} | changed
    return ApiProvider(ApiSettings(**settings), rng=random.Random(0))


def ask(asked: ApiProvider, requests: Sequence[Request]) -> dict[str, Reply]:
    """Ask, and return the replies by question; there is never more than one."""
    replies: list[Reply] = []
    asked.ask(requests, on_reply=replies.append)
    by_question = {reply.custom_id.rsplit("-", 1)[0]: reply for reply in replies}
    assert len(by_question) == len(replies)
    return by_question


def first_then_good(first: Answer) -> Callable[[str, int], Answer]:
    return lambda question, tries: first if tries == 0 else chat(question)


def test_every_request_gets_its_own_reply() -> None:
    with serve(lambda question, tries: chat(f"SELECT {question}", prompt=7, completion=3)) as server:
        asked = provider(server)
        replies = ask(asked, ask_for(*questions(30)))
    assert {name: reply.text for name, reply in replies.items()} == {q: f"SELECT {q}" for q in questions(30)}
    assert {(r.prompt_tokens, r.completion_tokens, r.error) for r in replies.values()} == {(7, 3, None)}
    assert server.asked == Counter(questions(30))
    assert (asked.tally.answered, asked.tally.sent, asked.tally.unsent) == (30, 30, 0)
    assert (asked.tally.prompt_tokens, asked.tally.completion_tokens) == (210, 90)


def test_a_request_is_sent_as_the_batch_file_would_hold_it() -> None:
    with serve(lambda question, tries: chat()) as server:
        ask(provider(server, model="theirs"), ask_for("q"))
    messages = [{"role": "user", "content": "q"}]
    assert server.bodies == [{"model": "theirs", "messages": messages, "temperature": 0.5, "max_tokens": 50}]


@pytest.mark.parametrize(
    ("own", "openai", "sent"),
    [
        pytest.param("a", "b", "Bearer a", id="ours-first"),
        pytest.param("", "b", "Bearer b", id="openai's"),
        pytest.param("", "", None, id="none"),
    ],
)
def test_the_key_comes_from_the_environment(
    own: str, openai: str, sent: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENSE_API_KEY", own)
    monkeypatch.setenv("OPENAI_API_KEY", openai)
    with serve(lambda question, tries: chat()) as server:
        asked = provider(server)
        ask(asked, ask_for("q"))
    assert server.keys == {sent}


@pytest.mark.parametrize(
    "fault",
    [
        *(pytest.param(refusal(status), id=str(status)) for status in (408, 429, 500, 502, 503, 504, 529)),
        pytest.param(refusal(429, retry_after="0.05"), id="retry-after"),
        pytest.param(refusal(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), id="retry-after-date"),
        pytest.param(refusal(429, retry_after="soon"), id="retry-after-nonsense"),
        pytest.param(Answer(body=chat().body, cut_after=30), id="cut-in-the-body"),
        pytest.param(Answer(body=chat().body, cut_after=0), id="cut-before-the-body"),
        pytest.param(chat(delay_s=0.6), id="slow"),
    ],
)
def test_what_passes_is_tried_again_and_nothing_after_it_succeeded(fault: Answer) -> None:
    with serve(first_then_good(fault)) as server:
        asked = provider(server, timeout_s=0.3 if fault.delay_s else 10.0)
        replies = ask(asked, ask_for(*questions(6)))
    assert {name: reply.text for name, reply in replies.items()} == {q: q for q in questions(6)}
    assert server.asked == Counter(questions(6) * 2)
    assert asked.tally.sent == 12


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(Answer(body=b""), "the reply is empty", id="empty"),
        pytest.param(Answer(body=chat().body[:-9]), "the reply is not JSON", id="half"),
        pytest.param(Answer(body=b"\xff\xfe"), "the reply is not JSON", id="not-utf-8"),
        pytest.param(Answer(body=b"[" * 200_000), "the reply is not JSON", id="deep"),
        pytest.param(Answer(body=b"<html>busy</html>"), "the reply is not JSON: '<html>busy", id="html"),
        pytest.param(Answer(body=b"[1]"), "no text in the reply", id="list"),
        pytest.param(Answer(body=b'{"choices": []}'), "no text in the reply", id="no-choices"),
        pytest.param(
            Answer(body=b'{"error": {"message": "upstream"}}'), "no text in the reply: 'upstream'", id="error"
        ),
        pytest.param(chat(["x"]), "no text in the reply", id="content-is-a-list"),
        pytest.param(chat(None), "the model wrote nothing", id="null"),
        pytest.param(chat(" \n"), "the model wrote nothing", id="blank"),
        pytest.param(chat("x" * 20_000_000), "a reply of more than 1048576 bytes, cut off", id="huge"),
        pytest.param(refusal(400), "status 400: 'told to say 400'", id="400"),
        pytest.param(refusal(422), "status 422: 'told to say 422'", id="422"),
    ],
)
def test_what_cannot_be_read_is_a_failed_reply_of_that_request_alone(answer: Answer, error: str) -> None:
    with serve(lambda question, tries: answer if question == "bad" else chat()) as server:
        asked = provider(server)
        replies = ask(asked, ask_for("bad", "good"))
    assert (replies["bad"].error or "").startswith(error)
    assert (replies["bad"].text.strip(), replies["good"].text) == ("", "SELECT 1")
    assert server.asked == Counter(["bad", "good"])
    assert (asked.tally.answered, asked.tally.failed) == (1, 1)


def test_a_huge_reply_is_not_read_to_its_end() -> None:
    with serve(lambda question, tries: chat("x" * 20_000_000)) as server:
        ask(provider(server), ask_for("q"))
    assert server.answered == Counter()


def test_half_a_surrogate_pair_is_handed_over_and_kept(tmp_path: Path) -> None:
    with serve(lambda question, tries: chat("\ud800")) as server:
        texts = [ask(provider(server, cache=tmp_path), ask_for("q"))["q"].text for _ in range(2)]
    assert (texts, server.asked["q"]) == (["\ud800", "\ud800"], 1)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(
            Answer(status=401, body=f'{{"error": {{"message": "bad key {KEY}"}}}}'.encode()),
            r"status 401: 'bad key \*\*\*'; set SENSE_API_KEY",
            id="401",
        ),
        pytest.param(refusal(402), "the account has no credit", id="402"),
        pytest.param(refusal(403), "may not be used", id="403"),
        pytest.param(
            refusal(404), "status 404: 'told to say 404'; the model's name or the base URL", id="404"
        ),
        pytest.param(refusal(302, location="http://127.0.0.1:1/"), "status 302: it is elsewhere", id="302"),
        pytest.param(
            Answer(status=429, body=b'{"error": {"code": "insufficient_quota", "message": "pay"}}'),
            "'pay'; the account has no credit",
            id="quota",
        ),
        pytest.param(refusal(429, retry_after="3600"), "it asks to come again in 3600 s", id="an-hour"),
    ],
)
def test_what_every_request_would_meet_ends_the_run_in_one_line(answer: Answer, words: str) -> None:
    with serve(lambda question, tries: chat() if question == "00" else answer) as server:
        asked = provider(server, concurrency=1)
        with pytest.raises(ModelError, match=words) as raised:
            ask(asked, ask_for(*questions(9)))
    assert str(raised.value).endswith("; 8 of 9 requests have no reply")
    assert "\n" not in str(raised.value) and KEY not in str(raised.value)
    assert server.asked == Counter(questions(2))
    assert (asked.tally.answered, asked.tally.unsent) == (1, 8)


def test_what_is_in_flight_when_the_run_must_end_is_handed_over() -> None:
    with serve(lambda question, tries: refusal(401) if question == "a" else chat(delay_s=0.2)) as server:
        replies: list[Reply] = []
        with pytest.raises(ModelError, match="1 of 2 requests have no reply"):
            provider(server).ask(ask_for("a", "b"), on_reply=replies.append)
    assert [reply.text for reply in replies] == ["SELECT 1"]


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        asked = provider(f"http://127.0.0.1:{port}/v1")
        with pytest.raises(ModelError, match=f"http://127.0.0.1:{port}/v1.*cannot be reached"):
            ask(asked, ask_for("q"))
    assert (asked.tally.sent, asked.tally.unsent) == (0, 1)


def test_a_request_that_fails_every_time_is_counted_and_the_others_go_on() -> None:
    with serve(lambda question, tries: refusal(500) if question == "bad" else chat()) as server:
        replies = ask(provider(server, tries=3), ask_for("bad", "a", "b"))
    assert replies["bad"].error == "failed 3 times: status 500: 'told to say 500'"
    assert server.asked == Counter({"bad": 3, "a": 1, "b": 1})


def test_a_server_that_is_down_ends_the_run() -> None:
    with serve(lambda question, tries: refusal(500)) as server:
        asked = provider(server, tries=2, concurrency=1)
        with pytest.raises(ModelError, match="it seems down; 7 of 12 requests have no reply"):
            ask(asked, ask_for(*questions(12)))
    assert server.asked.total() == GIVE_UPS_IN_A_ROW * 2


def test_failed_requests_among_good_ones_do_not_end_the_run() -> None:
    with serve(lambda question, tries: refusal(500) if int(question) % 2 else chat()) as server:
        replies = ask(provider(server, tries=2, concurrency=1), ask_for(*questions(20)))
    assert sum(reply.error is None for reply in replies.values()) == 10


def test_a_try_that_never_left_is_not_counted() -> None:
    with serve(lambda question, tries: chat()) as server:
        asked = provider(server, tries=3, caps=Caps(max_requests=2))
        ask(asked, ask_for("before"))
    replies = ask(asked, ask_for("after"))
    assert (replies["after"].error or "").startswith("failed 3 times: cannot be reached")
    assert (asked.tally.sent, asked.tally.failed) == (1, 1)


@pytest.mark.parametrize(
    ("caps", "sent"),
    [
        pytest.param(Caps(max_requests=20), 20, id="requests"),
        # a request uses 20 + 30 tokens: 17 of them and a worst case fit into 1000, 18 of them do not
        pytest.param(Caps(max_tokens=1000), 18, id="tokens"),
        # at 1 and 2 USD a million: 80 used, 74 + 100 at worst; 10 of them and a worst case fit into 1000
        pytest.param(Caps(max_usd=0.001), 11, id="usd"),
        pytest.param(Caps(max_requests=0), 0, id="nothing"),
        pytest.param(Caps(max_requests=20, max_tokens=123), 0, id="no-room-for-one"),
    ],
)
def test_a_cap_holds_with_16_in_flight_and_is_used_up(
    caps: Caps, sent: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(lambda question, tries: chat(prompt=20, completion=30, delay_s=0.01)) as server:
        asked = provider(server, caps=caps, prices={"m": Price(input=1, output=2)})
        replies = ask(asked, ask_for(*questions(60)))
    assert len(replies) == server.asked.total() == sent
    assert (asked.tally.unsent, asked.tally.usd) == (60 - sent, pytest.approx(sent * 80e-6))
    assert f"is reached: {60 - sent} of 60 requests have no reply" in capsys.readouterr().err


def test_a_cap_holds_where_every_reply_is_as_long_as_it_may_be() -> None:
    with serve(lambda question, tries: chat(prompt=74, completion=50, delay_s=0.01)) as server:
        ask(provider(server, caps=Caps(max_tokens=1000)), ask_for(*questions(60)))
    assert server.asked.total() == 8  # 8 * 124 = 992


def test_a_cap_holds_over_several_calls() -> None:
    with serve(lambda question, tries: chat()) as server:
        asked = provider(server, caps=Caps(max_requests=5))
        counts = [len(ask(asked, ask_for(*names))) for names in (questions(3), questions(9)[3:])]
    assert (counts, server.asked.total(), asked.tally.unsent) == ([3, 2], 5, 4)


@pytest.mark.parametrize(
    ("first", "answered"),
    [
        # 1000 hold 8 worst cases of 124; a good reply uses 50, and a refused try costs nothing
        pytest.param(refusal(500), 18, id="refused"),
        pytest.param(Answer(body=chat().body, cut_after=9), 5, id="cut"),
    ],
)
def test_a_try_that_may_have_been_charged_counts_at_its_worst(first: Answer, answered: int) -> None:
    """Cut: a reply costs 124 + 50; after 5 of them are 870 used, and the sixth's first try takes 994."""
    good = chat(prompt=20, completion=30)
    with serve(lambda question, tries: first if tries == 0 else good) as server:
        asked = provider(server, caps=Caps(max_tokens=1000), concurrency=1)
        replies = ask(asked, ask_for(*questions(30)))
    assert len(replies) == answered
    assert asked.tally.unreported == (6 if answered == 5 else 0)


def test_a_retry_counts_as_a_request_too() -> None:
    with serve(first_then_good(refusal(500))) as server:
        replies = ask(provider(server, caps=Caps(max_requests=5), concurrency=1), ask_for(*questions(9)))
    assert (len(replies), server.asked.total()) == (2, 5)


def test_usage_that_the_server_does_not_report_counts_at_its_worst() -> None:
    body = json.dumps({"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": -1}}).encode()
    with serve(lambda question, tries: Answer(body=body)) as server:
        asked = provider(server, caps=Caps(max_tokens=1000))
        assert len(ask(asked, ask_for(*questions(30)))) == 8
    assert (asked.tally.unreported, asked.tally.prompt_tokens) == (8, 8 * 74)


def test_a_cap_in_usd_needs_a_price() -> None:
    asked = provider("http://127.0.0.1:1/v1", caps=Caps(max_usd=1), prices={"mm": Price(input=1, output=1)})
    with pytest.raises(ConfigError, match=r"max_usd needs the price of 'm'.*did you mean 'mm'\?"):
        ask(asked, ask_for("q"))


def test_concurrency_starts_small_and_grows_to_its_bound() -> None:
    with serve(lambda question, tries: chat(delay_s=0.03)) as server:
        ask(provider(server, concurrency=8), ask_for(*questions(60)))
    assert max(server.in_flight[:2]) <= 2
    assert max(server.in_flight) == 8


def test_concurrency_follows_what_the_server_takes() -> None:
    def script(question: str, tries: int) -> Answer:
        return refusal(429, delay_s=0.01) if server.in_flight[-1] > 4 else chat(delay_s=0.02)

    with serve(script) as server:
        asked = provider(server, tries=30)
        replies = ask(asked, ask_for(*questions(80)))
    assert len(replies) == asked.tally.answered == 80
    assert max(server.in_flight) > 4
    assert asked.rate.limit <= 6


def test_nothing_is_sent_while_the_server_asks_to_wait() -> None:
    def script(question: str, tries: int) -> Answer:
        return refusal(429, retry_after="0.3") if len(server.times) <= 2 else chat()

    with serve(script) as server:
        replies = ask(provider(server), ask_for(*questions(10)))
    assert len(replies) == 10
    assert server.times[2] - server.times[1] >= 0.3


def test_a_rerun_pays_for_nothing_twice(tmp_path: Path) -> None:
    with serve(lambda question, tries: refusal(400) if (question, tries) == ("b", 0) else chat()) as server:
        first = ask(provider(server, cache=tmp_path), ask_for("a", "b"))
        again = provider(server, cache=tmp_path)
        second = ask(again, ask_for("a", "b", "c"))
    assert (first["a"], first["b"].error) == (second["a"], "status 400: 'told to say 400'")
    assert server.asked == Counter({"a": 1, "b": 2, "c": 1})
    assert (again.tally.from_cache, again.tally.answered) == (1, 2)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"model": "m2"}, id="model"),
        pytest.param({"temperature": 0.6}, id="temperature"),
        pytest.param({"max_tokens": 51}, id="max-tokens"),
        pytest.param({"custom_id": "second-sample"}, id="another-sample-of-one-wording"),
    ],
)
def test_another_request_is_not_answered_from_the_cache(other: dict[str, Any], tmp_path: Path) -> None:
    [request] = ask_for("q")
    changed = {name: getattr(request, name) for name in Request.__dataclass_fields__} | other
    with serve(lambda question, tries: chat()) as server:
        for asked in (request, Request(**changed)):
            provider(server, cache=tmp_path).ask([asked], on_reply=lambda reply: None)
    assert server.asked["q"] == 2


def test_a_cache_that_cannot_be_made_is_told_before_anything_is_paid(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        serve(lambda question, tries: chat()) as server,
        pytest.raises(DiskError, match="cannot be kept here"),
    ):
        ask(provider(server, cache=tmp_path / "file" / "cache"), ask_for("q"))
    assert server.asked == Counter()


def test_a_reply_that_cannot_be_kept_is_handed_over_before_the_run_ends(tmp_path: Path) -> None:
    came: list[Reply] = []

    def spoil(reply: Reply) -> None:
        came.append(reply)
        with closing(sqlite3.connect(tmp_path / "replies.sqlite")) as connection:
            connection.execute("DROP TABLE IF EXISTS reply")

    could_not_be_kept = pytest.raises(DiskError, match="a reply could not be kept")
    with serve(lambda question, tries: chat()) as server, could_not_be_kept:
        provider(server, cache=tmp_path, concurrency=1).ask(ask_for(*questions(9)), on_reply=spoil)
    assert len(came) == server.asked.total() == 2


def test_replies_are_handed_over_in_the_calling_thread_when_they_come() -> None:
    came: list[tuple[str, float, int]] = []
    with serve(lambda question, tries: chat(question, delay_s=0.4 if question == "slow" else 0.0)) as server:
        provider(server).ask(
            ask_for("slow", "quick"),
            on_reply=lambda reply: came.append((reply.text, time.monotonic(), threading.get_ident())),
        )
    assert [text for text, _, _ in came] == ["quick", "slow"]
    assert came[1][1] - came[0][1] > 0.2
    assert {thread for _, _, thread in came} == {threading.get_ident()}


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
def test_an_error_of_the_caller_ends_the_run(error: BaseException) -> None:
    def fail(reply: Reply) -> None:
        raise error

    with serve(lambda question, tries: chat()) as server:
        with pytest.raises(type(error)) as raised:
            provider(server).ask(ask_for(*questions(40)), on_reply=fail)
        assert raised.type is type(error)
    assert server.asked.total() <= 4


@pytest.mark.parametrize("url", ["", "localhost:8000/v1", "ftp://host/v1", "http://", "http://h:99999/v1"])
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"one like https://api\.openai\.com/v1 is expected"):
        provider(url)


def test_a_key_in_the_base_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="leave the key out") as raised:
        provider(f"https://user:{KEY}@host/v1")
    assert KEY not in str(raised.value)


def test_a_key_that_cannot_be_sent_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENSE_API_KEY", f"{KEY}é")
    with pytest.raises(ConfigError, match="SENSE_API_KEY: holds characters") as raised:
        ask(provider("http://127.0.0.1:1/v1"), ask_for("q"))
    assert KEY not in str(raised.value)


CHILD = """
import random, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started the tests behind it
from sense.llms.api import ApiProvider, ApiSettings
from sense.llms.batch_files import make_request
from sense.records import Message
url, cache = sys.argv[1:]
requests = []
for i in range(60):
    messages = [Message(role="user", content=f"{i:02d}")]
    requests.append(make_request(f"{i:02d}", messages, model="m", temperature=0.5, max_tokens=50))
provider = ApiProvider(ApiSettings(base_url=url, cache=Path(cache), concurrency=16), rng=random.Random(0))
provider.ask(requests, on_reply=lambda reply: None)
print(provider.tally.from_cache, provider.tally.answered)
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT], ids=["kill-9", "ctrl-c"])
def test_a_killed_run_pays_again_only_for_what_was_in_flight(kill: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD]
    with serve(lambda question, tries: chat(question, delay_s=0.05)) as server:
        arguments = [*command, server.url, str(tmp_path)]
        with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as child:
            while server.answered.total() < 25:
                time.sleep(0.005)
            child.send_signal(kill)
            killed = time.monotonic()
            assert child.wait(timeout=10) != 0
        assert time.monotonic() - killed < 2
        again = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
    kept, answered = int(again[0]), int(again[1])
    assert kept + answered == 60 and kept > 0
    assert set(server.asked) == set(questions(60))
    assert max(server.asked.values()) <= 2
    assert server.asked.total() <= 60 + 16
