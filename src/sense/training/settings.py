"""The settings that SFT and preference learning share; without torch, so that they are checked without it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from sense.databases import spider
from sense.errors import ConfigError, nearest
from sense.llms import store
from sense.prompts.text_to_sql import DEFAULT_FORMAT, format_of
from sense.stage import InputPath, ModelName, StageConfig, is_made

DEFAULT_PACK_TOKENS = 4096  # some 4 GiB of activations for a model of 135 M parameters

# Trackers that transformers reports to, and the packages of which one is needed.
TRACKERS = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "comet_ml": ("comet_ml",),
    "clearml": ("clearml",),
    "dvclive": ("dvclive",),
    "swanlab": ("swanlab",),
    "trackio": ("trackio",),
}


class TrainingConfig(StageConfig):
    """What `sense sft` and `sense dpo` have in common."""

    SPEED_ONLY: ClassVar[frozenset[str]] = frozenset({"checkpoint_minutes", "report_to"})

    model: ModelName = Field(
        description="model to start from: known name, Hugging Face id, folder or GGUF file"
    )
    prompt_format: str = Field(DEFAULT_FORMAT, description="id of the prompt format; kept beside the weights")
    epochs: Annotated[int, Field(ge=1)] = Field(2, description="how often every example is seen")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="highest learning rate")
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05, description="share of steps to warm up in"
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="AdamW's weight decay")
    branches_per_pack: Annotated[int, Field(ge=1)] = Field(
        16,
        description="at most so many answers share one copy of a schema in a forward pass; "
        "a pair is two of them, and there is at least one",
    )
    pack_tokens: Annotated[int, Field(ge=16)] = Field(
        DEFAULT_PACK_TOKENS, description="at most so many tokens in a pack; bounds the memory"
    )
    share_schema: bool = Field(
        True,
        description="off: every example is a row of its own, with its own copy of the schema; for comparison",
    )
    packs_per_step: Annotated[int, Field(ge=1)] = Field(
        2, description="packs, of different databases as a rule, in one optimizer step"
    )
    lora_rank: Annotated[int, Field(ge=0)] = Field(
        0, description="rank of LoRA adapters on all linear layers; 0: full"
    )
    lora_alpha: Annotated[int, Field(ge=1)] = Field(32, description="LoRA's scale")
    quantize: Literal["no", "4bit"] = Field(
        "no", description="4bit: QLoRA, adapters on a base of 4-bit weights; needs a GPU and bitsandbytes"
    )
    gradient_checkpointing: bool = Field(
        False, description="keep less for the backward pass and compute it again: less memory, a third slower"
    )
    bf16: bool = Field(True, description="compute in bfloat16 (autocast); weights stay float32")
    checkpoint_minutes: Annotated[float, Field(ge=0)] = Field(
        4.0, description="minutes between checkpoints to go on from after a kill"
    )
    max_tokens: Annotated[int, Field(ge=16)] = Field(
        4096,
        description="a schema and one question may have so many tokens; a longer schema loses tables that "
        "no query at hand uses, what is still longer is left out; both are counted",
    )
    valid_data: InputPath | None = Field(
        None, description="folder in Spider's layout with questions to evaluate on while training"
    )
    valid_split: str = Field("valid", description="question file of valid_data, without .json")
    valid_questions: Annotated[int, Field(ge=1)] = Field(
        200, description="evaluate on so many of them, spread evenly over the file"
    )
    eval_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="steps from one evaluation to the next; 0: at the end only"
    )
    eval_ex: bool = Field(
        True, description="evaluate execution accuracy beside the loss: answers are decoded and run"
    )
    keep_best: Literal["no", "loss", "ex"] = Field(
        "no", description="end with the weights of the best evaluation, by its loss or execution accuracy"
    )
    report_to: tuple[str, ...] = Field(
        (), description="trackers that transformers knows, such as tensorboard or wandb"
    )
    seed: int = Field(0, description="seed of the order and of LoRA's first weights")

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.quantize != "no" and not self.lora_rank:
            raise ValueError("quantize: 4-bit weights cannot be trained themselves; give lora_rank, 16 say")
        if self.keep_best != "no" and self.valid_data is None:
            raise ValueError("keep_best: there is nothing to choose by; give valid_data")
        if self.eval_steps and self.valid_data is None:
            raise ValueError("eval_steps: there is nothing to evaluate on; give valid_data")
        if self.keep_best == "ex" and not self.eval_ex:
            raise ValueError("keep_best: ex needs eval_ex")
        return self

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the model, the prompt format, the validation questions and what else must be installed."""
        format_of(self.prompt_format)
        store.check_model(self.model, prompt_format=self.prompt_format, made=made)
        if self.valid_data is not None and not is_made(self.valid_data, made):
            spider.check_split(self.valid_data, self.valid_split)
        if self.valid_data is not None and os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
            raise ConfigError("valid_data: not while the model lies in shards (FSDP); evaluate afterwards")
        for name in self.report_to:
            if name not in TRACKERS:
                raise ConfigError(f"report_to: unknown tracker {name!r}; {nearest(name, TRACKERS)}")
            if not any(find_spec(package) for package in TRACKERS[name]):
                package = TRACKERS[name][0]
                raise ConfigError(f"report_to: {package} is not installed: pip install {package}")
        if self.quantize != "no" and find_spec("bitsandbytes") is None:
            raise ConfigError("quantize: bitsandbytes is not installed: pip install bitsandbytes")
