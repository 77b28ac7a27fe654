"""Preference learning: conservative DPO on pairs of a right and a wrong query; a model learns from errors."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from sense import jsonl
from sense.errors import DataError
from sense.progress import meter, say
from sense.records import PreferencePair
from sense.rundir import RunDir
from sense.stage import InputPath, Outcome
from sense.training.settings import TrainingConfig


class Config(TrainingConfig):
    """Settings of `sense dpo`."""

    pairs: InputPath = Field(description="file of preference pairs (prompt, chosen, rejected)")
    epochs: Annotated[int, Field(ge=1)] = Field(1, description="how often every pair is seen")
    learning_rate: Annotated[float, Field(gt=0)] = Field(5e-6, description="highest learning rate")
    beta: Annotated[float, Field(gt=0)] = Field(
        0.1, description="DPO's beta: how close to stay to the start model"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.1,
        description="conservative DPO's eps: the share of pairs taken to be the wrong way round; "
        "0: plain DPO",
    )
    sft_weight: Annotated[float, Field(ge=0)] = Field(
        0.0, description="weight of the chosen side's SFT loss beside DPO"
    )


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Train on the pairs and save `model/`; the reference is the model it starts from."""
    config.check()
    pairs = jsonl.read(config.pairs, PreferencePair)
    _check(pairs, config)
    from sense.training import session, trainer  # torch is loaded once the input is known to be good
    from sense.training.objectives import dpo_loss
    from sense.training.pack import plan_steps
    from sense.training.tokens import tokenize

    run_dir.check_disk()
    loaded = session.open_model(config)
    rows = [(pair.id, pair.prompt, [pair.chosen, pair.rejected]) for pair in pairs]
    tokenized = session.within(tokenize(rows, loaded.tokenizer), max_tokens=config.max_tokens, label="dpo")
    resumed = run_dir.start(need_bytes=session.disk_needed(loaded))
    steps = plan_steps(
        tokenized,
        epochs=config.epochs,
        branches_per_pack=config.branches_per_pack,
        packs_per_step=config.packs_per_step,
        count_pairs=True,
        seed=config.seed,
    )
    references = _references(loaded.model, steps, run_dir, bf16=config.bf16, resumed=resumed)
    if not session.is_saved(run_dir):
        trainer.train(
            loaded.model,
            steps,
            pack_loss=dpo_loss(
                references,
                beta=config.beta,
                label_smoothing=config.label_smoothing,
                sft_weight=config.sft_weight,
            ),
            hyperparameters=session.hyperparameters_of(config),
            folder=run_dir.path,
            label="dpo",
        )
        session.save(loaded, run_dir, config, stage="dpo")
    trainer.remove_checkpoints(run_dir.path)
    last = jsonl.read_objects(run_dir / "metrics.jsonl")[-1]
    shown = {
        name: last[name] for name in ("reward_margin", "reward_accuracy", "logp_chosen", "logp_rejected")
    }
    return Outcome(
        summary={
            "pairs": len(tokenized),
            "left_out": len(pairs) - len(tokenized),
            **trainer.totals(run_dir.path),
            **shown,
        }
    )


def _check(pairs: list[PreferencePair], config: Config) -> None:
    if not pairs:
        raise DataError(f"{config.pairs}: no pairs to learn from")
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:  # references are kept by id
            raise DataError(f"{config.pairs}: two pairs have the id {pair.id!r}")
        seen.add(pair.id)
        if not pair.prompt.strip():
            raise DataError(f"{config.pairs}: pair {pair.id!r}: the prompt is empty")
        if pair.chosen.strip() == pair.rejected.strip():
            raise DataError(f"{config.pairs}: pair {pair.id!r}: chosen and rejected are the same")
        if not pair.chosen.strip() or not pair.rejected.strip():
            raise DataError(f"{config.pairs}: pair {pair.id!r}: chosen or rejected is empty")


def _references(
    model: Any, steps: list[Any], run_dir: RunDir, *, bf16: bool, resumed: bool
) -> dict[str, tuple[float, float]]:
    """Compute each pair's log-probabilities under the start model, once, and keep them in a file."""
    import torch

    from sense.training.objectives import branch_logprobs

    path = run_dir / "references.jsonl"
    known: dict[str, tuple[float, float]] = {}
    if resumed and path.exists():
        known = {row["id"]: (row["chosen"], row["rejected"]) for row in jsonl.resume_objects(path)}
        say(f"dpo: {len(known)} reference log-probabilities reused")
    packs = [pack for step in steps for pack in step if any(e.id not in known for e in pack.examples)]
    first_seen: list[Any] = []
    planned = set(known)
    for pack in packs:
        if any(example.id not in planned for example in pack.examples):
            first_seen.append(pack)
            planned |= {example.id for example in pack.examples}
    device = next(model.parameters()).device
    model.eval()  # no dropout in what stays fixed
    with (
        jsonl.Appender(path) as file,
        meter("dpo references", total=len(first_seen)) as shown,
        torch.no_grad(),
    ):
        for pack in first_seen:
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
                logprobs = branch_logprobs(model, pack).tolist()
            new = [
                {"id": example.id, "chosen": logprobs[2 * i], "rejected": logprobs[2 * i + 1]}
                for i, example in enumerate(pack.examples)
                if example.id not in known
            ]
            file.add(*new)
            known |= {row["id"]: (row["chosen"], row["rejected"]) for row in new}
            shown.advance()
    model.train()
    return known
