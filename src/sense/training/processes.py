"""Several processes of one training, as `accelerate launch` or `torchrun` starts them.

The first of them alone writes into the run folder and speaks; the others follow. Each step's packs are dealt
out, and the sum of all processes is what one process would have computed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
from accelerate import PartialState
from torch import distributed

from sense.progress import is_follower


def join() -> None:
    """Take this process's place among the others; nothing happens where there are none."""
    if count() > 1:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        # The others wait while the first one computes references or evaluates, which may take hours.
        PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=2))


def count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def wait() -> None:
    """Wait until all processes have come here."""
    if distributed.is_initialized():
        distributed.barrier()


def agree(choice: bool) -> bool:
    """Take the first process's choice."""
    if not distributed.is_initialized():
        return choice
    told = torch.tensor([0 if is_follower() else int(choice)], device=_device())
    distributed.all_reduce(told)
    return bool(told.item())


def add_up(values: Mapping[str, float]) -> dict[str, float]:
    """Add up named figures over all processes."""
    if not distributed.is_initialized():
        return dict(values)
    gathered: list[Any] = [None] * count()
    distributed.all_gather_object(gathered, dict(values))
    sums: Counter[str] = Counter()
    for each in gathered:
        sums.update(each)
    return dict(sums)


def _device() -> torch.device:
    return torch.device("cuda") if distributed.get_backend() == "nccl" else torch.device("cpu")
