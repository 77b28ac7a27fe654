"""What SFT and preference learning do alike around the training itself: load, adapt, lay out, save."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sense import __version__
from sense.errors import ConfigError, DataError
from sense.llms import store
from sense.llms.local import Loaded, load
from sense.llms.shared_prefix import use_shared_prefix
from sense.llms.token_ids import Tokenizer, token_ids
from sense.progress import is_follower, say
from sense.prompts.prune import prune
from sense.prompts.text_to_sql import split_prompt
from sense.rundir import RunDir, write_json
from sense.training import processes
from sense.training.card import model_card
from sense.training.pack import Pack, plan_steps, unpack
from sense.training.settings import TrainingConfig
from sense.training.tokens import TokenizedExample, tokenize
from sense.training.trainer import Hyperparameters, fix_seed

BYTES_PER_PARAMETER = (
    24  # a checkpoint being written beside the last one: 2 x (weights, two moments of AdamW)
)


def open_model(config: TrainingConfig) -> Loaded:
    """Load the model to train, with LoRA adapters if asked for.

    Raises:
        ConfigError: 4-bit weights, and no GPU.
        ModelError: there is no such model, or it cannot be used here.
    """
    processes.join()
    loaded = load(config.model, dtype="float32") if config.quantize == "no" else _load_quantized(config.model)
    fix_seed(config.seed)
    if config.quantize == "no":
        loaded.model.requires_grad_(True)  # an adapter that was merged into its base leaves it frozen
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


def _load_quantized(name: str) -> Loaded:
    """Load a base in 4 bits, for QLoRA.

    Source: Dettmers et al. 2023, "QLoRA": NormalFloat 4, double quantization, computing in bfloat16.
    """
    if not torch.cuda.is_available():
        raise ConfigError(
            "quantize: 4-bit weights need a GPU, and there is none; leave it out and use lora_rank"
        )
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    tokenizer = AutoTokenizer.from_pretrained(store.resolve(name))
    model = AutoModelForCausalLM.from_pretrained(
        store.resolve(name),
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
        device_map={"": torch.cuda.current_device()},
    )
    use_shared_prefix(model)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return Loaded(model=model, tokenizer=tokenizer, folder=store.resolve(name))


def disk_needed(loaded: Loaded, config: TrainingConfig) -> int:
    """Bytes that checkpoints, best weights and the saved model may take."""
    trainable: int = sum(p.numel() for p in loaded.model.parameters() if p.requires_grad)
    everything: int = sum(p.numel() for p in loaded.model.parameters())
    if config.quantize == "4bit":
        everything *= 2  # two weights lie in one byte
    best = 2 * 4 * trainable if config.keep_best != "no" else 0
    return BYTES_PER_PARAMETER * trainable + 4 * everything + best


class Learnable(NamedTuple):
    """What is to be learned: all steps, and how many examples were fitted or left out on the way."""

    steps: list[list[Pack]]
    examples: int
    left_out: int
    pruned: int

    @property
    def counts(self) -> dict[str, int]:
        """The counts, for a summary."""
        return {"examples": self.examples, "left_out": self.left_out, "pruned": self.pruned}


def lay_out(
    rows: Sequence[tuple[str, str, Sequence[str]]], loaded: Loaded, config: TrainingConfig, *, label: str
) -> Learnable:
    """Turn (id, prompt, completions) rows into the steps of the training.

    Raises:
        DataError: no example is short enough.
    """
    shorter = prune_long(rows, loaded.tokenizer, max_tokens=config.max_tokens)
    pruned = sum(old[1] != new[1] for old, new in zip(rows, shorter, strict=True))
    if pruned:
        say(
            f"{label}: the schemas of {pruned} of {len(rows)} examples lose tables that no query at hand uses"
        )
    kept = within(tokenize(shorter, loaded.tokenizer), max_tokens=config.max_tokens, label=label)
    steps = plan_steps(
        kept,
        epochs=config.epochs,
        branches_per_pack=config.branches_per_pack,
        pack_tokens=config.pack_tokens,
        packs_per_step=config.packs_per_step,
        count_pairs=len(rows[0][2]) > 1,
        seed=config.seed,
    )
    return Learnable(
        steps=steps if config.share_schema else unpack(steps),
        examples=len(kept),
        left_out=len(rows) - len(kept),
        pruned=pruned,
    )


def prune_long(
    rows: Sequence[tuple[str, str, Sequence[str]]], tokenizer: Tokenizer, *, max_tokens: int
) -> list[tuple[str, str, Sequence[str]]]:
    """Shorten the schemas that are too long for some example; all examples of a schema get the same one."""
    by_schema: dict[str, list[tuple[str, Sequence[str]]]] = {}
    for _, prompt, completions in rows:
        schema, question = split_prompt(prompt)
        by_schema.setdefault(schema, []).append((question, completions))
    shorter: dict[str, str] = {}
    for schema, members in by_schema.items():
        own = [
            len(token_ids(question, tokenizer)) + len(token_ids(text, tokenizer)) + 1
            for question, completions in members
            for text in completions
        ]
        # An answer that takes half the room by itself is an odd one, and no reason to prune for all.
        room = max_tokens - max((length for length in own if length <= max_tokens // 2), default=0)

        def fits(text: str, room: int = room) -> bool:
            return len(token_ids(text, tokenizer)) <= room

        queries = [text for _, completions in members for text in completions]
        shorter[schema] = prune(schema, queries, fits=fits) or schema
    return [
        (row_id, shorter[split_prompt(prompt).schema] + split_prompt(prompt).question, completions)
        for row_id, prompt, completions in rows
    ]


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
        gradient_checkpointing=config.gradient_checkpointing,
        report_to=config.report_to,
    )


def is_saved(run_dir: RunDir) -> bool:
    """Tell whether the run's model is there, as when a kill came between its saving and the run's end.

    All processes take the first one's answer, which is given after it has made the folder ready.
    """
    return processes.agree((run_dir / "model" / store.MARKS_FILE).exists())


def save(
    loaded: Loaded,
    run_dir: RunDir,
    config: TrainingConfig,
    *,
    stage: str,
    gathered: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write the trained model as a Hugging Face folder, whole or not at all; LoRA's adapter beside it.

    Args:
        loaded: the trained model.
        run_dir: where to.
        config: what it was trained with.
        stage: by which stage.
        gathered: its weights, where it does not hold them itself.
    """
    if is_follower():
        return
    marks = {
        "prompt_format": config.prompt_format,
        "trained_by": stage,
        "base": config.model,
        "sense_version": __version__,
    }
    model: Any = loaded.model
    if config.lora_rank:
        _write(model, loaded, run_dir / "adapter", marks, gathered)
        if config.quantize == "no" and gathered is None:
            model = model.merge_and_unload()
        else:  # into the base's own weights, and not into their 4 bits or shards
            model = load(str(run_dir / "adapter"), dtype="float32").model
        gathered = None
    _write(model, loaded, run_dir / "model", marks, gathered)


def _write(
    model: Any,
    loaded: Loaded,
    folder: Path,
    marks: dict[str, str],
    gathered: dict[str, torch.Tensor] | None,
) -> None:
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    model.eval()
    with torch.no_grad():
        model.save_pretrained(part, state_dict=gathered)
    loaded.tokenizer.save_pretrained(part)
    (part / "README.md").write_text(model_card(marks), encoding="utf-8")
    write_json(part / store.MARKS_FILE, marks)
    part.rename(folder)
