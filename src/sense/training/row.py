"""Turn a pack into tensors and compute its completions' log-probabilities in one forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sense.llms.branched_row import BranchedRow
from sense.training.losses import token_logprobs
from sense.training.tokens import Branch


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
    """Log-probability of every completion token of a row (N,); logits are made for these places only."""
    device = next(model.parameters()).device
    layout = row.layout.to(device)
    output = model(
        input_ids=row.input_ids_1T.to(device),
        position_ids=layout.position_ids,
        branched_row=layout,
        logits_to_keep=row.places_N.to(device),
        use_cache=False,
    )
    return token_logprobs(output.logits[0], row.targets_N.to(device))
