"""The losses, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sense.training.losses import PreferenceLoss, conservative_dpo, sum_by_branch, token_logprobs

logprob = st.floats(-20, 0)


def dpo(
    chosen: float,
    rejected: float,
    reference: tuple[float, float] = (0.0, 0.0),
    *,
    beta: float = 0.1,
    smoothing: float,
) -> PreferenceLoss:
    values = [torch.tensor([value], dtype=torch.float64) for value in (chosen, rejected, *reference)]
    return conservative_dpo(*values, beta=beta, label_smoothing=smoothing)


@pytest.mark.parametrize(
    ("smoothing", "expected"),
    [
        # beta 0.5, chosen gained 2, rejected lost 1: margin 1.5
        # log sigmoid(1.5) = -0.201413, log sigmoid(-1.5) = -1.701413
        pytest.param(0.0, 0.201413, id="plain"),
        pytest.param(0.1, 0.9 * 0.201413 + 0.1 * 1.701413, id="a tenth of the labels flipped"),
    ],
)
def test_loss_by_hand(smoothing: float, expected: float) -> None:
    made = dpo(-3, -8, (-5, -7), beta=0.5, smoothing=smoothing)
    assert made.loss_Q.item() == pytest.approx(expected, abs=1e-6)
    assert (made.reward_chosen_Q.item(), made.reward_rejected_Q.item()) == (1.0, -0.5)


@given(chosen=logprob, rejected=logprob, reference=st.tuples(logprob, logprob), beta=st.floats(0.01, 1))
def test_without_smoothing_it_is_plain_dpo(
    chosen: float, rejected: float, reference: tuple[float, float], beta: float
) -> None:
    margin = beta * ((chosen - reference[0]) - (rejected - reference[1]))
    made = dpo(chosen, rejected, reference, beta=beta, smoothing=0.0)
    assert made.loss_Q.item() == pytest.approx(math.log1p(math.exp(-margin)), abs=1e-9)


def test_without_a_difference_the_loss_is_log_2_whatever_the_smoothing() -> None:
    assert dpo(-3, -3, smoothing=0.3).loss_Q.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(
    ("margin", "sign"),
    [
        pytest.param(0.0, -1, id="no difference yet"),
        pytest.param(-2.0, -1, id="the wrong way round"),
        # sigmoid(log 9) = 0.9: as sure as nine labels of ten are right
        pytest.param(math.log(9), 0, id="as sure as the labels"),
        pytest.param(4.0, 1, id="surer than the labels"),
    ],
)
def test_gradient_raises_chosen_until_the_model_is_as_sure_as_the_labels(margin: float, sign: int) -> None:
    chosen, zero = torch.tensor([margin], requires_grad=True), torch.zeros(1)
    conservative_dpo(chosen, zero, zero, zero, beta=1.0, label_smoothing=0.1).loss_Q.sum().backward()
    assert chosen.grad is not None
    assert torch.sign(chosen.grad.round(decimals=6)).item() == sign


def test_rewards_carry_no_gradient() -> None:
    chosen, zero = torch.tensor([1.0], requires_grad=True), torch.zeros(1)
    made = conservative_dpo(chosen, zero, zero, zero, beta=1.0, label_smoothing=0.1)
    assert not made.reward_chosen_Q.requires_grad


def test_token_logprobs_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [math.log(3), 0.0, -math.inf, -math.inf]])
    assert token_logprobs(logits, torch.tensor([2, 0])).exp().tolist() == pytest.approx([0.25, 0.75])


def test_half_precision_logits_are_summed_in_float32() -> None:
    made = token_logprobs(torch.zeros(1, 3, dtype=torch.bfloat16), torch.tensor([1]))
    assert made.item() == pytest.approx(-math.log(3), rel=1e-6)


def test_logprobs_are_added_up_by_branch() -> None:
    made = sum_by_branch(torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([2, 0, 2]), branches=3)
    assert made.tolist() == [-2, 0, -5]
