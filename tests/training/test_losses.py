"""The losses, against numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sense.training.losses import (
    PreferenceLoss,
    conservative_dpo,
    ipo,
    per_token,
    sum_by_branch,
    token_logprobs,
)

logprob = st.floats(-20, 0)
sides = st.tuples(logprob, logprob)
PAIR_LOSSES = [
    pytest.param(partial(conservative_dpo, beta=0.5, label_smoothing=0.0), id="dpo"),
    pytest.param(partial(conservative_dpo, beta=0.5, label_smoothing=0.1), id="conservative dpo"),
    pytest.param(partial(ipo, tau=0.25), id="ipo"),
]


def doubles(*values: float) -> list[torch.Tensor]:
    """One pair: a tensor (1,) for each value."""
    return [torch.tensor([value], dtype=torch.float64) for value in values]


def dpo(
    chosen: float,
    rejected: float,
    reference: tuple[float, float] = (0.0, 0.0),
    *,
    beta: float = 0.1,
    smoothing: float,
) -> PreferenceLoss:
    values = doubles(chosen, rejected, *reference)
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


@given(chosen=logprob, rejected=logprob, reference=sides, beta=st.floats(0.01, 1))
def test_without_smoothing_it_is_plain_dpo(
    chosen: float, rejected: float, reference: tuple[float, float], beta: float
) -> None:
    margin = beta * ((chosen - reference[0]) - (rejected - reference[1]))
    made = dpo(chosen, rejected, reference, beta=beta, smoothing=0.0)
    assert made.loss_Q.item() == pytest.approx(math.log1p(math.exp(-margin)), abs=1e-9)


@given(reference=sides, beta=st.floats(0.01, 1), smoothing=st.floats(0, 0.5))
def test_at_the_start_the_loss_is_log_2_whatever_the_settings(
    reference: tuple[float, float], beta: float, smoothing: float
) -> None:
    made = dpo(*reference, reference, beta=beta, smoothing=smoothing)
    assert made.loss_Q.item() == pytest.approx(math.log(2))


@given(chosen=logprob, rejected=logprob, reference=sides, off=st.floats(0, 0.5))
def test_a_share_of_flipped_labels_is_the_rest_of_the_pairs_flipped(
    chosen: float, rejected: float, reference: tuple[float, float], off: float
) -> None:
    made = dpo(chosen, rejected, reference, smoothing=0.5 - off)
    flipped = dpo(rejected, chosen, (reference[1], reference[0]), smoothing=0.5 + off)
    assert made.loss_Q.item() == pytest.approx(flipped.loss_Q.item())


@pytest.mark.parametrize(
    ("tau", "expected"),
    [
        # chosen gained 2, rejected lost 1: h = 3
        pytest.param(0.1, 4.0, id="too near: the aim is 5"),
        pytest.param(0.5, 4.0, id="too far: the aim is 1"),
        pytest.param(1 / 6, 0.0, id="as far as the aim"),
    ],
)
def test_ipo_by_hand(tau: float, expected: float) -> None:
    made = ipo(*doubles(-3, -8, -5, -7), tau=tau)
    assert made.loss_Q.item() == pytest.approx(expected)
    assert (made.reward_chosen_Q.item(), made.reward_rejected_Q.item()) == pytest.approx((2 * tau, -tau))


def test_ipo_of_two_pairs_is_by_pair() -> None:
    # h = 1 and h = -3, the aim is 2
    chosen, rejected, zero = torch.tensor([-1.0, -5.0]), torch.tensor([-2.0, -2.0]), torch.zeros(2)
    assert ipo(chosen, rejected, zero, zero, tau=0.25).loss_Q.tolist() == pytest.approx([1, 25])


def test_each_side_is_normalized_by_its_own_length() -> None:
    # chosen gained 2 over 4 tokens, rejected lost 1 over 2: h = 0.5 + 0.5
    long, short = torch.tensor([4]), torch.tensor([2])
    chosen, rejected, reference_chosen, reference_rejected = doubles(-3, -8, -5, -7)
    values = (
        per_token(chosen, long), per_token(rejected, short),
        per_token(reference_chosen, long), per_token(reference_rejected, short),
    )  # fmt: skip
    # log sigmoid(1) = -0.313262
    made = conservative_dpo(*values, beta=1.0, label_smoothing=0.0)
    assert made.loss_Q.item() == pytest.approx(0.313262, abs=1e-6)
    assert ipo(*values, tau=0.25).loss_Q.item() == pytest.approx(1.0)  # h = 1, the aim is 2


@pytest.mark.parametrize("loss", PAIR_LOSSES)
@given(chosen=logprob, rejected=logprob, reference=sides, shift=st.tuples(logprob, logprob))
def test_what_policy_and_reference_have_in_common_changes_nothing(
    loss: Callable[..., PreferenceLoss],
    chosen: float,
    rejected: float,
    reference: tuple[float, float],
    shift: tuple[float, float],
) -> None:
    plain = loss(*doubles(chosen, rejected, *reference))
    moved = loss(
        *doubles(chosen + shift[0], rejected + shift[1], reference[0] + shift[0], reference[1] + shift[1])
    )
    assert moved.loss_Q.item() == pytest.approx(plain.loss_Q.item(), abs=1e-9)


@pytest.mark.parametrize("loss", PAIR_LOSSES)
@pytest.mark.parametrize(
    "tokens", [pytest.param((1, 1), id="sums"), pytest.param((7, 3), id="length-normalized")]
)
def test_gradients_are_those_of_finite_differences(
    loss: Callable[..., PreferenceLoss], tokens: tuple[int, int]
) -> None:
    chosen = torch.tensor([-3.0, -40.0, 0.0], dtype=torch.float64, requires_grad=True)
    rejected = torch.tensor([-8.0, -1.0, -2.0], dtype=torch.float64, requires_grad=True)
    known = torch.tensor([-5.0, -7.0, -1.0], dtype=torch.float64)

    def losses(chosen_Q: torch.Tensor, rejected_Q: torch.Tensor) -> torch.Tensor:
        mine = (
            per_token(side, torch.tensor(n)) for side, n in zip((chosen_Q, rejected_Q), tokens, strict=True)
        )
        return loss(*mine, known, known).loss_Q

    assert torch.autograd.gradcheck(losses, (chosen, rejected))


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


@pytest.mark.parametrize("loss", PAIR_LOSSES)
def test_rewards_carry_no_gradient(loss: Callable[..., PreferenceLoss]) -> None:
    chosen, zero = torch.tensor([1.0], requires_grad=True), torch.zeros(1)
    made = loss(chosen, zero, zero, zero)
    assert made.loss_Q.requires_grad
    assert not made.reward_chosen_Q.requires_grad


def test_token_logprobs_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [math.log(3), 0.0, -math.inf, -math.inf]])
    assert token_logprobs(logits, torch.tensor([2, 0])).exp().tolist() == pytest.approx([0.25, 0.75])


def test_the_gradient_of_cross_entropy_is_probability_minus_truth() -> None:
    logits = torch.tensor([[math.log(3), 0.0]], requires_grad=True)
    (-token_logprobs(logits, torch.tensor([1]))).sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist()[0] == pytest.approx([0.75, -0.75])


def test_half_precision_logits_are_summed_in_float32() -> None:
    made = token_logprobs(torch.zeros(1, 3, dtype=torch.bfloat16), torch.tensor([1]))
    assert made.item() == pytest.approx(-math.log(3), rel=1e-6)


def test_logprobs_are_added_up_by_branch() -> None:
    made = sum_by_branch(torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([2, 0, 2]), branches=3)
    assert made.tolist() == [-2, 0, -5]
