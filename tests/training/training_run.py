"""A small training as a program, so that a test can kill it: `python training_run.py MODEL FOLDER`.

Adapters are trained where FOLDER's name says lora.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from sense.llms.local import load
from sense.training.objectives import sft_loss
from sense.training.pack import Pack, plan_steps
from sense.training.tokens import tokenize
from sense.training.trainer import Hyperparameters, fix_seed, train

SCHEMAS = [
    f"database {name}\ntable {name} ( id number key, {name}_name text )\n" for name in ("pet", "owner")
]
ROWS = [
    (f"{s}/{n}", f"{schema}question: Number {n}?\nsql:", [f" SELECT {n} FROM pet WHERE id = {n * 7}"])
    for s, schema in enumerate(SCHEMAS)
    for n in range(7)
]


def make_steps(tokenizer: Any, *, epochs: int = 2, packs_per_step: int = 2) -> list[list[Pack]]:
    return plan_steps(
        tokenize(ROWS, tokenizer),
        epochs=epochs,
        branches_per_pack=3,
        packs_per_step=packs_per_step,
        count_pairs=False,
        seed=0,
    )


def make_hyperparameters(**settings: Any) -> Hyperparameters:
    defaults = {
        "learning_rate": 1e-2,
        "warmup_ratio": 0.2,
        "weight_decay": 0.01,
        "bf16": False,
        "checkpoint_minutes": 1e9,
        "seed": 0,
    }
    return Hyperparameters(**(defaults | settings))


def with_lora(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    fix_seed(0)
    return get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))


def main(model_folder: str, folder: Path, *, pause_s: float = 0.0) -> None:
    """Train, with a pause in every pack, so that there is time for a kill on the way."""
    loaded = load(model_folder)
    model = with_lora(loaded.model) if "lora" in folder.name else loaded.model
    model.train()

    def slow_loss(model: Any, pack: Pack) -> Any:
        time.sleep(pause_s)
        return sft_loss(model, pack)

    train(
        model,
        make_steps(loaded.tokenizer),
        pack_loss=slow_loss,
        hyperparameters=make_hyperparameters(checkpoint_minutes=0.0),
        folder=folder,
        label="test",
    )
    model.save_pretrained(folder / "model")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), pause_s=0.2)
