"""Choose next tokens: the likeliest, or one drawn from the nucleus of the whole vocabulary.

Shapes: R rows, V tokens of the vocabulary, N tokens of it, likeliest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

FIRST = 64  # tokens looked at before the whole vocabulary is: the nucleus of SQL is far smaller


class Choice(NamedTuple):
    """The next token of each row, and its log-probability at temperature 1."""

    tokens_R: Tensor
    logprobs_R: Tensor


def choose(logits_RV: Tensor, aims: Sequence[float | None], *, temperature: float, top_p: float) -> Choice:
    """Choose the next token of each row.

    With tokens laid side by side, likeliest first, each as wide as it is likely, the fewest that make up
    `top_p` are the nucleus, and an aim points to a place in it.

    Args:
        logits_RV: of the next token.
        aims: a number from [0, 1) for each row, drawn evenly; None: the likeliest token.
        temperature: of rows with an aim.
        top_p: of rows with an aim.
    """
    logits_RV = logits_RV.float()
    norms_R = logits_RV.logsumexp(dim=-1)
    best = logits_RV.max(dim=-1)
    tokens_R = best.indices
    if any(aim is not None for aim in aims):
        scaled_R = norms_R if temperature == 1.0 else (logits_RV / temperature).logsumexp(dim=-1)
        chances_R = (best.values / temperature - scaled_R).exp()
        aims_R = torch.tensor([aim or 0.0 for aim in aims], device=logits_RV.device)
        # Most tokens of SQL are all but certain; only the other rows are sorted.
        rows = ((aims_R >= chances_R) & (chances_R < top_p)).nonzero()[:, 0]
        for n in (min(FIRST, logits_RV.shape[1]), logits_RV.shape[1]):
            if not len(rows):
                break
            top = logits_RV[rows].topk(n, dim=-1)
            likely_RN = (top.values / temperature - scaled_R[rows, None]).exp()
            picked_R1, known_R = _pick(likely_RN, aims_R[rows], top_p=top_p, whole=n == logits_RV.shape[1])
            tokens_R[rows[known_R]] = top.indices.gather(1, picked_R1)[known_R, 0]
            rows = rows[~known_R]
    return Choice(tokens_R, logits_RV.gather(1, tokens_R[:, None])[:, 0] - norms_R)


def _pick(likely_RN: Tensor, aims_R: Tensor, *, top_p: float, whole: bool) -> tuple[Tensor, Tensor]:
    """Return each row's place in the nucleus (R, 1), and whether these tokens were enough to know it."""
    reached_RN = likely_RN.cumsum(dim=-1)
    inside_RN = reached_RN - likely_RN < top_p
    if top_p < 1.0 or whole:
        mass_R = (likely_RN * inside_RN).sum(dim=-1)
        known_R = (reached_RN[:, -1] >= top_p) | whole
    else:  # all tokens are the nucleus, and its mass is known
        mass_R = torch.ones_like(aims_R)
        known_R = aims_R < reached_RN[:, -1]
    passed_R = (reached_RN <= (aims_R * mass_R)[:, None]).sum(dim=-1)
    return torch.minimum(passed_R, inside_RN.sum(dim=-1) - 1)[:, None], known_R
