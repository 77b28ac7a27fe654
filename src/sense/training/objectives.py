"""What a training step minimizes, pack by pack: SFT's cross-entropy, conservative DPO."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sense.training.losses import conservative_dpo, sum_by_branch
from sense.training.pack import Pack
from sense.training.row import completion_logprobs, make_row
from sense.training.trainer import PackLoss

# Log-probabilities of a pair's completions under the reference model: (chosen, rejected).
References = Mapping[str, tuple[float, float]]


def sft_loss(model: torch.nn.Module, pack: Pack) -> tuple[Tensor, dict[str, float]]:
    """Sum of the cross-entropy of all completion tokens of a pack."""
    row = make_row(pack.schema, pack.branches)
    return -completion_logprobs(model, row).sum(), {}


def branch_logprobs(model: torch.nn.Module, pack: Pack) -> Tensor:
    """Log-probability of each branch's completion (B,)."""
    row = make_row(pack.schema, pack.branches)
    logprobs_N = completion_logprobs(model, row)
    return sum_by_branch(logprobs_N, row.branch_N.to(logprobs_N.device), branches=len(pack.branches))


def dpo_loss(references: References, *, beta: float, label_smoothing: float, sft_weight: float) -> PackLoss:
    """Make the loss of preference learning: conservative DPO, plus `sft_weight` times the chosen SFT loss.

    Source of the SFT term: Pang et al. 2024, "Iterative Reasoning Preference Optimization", equation 1 (the
    log-likelihood of the chosen side, normalized by its length).
    """

    def loss(model: torch.nn.Module, pack: Pack) -> tuple[Tensor, dict[str, float]]:
        logprobs_B = branch_logprobs(model, pack)
        chosen_Q, rejected_Q = logprobs_B[0::2], logprobs_B[1::2]
        known = torch.tensor([references[example.id] for example in pack.examples], device=logprobs_B.device)
        result = conservative_dpo(
            chosen_Q, rejected_Q, known[:, 0], known[:, 1], beta=beta, label_smoothing=label_smoothing
        )
        total = result.loss_Q.sum()
        if sft_weight:
            lengths_Q = torch.tensor(
                [len(example.branches[0].completion) for example in pack.examples], device=logprobs_B.device
            )
            total = total - sft_weight * (chosen_Q / lengths_Q).sum()
        margin_Q = result.reward_chosen_Q - result.reward_rejected_Q
        return total, {
            "reward_margin": margin_Q.sum().item(),
            "reward_accuracy": (margin_Q > 0).sum().item(),
            "logp_chosen": chosen_Q.sum().item(),
            "logp_rejected": rejected_Q.sum().item(),
        }

    return loss
