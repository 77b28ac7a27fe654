"""Sampling through a server on loopback that gives several answers, fewer, or none, and fails as told."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, ChatServer, refusal, serve

from sense import jsonl
from sense.errors import ModelError
from sense.llms.api import ApiProvider, ApiSettings
from sense.llms.base import KnownReplies
from sense.llms.batch_files import Endpoint
from sense.llms.budget import Caps, Price
from sense.llms.remote import RemoteSampler, RemoteSettings
from sense.llms.sampler import Ended, Prompt, Sampled
from sense.records import Candidate
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.weak.sample import Config, run

SETTINGS = RemoteSettings(
    model="m", endpoint=Endpoint.CHAT, max_tokens=50, temperature=0.7, top_p=0.9, instruction="Do it.\n"
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def choices(body: dict[str, Any], count: int) -> Answer:
    """Answer with texts that tell the request's seed and their place."""
    texts = [f"SELECT {body.get('seed', 0)} + {i}" for i in range(count)]
    listed: list[dict[str, Any]] = [
        {"text": text} if "prompt" in body else {"message": {"content": text}} for text in texts
    ]
    usage = {"prompt_tokens": 10, "completion_tokens": 5 * count}
    return Answer(body=json.dumps({"choices": listed, "usage": usage}).encode())


class SampleServer(ChatServer):
    """Gives the `n` answers that it is asked for."""

    def answer(self, body: dict[str, Any], question: str, tries: int) -> Answer:
        fault = self.script(question, tries)
        return fault if fault.status != 200 or fault.body else choices(body, self.count(body))

    def count(self, body: dict[str, Any]) -> int:
        return int(body.get("n", 1))


class OneAnswerServer(SampleServer):
    """Does not look at `n`."""

    def count(self, body: dict[str, Any]) -> int:
        return 1


class TwoAnswersServer(SampleServer):
    """Gives no more than two."""

    def count(self, body: dict[str, Any]) -> int:
        return min(2, int(body.get("n", 1)))


class GenerousServer(SampleServer):
    def count(self, body: dict[str, Any]) -> int:
        return int(body.get("n", 1)) + 1


def refusing(name: str, message: str, *, status: int = 400) -> type[ChatServer]:
    """Make a server that refuses requests with a field of this name."""

    class Refusing(SampleServer):
        def answer(self, body: dict[str, Any], question: str, tries: int) -> Answer:
            error = json.dumps({"error": {"message": message}}).encode()
            good = super().answer(body, question, tries)
            return Answer(status=status, body=error) if name in body else good

    return Refusing


def good(question: str, tries: int) -> Answer:
    return Answer()


def prompts(count: int, samples: int = 4) -> list[Prompt]:
    return [
        Prompt(
            schema="database d\n",
            text=f"question: {i:02d}\nsql:",
            seeds=tuple(f"0/{i}/{k}" for k in range(samples)),
        )
        for i in range(count)
    ]


def sample(
    server: ChatServer, asked: list[Prompt], *, settings: RemoteSettings = SETTINGS, **changed: Any
) -> tuple[Ended, dict[tuple[int, int], Sampled]]:
    """Sample, and return what came; nothing comes twice."""
    api = {"first_backoff_s": 0.01, "timeout_s": 10.0, "endpoint": settings.endpoint} | changed
    provider = ApiProvider(ApiSettings(base_url=server.url, **api), rng=random.Random(0))
    found: list[tuple[tuple[int, int], Sampled]] = []
    ended = RemoteSampler(provider, settings).sample(
        asked, on_answers=lambda p, answers: found.extend(((p, k), one) for k, one in answers.items())
    )
    assert len(dict(found)) == len(found)
    return ended, dict(found)


def places(count: int, samples: int = 4) -> set[tuple[int, int]]:
    return {(p, k) for p in range(count) for k in range(samples)}


