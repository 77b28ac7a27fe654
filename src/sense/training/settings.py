"""The settings that SFT and preference learning share; free of torch, so that they can be checked without it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sense.prompts.text_to_sql import DEFAULT_FORMAT
from sense.stage import InputPaths, ModelName, StageConfig


class TrainingConfig(StageConfig):
    """What `sense sft` and `sense dpo` have in common."""

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
        description="a schema and one question may have so many tokens; longer examples are left out, counted",
    )
    seed: int = Field(0, description="seed of the order and of LoRA's first weights")


DataFolders = InputPaths
