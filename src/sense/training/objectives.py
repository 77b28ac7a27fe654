"""What a training step minimizes, pack by pack: SFT's cross-entropy, or a loss of preference pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from sense.training.losses import PreferenceLoss, per_token, sum_by_branch
from sense.training.pack import Pack
from sense.training.row import completion_logprobs, make_row
from sense.training.trainer import PackLoss

# Log-probabilities of a pair's completions under the reference model: (chosen, rejected).
References = Mapping[str, tuple[float, float]]

# From log-probabilities (Q,): chosen, rejected, and both of the reference; as `losses.conservative_dpo`.
PairLoss = Callable[[Tensor, Tensor, Tensor, Tensor], PreferenceLoss]


def sft_loss(model: torch.nn.Module, pack: Pack) -> tuple[Tensor, dict[str, float]]:
    """Sum of the cross-entropy of all completion tokens of a pack."""
    row = make_row(pack.schema, pack.branches)
    return -completion_logprobs(model, row).sum(), {}


def branch_logprobs(model: torch.nn.Module, pack: Pack) -> Tensor:
    """Log-probability of each branch's completion (B,)."""
    row = make_row(pack.schema, pack.branches)
    logprobs_N = completion_logprobs(model, row)
    return sum_by_branch(logprobs_N, row.branch_N.to(logprobs_N.device), branches=len(pack.branches))


@torch.no_grad()
def reference_logprobs(model: torch.nn.Module, pack: Pack, *, bf16: bool) -> dict[str, tuple[float, float]]:
    """Log-probabilities of each pair's chosen and rejected completion, by the pair's id."""
    device = next(model.parameters()).device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
        logprobs = branch_logprobs(model, pack).tolist()
    sides = zip(logprobs[0::2], logprobs[1::2], strict=True)
    return {example.id: pair for example, pair in zip(pack.examples, sides, strict=True)}


def preference_loss(
    references: References, pair_loss: PairLoss, *, length_normalized: bool, sft_weight: float
) -> PackLoss:
    """Make the loss of preference learning: `pair_loss`, plus `sft_weight` times the chosen side's SFT loss.

    Source of the SFT term: Pang et al. 2024, "Iterative Reasoning Preference Optimization", equation 1 (the
    log-likelihood of the chosen side, normalized by its length).
    """

    def loss(model: torch.nn.Module, pack: Pack) -> tuple[Tensor, dict[str, float]]:
        logprobs_B = branch_logprobs(model, pack)
        known_B = torch.tensor(
            [value for example in pack.examples for value in references[example.id]], device=logprobs_B.device
        )
        tokens_B = torch.tensor(
            [len(branch.completion) for branch in pack.branches], device=logprobs_B.device
        )
        mean_B = per_token(logprobs_B, tokens_B)
        if length_normalized:
            own_B, reference_B = mean_B, per_token(known_B, tokens_B)
        else:
            own_B, reference_B = logprobs_B, known_B
        result = pair_loss(own_B[0::2], own_B[1::2], reference_B[0::2], reference_B[1::2])
        total = result.loss_Q.sum()
        if sft_weight:
            total = total - sft_weight * mean_B[0::2].sum()
        margin_Q = result.reward_chosen_Q - result.reward_rejected_Q
        gain_B = logprobs_B.detach() - known_B
        return total, {
            "reward_margin": margin_Q.sum().item(),
            "reward_accuracy": (margin_Q > 0).sum().item(),
            "logp_chosen": logprobs_B[0::2].sum().item(),
            "logp_rejected": logprobs_B[1::2].sum().item(),
            "logp_chosen_gain": gain_B[0::2].sum().item(),
            "logp_rejected_gain": gain_B[1::2].sum().item(),
        }

    return loss
