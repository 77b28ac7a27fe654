"""Turn a pack into tensors and compute its completions' log-probabilities in one forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sense.llms.shared_prefix import BranchedRow
from sense.training.losses import token_logprobs
from sense.training.tokens import Branch

PAD = 0  # any token: padding stands at the ends of branches, where nothing looks at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A pack as tensors. T tokens of the row; N completion tokens, each told from the token before it."""

    layout: BranchedRow
    input_ids_1T: Tensor
    places_N: Tensor  # where in the row the token before each completion token stands
    targets_N: Tensor
    branch_N: Tensor


def make_row(schema: tuple[int, ...], branches: list[Branch]) -> Row:
    """Lay a schema and its branches out as one row. The last token of a branch is only a target, never an input."""
    length = max(len(branch) for branch in branches) - 1
    ids = list(schema)
    places: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for b, branch in enumerate(branches):
        tokens = [*branch.prompt, *branch.completion]
        start = len(ids)
        first = start + len(branch.prompt) - 1
        places += range(first, first + len(branch.completion))
        targets += branch.completion
        owners += [b] * len(branch.completion)
        ids += tokens[:-1] + [PAD] * (length - len(tokens) + 1)
    return Row(
        layout=BranchedRow(prefix=len(schema), branches=len(branches), length=length),
        input_ids_1T=torch.tensor([ids]),
        places_N=torch.tensor(places),
        targets_N=torch.tensor(targets),
        branch_N=torch.tensor(owners),
    )


def completion_logprobs(model: PreTrainedModel | torch.nn.Module, row: Row) -> Tensor:
    """Log-probability of every completion token of a row (N,); logits are made for these places only."""
    device = next(model.parameters()).device
    output = model(
        input_ids=row.input_ids_1T.to(device),
        position_ids=row.layout.position_ids().to(device),
        branched_row=row.layout,
        logits_to_keep=row.places_N.to(device),
        use_cache=False,
    )
    return token_logprobs(output.logits[0], row.targets_N.to(device))