def test_one_request_asks_for_all_samples_of_a_prompt() -> None:
    with serve(good, kind=SampleServer) as server:
        ended, found = sample(server, prompts(5))
    assert found.keys() == places(5)
    assert len({sampled.text for sampled in found.values()}) == 20
    assert (len(server.bodies), ended) == (5, Ended())
    body = server.bodies[0]
    assert body["messages"] == [{"role": "user", "content": "Do it.\ndatabase d\nquestion: 00\nsql:"}]
    assert {name: body[name] for name in ("n", "temperature", "top_p", "max_tokens", "logprobs")} == {
        "n": 4, "temperature": 0.7, "top_p": 0.9, "max_tokens": 50, "logprobs": True,
    }  # fmt: skip
    assert len({body["seed"] for body in server.bodies}) == 5 and "stop" not in body


def test_a_bare_continuation_has_the_prompt_as_it_is_and_ends_at_a_line() -> None:
    bare = RemoteSettings(model="m", endpoint=Endpoint.COMPLETIONS, max_tokens=50, temperature=0.7, top_p=0.9)
    with serve(good, kind=SampleServer) as server:
        _, found = sample(server, prompts(1), settings=bare)
    assert (found.keys(), server.paths) == (places(1), {"/v1/completions"})
    assert (server.bodies[0]["prompt"], server.bodies[0]["stop"]) == (
        "database d\nquestion: 00\nsql:",
        ["\n"],
    )
    assert "messages" not in server.bodies[0]


@pytest.mark.parametrize(
    ("kind", "requests"),
    [
        # The first request shows how many come; then so many are asked for at a time.
        pytest.param(OneAnswerServer, 12, id="one"),
        pytest.param(TwoAnswersServer, 6, id="two"),
        pytest.param(GenerousServer, 3, id="more"),
    ],
)
def test_a_server_that_gives_another_number_is_asked_for_the_rest(
    kind: type[ChatServer], requests: int
) -> None:
    with serve(good, kind=kind) as server:
        ended, found = sample(server, prompts(3))
    assert (found.keys(), len(server.bodies), ended) == (places(3), requests, Ended())
    assert len({sampled.text for sampled in found.values()}) == 12


@pytest.mark.parametrize(
    "message",
    [
        "'n' : number must be at most 1 to use this model",
        "n > 1 is not supported",
        "Only one completion choice is allowed",
    ],
)
def test_a_server_that_refuses_several_answers_is_asked_for_one_at_a_time(
    message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(good, kind=refusing("n", message)) as server:
        ended, found = sample(server, prompts(3))
    assert (found.keys(), len(server.bodies), ended) == (places(3), 13, Ended())
    assert capsys.readouterr().err.count("the server takes no 'n': one sample a request") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("logprobs", "Unsupported fields: {'logprobs'}", id="logprobs"),
        pytest.param("seed", "seed is not supported", id="seed"),
    ],
)
def test_what_a_server_does_not_take_is_left_out(name: str, message: str) -> None:
    with serve(good, kind=refusing(name, message, status=422)) as server:
        ended, found = sample(server, prompts(3))
    assert (found.keys(), len(server.bodies), ended) == (places(3), 4, Ended())
    assert all(name not in body and body["n"] == 4 for body in server.bodies[1:])


def test_what_changes_the_samples_is_never_left_out() -> None:
    with serve(good, kind=refusing("top_p", "top_p is not supported here\nat all")) as server:
        ended, found = sample(server, prompts(2))
    assert (found, len(ended.failed), len(server.bodies)) == ({}, 2, 2)
    assert ended.failed[0].startswith("status 400: 'top_p is not supported")


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(refusal(429, retry_after="0.05"), id="429"),
        pytest.param(refusal(500), id="500"),
        pytest.param(Answer(body=choices({}, 4).body, cut_after=40), id="cut"),
        pytest.param(Answer(body=choices({}, 4).body, delay_s=0.6), id="slow"),
    ],
)
@pytest.mark.parametrize("kind", [SampleServer, OneAnswerServer])
def test_after_a_fault_all_samples_are_there_and_none_twice(kind: type[ChatServer], fault: Answer) -> None:
    def first_fails(question: str, tries: int) -> Answer:
        return fault if tries == 0 else Answer()

    with serve(first_fails, kind=kind) as server:
        ended, found = sample(server, prompts(4), timeout_s=0.3 if fault.delay_s else 10.0)
    assert (found.keys(), ended) == (places(4), Ended())


