"""The losses, as pure functions of log-probabilities.

Shapes: N completion tokens of a row, V vocabulary, B branches, Q pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class PreferenceLoss(NamedTuple):
    """Per pair (Q,): the loss, and both sides' rewards: beta (IPO: tau) times the gain over the reference."""

    loss_Q: Tensor
    reward_chosen_Q: Tensor
    reward_rejected_Q: Tensor


def token_logprobs(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Natural log-probability of each target token (N,), computed in float32.

    By `logsumexp`: over a vocabulary of 49,000 torch's `log_softmax`, and `cross_entropy` with it, is off by
    some 1e-6 of the result on a CPU, and its gradient by 2e-5.
    """
    logits_NV = logits_NV.float()
    of_targets_N = logits_NV.gather(1, targets_N[:, None])[:, 0]
    return of_targets_N - logits_NV.logsumexp(dim=-1)


def sum_by_branch(logprobs_N: Tensor, branch_N: Tensor, *, branches: int) -> Tensor:
    """Add up token log-probabilities by branch (B,)."""
    return torch.zeros(branches, dtype=logprobs_N.dtype, device=logprobs_N.device).index_add(
        0, branch_N, logprobs_N
    )


def per_token(logprobs_Q: Tensor, tokens_Q: Tensor) -> Tensor:
    """Mean log-probability of a completion's tokens, its end mark among them.

    With all four log-probabilities of a preference loss taken so, each side's log-ratio is divided by that
    side's own number of tokens.

    Source: Meng et al. 2024, "SimPO", equation 4. SimPO has no reference: to normalize DPO's log-ratios in
    this way is what TRL 1.16 calls `sigmoid_norm`.
    """
    return logprobs_Q / tokens_Q


def conservative_dpo(
    chosen_Q: Tensor,
    rejected_Q: Tensor,
    reference_chosen_Q: Tensor,
    reference_rejected_Q: Tensor,
    *,
    beta: float,
    label_smoothing: float,
) -> PreferenceLoss:
    """DPO that believes a share `label_smoothing` of the labels to be flipped; 0 is DPO itself.

    Source: Rafailov et al. 2023, equation 7; E. Mitchell, "A note on DPO with noisy preferences" (2023),
    equation 3: -(1 - eps) log sigmoid(beta h) - eps log sigmoid(-beta h), h = the policy's log-ratio minus
    the reference's.
    """
    reward_chosen_Q = beta * (chosen_Q - reference_chosen_Q)
    reward_rejected_Q = beta * (rejected_Q - reference_rejected_Q)
    margin_Q = reward_chosen_Q - reward_rejected_Q
    loss_Q = -(1 - label_smoothing) * logsigmoid(margin_Q) - label_smoothing * logsigmoid(-margin_Q)
    return PreferenceLoss(loss_Q, reward_chosen_Q.detach(), reward_rejected_Q.detach())


def ipo(
    chosen_Q: Tensor,
    rejected_Q: Tensor,
    reference_chosen_Q: Tensor,
    reference_rejected_Q: Tensor,
    *,
    tau: float,
) -> PreferenceLoss:
    """IPO: the policy's log-ratio is to exceed the reference's by 1 / (2 tau), no less and no more.

    Source: Azar et al. 2023, "A General Theoretical Paradigm to Understand Learning from Human Preferences",
    equation 17: (h - 1 / (2 tau))^2, h as in `conservative_dpo`, of whole completions as the equation has it.
    TRL 1.16 (dpo_trainer.py, `ipo`) always divides each side's log-ratio by that side's number of tokens, as
    the paper's experiments did by its word: this loss with `per_token` log-probabilities.
    """
    reward_chosen_Q = tau * (chosen_Q - reference_chosen_Q)
    reward_rejected_Q = tau * (rejected_Q - reference_rejected_Q)
    loss_Q = ((reward_chosen_Q - reward_rejected_Q - 0.5) / tau) ** 2
    return PreferenceLoss(loss_Q, reward_chosen_Q.detach(), reward_rejected_Q.detach())
