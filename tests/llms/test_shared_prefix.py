"""A branched row computes what separate rows compute: the same log-probabilities, the same gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from tiny_models import make_model, peft_reads_an_old_name, save_model
from torch import Tensor

from sense.errors import ModelError
from sense.llms.branched_row import BranchedRow
from sense.llms.local import load
from sense.llms.shared_prefix import ATTENTION_NAME, use_shared_prefix

TOLERANCE = 1e-5  # relative, in float32: only the order of sums differs
KINDS = {
    "llama, grouped queries": ("llama", {"tie_word_embeddings": True}),
    "llama, a key for each query": ("llama", {"num_key_value_heads": 4}),
    "llama, one key for all queries": ("llama", {"num_key_value_heads": 1, "head_dim": 24}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "mistral, all layers slide": ("mistral", {"sliding_window": 5}),
    "gemma3, some layers slide": (
        "gemma3_text",
        {"head_dim": 16, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]},
    ),
}
shapes = given(
    prefix=st.integers(0, 9),
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=9),
    seed=st.integers(0, 2**16),
)
quickly = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=KINDS, ids=str)
def model(request: pytest.FixtureRequest) -> Any:
    kind, config = KINDS[request.param]
    return make_model(kind, **config)


def random_rows(prefix: int, lengths: list[int], seed: int) -> tuple[Tensor, list[Tensor]]:
    rng = torch.Generator().manual_seed(seed)
    return (
        torch.randint(500, (prefix,), generator=rng),
        [torch.randint(500, (length,), generator=rng) for length in lengths],
    )


def branched(model: Any, prefix: Tensor, branches: list[Tensor], *, flex: bool | None = None) -> Tensor:
    """Log-probabilities of the next token at every place of every branch, from one row."""
    model.set_attn_implementation(ATTENTION_NAME)
    row = BranchedRow(prefix=len(prefix), lengths=[len(branch) for branch in branches], flex=flex)
    output = model(
        input_ids=torch.cat([prefix, *branches])[None],
        position_ids=row.position_ids,
        branched_row=row,
        use_cache=False,
    )
    return output.logits[0, len(prefix) :].log_softmax(dim=-1)


def separate(model: Any, prefix: Tensor, branches: list[Tensor], *, attention: str = "eager") -> Tensor:
    """The same from a row for each branch, with an attention of transformers."""
    model.set_attn_implementation(attention)
    whole = [torch.cat([prefix, branch])[None] for branch in branches]
    rows = [model(input_ids=row, use_cache=False).logits[0] for row in whole]
    return torch.cat([row[len(prefix) :] for row in rows]).log_softmax(dim=-1)


def gradients(model: Any, logprobs: Tensor) -> Tensor:
    model.zero_grad()
    weights = torch.rand(logprobs.shape, generator=torch.Generator().manual_seed(1))
    (logprobs * weights).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@quickly
@shapes
def test_logprobs_are_those_of_separate_rows(
    model: Any, attention: str, prefix: int, lengths: list[int], seed: int
) -> None:
    rows = random_rows(prefix, lengths, seed)
    with torch.no_grad():
        assert apart(branched(model, *rows), separate(model, *rows, attention=attention)) <= TOLERANCE


@quickly
@shapes
def test_gradients_are_those_of_separate_rows(model: Any, prefix: int, lengths: list[int], seed: int) -> None:
    rows = random_rows(prefix, lengths, seed)
    one = gradients(model, branched(model, *rows))
    assert apart(one, gradients(model, separate(model, *rows))) <= TOLERANCE


@peft_reads_an_old_name
def test_lora_has_the_gradients_of_separate_rows() -> None:
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = get_peft_model(make_model("llama"), lora)
    rows = random_rows(6, [3, 1, 4, 1, 5], 0)
    one = gradients(model, branched(model, *rows))
    assert apart(one, gradients(model, separate(model, *rows))) <= TOLERANCE


@torch.no_grad()
def test_no_branch_sees_another() -> None:
    model = make_model("llama")
    prefix, branches = random_rows(5, [4, 2, 6], 0)
    before = branched(model, prefix, branches)
    branches[1] = (branches[1] + 1) % 500
    after = branched(model, prefix, branches)
    assert torch.equal(before[:4], after[:4])
    assert torch.equal(before[6:], after[6:])
    assert not torch.allclose(before[4:6], after[4:6])


@torch.no_grad()
def test_every_branch_sees_the_whole_prefix() -> None:
    model = make_model("llama")
    prefix, branches = random_rows(5, [2, 3], 0)
    before = branched(model, prefix, branches)
    prefix[0] = (prefix[0] + 1) % 500
    assert (branched(model, prefix, branches) - before).abs().amax(dim=-1).min() > 1e-4


@torch.no_grad()
def test_no_token_sees_a_later_one() -> None:
    model = make_model("llama")
    prefix, branches = random_rows(5, [4, 4], 0)
    before = branched(model, prefix, branches)
    branches[0][3] = (branches[0][3] + 1) % 500
    assert torch.equal(branched(model, prefix, branches)[:3], before[:3])


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        pytest.param("gemma3_text", {"use_bidirectional_attention": True}, "bidirectional", id="both ways"),
        pytest.param("lfm2", {"layer_types": ["conv", "full_attention"]}, "conv", id="convolutions"),
        pytest.param(
            "gemma2", {"layer_types": ["full_attention"] * 2}, "attn_logit_softcapping", id="capped"
        ),
        pytest.param("bloom", {}, "attention interface", id="another interface"),
    ],
)
def test_what_is_not_computed_is_refused(kind: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=f"{kind}.*{message}"):
        use_shared_prefix(make_model(kind, **config))


def test_attention_that_computes_something_else_is_refused_by_its_values(tmp_path: Path) -> None:
    settings = {"num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 16}  # and attention sinks
    with pytest.raises(ModelError, match=r"gpt_oss.*not what a shared prefix computes"):
        load(str(save_model(tmp_path / "sinks", "gpt_oss", **settings)))


def test_a_model_that_could_slide_but_does_not_is_taken() -> None:
    use_shared_prefix(make_model("mistral", sliding_window=None))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@torch.no_grad()
def test_flex_attention_gives_the_same(model: Any) -> None:
    """Its masks only: on a CPU it is neither compiled nor has it gradients."""
    rows = random_rows(7, [3, 1, 6, 2, 5], 0)
    assert apart(branched(model, *rows, flex=True), branched(model, *rows)) <= TOLERANCE


@pytest.mark.gpu
def test_compiled_flex_attention_has_the_gradients_of_separate_rows(model: Any) -> None:
    on_gpu = model.to("cuda")
    prefix, branches = random_rows(200, [30, 10, 60], 0)
    rows = prefix.to("cuda"), [branch.to("cuda") for branch in branches]
    one = gradients(on_gpu, branched(on_gpu, *rows, flex=True).cpu())
    assert apart(one, gradients(on_gpu, separate(on_gpu, *rows).cpu())) <= 1e-3