def test_a_request_that_fails_is_told_and_the_others_go_on() -> None:
    def script(question: str, tries: int) -> Answer:
        return refusal(500) if "question: 01" in question else Answer()

    with serve(script, kind=SampleServer) as server:
        ended, found = sample(server, prompts(3), tries=2)
    assert found.keys() == places(3) - {(1, k) for k in range(4)}
    assert ended.failed == ("failed 2 times: status 500: 'told to say 500'",)


def test_usage_that_cannot_be_costs_the_worst_case(capsys: pytest.CaptureFixture[str]) -> None:
    body = json.loads(choices({}, 4).body) | {"usage": {"prompt_tokens": 10**400, "completion_tokens": 5}}
    prices = {"m": Price(input=1, output=1)}
    with serve(lambda *_: Answer(body=json.dumps(body).encode()), kind=SampleServer) as server:
        _, found = sample(server, prompts(3), caps=Caps(max_usd=1), prices=prices)
        # A request is 38 bytes, 72 tokens for the template, and 4 answers of 50: 310 tokens at the worst.
        _, some = sample(server, prompts(3), caps=Caps(max_usd=700e-6), prices=prices)
    assert found.keys() == places(3)
    assert some.keys() == places(2)


@pytest.mark.parametrize(
    "other",
    [
        {"model": "n"},
        {"endpoint": Endpoint.COMPLETIONS},
        {"temperature": 0.8},
        {"top_p": 0.8},
        {"max_tokens": 51},
    ],
    ids=lambda other: "".join(other),
)
def test_a_reply_to_other_settings_is_not_taken_for_ones_own(other: dict[str, Any]) -> None:
    ids = []
    for settings in (SETTINGS, replace(SETTINGS), replace(SETTINGS, **other)):
        asked = RemoteSampler(KnownReplies({}), replace(settings, by_file=True))
        ended = asked.sample(prompts(1), on_answers=lambda _, answers: None)
        ids.append(ended.unanswered[0].custom_id)
    assert ids[0] == ids[1] != ids[2]


def test_what_a_cap_leaves_has_no_answer() -> None:
    with serve(good, kind=SampleServer) as server:
        ended, found = sample(server, prompts(5), caps=Caps(max_requests=2))
    assert (len(found), len(server.bodies), len(ended.unanswered)) == (8, 2, 3)


def test_a_cap_counts_every_answer_of_a_request() -> None:
    # A request is 38 bytes, 72 tokens for the template, and 4 answers of 50: 310 tokens at the worst.
    asked = [len(f"Do it.\n{prompt.schema}{prompt.text}") for prompt in prompts(1)]
    with serve(good, kind=SampleServer) as server:
        counts = [
            len(sample(server, prompts(1), caps=Caps(max_tokens=asked[0] + 72 + 200 - less))[1])
            for less in (0, 1)
        ]
    assert counts == [4, 0]


def run_stage(data: Path, server: str, **settings: Any) -> tuple[Outcome, list[Candidate]]:
    chosen = {"model": "m", "engine": "api", "base_url": server, "data": data, "samples": 3} | settings
    config = Config.parse(chosen, where="test")
    outcome = run(config, RunDir(data.parent / "out", stage="sample", config=config))
    return outcome, jsonl.read(data.parent / "out" / "candidates.jsonl", Candidate)


def test_the_stage_writes_what_a_server_answers(pets_and_shops: Path) -> None:
    with serve(good, kind=SampleServer) as server:
        outcome, candidates = run_stage(pets_and_shops, server.url)
    assert [c.id for c in candidates] == [f"q{n * 10}#{k}" for n in range(7) for k in range(3)]
    assert {(c.logprob, c.tokens, c.finished) for c in candidates} == {(None, 5, True)}
    assert (outcome.complete, outcome.summary["candidates"], outcome.summary["tokens"]) == (True, 21, 105)
    assert outcome.summary["usage"] == {
        "requests": 7, "prompt_tokens": 70, "completion_tokens": 105, "usd": 0.0
    }  # fmt: skip


