"""Models that run here, in transformers: load them, and answer many questions together.

A sample depends on its own seed only, not on what it is batched with (up to rounding: the products of a batch
are summed in another order than those of a single row).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from sense.errors import ModelError
from sense.llms import store
from sense.llms.decoder import Answer, Decoder, Job
from sense.llms.shared_prefix import check_shared_prefix, use_shared_prefix

__all__ = ["Answer", "Continuation", "Dtype", "Job", "Loaded", "answer", "best_dtype", "load", "sample"]

Dtype = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model ready for shared prefixes, its tokenizer, and where it came from."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    folder: str

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        ends = self.model.generation_config.eos_token_id if self.model.generation_config else None
        listed = ends if isinstance(ends, list) else [ends]
        return frozenset(i for i in [*listed, self.tokenizer.eos_token_id] if isinstance(i, int))


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """One answer to make about a schema: the text after it, and the seed of its sample (None: greedy)."""

    text: str
    seed: str | None = None


def load(name: str, *, dtype: Dtype = "float32") -> Loaded:
    """Load a model by name; an adapter is merged into its base.

    Raises:
        ModelError: there is no such model, or it cannot be used here.
    """
    folder = store.resolve(name)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    hub_logging.set_verbosity_error()  # it would tell of each of its five tries
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            base = _base_of_adapter(folder)
            source = store.resolve(base) if base else folder
            tokenizer = AutoTokenizer.from_pretrained(folder if _has_tokenizer(folder) else source)
            model, found = AutoModelForCausalLM.from_pretrained(
                source, dtype=_torch_dtype(dtype), output_loading_info=True
            )
            if base:
                from peft import PeftModel  # only adapters need it

                try:
                    model = PeftModel.from_pretrained(model, folder).merge_and_unload()
                except RuntimeError:
                    raise ModelError(
                        f"{name}: it does not fit its base {base!r}: an adapter of another base?"
                    ) from None
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{name}: cannot be loaded: {str(error).splitlines()[0]}") from None
    if found["missing_keys"]:  # transformers would fill them in at random
        raise ModelError(f"{name}: weights are missing: {sorted(found['missing_keys'])[0]!r}, ...")
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{name}: its tokenizer has no end-of-text token, so no answer would ever end")
    native = model.config._attn_implementation
    use_shared_prefix(model)
    if torch.cuda.is_available():
        model = model.to("cuda")
    model.eval()
    check_shared_prefix(model, native=native)
    return Loaded(model=cast(PreTrainedModel, model), tokenizer=tokenizer, folder=folder)


def best_dtype() -> torch.dtype:
    """The faster dtype for answering: bfloat16 where the processor multiplies it natively, else float32."""
    if torch.cuda.is_available():
        return torch.bfloat16
    return torch.bfloat16 if _cpu_has_bf16() else torch.float32


@torch.inference_mode()
def sample(
    loaded: Loaded,
    jobs: Iterable[Job],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    batch: int = 64,
    stops: Sequence[str] = (),
) -> Iterator[tuple[int, Answer]]:
    """Answer jobs, `batch` at a time; yields each one's place in their order and its answer, as they end.

    Args:
        loaded: the model.
        jobs: read as they are needed; those about one schema belong side by side.
        max_new_tokens: an answer is cut after so many tokens.
        temperature: of jobs with a seed.
        top_p: of jobs with a seed: the smallest set of tokens with this probability is drawn from.
        batch: jobs decoded together.
        stops: texts that end an answer as the end token does, and are not part of it; one before the answer's
            first letter does not count, and none ends in a space.
    """
    decoder = Decoder(
        loaded.model,
        loaded.tokenizer,
        ends=loaded.end_ids,
        stops=stops,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        batch=batch,
    )
    yield from decoder.run(jobs)


def answer(
    loaded: Loaded,
    schema: str,
    branches: Sequence[Continuation],
    *,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_p: float = 1.0,
    batch: int = 64,
) -> Iterator[list[Answer]]:
    """Answer all branches of one schema, as `sample` does; lists of `batch` come in the branches' order."""
    jobs = (Job(schema=schema, text=branch.text, seed=branch.seed) for branch in branches)
    made = sample(
        loaded, jobs, max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, batch=batch
    )
    found: dict[int, Answer] = {}
    for start in range(0, len(branches), batch):
        places = range(start, min(start + batch, len(branches)))
        while not found.keys() >= set(places):
            place, one = next(made)
            found[place] = one
        yield [found.pop(place) for place in places]


def _torch_dtype(dtype: Dtype) -> torch.dtype:
    return best_dtype() if dtype == "auto" else cast(torch.dtype, getattr(torch, dtype))


def _cpu_has_bf16() -> bool:
    flags = Path("/proc/cpuinfo")
    if not flags.exists():
        return False
    text = flags.read_text(encoding="utf-8")
    return "avx512_bf16" in text or "amx_bf16" in text


def _base_of_adapter(folder: str) -> str | None:
    """Name the base model of an adapter folder, None for a whole model."""
    file = Path(folder) / "adapter_config.json"
    if not file.exists():
        return None
    base = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not base:
        raise ModelError(f"{file}: 'base_model_name_or_path' is missing, so its base is not known")
    return str(base)


def _has_tokenizer(folder: str) -> bool:
    return any((Path(folder) / file).exists() for file in ("tokenizer.json", "tokenizer_config.json"))
