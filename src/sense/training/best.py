"""Evaluate while training, and end with the best weights and not the last ones."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from sense.errors import ModelError
from sense.progress import is_follower, say
from sense.rundir import write_json
from sense.training import processes


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What is measured while training, and whether its best weights are kept.

    Args:
        measure: measures a model; its figures' names begin with "eval_".
        every: steps from one time to the next; the last step is always one. 0: the last step only.
        keep: the figure that says which weights are best, None to end with the last ones.
        higher_is_better: of `keep`.
    """

    measure: Callable[[torch.nn.Module], dict[str, float]]
    every: int
    keep: str | None
    higher_is_better: bool


class Best:
    """The best weights so far, kept in a folder; only those that are trained."""

    def __init__(self, folder: Path, evaluation: Evaluation) -> None:
        """Take the folder; what an earlier process of the same run kept there counts."""
        assert evaluation.keep is not None
        self._folder, self._name = folder, evaluation.keep
        self._sign = 1.0 if evaluation.higher_is_better else -1.0

    def forget_after(self, step: int) -> None:
        """Drop weights of a step that is about to be done again."""
        if is_follower():
            return
        kept = self._kept()
        if kept and kept["step"] > step:
            shutil.rmtree(self._folder)

    def offer(self, model: torch.nn.Module, figures: Mapping[str, float], *, step: int) -> None:
        """Keep the weights if they are better than those there.

        Raises:
            ModelError: the figure to go by is not a number.
        """
        value = self._sign * figures[self._name]
        if math.isnan(value):
            raise ModelError(f"{self._name} is not a number at step {step}: training stopped")
        kept = self._kept()
        if kept and kept["value"] >= value:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / "weights.part"
        save_file({n: p.detach().contiguous() for n, p in model.named_parameters() if p.requires_grad}, part)
        part.replace(self._folder / "weights.safetensors")
        write_json(self._folder / "best.json", {"step": step, "value": value})

    def restore(self, model: torch.nn.Module, *, label: str) -> int:
        """Give the model the best weights, and tell of which step they are."""
        processes.wait()
        weights = load_file(self._folder / "weights.safetensors")
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in weights:
                    parameter.copy_(weights[name])
        step: int = self._kept()["step"]
        say(f"{label}: the weights of step {step} were the best by {self._name} and are kept")
        return step

    def _kept(self) -> dict[str, Any]:
        file = self._folder / "best.json"
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return found
