"""What vLLM and llama.cpp are told, and what is read out of their answers."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sense.llms.llama_cpp import LlamaCppSampler
from sense.llms.sampler import Prompt, Sampled, seed_number
from sense.llms.vllm import VllmSampler

PROMPT = Prompt(schema="database d\n", text="question: q\nsql:", seeds=("0/q/0", "0/q/1"))
SETTINGS: dict[str, Any] = {"max_new_tokens": 9, "temperature": 0.7, "top_p": 0.9, "stops": ("\n", "x")}
ANSWERS = {0: Sampled(" SELECT 1", -1.5, 3, True), 1: Sampled(" SELECT 1", -1.5, 3, True)}


class Tokenizer:
    def encode(self, text: str, **how: bool) -> list[int]:
        assert how == {"add_special_tokens": False, "split_special_tokens": True}
        return list(text.encode())


class VllmModel:
    def __init__(self, **given: object) -> None:
        assert given == {"model": "hub/m", "dtype": "auto", "enable_prefix_caching": True}
        self.asked: list[Any] = []

    def get_tokenizer(self) -> Tokenizer:
        return Tokenizer()

    def generate(self, prompts: list[Any], settings: list[Any], *, use_tqdm: bool) -> list[Any]:
        self.asked += zip(prompts, settings, strict=True)
        one = SimpleNamespace(
            text=" SELECT 1", cumulative_logprob=-1.5, token_ids=[1, 2, 3], finish_reason="stop"
        )
        return [SimpleNamespace(outputs=[one]) for _ in prompts]


class LlamaModel:
    def __init__(self, **given: object) -> None:
        assert given.keys() == {"model_path", "n_ctx", "verbose"}
        self.asked: list[tuple[list[int], dict[str, object]]] = []

    def tokenize(self, text: bytes, *, add_bos: bool, special: bool) -> list[int]:
        assert not add_bos and not special
        return list(text)

    def create_completion(self, ids: list[int], **settings: object) -> dict[str, Any]:
        self.asked.append((ids, settings))
        return {
            "choices": [{"text": " SELECT 1", "finish_reason": "stop"}],
            "usage": {"completion_tokens": 3},
        }


def library(monkeypatch: pytest.MonkeyPatch, name: str, **members: object) -> None:
    # Neither library runs where tests do: one wants a GPU, the other a C++ compiler.
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__dict__.update(members)
    monkeypatch.setitem(sys.modules, name, module)


def test_vllm_draws_from_the_nucleus_alone_and_ends_at_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    model: list[VllmModel] = []

    def load(**given: object) -> VllmModel:
        model.append(VllmModel(**given))
        return model[0]

    library(monkeypatch, "vllm", LLM=load, SamplingParams=dict)
    found: dict[int, Sampled] = {}
    sampler = VllmSampler("hub/m", dtype="auto", **SETTINGS)
    sampler.sample([PROMPT], on_answers=lambda _, answers: found.update(answers))
    assert found == ANSWERS
    ids = {"prompt_token_ids": list(b"database d\nquestion: q\nsql:")}
    common = {"max_tokens": 9, "temperature": 0.7, "top_p": 0.9, "stop": ["\n", "x"], "logprobs": 0}
    assert model[0].asked == [(ids, common | {"seed": seed_number(seed)}) for seed in PROMPT.seeds]


def test_llama_cpp_draws_from_the_nucleus_alone_and_ends_at_a_stop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model: list[LlamaModel] = []

    def load(**given: object) -> LlamaModel:
        model.append(LlamaModel(**given))
        return model[0]

    library(monkeypatch, "llama_cpp", Llama=load)
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    found: dict[int, Sampled] = {}
    sampler = LlamaCppSampler(str(tmp_path / "m.gguf"), **SETTINGS)
    sampler.sample([PROMPT], on_answers=lambda _, answers: found.update(answers))
    assert found == {k: one._replace(logprob=None) for k, one in ANSWERS.items()}
    common = {"max_tokens": 9, "temperature": 0.7, "top_p": 0.9, "stop": ["\n", "x"]}
    common |= {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}  # else llama.cpp's own, which cut more off
    ids = list(b"database d\nquestion: q\nsql:")
    assert model[0].asked == [(ids, common | {"seed": seed_number(seed)}) for seed in PROMPT.seeds]
