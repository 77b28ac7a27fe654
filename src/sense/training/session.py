"""What SFT and preference learning do alike around the training itself: load, adapt, save."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sense import __version__
from sense.errors import DataError
from sense.llms import store
from sense.llms.local import Loaded, load
from sense.progress import say
from sense.rundir import RunDir, write_json
from sense.training.settings import TrainingConfig
from sense.training.tokens import TokenizedExample
from sense.training.trainer import Hyperparameters, fix_seed

BYTES_PER_PARAMETER = (
    24  # a checkpoint being written beside the last one: 2 x (weights, two moments of AdamW)
)


def open_model(config: TrainingConfig) -> Loaded:
    """Load the model to train, with LoRA adapters if asked for."""
    loaded = load(config.model, dtype="float32")
    fix_seed(config.seed)
    if config.lora_rank:
        from peft import LoraConfig, get_peft_model  # only LoRA needs it

        with warnings.catch_warnings():
            # peft reads a property that transformers is about to rename
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            adapted = get_peft_model(
                loaded.model,
                LoraConfig(
                    r=config.lora_rank,
                    lora_alpha=config.lora_alpha,
                    target_modules="all-linear",
                    task_type="CAUSAL_LM",
                ),
            )
        # The name that was given, and not where this machine keeps it: adapters travel.
        adapted.peft_config["default"].base_model_name_or_path = config.model
        loaded = Loaded(model=adapted, tokenizer=loaded.tokenizer, folder=loaded.folder)
    loaded.model.train()
    return loaded


def disk_needed(loaded: Loaded) -> int:
    """Bytes that checkpoints and the saved model may take."""
    trainable: int = sum(p.numel() for p in loaded.model.parameters() if p.requires_grad)
    everything: int = sum(p.numel() for p in loaded.model.parameters())
    return BYTES_PER_PARAMETER * trainable + 4 * everything


def within(examples: Sequence[TokenizedExample], *, max_tokens: int, label: str) -> list[TokenizedExample]:
    """Leave out examples that are too long, and say how many.

    Raises:
        DataError: nothing is left.
    """
    kept = [
        example
        for example in examples
        if all(len(example.schema) + len(branch) <= max_tokens for branch in example.branches)
    ]
    if len(kept) < len(examples):
        say(
            f"{label}: {len(examples) - len(kept)} of {len(examples)} examples left out: "
            f"over {max_tokens} tokens"
        )
    if not kept:
        raise DataError(f"{label}: no example of at most {max_tokens} tokens to learn from")
    return kept


def hyperparameters_of(config: TrainingConfig) -> Hyperparameters:
    """Take the trainer's settings out of a stage's."""
    return Hyperparameters(
        learning_rate=config.learning_rate,
        warmup_ratio=config.warmup_ratio,
        weight_decay=config.weight_decay,
        bf16=config.bf16,
        checkpoint_minutes=config.checkpoint_minutes,
        seed=config.seed,
    )


def is_saved(run_dir: RunDir) -> bool:
    """Tell whether the run's model is there, as when a kill came between its saving and the run's end."""
    return (run_dir / "model" / store.MARKS_FILE).exists()


def save(loaded: Loaded, run_dir: RunDir, config: TrainingConfig, *, stage: str) -> Path:
    """Write the trained model as a Hugging Face folder, whole or not at all; LoRA's adapter beside it."""
    marks = {
        "prompt_format": config.prompt_format,
        "trained_by": stage,
        "base": config.model,
        "sense_version": __version__,
    }
    model: Any = loaded.model
    if config.lora_rank:
        _write(model, loaded, run_dir / "adapter", marks)
        model = model.merge_and_unload()
    _write(model, loaded, run_dir / "model", marks)
    return run_dir / "model"


def _write(model: Any, loaded: Loaded, folder: Path, marks: dict[str, str]) -> None:
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    model.eval()
    with torch.no_grad():
        model.save_pretrained(part)
    loaded.tokenizer.save_pretrained(part)
    write_json(part / store.MARKS_FILE, marks)
    part.rename(folder)
