"""Turn a pack into tensors and compute its completions' log-probabilities in one forward pass.

Logits are made for completion tokens only, and a chunk of them at a time: all of them at once may take more
memory than the rest of the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from sense.llms.branched_row import BranchedRow
from sense.training.losses import token_logprobs
from sense.training.tokens import Branch

CHUNK_LOGITS = 2**24  # logits at a time, 64 MiB of float32
CHANGES_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling")  # what some models do after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A pack as tensors. T tokens of the row; N completion tokens, each told from the token before it."""

    layout: BranchedRow
    input_ids_1T: Tensor
    places_N: Tensor  # where in the row the token before each completion token stands
    targets_N: Tensor
    branch_N: Tensor  # which branch, in the order they were given, a completion token belongs to


def make_row(schema: tuple[int, ...], branches: list[Branch]) -> Row:
    """Lay a schema and its branches out as one row. A branch's last token is a target, never an input."""
    ids = list(schema)
    places: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    by_length = sorted(range(len(branches)), key=lambda b: len(branches[b]))
    for b in by_length:
        prompt, completion = branches[b].prompt, branches[b].completion
        first = len(ids) + len(prompt) - 1
        places += range(first, first + len(completion))
        targets += completion
        owners += [b] * len(completion)
        ids += [*prompt, *completion[:-1]]
    return Row(
        layout=BranchedRow(prefix=len(schema), lengths=[len(branches[b]) - 1 for b in by_length]),
        input_ids_1T=torch.tensor([ids]),
        places_N=torch.tensor(places),
        targets_N=torch.tensor(targets),
        branch_N=torch.tensor(owners),
    )


def completion_logprobs(model: PreTrainedModel | torch.nn.Module, row: Row) -> Tensor:
    """Log-probability of every completion token of a row (N,)."""
    device = next(model.parameters()).device
    layout = row.layout.to(device)
    targets_N = row.targets_N.to(device)
    with _chunked_head(model, targets_N) as chunked:
        output = model(
            input_ids=row.input_ids_1T.to(device),
            position_ids=layout.position_ids,
            branched_row=layout,
            logits_to_keep=row.places_N.to(device),
            use_cache=False,
        )
    return output.logits[0, :, 0] if chunked else token_logprobs(output.logits[0], targets_N)


@contextmanager
def _chunked_head(model: Any, targets_N: Tensor) -> Iterator[bool]:
    """Let the model's output layer give the targets' log-probabilities (1, N, 1) in place of logits.

    It stays inside the model's forward pass, which wrappers for several processes must see whole. Yields
    False, with nothing changed, where there is no need or the model does more to its logits.
    """
    inner = model.module if hasattr(model, "module") else model  # in a wrapper for several processes
    head = inner.get_output_embeddings()
    config = inner.config.get_text_config()
    changed = any(getattr(config, name, None) not in (None, 1.0) for name in CHANGES_LOGITS)
    if changed or len(targets_N) * head.weight.shape[0] <= CHUNK_LOGITS:
        yield False
        return
    plain = head.forward
    size = max(1, CHUNK_LOGITS // head.weight.shape[0])

    def of_chunk(hidden_ND: Tensor, own_targets_N: Tensor) -> Tensor:
        return token_logprobs(plain(hidden_ND), own_targets_N)

    def forward(hidden_1ND: Tensor) -> Tensor:
        parts = [
            checkpoint(of_chunk, hidden_ND, own, use_reentrant=False)
            for hidden_ND, own in zip(
                torch.split(hidden_1ND[0], size), torch.split(targets_N, size), strict=True
            )
        ]
        return torch.cat(parts)[None, :, None]

    head.forward = forward
    try:
        yield True
    finally:
        del head.forward
