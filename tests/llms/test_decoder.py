"""Continuous decoding: questions about several schemas in one batch are answered as each one alone is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakSet

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import save_model
from transformers import AutoModelForCausalLM

from sense.errors import ModelError
from sense.llms import decoder
from sense.llms.local import Answer, Job, Loaded, load, sample
from sense.llms.prefix_cache import Prefix

SCHEMAS = [
    "database pets\ntable pet ( id number key, name text [Rex | Tom], age number )\n",
    "table owner ( id )\n",
    "database shops\ntable shop ( id number key, city text ['Köln'], pet_id number )\nshop.pet_id = pet.id\n",
]
TEXTS = ["q", "question: How many?\nsql:", "evidence: old means age > 9\nquestion: The oldest?\nsql:"]
ASKED = [(schema, text) for schema in SCHEMAS for text in TEXTS]
TOKENS = 20
MANY_ENDS = list(range(40))  # so that a random model ends its answers, and at different places
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"tie_word_embeddings": True}),
    "qwen2": ("qwen2", {}),
    "mistral, all layers slide": ("mistral", {"sliding_window": 12}),
    "gemma3, some layers slide": (
        "gemma3_text",
        {"head_dim": 16, "sliding_window": 9, "layer_types": ["sliding_attention", "full_attention"]},
    ),
}


class Plain(NamedTuple):
    """What `generate` of transformers answers."""

    text: str
    tokens: int
    logprob: float


class Pass(NamedTuple):
    """A forward pass of the model: what its cache was, rows, tokens of a row."""

    states: Any
    rows: int
    tokens: int


def load_with_many_ends(folder: Path) -> Loaded:
    loaded = load(str(folder))
    assert loaded.model.generation_config is not None
    loaded.model.generation_config.eos_token_id = MANY_ENDS
    return loaded


@pytest.fixture(scope="module")
def llama(llama_folder: Path) -> Loaded:
    return load_with_many_ends(llama_folder)


@pytest.fixture(scope="module", params=KINDS, ids=str)
def kind_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind, config = KINDS[request.param]
    return save_model(tmp_path_factory.mktemp("model"), kind, **config)


@pytest.fixture(scope="module")
def loaded(kind_folder: Path) -> Loaded:
    return load_with_many_ends(kind_folder)


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def generated(
    request: pytest.FixtureRequest, kind_folder: Path, loaded: Loaded
) -> dict[tuple[str, str], Plain]:
    plain = AutoModelForCausalLM.from_pretrained(kind_folder, attn_implementation=request.param)
    return {(schema, text): generate(plain, loaded, schema + text, len(schema)) for schema, text in ASKED}


def generate(plain: Any, loaded: Loaded, prompt: str, split: int) -> Plain:
    parts = [
        loaded.tokenizer.encode(part, add_special_tokens=False) for part in (prompt[:split], prompt[split:])
    ]
    ids = torch.tensor([parts[0] + parts[1]])
    out = plain.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=TOKENS,
        eos_token_id=MANY_ENDS,
        pad_token_id=0,
    )
    own = out[0, ids.shape[1] :]
    with torch.no_grad():
        logprobs = plain(out).logits[0, ids.shape[1] - 1 : -1].log_softmax(dim=-1)
    shown = own[:-1] if int(own[-1]) in MANY_ENDS else own
    text = loaded.tokenizer.decode(shown, skip_special_tokens=True)
    return Plain(text, len(own), float(logprobs.gather(1, own[:, None]).sum()))


def answers(loaded: Loaded, jobs: list[Job], **options: Any) -> list[Answer]:
    options = {"max_new_tokens": TOKENS, "batch": 8} | options
    found = list(sample(loaded, iter(jobs), **options))
    assert sorted(index for index, _ in found) == list(range(len(jobs)))
    return [answer for _, answer in sorted(found, key=lambda each: each[0])]


def sampled(schemas: int = 3, samples: int = 5) -> list[Job]:
    return [
        Job(schema=schema, text=text, seed=f"{schema}{text}{k}")
        for schema in SCHEMAS[:schemas]
        for text in TEXTS
        for k in range(samples)
    ]


@pytest.fixture
def passes(llama: Loaded) -> Iterator[list[Pass]]:
    """The forward passes of the Llama, as they are made."""
    made: list[Pass] = []

    def note(_module: object, _args: object, given: dict[str, Any]) -> None:
        made.append(Pass(given["past_key_values"], *given["input_ids"].shape))

    hook = llama.model.register_forward_pre_hook(note, with_kwargs=True)
    yield made
    hook.remove()


@settings(max_examples=10)
@given(
    asked=st.lists(st.sampled_from(ASKED), max_size=30),
    batch=st.integers(1, 20),
    texts=st.integers(1, 8),
    prefixes=st.integers(1, 3),
)
def test_greedy_answers_are_those_of_generate(
    loaded: Loaded,
    generated: dict[tuple[str, str], Plain],
    asked: list[tuple[str, str]],
    batch: int,
    texts: int,
    prefixes: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:  # bounds so low that few jobs meet them
        patch.setattr(decoder, "TEXTS_AT_ONCE", texts)
        patch.setattr(decoder, "MAX_PREFIXES", prefixes)
        made = answers(loaded, [Job(schema=schema, text=text) for schema, text in asked], batch=batch)
    for answer, key in zip(made, asked, strict=True):
        assert (answer.text, answer.tokens) == generated[key][:2]
        assert answer.logprob == pytest.approx(generated[key].logprob, rel=1e-4)


@settings(max_examples=10)
@given(batch=st.integers(1, 40), order=st.randoms(use_true_random=False))
def test_a_sample_depends_on_its_seed_only(llama: Loaded, batch: int, order: random.Random) -> None:
    jobs = [*sampled(samples=2), Job(schema=SCHEMAS[0], text=TEXTS[1])]  # a greedy one among them
    expected = dict(zip(jobs, answers(llama, jobs, top_p=0.9), strict=True))
    shuffled = order.sample(jobs, len(jobs))
    for job, answer in zip(shuffled, answers(llama, shuffled, top_p=0.9, batch=batch), strict=True):
        assert (answer.text, answer.tokens) == (expected[job].text, expected[job].tokens)
        assert answer.logprob == pytest.approx(expected[job].logprob, rel=1e-4)


def test_a_schema_is_run_once_and_a_question_once(llama: Loaded, passes: list[Pass]) -> None:
    answers(llama, sampled())
    assert sum(isinstance(each.states, Prefix) for each in passes) == len(SCHEMAS)
    steps = passes[-1].states
    questions = [
        each.rows for each in passes if each.states is not steps and not isinstance(each.states, Prefix)
    ]
    assert sum(questions) == len(ASKED)


def test_the_batch_stays_full_while_jobs_wait(llama: Loaded, passes: list[Pass]) -> None:
    made = answers(llama, sampled(samples=20), batch=16)
    steps = [each.rows for each in passes if each.states is passes[-1].states]
    tail = [rows for rows in steps if rows < 16]
    assert tail == sorted(tail, reverse=True)
    assert steps == [16] * (len(steps) - len(tail)) + tail
    assert len(tail) <= TOKENS
    # A step gives each open row a token; at most an eighth of the rows have ended, but for the last of all.
    assert sum(steps) * 0.875 <= sum(answer.tokens - 1 for answer in made) + TOKENS


@pytest.mark.parametrize("shuffled", [False, True])
def test_no_more_than_so_many_schemas_are_kept(
    llama: Loaded, passes: list[Pass], monkeypatch: pytest.MonkeyPatch, shuffled: bool
) -> None:
    monkeypatch.setattr(decoder, "MAX_PREFIXES", 2)  # of eight, as 16 of more would take longer
    alive: WeakSet[Prefix] = WeakSet()
    most = 0
    jobs = [
        Job(schema=f"table t{n} ( id )\n", text=TEXTS[0], seed=f"{n}/{k}") for n in range(8) for k in range(3)
    ]
    if shuffled:
        random.Random(0).shuffle(jobs)
    for _ in sample(llama, jobs, max_new_tokens=TOKENS, batch=4):
        alive.update(each.states for each in passes if isinstance(each.states, Prefix))
        passes.clear()
        most = max(most, len(alive))
    assert most == 2


def test_jobs_are_read_as_they_are_needed(llama: Loaded) -> None:
    read = 0

    def jobs() -> Iterator[Job]:
        nonlocal read
        for k in range(100):
            read += 1
            yield Job(schema=SCHEMAS[0], text=TEXTS[0], seed=str(k))

    for answered, _ in enumerate(sample(llama, jobs(), max_new_tokens=TOKENS, batch=4), start=1):
        assert read <= answered + 2 * 4 + 4  # in the batch, read ahead, and answered with this one
    assert read == 100


@pytest.mark.parametrize("length", [1, 3])
def test_a_stop_ends_an_answer_and_is_not_in_it(llama: Loaded, length: int) -> None:
    jobs = [Job(schema=schema, text=text) for schema, text in ASKED]
    cut = 0
    for job, whole in zip(jobs, answers(llama, jobs), strict=True):
        body = whole.text.strip()
        stop = body[len(body) // 2 :][:length].rstrip() or "§"
        (answer,) = answers(llama, [job], stops=("none", stop))
        assert answer.text == whole.text[: whole.text.find(stop)]
        assert answer.finished
        assert answer.tokens <= whole.tokens
        cut += answer.tokens < whole.tokens
    assert cut > len(jobs) / 2


def test_a_stop_before_the_first_letter_does_not_count(llama: Loaded) -> None:
    newline = llama.tokenizer.encode("\n", add_special_tokens=False)
    made = decoder.Decoder(
        llama.model,
        llama.tokenizer,
        ends=frozenset(),
        stops=("\n",),
        max_new_tokens=9,
        temperature=1.0,
        top_p=1.0,
        batch=1,
    )
    letters = llama.tokenizer.encode(" SELECT 1", add_special_tokens=False)
    assert made._ended(newline) is None
    assert made._ended(newline + letters) is None
    assert made._ended(newline + letters + newline) == "\n SELECT 1"


def test_no_jobs_give_no_answers(llama: Loaded) -> None:
    assert answers(llama, []) == []


def test_an_empty_question_is_refused(llama: Loaded) -> None:
    with pytest.raises(ModelError, match="empty text"):
        answers(llama, [Job(schema=SCHEMAS[0], text="")])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("seed", [None, "drawn"])
def test_broken_weights_are_told(llama_folder: Path, value: float, seed: str | None) -> None:
    broken = load(str(llama_folder))
    norm = broken.model.get_submodule("model.norm").weight
    assert isinstance(norm, torch.Tensor)
    with torch.no_grad():
        norm[3] = value
    with pytest.raises(ModelError, match="next-token scores are no numbers: broken weights"):
        answers(broken, [Job(schema=SCHEMAS[0], text=TEXTS[0], seed=seed)])
