"""What a step minimizes, on packs and a real small model; references are put where the answer is known."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from sense.llms.local import Loaded
from sense.training.losses import conservative_dpo, ipo
from sense.training.objectives import (
    PairLoss,
    branch_logprobs,
    preference_loss,
    reference_logprobs,
    sft_loss,
)
from sense.training.pack import Pack
from sense.training.tokens import tokenize

PROMPT = "database pet\ntable pet ( id number key, name text )\nquestion: Number {0}?\nsql:"
SIDES = {"a": (" SELECT name FROM pet WHERE id = 1", " SELECT 1"), "b": (" SELECT 2", " SELECT id FROM pet")}
GAINS = {"a": (2.0, -1.0), "b": (-3.0, 1.0)}  # of chosen and rejected over the reference, in nats
PLAIN_DPO = partial(conservative_dpo, beta=0.5, label_smoothing=0.0)


def make_pack(loaded: Loaded) -> Pack:
    rows = [(pair, PROMPT.format(pair), sides) for pair, sides in SIDES.items()]
    return Pack(examples=tuple(tokenize(rows, loaded.tokenizer)), denominator=2)


def logprobs_of(loaded: Loaded) -> list[float]:
    """The model's log-probabilities: chosen and rejected of a, then of b."""
    with torch.no_grad():
        values: list[float] = branch_logprobs(loaded.model, make_pack(loaded)).tolist()
    return values


def loss_and_metrics(
    loaded: Loaded,
    *,
    pair_loss: PairLoss = PLAIN_DPO,
    gains: dict[str, tuple[float, float]] = GAINS,
    length_normalized: bool = False,
    sft_weight: float = 0.0,
) -> tuple[float, dict[str, float]]:
    """The loss where the model has gained so much over the reference."""
    own = logprobs_of(loaded)
    references = {
        pair: (own[2 * i] - gains[pair][0], own[2 * i + 1] - gains[pair][1]) for i, pair in enumerate(SIDES)
    }
    loss = preference_loss(references, pair_loss, length_normalized=length_normalized, sft_weight=sft_weight)
    with torch.no_grad():
        total, shown = loss(loaded.model, make_pack(loaded))
    return total.item(), shown


def tokens_of(loaded: Loaded) -> list[int]:
    return [len(branch.completion) for branch in make_pack(loaded).branches]


@pytest.mark.parametrize(
    ("pair_loss", "expected"),
    [
        # a: h = 3, b: h = -4; log sigmoid(1.5) = -0.201413, log sigmoid(-2) = -2.126928
        pytest.param(PLAIN_DPO, 0.201413 + 2.126928, id="dpo"),
        pytest.param(partial(ipo, tau=0.25), (3 - 2) ** 2 + (-4 - 2) ** 2, id="ipo"),
    ],
)
def test_the_loss_is_the_sum_over_the_packs_pairs(
    llama: Loaded, pair_loss: PairLoss, expected: float
) -> None:
    total, _ = loss_and_metrics(llama, pair_loss=pair_loss)
    assert total == pytest.approx(expected, rel=1e-4)


def test_metrics_are_sums_over_the_packs_pairs(llama: Loaded) -> None:
    own = logprobs_of(llama)
    _, shown = loss_and_metrics(llama)
    assert shown == pytest.approx(
        {
            "reward_margin": 0.5 * (3 - 4),
            "reward_accuracy": 1,
            "logp_chosen": own[0] + own[2],
            "logp_rejected": own[1] + own[3],
            "logp_chosen_gain": 2 - 3,
            "logp_rejected_gain": -1 + 1,
        },
        abs=1e-4,
    )


def test_length_normalization_divides_each_sides_gain_by_its_tokens(llama: Loaded) -> None:
    chosen_a, rejected_a, chosen_b, rejected_b = tokens_of(llama)
    assert chosen_a > rejected_a
    margins = (0.5 * (2 / chosen_a + 1 / rejected_a), 0.5 * (-3 / chosen_b - 1 / rejected_b))
    total, shown = loss_and_metrics(llama, length_normalized=True)
    assert total == pytest.approx(sum(math.log1p(math.exp(-margin)) for margin in margins), rel=1e-4)
    assert shown["reward_margin"] == pytest.approx(sum(margins), rel=1e-3)
    assert shown["logp_chosen_gain"] == pytest.approx(-1, abs=1e-4)  # of whole completions all the same


@pytest.mark.parametrize("length_normalized", [False, True])
def test_the_sft_term_is_the_chosen_sides_cross_entropy_per_token(
    llama: Loaded, length_normalized: bool
) -> None:
    own, tokens = logprobs_of(llama), tokens_of(llama)
    with_term, _ = loss_and_metrics(llama, length_normalized=length_normalized, sft_weight=0.5)
    without, _ = loss_and_metrics(llama, length_normalized=length_normalized)
    expected = -0.5 * (own[0] / tokens[0] + own[2] / tokens[2])
    assert with_term - without == pytest.approx(expected, rel=1e-4)


def test_sft_sums_the_cross_entropy_of_all_completions(llama: Loaded) -> None:
    total, shown = sft_loss(llama.model, make_pack(llama))
    assert total.item() == pytest.approx(-sum(logprobs_of(llama)), rel=1e-5)
    assert shown == {}


def test_references_go_by_the_pairs_id(llama: Loaded) -> None:
    own = logprobs_of(llama)
    assert reference_logprobs(llama.model, make_pack(llama), bf16=False) == {
        "a": (own[0], own[1]),
        "b": (own[2], own[3]),
    }


def test_references_are_computed_in_the_precision_of_the_training(llama: Loaded) -> None:
    exact = reference_logprobs(llama.model, make_pack(llama), bf16=False)
    rounded = reference_logprobs(llama.model, make_pack(llama), bf16=True)
    assert rounded != exact
    assert rounded["a"] == pytest.approx(exact["a"], rel=0.02)
