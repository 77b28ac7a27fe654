"""Packed training is plain training: the loss and the gradients of one row for each example, in float32."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from tiny_models import make_model, peft_reads_an_old_name
from torch import Tensor
from torch.nn.functional import softplus

from sense.llms.shared_prefix import use_shared_prefix
from sense.training.losses import conservative_dpo
from sense.training.objectives import preference_loss, sft_loss
from sense.training.pack import Pack, plan_steps
from sense.training.tokens import Branch, TokenizedExample
from sense.training.trainer import PackLoss, fix_seed

TOLERANCE = 1e-5  # relative: only the order of sums differs
BETA = 0.1
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "gemma3_text": {
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
}
# From each example's completion log-probabilities, branch by branch, to the mean loss of the step.
PlainLoss = Callable[[Sequence[TokenizedExample], list[list[Tensor]]], Tensor]
# Of each database its schema's length, and of each example the question's and those of both completions.
Tree = list[tuple[int, list[tuple[int, int, int]]]]
attentions = st.sampled_from(["eager", "sdpa"])  # of the plain rows
questions = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))
trees = st.lists(
    st.tuples(st.integers(1, 14), st.lists(questions, min_size=1, max_size=5)), min_size=1, max_size=3
)


def reference_of(pair: TokenizedExample) -> tuple[float, float]:
    """Put every pair the wrong way round: far from where the gradient of conservative DPO is 0."""
    _, rejected = pair.branches
    return 0.0, -15.0 * len(rejected.completion)


def plain_sft(_: Sequence[TokenizedExample], logprobs: list[list[Tensor]]) -> Tensor:
    return -torch.cat([own for branches in logprobs for own in branches]).mean()


def plain_dpo(*, smoothing: float) -> PlainLoss:
    def loss(pairs: Sequence[TokenizedExample], logprobs: list[list[Tensor]]) -> Tensor:
        losses: list[Tensor] = []
        for pair, (chosen, rejected) in zip(pairs, logprobs, strict=True):
            known_chosen, known_rejected = reference_of(pair)
            margin = BETA * ((chosen.sum() - known_chosen) - (rejected.sum() - known_rejected))
            losses.append((1 - smoothing) * softplus(-margin) + smoothing * softplus(margin))
        return torch.stack(losses).mean()

    return loss


TASKS = [
    pytest.param(None, plain_sft, id="sft"),
    pytest.param(0.0, plain_dpo(smoothing=0.0), id="dpo"),
    pytest.param(0.2, plain_dpo(smoothing=0.2), id="conservative dpo"),
]


@cache
def two_models(kind: str, attention: str, *, lora: bool) -> tuple[Any, Any]:
    """The same weights twice: with the shared prefix's attention, and with one of transformers."""
    plain = make_model(kind, **KINDS[kind])
    packed = copy.deepcopy(plain)
    use_shared_prefix(packed)
    plain.set_attn_implementation(attention)
    return (with_adapters(packed), with_adapters(plain)) if lora else (packed, plain)


def with_adapters(model: Any) -> Any:
    fix_seed(0)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    return get_peft_model(model, lora)


def make_examples(tree: Tree, *, sides: int) -> list[TokenizedExample]:
    rng = random.Random(0)
    examples: list[TokenizedExample] = []
    for schema_length, lengths in tree:
        schema = random_ids(schema_length, rng)
        for prompt_length, *completions in lengths:
            name, prompt = str(len(examples)), random_ids(prompt_length, rng)
            branches = tuple(
                Branch(id=name, prompt=prompt, completion=(side, *random_ids(length - 1, rng)))
                for side, length in enumerate(completions[:sides])
            )
            examples.append(TokenizedExample(id=name, schema=schema, branches=branches))
    return examples


def random_ids(count: int, rng: random.Random) -> tuple[int, ...]:
    return tuple(rng.randrange(500) for _ in range(count))


def plain_logprobs(model: Any, schema: tuple[int, ...], branch: Branch) -> Tensor:
    """Log-probabilities of a branch's completion, from a row of its own."""
    row = torch.tensor([[*schema, *branch.prompt, *branch.completion]])
    logprobs = model(input_ids=row, use_cache=False).logits[0, :-1].log_softmax(dim=-1)
    return logprobs.gather(1, row[0, 1:, None])[-len(branch.completion) :, 0]


def plain_step(model: Any, examples: list[TokenizedExample], loss: PlainLoss) -> tuple[float, Tensor]:
    model.zero_grad()
    rows = [[plain_logprobs(model, each.schema, branch) for branch in each.branches] for each in examples]
    mean = loss(examples, rows)
    mean.backward()
    return mean.item(), gradient(model)


def packed_step(model: Any, packs: list[Pack], loss: PackLoss) -> tuple[float, Tensor]:
    model.zero_grad()
    losses = [loss(model, pack)[0] / pack.denominator for pack in packs]
    torch.stack(losses).sum().backward()
    return sum(each.item() for each in losses), gradient(model)


def gradient(model: Any) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def check(
    models: tuple[Any, Any], tree: Tree, *, smoothing: float | None, plain_loss: PlainLoss, per_pack: int
) -> None:
    """Compare a step that holds every example of the tree."""
    packed, plain = models
    examples = make_examples(tree, sides=1 if smoothing is None else 2)
    (step,) = plan_steps(
        examples,
        epochs=1,
        branches_per_pack=per_pack,
        packs_per_step=len(examples),
        count_pairs=smoothing is not None,
        seed=0,
    )
    loss = sft_loss
    if smoothing is not None:
        references = {pair.id: reference_of(pair) for pair in examples}
        pair_loss = partial(conservative_dpo, beta=BETA, label_smoothing=smoothing)
        loss = preference_loss(references, pair_loss, length_normalized=False, sft_weight=0.0)
    made, made_gradient = packed_step(packed, step, loss)
    expected, expected_gradient = plain_step(plain, examples, plain_loss)
    assert abs(made - expected) <= TOLERANCE * abs(expected)
    assert (made_gradient - expected_gradient).norm() <= TOLERANCE * expected_gradient.norm()


@pytest.mark.parametrize(("smoothing", "plain_loss"), TASKS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6)
@example(tree=[(1, [(1, 1, 1)])], per_pack=2, attention="eager")
@example(tree=[(14, [(2, 6, 3), (4, 2, 5), (1, 1, 6)]), (1, [(3, 4, 4)])], per_pack=8, attention="eager")
@given(tree=trees, per_pack=st.integers(1, 8), attention=attentions)
def test_full_training_has_the_loss_and_gradient_of_plain_rows(
    kind: str,
    smoothing: float | None,
    plain_loss: PlainLoss,
    tree: Tree,
    per_pack: int,
    attention: str,
) -> None:
    models = two_models(kind, attention, lora=False)
    check(models, tree, smoothing=smoothing, plain_loss=plain_loss, per_pack=per_pack)


@peft_reads_an_old_name
@pytest.mark.parametrize(("smoothing", "plain_loss"), TASKS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=3)
@given(tree=trees, per_pack=st.integers(1, 8), attention=attentions)
def test_lora_has_the_loss_and_gradient_of_plain_rows(
    kind: str,
    smoothing: float | None,
    plain_loss: PlainLoss,
    tree: Tree,
    per_pack: int,
    attention: str,
) -> None:
    models = two_models(kind, attention, lora=True)
    check(models, tree, smoothing=smoothing, plain_loss=plain_loss, per_pack=per_pack)
