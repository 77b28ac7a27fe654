"""Preference learning: DPO or IPO on pairs of a right and a wrong query; a model learns from errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from sense import jsonl
from sense.errors import DataError
from sense.progress import is_follower, say
from sense.prompts.text_to_sql import may_be, split_prompt
from sense.records import PreferencePair
from sense.rundir import RunDir
from sense.stage import InputPath, Outcome
from sense.training.settings import TrainingConfig

if TYPE_CHECKING:
    from sense.training.objectives import PairLoss
    from sense.training.pack import Pack

MUCH_FELL = 10.0  # nats: the right queries have become some 20,000 times less likely


class Config(TrainingConfig):
    """Settings of `sense dpo`."""

    SPEED_ONLY = TrainingConfig.SPEED_ONLY | {"reference_cache"}

    pairs: InputPath = Field(description="file of preference pairs (prompt, chosen, rejected)")
    epochs: Annotated[int, Field(ge=1)] = Field(1, description="how often every pair is seen")
    learning_rate: Annotated[float, Field(gt=0)] = Field(5e-6, description="highest learning rate")
    loss: Literal["dpo", "ipo"] = Field(
        "dpo",
        description="dpo: conservative DPO; ipo: draws the sides apart by 1 / (2 beta) nats and no further",
    )
    beta: Annotated[float, Field(gt=0)] = Field(
        0.1, description="DPO's beta, IPO's tau: how close to stay to the start model"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = Field(
        0.1,
        description="conservative DPO's eps: the share of pairs taken to be the wrong way round; "
        "0: plain DPO; always 0 with ipo",
    )
    length_normalized: bool = Field(
        False,
        description="divide log-probabilities by the completion's number of tokens; "
        "beta then weighs nats per token, so a larger one is wanted",
    )
    sft_weight: Annotated[float, Field(ge=0)] = Field(
        0.0, description="weight of the chosen side's SFT loss beside the preference loss"
    )
    reference_cache: bool = Field(
        True,
        description="keep the start model's log-probabilities in the user's cache folder, for later runs",
    )

    @model_validator(mode="before")
    @classmethod
    def _set_default_of_ipo(cls, settings: Mapping[str, object]) -> Mapping[str, object]:
        return {"label_smoothing": 0.0, **settings} if settings.get("loss") == "ipo" else settings

    @model_validator(mode="after")
    def _check_smoothing(self) -> Self:
        if self.loss == "ipo" and self.label_smoothing:
            raise ValueError(f"label_smoothing is of loss dpo: with ipo it is 0, not {self.label_smoothing}")
        return self


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Train on the pairs and save `model/`; the reference is the model it starts from."""
    config.check()
    pairs = jsonl.read(config.pairs, PreferencePair)
    _check(pairs, config)
    from sense.training import session, trainer  # torch is loaded once the input is known to be good
    from sense.training.objectives import preference_loss
    from sense.training.references import find_references
    from sense.training.validation import make_evaluation

    run_dir.check_disk()
    loaded = session.open_model(config)
    rows = [(pair.id, pair.prompt, [pair.chosen, pair.rejected]) for pair in pairs]
    learnable = session.lay_out(rows, loaded, config, label="dpo")
    _check_tokens(learnable.steps, config)
    evaluation = make_evaluation(config, loaded)
    resumed = run_dir.start(need_bytes=session.disk_needed(loaded, config))
    saved = session.is_saved(run_dir)
    if not saved:
        references = find_references(
            loaded, learnable.steps, config, file=run_dir / "references.jsonl", resumed=resumed
        )
        gathered = trainer.train(
            loaded.model,
            learnable.steps,
            pack_loss=preference_loss(
                references,
                _pair_loss(config),
                length_normalized=config.length_normalized,
                sft_weight=config.sft_weight,
            ),
            hyperparameters=session.hyperparameters_of(config),
            folder=run_dir.path,
            label="dpo",
            evaluation=evaluation,
        )
        session.save(loaded, run_dir, config, stage="dpo", gathered=gathered)
    trainer.remove_checkpoints(run_dir.path)
    counts = learnable.counts
    counts["pairs"] = counts.pop("examples")
    shown = {} if is_follower() else _shown(jsonl.read_objects(run_dir / "metrics.jsonl"))
    return Outcome(summary={**counts, **trainer.totals(run_dir.path), **shown})


def _check(pairs: Sequence[PreferencePair], config: Config) -> None:
    if not pairs:
        raise DataError(f"{config.pairs}: no pairs to learn from")
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:  # references are kept by id
            raise DataError(f"{config.pairs}: two pairs have the id {pair.id!r}")
        seen.add(pair.id)
        if not pair.prompt.strip():
            raise DataError(f"{config.pairs}: pair {pair.id!r}: the prompt is empty")
        if not split_prompt(pair.prompt).schema or not may_be(pair.prompt, config.prompt_format):
            raise DataError(
                f"{config.pairs}: pair {pair.id!r}: the prompt is of another format than "
                f"{config.prompt_format!r}; a schema is expected, then a line that begins with 'evidence: ' "
                f"or 'question: '"
            )
        if pair.chosen.strip() == pair.rejected.strip():
            raise DataError(f"{config.pairs}: pair {pair.id!r}: chosen and rejected are the same")
        if not pair.chosen.strip() or not pair.rejected.strip():
            raise DataError(f"{config.pairs}: pair {pair.id!r}: chosen or rejected is empty")


def _check_tokens(steps: Iterable[Iterable[Pack]], config: Config) -> None:
    for pack in chain.from_iterable(steps):
        for example in pack.examples:
            chosen, rejected = example.branches
            if chosen.completion == rejected.completion:
                raise DataError(
                    f"{config.pairs}: pair {example.id!r}: chosen and rejected are the same tokens"
                )


def _pair_loss(config: Config) -> PairLoss:
    from sense.training.losses import conservative_dpo, ipo

    if config.loss == "ipo":
        return partial(ipo, tau=config.beta)
    return partial(conservative_dpo, beta=config.beta, label_smoothing=config.label_smoothing)


def _shown(lines: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Take the last step's metrics and the last tenth's mean gains; say so if the chosen side fell."""
    names = ("reward_margin", "reward_accuracy", "logp_chosen", "logp_rejected")
    shown = {name: lines[-1][name] for name in names}
    last = lines[-max(1, len(lines) // 10) :]
    for name in ("logp_chosen_gain", "logp_rejected_gain"):
        shown[f"{name}_last_tenth"] = round(sum(line[name] for line in last) / len(last), 4)
    gain = shown["logp_chosen_gain_last_tenth"]
    if gain < -MUCH_FELL:
        say(
            f"dpo: the chosen queries lost {-gain:.1f} nats on average, a known failure of such training: "
            "a larger beta or sft_weight, or a lower learning_rate, may help"
        )
    return shown