def test_what_is_missing_is_told_and_asked_for_again_alone(pets_and_shops: Path) -> None:
    with serve(good, kind=SampleServer) as server:
        short, some = run_stage(pets_and_shops, server.url, max_requests=3)
        assert (len(some), short.complete, len(server.bodies)) == (9, False, 3)
        assert str(short.shortfall).startswith(
            "12 of 21 samples are missing; the same command asks for these"
        )
        whole, candidates = run_stage(pets_and_shops, server.url)
        assert (len(candidates), whole.complete, len(server.bodies)) == (21, True, 7)
    assert {c.id: c for c in candidates}.items() >= {c.id: c for c in some}.items()


def test_a_server_that_is_down_ends_the_run_and_what_came_is_kept(pets_and_shops: Path) -> None:
    def script(question: str, tries: int) -> Answer:
        return Answer() if "How many pets" in question else refusal(401)

    with (
        serve(script, kind=SampleServer) as server,
        pytest.raises(ModelError, match="no reply; 18 of 21 samples are missing"),
    ):
        run_stage(pets_and_shops, server.url)
    kept = jsonl.read(pets_and_shops.parent / "out" / "candidates.jsonl", Candidate)
    assert [c.id for c in kept] == ["q0#0", "q0#1", "q0#2"]


def killed_and_again(command: list[str], candidates: Path, *, lines: int) -> None:
    """Kill a command once a file has so many lines, then run it to its end."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
        while not candidates.exists() or candidates.read_bytes().count(b"\n") < lines:
            assert child.poll() is None
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
    subprocess.run(command, check=True, capture_output=True)


def test_after_kill_9_nothing_is_lost_and_nothing_there_twice(pets_and_shops: Path, tmp_path: Path) -> None:
    def slowly(question: str, tries: int) -> Answer:
        time.sleep(0.1)
        return Answer()

    with serve(slowly, kind=OneAnswerServer) as server:
        command = [
            *(sys.executable, "-m", "sense", "sample", "--out", str(tmp_path / "out"), "--samples", "3"),
            *("--model", "m", "--engine", "api", "--base-url", server.url, "--data", str(pets_and_shops)),
            *("--concurrency", "2"),
        ]
        killed_and_again(command, tmp_path / "out" / "candidates.jsonl", lines=9)
    candidates = jsonl.read(tmp_path / "out" / "candidates.jsonl", Candidate)
    assert [c.id for c in candidates] == [f"q{n * 10}#{k}" for n in range(7) for k in range(3)]
    assert len(server.bodies) <= 21 + 2  # the first request of the second go asks for what two in flight did
    assert max(Counter(c.sql for c in candidates).values()) == 1


@pytest.mark.slow
def test_a_real_model_behind_a_server_is_sampled_from(llama_folder: Path, pets_and_shops: Path) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from sense.llms.local_sampler import LocalSampler

    model = LocalSampler(
        str(llama_folder), dtype="float32", batch=8, max_new_tokens=8, temperature=1.0, top_p=0.95, stops=()
    )

    class ModelServer(SampleServer):
        def answer(self, body: dict[str, Any], question: str, tries: int) -> Answer:
            start = body["prompt"].index("question: ")
            prompt = Prompt(
                schema=body["prompt"][:start],
                text=body["prompt"][start:],
                seeds=tuple(f"{body['seed']}/{i}" for i in range(body.get("n", 1))),
            )
            found: dict[int, Sampled] = {}
            with self.lock:
                model.sample([prompt], on_answers=lambda p, answers: found.update(answers))
            listed = [
                {
                    "text": one.text,
                    "finish_reason": "stop" if one.finished else "length",
                    "logprobs": {"token_logprobs": [one.logprob]},
                }
                for one in found.values()
            ]
            return Answer(body=json.dumps({"choices": listed}).encode())

    with serve(good, kind=ModelServer) as server:
        outcome, candidates = run_stage(pets_and_shops, server.url, endpoint="completions", samples=4)
    assert (len(candidates), outcome.complete) == (28, True)
    assert all(c.logprob is not None and c.logprob < 0 for c in candidates)
    assert outcome.summary["different"] > 20
    assert outcome.summary["share_unfinished"] > 0
