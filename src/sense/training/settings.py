"""The settings that SFT and preference learning share; without torch, so that they are checked without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from sense.llms import store
from sense.prompts.text_to_sql import DEFAULT_FORMAT, format_of
from sense.stage import ModelName, StageConfig


class TrainingConfig(StageConfig):
    """What `sense sft` and `sense dpo` have in common."""

    SPEED_ONLY: ClassVar[frozenset[str]] = frozenset({"checkpoint_minutes"})

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
        16, description="at most so many answers share one copy of a schema in a forward pass"
    )
    packs_per_step: Annotated[int, Field(ge=1)] = Field(
        2, description="packs, of different databases as a rule, in one optimizer step"
    )
    lora_rank: Annotated[int, Field(ge=0)] = Field(
        0, description="rank of LoRA adapters on all linear layers; 0: full"
    )
    lora_alpha: Annotated[int, Field(ge=1)] = Field(32, description="LoRA's scale")
    bf16: bool = Field(True, description="compute in bfloat16 (autocast); weights stay float32")
    checkpoint_minutes: Annotated[float, Field(ge=0)] = Field(
        4.0, description="minutes between checkpoints to go on from after a kill"
    )
    max_tokens: Annotated[int, Field(ge=16)] = Field(
        4096,
        description="a schema and one question may have so many tokens; "
        "longer examples are left out, counted",
    )
    seed: int = Field(0, description="seed of the order and of LoRA's first weights")

    def check(self, made: Sequence[Path] = ()) -> None:
        """Look at the model and the prompt format."""
        format_of(self.prompt_format)
        store.check_model(self.model, prompt_format=self.prompt_format, made=made)
