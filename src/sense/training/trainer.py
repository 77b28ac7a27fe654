"""Train on packs with transformers' Trainer, in one process or several.

Steps are laid out beforehand, checkpoints survive a kill, metrics go to one file. In several processes each
takes its share of a step's packs.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, SequentialSampler
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from sense import jsonl
from sense.errors import ModelError
from sense.progress import Meter, is_follower, say
from sense.rundir import write_json
from sense.training import processes
from sense.training.best import Best, Evaluation
from sense.training.pack import Pack

NOT_OURS = frozenset({"loss", "learning_rate", "grad_norm", "epoch"})  # of a log: what Trainer puts in
BEST_FILE = "best.json"  # which step's weights were kept, where not the last one's
COMPLETE = "complete"  # written into a checkpoint when all else of it is on the disk

# From a model and a pack: the summed loss of its items, and sums of what is to be shown beside it.
PackLoss = Callable[[torch.nn.Module, Pack], tuple[Tensor, dict[str, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """How to train; see the fields of `sense sft --help`."""

    learning_rate: float
    warmup_ratio: float
    weight_decay: float
    bf16: bool
    checkpoint_minutes: float
    seed: int
    gradient_checkpointing: bool = False
    report_to: tuple[str, ...] = ()


@dataclass(slots=True)
class _Sums:
    """Sums over the packs of the step under way."""

    values: dict[str, float] = field(default_factory=dict)

    def add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.values[name] = self.values.get(name, 0.0) + value


def train(
    model: PreTrainedModel | torch.nn.Module,
    steps: Sequence[Sequence[Pack]],
    *,
    pack_loss: PackLoss,
    hyperparameters: Hyperparameters,
    folder: Path,
    label: str,
    evaluation: Evaluation | None = None,
) -> dict[str, Tensor] | None:
    """Train `model` in place through all steps, going on from the last whole checkpoint in `folder`, if any.

    Writes `metrics.jsonl` into `folder`, one line a step. The checkpoints are the caller's to remove once the
    model is saved: see `remove_checkpoints`. Returns the weights, gathered, where they lie in shards (FSDP),
    None where `model` holds them.

    Raises:
        ModelError: a loss was not a number; nothing of that step is kept.
    """
    # Steps are filled up with empty packs: all are of equal length, and processes have equal shares.
    share = -(-max(len(step) for step in steps) // processes.count())
    packs_per_step = share * processes.count()
    checkpoint = _last_checkpoint(folder / "checkpoints")
    done = int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint else 0
    if checkpoint:
        say(f"{label}: going on from step {done} of {len(steps)}")
    metrics_path = folder / "metrics.jsonl"
    if not is_follower():
        _cut_metrics(metrics_path, done)
    best = Best(folder / "checkpoints" / "best", evaluation) if evaluation and evaluation.keep else None
    if best:
        best.forget_after(done)
    processes.wait()
    if hyperparameters.gradient_checkpointing:
        cast(Any, model).activation_checkpointing_enable({"use_reentrant": False})
    # What a launcher says of precision or a tracker of its folder gives way to the run's own.
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if hyperparameters.bf16 else "no"
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
    args = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        max_steps=len(steps),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=share,
        learning_rate=hyperparameters.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(hyperparameters.warmup_ratio * len(steps)),
        weight_decay=hyperparameters.weight_decay,
        max_grad_norm=1.0,
        adam_beta2=0.99,
        bf16=hyperparameters.bf16,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",
        report_to=list(hyperparameters.report_to),
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=hyperparameters.seed,
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
    )
    if args.n_gpu > 1:
        args._n_gpu = 1  # else Trainer deals batches out to all GPUs; a pack is a batch and is for one
    sums = _Sums()
    with contextlib.ExitStack() as stack:
        metrics = None if is_follower() else stack.enter_context(jsonl.Appender(metrics_path))
        meter = Meter(label, total=len(steps), done=done)
        keeper = _Bookkeeper(metrics, meter, hyperparameters.checkpoint_minutes * 60)
        keeper.model, keeper.evaluation, keeper.best = model, evaluation, best
        trainer = _PackTrainer(
            model=model,
            args=args,
            train_dataset=_Steps(steps, packs_per_step),
            data_collator=_first,
            callbacks=[keeper],
        )
        trainer.pack_loss, trainer.sums, trainer.evaluated = pack_loss, sums, keeper.evaluated
        trainer.loss_is_scaled_for_ga = True
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        finally:
            meter.close()
    if best:
        kept = best.restore(model, label=label)
        if not is_follower():
            write_json(folder / BEST_FILE, {"step": kept})
    return trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None


def totals(folder: Path) -> dict[str, float]:
    """Sum up the `metrics.jsonl` of a training."""
    if is_follower():
        return {}
    lines = jsonl.read_objects(folder / "metrics.jsonl")
    last = lines[-max(1, len(lines) // 10) :]
    shown: dict[str, Any] = next((line for line in reversed(lines) if "eval_loss" in line), {})
    best: dict[str, int] = {}
    if (folder / BEST_FILE).exists():
        best = {"best_step": json.loads((folder / BEST_FILE).read_text(encoding="utf-8"))["step"]}
        shown = next(line for line in lines if line["step"] == best["best_step"])
    figures = {name: value for name, value in shown.items() if name.startswith("eval_")}
    return {
        "steps": len(lines),
        "tokens": sum(line["tokens"] for line in lines),
        "tokens_unpacked": sum(line["tokens_unpacked"] for line in lines),
        "loss_first": round(lines[0]["loss"], 4),
        "loss_last_tenth": round(sum(line["loss"] for line in last) / len(last), 4),
        **figures,
        **best,
    }


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a training that is saved."""
    if is_follower():
        return
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def fix_seed(seed: int) -> None:
    """Seed the generators that transformers and peft draw from when they make new weights."""
    random.seed(seed)
    torch.manual_seed(seed)


