"""Requests and replies in OpenAI's Batch format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sense.errors import DataError
from sense.llms.batch_files import Reply, Request, make_request, read_replies, write_requests
from sense.records import Message


def request(text: str = "Hello é") -> Request:
    messages = [Message(role="user", content=text)]
    return make_request("first", messages, model="m", temperature=0.5, max_tokens=9)


def body(content: object = "hi", **more: object) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": content}}], **more}


def line(custom_id: object = "a", *, response: object = None, error: object = None) -> str:
    return json.dumps({"custom_id": custom_id, "response": response, "error": error}) + "\n"


def good(custom_id: str, text: str) -> str:
    return line(custom_id, response={"status_code": 200, "body": body(text)})


def replies(tmp_path: Path, *lines: str) -> dict[str, Reply]:
    (tmp_path / "out.jsonl").write_text("".join(lines))
    return read_replies([tmp_path / "out.jsonl"])


def test_a_request_is_written_as_the_service_takes_it(tmp_path: Path) -> None:
    write_requests(tmp_path / "in.jsonl", [request()])
    assert json.loads((tmp_path / "in.jsonl").read_text()) == {
        "custom_id": request().custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "m",
            "messages": [{"role": "user", "content": "Hello é"}],
            "temperature": 0.5,
            "max_tokens": 9,
        },
    }


def test_an_id_is_a_name_and_a_hash_of_the_wording() -> None:
    assert request().custom_id == request().custom_id
    assert request("Hello").custom_id != request("Hello!").custom_id
    name, digest = request().custom_id.split("-")
    assert (name, len(digest)) == ("first", 8)


def test_half_a_character_can_be_asked(tmp_path: Path) -> None:
    write_requests(tmp_path / "in.jsonl", [request("\ud800")])
    assert json.loads((tmp_path / "in.jsonl").read_text())["body"]["messages"][0]["content"] == "\ud800"


def test_a_reply_is_read_with_its_tokens(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    found = replies(tmp_path, line(response={"status_code": 200, "body": body("hi", usage=usage)}))
    assert found == {"a": Reply(custom_id="a", text="hi", prompt_tokens=7, completion_tokens=3)}


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}])
def test_tokens_that_are_not_told_count_nothing(tmp_path: Path, usage: object) -> None:
    found = replies(tmp_path, line(response={"status_code": 200, "body": body("hi", usage=usage)}))
    assert found == {"a": Reply(custom_id="a", text="hi")}


def test_the_last_good_reply_counts(tmp_path: Path) -> None:
    failed = line("a", error={"code": "expired"})
    assert replies(tmp_path, good("a", "one"), good("a", "two"), failed)["a"].text == "two"
    assert replies(tmp_path, failed, good("a", "one"))["a"].text == "one"


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        pytest.param(line(error={"code": "expired"}), "{'code': 'expired'}", id="error"),
        pytest.param(line(response={"status_code": 429, "body": {}}), "status 429", id="status"),
    ],
)
def test_a_request_that_failed_is_a_reply_that_says_so(tmp_path: Path, sent: str, error: str) -> None:
    assert replies(tmp_path, sent) == {"a": Reply(custom_id="a", text="", error=error)}


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param('{"response": {}}\n', id="no id"),
        pytest.param(line(7), id="id is a number"),
        pytest.param(line(), id="neither response nor error"),
        pytest.param(line(response="x"), id="response is a text"),
        pytest.param(line(response={"status_code": 200, "body": []}), id="body is a list"),
        pytest.param(line(response={"status_code": 200, "body": {"choices": []}}), id="no choice"),
        pytest.param(line(response={"status_code": 200, "body": body(["hi"])}), id="content is a list"),
        pytest.param(line(response={"status_code": 200, "body": body(usage=[1])}), id="usage is a list"),
        pytest.param(
            line(response={"status_code": 200, "body": body(usage={"prompt_tokens": float("inf")})}),
            id="infinite",
        ),
    ],
)
def test_another_format_is_named_with_its_place(tmp_path: Path, sent: str) -> None:
    with pytest.raises(DataError, match=r"out\.jsonl: reply 1.*a batch output (file|line) is expected"):
        replies(tmp_path, sent)


@pytest.mark.parametrize("content", ["Sure, here it is", "[1]\n", '{"custom_id": "a", "resp'])
def test_a_file_that_is_no_json_lines_is_named(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match=r"out\.jsonl:1: "):
        replies(tmp_path, content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_replies([tmp_path / "none.jsonl"])


@pytest.mark.parametrize(("tokens", "known"), [(10**9, 10**9), (10**9 + 1, 0), (10**400, 0), (-1, 0)])
def test_a_count_of_tokens_that_cannot_be_is_left_out(tmp_path: Path, tokens: int, known: int) -> None:
    usage = {"prompt_tokens": tokens, "completion_tokens": tokens}
    found = replies(tmp_path, line("a", response={"status_code": 200, "body": body(usage=usage)}))
    assert (found["a"].prompt_tokens, found["a"].completion_tokens) == (known, known)
