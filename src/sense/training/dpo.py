"""Preference learning: DPO or IPO on pairs of a right and a wrong query; a model learns from errors."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from sense import jsonl
from sense.caches import file_digest, home, open_file
from sense.errors import DataError
from sense.llms import store
from sense.progress import meter, say
from sense.prompts.text_to_sql import split_prompt
from sense.records import PreferencePair
from sense.rundir import RunDir
from sense.stage import InputPath, Outcome
from sense.training.settings import TrainingConfig

if TYPE_CHECKING:
    from sense.llms.local import Loaded
    from sense.training.objectives import PairLoss
    from sense.training.pack import Pack
    from sense.training.tokens import TokenizedExample

MUCH_FELL = 10.0  # nats: the right queries have become some 20,000 times less likely
MAX_CACHE_BYTES = 2**28  # some four million pairs; then the file is begun anew


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
    from sense.training.pack import plan_steps
    from sense.training.tokens import tokenize

    run_dir.check_disk()
    loaded = session.open_model(config)
    rows = [(pair.id, pair.prompt, [pair.chosen, pair.rejected]) for pair in pairs]
    examples = tokenize(rows, loaded.tokenizer)
    _check_tokens(examples, config)
    tokenized = session.within(examples, max_tokens=config.max_tokens, label="dpo")
    resumed = run_dir.start(need_bytes=session.disk_needed(loaded))
    steps = plan_steps(
        tokenized,
        epochs=config.epochs,
        branches_per_pack=config.branches_per_pack,
        packs_per_step=config.packs_per_step,
        count_pairs=True,
        seed=config.seed,
    )
    if not session.is_saved(run_dir):
        references = _references(loaded, steps, config, run_dir, resumed=resumed)
        trainer.train(
            loaded.model,
            steps,
            pack_loss=preference_loss(
                references,
                _pair_loss(config),
                length_normalized=config.length_normalized,
                sft_weight=config.sft_weight,
            ),
            hyperparameters=session.hyperparameters_of(config),
            folder=run_dir.path,
            label="dpo",
        )
        session.save(loaded, run_dir, config, stage="dpo")
    trainer.remove_checkpoints(run_dir.path)
    return Outcome(
        summary={
            "pairs": len(tokenized),
            "left_out": len(pairs) - len(tokenized),
            **trainer.totals(run_dir.path),
            **_shown(jsonl.read_objects(run_dir / "metrics.jsonl")),
        }
    )


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
        if not split_prompt(pair.prompt).schema:
            raise DataError(
                f"{config.pairs}: pair {pair.id!r}: the prompt is of another format: "
                "a schema is expected, then a line that begins with 'evidence: ' or 'question: '"
            )
        if pair.chosen.strip() == pair.rejected.strip():
            raise DataError(f"{config.pairs}: pair {pair.id!r}: chosen and rejected are the same")
        if not pair.chosen.strip() or not pair.rejected.strip():
            raise DataError(f"{config.pairs}: pair {pair.id!r}: chosen or rejected is empty")


def _check_tokens(examples: Iterable[TokenizedExample], config: Config) -> None:
    for example in examples:
        chosen, rejected = example.branches
        if chosen.completion == rejected.completion:
            raise DataError(f"{config.pairs}: pair {example.id!r}: chosen and rejected are the same tokens")


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


def _references(
    loaded: Loaded, steps: Iterable[Iterable[Pack]], config: Config, run_dir: RunDir, *, resumed: bool
) -> dict[str, tuple[float, float]]:
    """Find or compute each pair's log-probabilities under the start model; all come to stand in a file."""
    from sense.training.objectives import reference_logprobs

    packs: list[Pack] = []  # those of the first epoch have all pairs
    examples: dict[str, TokenizedExample] = {}
    for pack in chain.from_iterable(steps):
        own = {example.id: example for example in pack.examples}
        if not own.keys() <= examples.keys():
            packs.append(pack)
            examples |= own
    path = run_dir / "references.jsonl"
    written: dict[str, tuple[float, float]] = {}
    if resumed and path.exists():
        written = {row["id"]: (row["chosen"], row["rejected"]) for row in jsonl.resume_objects(path)}
    with (
        contextlib.closing(_ReferenceCache(loaded, config)) as cache,
        jsonl.Appender(path) as file,
        meter("dpo references", total=len(packs)) as shown,
    ):
        known = cache.get(examples.values()) | written
        if known:
            say(f"dpo: {len(known)} of {len(examples)} reference log-probabilities reused")
        loaded.model.eval()  # no dropout in what stays fixed
        for pack in packs:
            new = [example for example in pack.examples if example.id not in known]
            if new:
                known = reference_logprobs(loaded.model, pack, bf16=config.bf16) | known
                cache.put({example: known[example.id] for example in new})
            for example in pack.examples:
                if example.id not in written:
                    chosen, rejected = known[example.id]
                    file.add_soon({"id": example.id, "chosen": chosen, "rejected": rejected})
            shown.advance()
        loaded.model.train()
    return known