class _Steps(Dataset[dict[str, Any]]):
    """The packs of all steps in order; short steps are filled up with nothing, so that steps stay aligned."""

    def __init__(self, steps: Sequence[Sequence[Pack]], packs_per_step: int) -> None:
        self._packs: list[Pack | None] = []
        for step in steps:
            self._packs += [*step, *[None] * (packs_per_step - len(step))]

    def __len__(self) -> int:
        return len(self._packs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pack": self._packs[index]}


def _first(items: list[dict[str, Any]]) -> dict[str, Any]:
    (item,) = items
    return item


class _PackTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose batch is one pack."""

    pack_loss: PackLoss
    sums: _Sums
    evaluated: dict[str, float]

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,  # noqa: ARG002
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Tensor:
        pack: Pack | None = inputs["pack"]
        if pack is None:
            return _nothing(model)
        total, shown = self.pack_loss(model, pack)
        if not torch.isfinite(total):
            ids = ", ".join(example.id for example in pack.examples[:3])
            message = (
                f"the loss is {total.item()} at step {self.state.global_step + 1} (examples {ids}, ...): "
                f"training stopped; a lower learning_rate may help"
            )
            if is_follower():  # the first process, which speaks else, does not know these examples
                sys.stderr.write(f"sense: error: {message}\n")
            raise ModelError(message)
        branches = pack.branches
        self.sums.add(
            {name: value / pack.denominator for name, value in shown.items()}
            | {
                "tokens": len(pack.schema) + sum(map(len, branches)),
                "tokens_unpacked": sum(len(pack.schema) + len(branch) for branch in branches),
            }
        )
        # What several processes compute is averaged, and a step's loss is their sum.
        return total / pack.denominator * processes.count()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Put what is shown beside the loss into the log, for trackers too."""
        if "loss" in logs:
            sums = processes.add_up(self.sums.values)
            logs |= {name: round(value, 6) for name, value in sums.items()} | self.evaluated
            logs |= {name: round(logs[name]) for name in ("tokens", "tokens_unpacked") if name in logs}
            self.sums.values.clear()
            self.evaluated.clear()
        super().log(logs, start_time)

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)


