"""Models that run here: behind a shared schema they answer as plain rows do, and a seed settles a sample."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from tiny_models import peft_reads_an_old_name, save_model
from transformers import AutoModelForCausalLM

from sense import caches
from sense.errors import ModelError
from sense.llms.local import Answer, Continuation, Loaded, answer, load

SCHEMA = "database pets\ntable pet ( id number key, name text [Rex | Tom], age number )\n"
QUESTIONS = [
    "question: How many?\nsql:",
    "evidence: old means age > 9\nquestion: Which pet is the oldest one of all?\nsql:",
    "question: Names?\nsql:",
    "q",
    "question: What is the average age of pets in Köln?\nsql:",
]
TOKENS = 24
MANY_ENDS = list(range(40))  # so that a random model ends its answers, and at different places


@pytest.fixture(scope="module")
def loaded(llama_folder: Path) -> Loaded:
    model = load(str(llama_folder))
    assert model.model.generation_config is not None
    model.model.generation_config.eos_token_id = MANY_ENDS
    return model


@pytest.fixture(scope="module")
def plain(llama_folder: Path) -> Any:
    """The same model as transformers runs it."""
    return AutoModelForCausalLM.from_pretrained(llama_folder)


def answers(
    loaded: Loaded, branches: list[Continuation], *, schema: str = SCHEMA, **options: Any
) -> list[Answer]:
    options = {"max_new_tokens": TOKENS} | options
    return [one for batch in answer(loaded, schema, branches, **options) for one in batch]


def encode(loaded: Loaded, text: str) -> list[int]:
    return loaded.tokenizer.encode(text, add_special_tokens=False)


def next_logprobs(plain: Any, loaded: Loaded, question: str) -> torch.Tensor:
    """Log-probabilities of all tokens after a schema and a question, likeliest first."""
    ids = encode(loaded, SCHEMA) + encode(loaded, question)
    with torch.no_grad():
        return plain(torch.tensor([ids])).logits[0, -1].log_softmax(dim=-1).sort(descending=True).values


def generated(plain: Any, loaded: Loaded, question: str) -> tuple[list[int], float]:
    """What `generate` of transformers answers, and the log-probability that a plain forward pass gives it."""
    ids = encode(loaded, SCHEMA) + encode(loaded, question)
    out = plain.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids)),
        do_sample=False,
        max_new_tokens=TOKENS,
        eos_token_id=MANY_ENDS,
        pad_token_id=0,
    )
    with torch.no_grad():
        logprobs = plain(out).logits[0, len(ids) - 1 : -1].log_softmax(dim=-1)
    own = out[0, len(ids) :]
    return own.tolist(), float(logprobs.gather(1, own[:, None]).sum())


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_greedy_answers_are_those_of_generate(plain: Any, loaded: Loaded, batch: int) -> None:
    for made, question in zip(
        answers(loaded, [Continuation(text=q) for q in QUESTIONS], batch=batch), QUESTIONS, strict=True
    ):
        ids, logprob = generated(plain, loaded, question)
        finished = ids[-1] in MANY_ENDS
        assert made.text == loaded.tokenizer.decode(ids[:-1] if finished else ids, skip_special_tokens=True)
        assert (made.tokens, made.finished) == (len(ids), finished)
        assert made.logprob == pytest.approx(logprob, rel=1e-5)


def test_answers_end_at_different_places(loaded: Loaded) -> None:
    """Else the tests of this file would not see what happens to finished branches."""
    made = answers(loaded, [Continuation(text=q, seed=str(k)) for q in QUESTIONS for k in range(8)])
    assert len({one.tokens for one in made}) > 5
    assert {one.finished for one in made} == {True, False}


@settings(max_examples=8)
@given(batch=st.integers(1, 20), order=st.randoms(use_true_random=False))
def test_a_sample_depends_on_its_seed_only(loaded: Loaded, batch: int, order: random.Random) -> None:
    branches = [Continuation(text=q, seed=f"{q}{k}") for q in QUESTIONS for k in range(3)]
    branches.append(Continuation(text=QUESTIONS[0]))  # a greedy one among them
    expected = dict(zip(branches, answers(loaded, branches), strict=True))
    shuffled = order.sample(branches, len(branches))
    for branch, made in zip(shuffled, answers(loaded, shuffled, batch=batch), strict=True):
        assert made.text == expected[branch].text
        assert made.logprob == pytest.approx(expected[branch].logprob, rel=1e-4)


def test_other_seeds_give_other_samples(loaded: Loaded) -> None:
    made = answers(loaded, [Continuation(text=QUESTIONS[0], seed=str(k)) for k in range(8)])
    assert len({one.text for one in made}) == 8


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"temperature": 1e-4}, id="hardly any temperature"),
        pytest.param({"top_p": 1e-6}, id="a nucleus of one token"),
    ],
)
def test_no_room_for_chance_is_greedy(loaded: Loaded, options: dict[str, float]) -> None:
    greedy = answers(loaded, [Continuation(text=q) for q in QUESTIONS])
    sampled = answers(loaded, [Continuation(text=q, seed="1") for q in QUESTIONS], **options)
    assert [one.text for one in sampled] == [one.text for one in greedy]
    # The log-probability is at temperature 1, however it was sampled.
    assert [one.logprob for one in sampled] == pytest.approx([one.logprob for one in greedy], rel=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_a_token_is_drawn_as_often_as_it_is_likely(plain: Any, loaded: Loaded, temperature: float) -> None:
    many = 2_000
    made = answers(
        loaded,
        [Continuation(text=QUESTIONS[0], seed=str(k)) for k in range(many)],
        max_new_tokens=1,
        temperature=temperature,
        batch=many,
    )
    best = next_logprobs(plain, loaded, QUESTIONS[0])
    chance = float((best / temperature).softmax(dim=-1)[0])
    drawn = sum(one.logprob == pytest.approx(float(best[0]), abs=1e-4) for one in made)
    assert abs(drawn - many * chance) < 4 * (many * chance * (1 - chance)) ** 0.5


def test_nothing_outside_of_the_nucleus_is_drawn(plain: Any, loaded: Loaded) -> None:
    made = answers(
        loaded,
        [Continuation(text=QUESTIONS[0], seed=str(k)) for k in range(300)],
        max_new_tokens=1,
        top_p=0.3,
    )
    best = next_logprobs(plain, loaded, QUESTIONS[0])
    before = best.softmax(dim=-1).cumsum(dim=-1) - best.softmax(dim=-1)
    least = float(best[before < 0.3].min())
    assert min(one.logprob for one in made) >= least - 1e-4


def test_finished_branches_leave_the_batch(loaded: Loaded) -> None:
    sizes: list[int] = []
    hook = loaded.model.register_forward_pre_hook(
        lambda _module, _args, inputs: sizes.append(inputs["input_ids"].shape[0]), with_kwargs=True
    )
    made = answers(loaded, [Continuation(text=QUESTIONS[0], seed=str(k)) for k in range(40)])
    hook.remove()
    prefix, question, *steps = sizes
    assert (prefix, question, steps[0]) == (1, 1, 40)  # the schema once, the one question once
    assert steps == sorted(steps, reverse=True)
    still_open = [sum(one.tokens > step for one in made) for step in range(1, len(steps) + 1)]
    assert all(open_ <= size <= open_ / 0.75 + 1 for open_, size in zip(still_open, steps, strict=True))


def test_a_prompt_without_a_schema_is_refused(loaded: Loaded) -> None:
    with pytest.raises(ModelError, match="empty schema"):
        answers(loaded, [Continuation(text="question: ?\nsql:")], schema="")


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path, "llama", end=None)
    with pytest.raises(ModelError, match="no end-of-text token"):
        load(str(tmp_path))


@peft_reads_an_old_name
def test_an_adapter_is_its_base_with_the_adapter_merged(llama_folder: Path, tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(llama_folder)
    torch.manual_seed(0)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], init_lora_weights=False)
    adapted = get_peft_model(base, lora)
    adapted.save_pretrained(tmp_path)
    layer = adapted.base_model.model.model.layers[1].self_attn.q_proj
    by_hand = layer.base_layer.weight + 8 / 4 * layer.lora_B.default.weight @ layer.lora_A.default.weight
    merged = load(str(tmp_path)).model
    assert torch.allclose(merged.model.layers[1].self_attn.q_proj.weight, by_hand, atol=1e-6)


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def more_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))


def wider(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(cut_weights, id="weights cut off"),
        pytest.param(more_layers, id="weights of a layer missing"),
        pytest.param(wider, id="weights of another shape"),
        pytest.param(lambda folder: (folder / "model.safetensors").unlink(), id="no weights"),
        pytest.param(lambda folder: (folder / "config.json").write_text("{"), id="config is no JSON"),
        pytest.param(
            lambda folder: (folder / "config.json").write_text('{"model_type": "?"}'), id="unknown model type"
        ),
        pytest.param(lambda folder: (folder / "tokenizer.json").write_text("{}"), id="tokenizer is empty"),
        pytest.param(
            lambda folder: (folder / "adapter_config.json").write_text("{"), id="adapter's config is no JSON"
        ),
        pytest.param(
            lambda folder: (folder / "adapter_config.json").write_text("{}"), id="adapter without a base"
        ),
    ],
)
def test_a_broken_folder_is_one_line(llama_folder: Path, tmp_path: Path, harm: Any) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(llama_folder, folder)
    harm(folder)
    with pytest.raises(ModelError) as error:
        load(str(folder))
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_ends_are_the_tokenizers_and_the_generation_settings(tmp_path: Path) -> None:
    save_model(tmp_path, "llama", eos_token_id=[7, 9])
    assert load(str(tmp_path)).end_ids == {0, 7, 9}


real_model = caches.home() / "models" / "smollm2-135m"


@pytest.mark.skipif(not real_model.exists(), reason="smollm2-135m is not in the cache")
def test_a_real_model_answers_as_in_generate() -> None:
    loaded = load("smollm2-135m")
    branch = Continuation(text="question: How many pets are there?\nsql:")
    (made,) = answers(loaded, [branch], max_new_tokens=8)
    plain = AutoModelForCausalLM.from_pretrained(real_model, dtype=torch.float32)
    ids = encode(loaded, SCHEMA) + encode(loaded, branch.text)
    out = plain.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), do_sample=False, max_new_tokens=8
    )
    assert made.text == loaded.tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)