class _ReferenceCache:
    """The start model's log-probabilities in the user's cache folder, for runs with another beta or loss.

    A pair's are found by all that they depend on but the pack that it is computed in, whose other branches
    change no more than the rounding. Where the file cannot be read or written nothing is known or kept.
    """

    def __init__(self, loaded: Loaded, config: Config) -> None:
        self._connection: sqlite3.Connection | None = None
        start = _content(loaded.folder) if config.reference_cache else None
        if start is None:
            return
        dtypes = sorted({str(parameter.dtype) for parameter in loaded.model.parameters()})
        device = loaded.model.device.type
        self._scope = [_code_digest(), start, dtypes, config.bf16, device, config.prompt_format]
        path = home() / "references.sqlite"
        with contextlib.suppress(sqlite3.Error, OSError):
            if path.exists() and path.stat().st_size > MAX_CACHE_BYTES:
                path.unlink()
            columns = "(key BLOB PRIMARY KEY, chosen REAL, rejected REAL)"
            self._connection = open_file(path, table=f"reference {columns} WITHOUT ROWID")

    def get(self, examples: Iterable[TokenizedExample]) -> dict[str, tuple[float, float]]:
        """Find what is kept, by the pairs' ids."""
        found: dict[str, tuple[float, float]] = {}
        if self._connection is None:
            return found
        query = "SELECT chosen, rejected FROM reference WHERE key = ?"
        with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
            for example in examples:
                row = self._connection.execute(query, (self._key(example),)).fetchone()
                if row is not None:
                    found[example.id] = float(row[0]), float(row[1])
        return found

    def put(self, references: Mapping[TokenizedExample, tuple[float, float]]) -> None:
        """Keep what is a number."""
        if self._connection is None:
            return
        finite = {example: pair for example, pair in references.items() if all(map(math.isfinite, pair))}
        rows = [(self._key(example), *pair) for example, pair in finite.items()]
        with contextlib.suppress(sqlite3.Error):
            self._connection.executemany("INSERT OR IGNORE INTO reference VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()

    def _key(self, example: TokenizedExample) -> bytes:
        chosen, rejected = example.branches
        parts = [*self._scope, example.schema, chosen.prompt, chosen.completion, rejected.completion]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


def _content(folder: str) -> str | None:
    """Hash a loaded model's weights and settings, an adapter's base too; None where they are not found."""
    from huggingface_hub import try_to_load_from_cache

    path = Path(folder)
    if not path.is_dir():  # a Hugging Face id
        found = try_to_load_from_cache(folder, "config.json")
        if not isinstance(found, str):
            return None
        path = Path(found).parent
    adapter = path / "adapter_config.json"
    base: str | None = ""
    if adapter.exists():
        name = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
        base = _content(store.resolve(name))
    weights = sorted([*path.glob("*.safetensors"), *path.glob("*.bin")])
    if base is None or not weights:
        return None
    return " ".join([base, *map(file_digest, [*sorted(path.glob("*config.json")), *weights])])


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """Hash what computes log-probabilities: torch, transformers, and our own code."""
    import torch
    import transformers

    here = Path(__file__).parent
    sources = [*sorted(here.glob("*.py")), *sorted((here.parent / "llms").glob("*.py"))]
    return " ".join([torch.__version__, transformers.__version__, *map(file_digest, sources)])