def _nothing(model: torch.nn.Module) -> Tensor:
    """A loss of 0 in which every parameter takes part; through the wrapper that waits for all gradients."""
    if processes.count() == 1:
        return cast(Tensor, sum(p.sum() for p in model.parameters() if p.requires_grad) * 0.0)
    ids = torch.zeros(1, 1, dtype=torch.long, device=next(model.parameters()).device)
    return cast(Tensor, model(input_ids=ids, use_cache=False).logits.float().sum() * 0.0)


class _Bookkeeper(TrainerCallback):  # type: ignore[misc]
    """Writes a line of metrics a step, moves the bar, asks for checkpoints by the clock, marks whole ones."""

    model: torch.nn.Module
    evaluation: Evaluation | None
    best: Best | None

    def __init__(self, metrics: jsonl.Appender | None, meter: Meter, every_s: float) -> None:
        self._metrics, self._meter, self._every_s = metrics, meter, every_s
        self._saved = time.monotonic()
        self.evaluated: dict[str, float] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm: Any = torch.nn.utils.get_total_norm(gradients)
        if not torch.isfinite(norm.full_tensor() if hasattr(norm, "full_tensor") else norm):
            raise ModelError(
                f"the gradient is not a number at step {state.global_step + 1}: training stopped before the "
                f"weights were changed; a lower learning_rate may help"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:  # noqa: ARG002
        due = time.monotonic() - self._saved >= self._every_s and state.global_step < state.max_steps
        if processes.agree(due):
            control.should_save = True
        if self.evaluation is not None and self._is_due(state.global_step, state.max_steps):
            self._evaluate(self.evaluation, state.global_step)
        return control

    def _is_due(self, step: int, last: int) -> bool:
        assert self.evaluation is not None
        return step == last or (self.evaluation.every > 0 and step % self.evaluation.every == 0)

    def _evaluate(self, evaluation: Evaluation, step: int) -> None:
        if not is_follower():
            self.model.eval()
            self.evaluated.update(evaluation.measure(self.model))
            self.model.train()
            if self.best is not None:
                self.best.offer(self.model, self.evaluated, step=step)
        processes.wait()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:  # noqa: ARG002
        if "loss" not in logs:
            return
        line = {"step": state.global_step, "loss": logs["loss"], "learning_rate": logs["learning_rate"]}
        line |= {"grad_norm": float(logs.get("grad_norm", 0.0))}
        line |= {name: value for name, value in logs.items() if name not in NOT_OURS}
        if self._metrics is not None:
            self._metrics.add(line)
        self._meter.advance(note=f"loss {logs['loss']:.3f}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        folder = Path(args.output_dir)
        processes.wait()  # the others write their part of it too
        if not is_follower():
            (folder / f"checkpoint-{state.global_step}" / COMPLETE).touch()
            for other in folder.glob("checkpoint-*"):
                if other.name != f"checkpoint-{state.global_step}":
                    shutil.rmtree(other)
        self._saved = time.monotonic()


def _last_checkpoint(folder: Path) -> Path | None:
    """Find the newest whole checkpoint; halves that a kill left are removed."""
    whole: list[Path] = []
    for checkpoint in folder.glob("checkpoint-*"):
        if (checkpoint / COMPLETE).exists():
            whole.append(checkpoint)
        elif not is_follower():
            shutil.rmtree(checkpoint, ignore_errors=True)
    return max(whole, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


def _cut_metrics(path: Path, steps: int) -> None:
    """Drop lines of steps that are about to be done again."""
    if path.exists():
        whole = path.read_text(encoding="utf-8").split("\n")[:-1]
        kept = [line for line in map(json.loads, whole) if line["step"] <= steps]
        jsonl.write(path, kept)
