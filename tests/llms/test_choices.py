"""Reading several answers of one reply."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sense.errors import DataError
from sense.llms.choices import Samples, read_sample_replies, read_samples
from sense.llms.sampler import Sampled

CHAT = {"message": {"content": "a"}, "finish_reason": "stop"}


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        pytest.param(CHAT, Sampled("a", None, 3, True), id="chat"),
        pytest.param({"text": "a", "finish_reason": "length"}, Sampled("a", None, 3, False), id="cut"),
        pytest.param({"message": {"content": None}}, Sampled("", None, 3, True), id="nothing written"),
        pytest.param(
            CHAT | {"logprobs": {"content": [{"logprob": -1}, {"logprob": -0.5}]}},
            Sampled("a", -1.5, 2, True),
            id="logprobs of chat",
        ),
        pytest.param(
            {"text": "a", "logprobs": {"token_logprobs": [-0.25, -0.5]}},
            Sampled("a", -0.75, 2, True),
            id="logprobs of completions",
        ),
        pytest.param(
            CHAT | {"logprobs": {"content": [{"logprob": -1}, {"logprob": None}]}},
            Sampled("a", None, 3, True),
            id="a logprob is missing",
        ),
        pytest.param(
            CHAT | {"logprobs": {"token_logprobs": 7}}, Sampled("a", None, 3, True), id="logprobs are none"
        ),
        *(
            pytest.param(
                CHAT | {"logprobs": {"token_logprobs": [-1.0, value]}}, Sampled("a", None, 3, True), id=name
            )
            for name, value in [
                ("a probability above 1", 0.5),
                ("too small", -1e7),
                ("no number", float("nan")),
                ("no end", -float("inf")),
                ("more digits than a float has", -(10**400)),
            ]
        ),
        pytest.param(
            CHAT | {"logprobs": {"token_logprobs": [0.0001, -1e6]}},
            Sampled("a", 0.0001 - 1e6, 2, True),
            id="at the bounds",
        ),
    ],
)
def test_a_choice_is_read(choice: dict[str, Any], read: Sampled) -> None:
    body = {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}}
    samples = read_samples("q", body)
    assert samples.choices == (read,)
    assert (samples.prompt_tokens, samples.completion_tokens) == (9, 3)


def test_tokens_counted_together_are_shared_out_evenly() -> None:
    samples = read_samples("q", {"choices": [CHAT] * 3, "usage": {"completion_tokens": 8}})
    assert [sampled.tokens for sampled in samples.choices] == [3, 3, 2]


@pytest.mark.parametrize(("tokens", "known"), [(10**9, 10**9), (10**9 + 1, 0), (10**400, 0), (-1, 0)])
def test_a_count_that_cannot_be_is_not_known(tokens: int, known: int) -> None:
    usage = {"prompt_tokens": tokens, "completion_tokens": tokens}
    samples = read_samples("q", {"choices": [CHAT], "usage": usage})
    assert (samples.prompt_tokens, samples.completion_tokens) == (known, known)
    assert samples.choices[0].tokens == known


@pytest.mark.parametrize(
    "body",
    [None, [], "x", {}, {"choices": None}, {"choices": [1, {"message": 2}, {"message": {"content": [3]}}]}],
)
def test_what_is_no_answer_gives_no_sample(body: object) -> None:
    assert read_samples("q", body) == Samples(custom_id="q", text="")


def line(custom_id: str, *texts: str, status: int = 200) -> dict[str, Any]:
    choices = [{"message": {"content": text}} for text in texts]
    return {"custom_id": custom_id, "response": {"status_code": status, "body": {"choices": choices}}}


def test_of_two_replies_the_last_good_one_counts(tmp_path: Path) -> None:
    file = tmp_path / "replies.jsonl"
    lines = [line("a", "1", "2"), line("a", "3"), line("a", status=500), line("b", status=429), line("c")]
    file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    replies = read_sample_replies([file])
    assert isinstance(replies["a"], Samples)
    assert [sampled.text for sampled in replies["a"].choices] == ["3"]
    assert (replies["b"].error, replies["c"].error) == ("status 429", "no text in the reply")


@pytest.mark.parametrize(
    "text", ['{"custom_id": 1}', '{"custom_id": "a"}', '{"custom_id": "a", "response": {}}']
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.jsonl").write_text(text + "\n")
    with pytest.raises(DataError, match=r"f\.jsonl: reply 1.* is missing"):
        read_sample_replies([tmp_path / "f.jsonl"])
