"""Models that run here, in transformers: load them, and answer many questions about one schema together.

A schema's keys and values are computed once; every question about it, and every sample of a question, is a
branch behind them. Finished branches leave the batch. A sample depends on its own seed only, not on what it
is batched with (up to rounding: the products of a batch are summed in another order than those of a single
row).
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from huggingface_hub.utils import logging as hub_logging
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from sense.errors import ModelError
from sense.llms import store
from sense.llms.prefix_cache import PrefixCache
from sense.llms.shared_prefix import use_shared_prefix
from sense.llms.token_ids import token_ids

Dtype = Literal["auto", "float32", "bfloat16"]
COMPACT_BELOW = 0.75  # share of branches still open at which the finished ones are taken out of the batch
TOP_K = 64  # tokens that a sample is drawn from at most; the nucleus of SQL is far smaller


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
    """One answer to make: the text after the schema, and the seed of its sample (None: greedy)."""

    text: str
    seed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model wrote. `logprob` is at temperature 1; `finished` is False if the token limit cut it."""

    text: str
    logprob: float
    tokens: int
    finished: bool


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

                model = PeftModel.from_pretrained(model, folder).merge_and_unload()
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{name}: cannot be loaded: {str(error).splitlines()[0]}") from None
    if found["missing_keys"]:  # transformers would fill them in at random
        raise ModelError(f"{name}: weights are missing: {sorted(found['missing_keys'])[0]!r}, ...")
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{name}: its tokenizer has no end-of-text token, so no answer would ever end")
    use_shared_prefix(model)
    if torch.cuda.is_available():
        model = model.to("cuda")
    model.eval()
    return Loaded(model=cast(PreTrainedModel, model), tokenizer=tokenizer, folder=folder)


def best_dtype() -> torch.dtype:
    """The faster dtype for answering: bfloat16 where the processor multiplies it natively, else float32."""
    if torch.cuda.is_available():
        return torch.bfloat16
    return torch.bfloat16 if _cpu_has_bf16() else torch.float32


@torch.inference_mode()
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
    """Answer all branches of one schema, `batch` at a time; lists of answers come in the branches' order.

    Args:
        loaded: the model.
        schema: the text that all branches continue.
        branches: what follows it.
        max_new_tokens: an answer is cut after so many tokens.
        temperature: of sampled branches.
        top_p: of sampled branches: the smallest set of tokens with this probability is drawn from.
        batch: branches decoded together.
    """
    model, tokenizer = loaded.model, loaded.tokenizer
    device = model.device
    config = cast(Any, model.config.get_text_config())
    cache = PrefixCache(config.num_hidden_layers)
    schema_ids = token_ids(schema, tokenizer)
    if schema_ids:
        ids = torch.tensor([schema_ids], device=device)
        positions = torch.arange(len(schema_ids), device=device)[None]
        _forward(model, ids, positions, cache, keep=1)
    else:
        raise ModelError("an empty schema cannot be shared")
    for start in range(0, len(branches), batch):
        yield _decode(
            loaded,
            cache,
            branches[start : start + batch],
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
        )


def _decode(
    loaded: Loaded,
    cache: PrefixCache,
    branches: Sequence[Continuation],
    *,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
) -> list[Answer]:
    """Decode a batch of branches; rows r of the batch belong to branches `rows[r]`."""
    model, tokenizer = loaded.model, loaded.tokenizer
    device, ends = model.device, loaded.end_ids
    logits_RV = _prefill(loaded, cache, [branch.text for branch in branches])
    draws = [random.Random(branch.seed) if branch.seed is not None else None for branch in branches]
    ids: list[list[int]] = [[] for _ in branches]
    logprobs = [0.0] * len(branches)
    finished = [False] * len(branches)
    rows = list(range(len(branches)))
    for step in range(max_new_tokens):
        tokens_R, logprobs_R = _choose(
            logits_RV, [draws[b] for b in rows], temperature=temperature, top_p=top_p
        )
        open_rows: list[int] = []
        for r, (token, logprob) in enumerate(zip(tokens_R.tolist(), logprobs_R.tolist(), strict=True)):
            b = rows[r]
            if finished[b]:
                continue
            ids[b].append(token)
            logprobs[b] += logprob
            finished[b] = token in ends
            if not finished[b]:
                open_rows.append(r)
        if not open_rows or step == max_new_tokens - 1:
            break
        if len(open_rows) < COMPACT_BELOW * len(rows):
            kept = torch.tensor(open_rows, device=device)
            cache.keep(kept)
            tokens_R = tokens_R[kept]
            rows = [rows[r] for r in open_rows]
        positions = (cache.prefix_length + cache.lengths_B)[:, None]
        logits_RV = _forward(model, tokens_R[:, None], positions, cache, keep=1)[:, -1]
        cache.advance(torch.ones(len(rows), dtype=torch.long, device=device))
    return [
        Answer(
            text=tokenizer.decode(own[:-1] if done else own, skip_special_tokens=True),
            logprob=logprob,
            tokens=len(own),
            finished=done,
        )
        for own, logprob, done in zip(ids, logprobs, finished, strict=True)
    ]


def _prefill(loaded: Loaded, cache: PrefixCache, texts: Sequence[str]) -> Tensor:
    """Run each different text once behind the prefix; returns every text's next-token logits, in order."""
    model, device = loaded.model, loaded.model.device
    different = list(dict.fromkeys(texts))
    encoded = [token_ids(text, loaded.tokenizer) for text in different]
    longest = max(map(len, encoded))
    lengths_B = torch.tensor([len(ids) for ids in encoded], device=device)
    ids_BL = torch.tensor([ids + [0] * (longest - len(ids)) for ids in encoded], device=device)
    cache.start(len(encoded), device)
    positions = (cache.prefix_length + torch.arange(longest, device=device)).expand(len(encoded), -1)
    logits_BV = _forward_last(model, ids_BL, positions, cache, lengths_B)
    cache.advance(lengths_B)
    place = {text: i for i, text in enumerate(different)}
    order = torch.tensor([place[text] for text in texts], device=device)
    cache.keep(order)
    return logits_BV[order]


def _forward(
    model: PreTrainedModel, ids: Tensor, positions: Tensor, cache: PrefixCache, *, keep: int
) -> Tensor:
    output = model(
        input_ids=ids,
        position_ids=positions,
        past_key_values=cache,
        prefix_cache=cache,
        use_cache=True,
        logits_to_keep=keep,
    )
    return cast(Tensor, output.logits)


def _forward_last(
    model: PreTrainedModel, ids_BL: Tensor, positions: Tensor, cache: PrefixCache, lengths_B: Tensor
) -> Tensor:
    """Logits (B, V) after the last real token of each padded row; none are made for the other places."""
    places = torch.unique(lengths_B - 1)
    output = model(
        input_ids=ids_BL,
        position_ids=positions,
        past_key_values=cache,
        prefix_cache=cache,
        use_cache=True,
        logits_to_keep=places,
    )
    column_B = torch.searchsorted(places, lengths_B - 1)
    return cast(Tensor, output.logits[torch.arange(len(lengths_B), device=ids_BL.device), column_B])


def _choose(
    logits_RV: Tensor, draws: Sequence[random.Random | None], *, temperature: float, top_p: float
) -> tuple[Tensor, Tensor]:
    """Choose the next token of each row, and its log-probability at temperature 1."""
    logits_RV = logits_RV.float()
    norm_R = logits_RV.logsumexp(dim=-1)
    if all(draw is None for draw in draws):
        best = logits_RV.max(dim=-1)
        return best.indices, best.values - norm_R
    top = logits_RV.topk(min(TOP_K, logits_RV.shape[-1]), dim=-1)
    weights_RK = (top.values / temperature).softmax(dim=-1)
    before_RK = weights_RK.cumsum(dim=-1) - weights_RK
    weights_RK = weights_RK.masked_fill(before_RK >= top_p, 0.0)
    reached_RK = weights_RK.cumsum(dim=-1)
    aims = [0.0 if draw is None else draw.random() for draw in draws]
    aim_R1 = torch.tensor(aims, device=logits_RV.device)[:, None] * reached_RK[:, -1:]
    pick_R = (reached_RK <= aim_R1).sum(dim=-1).clamp(max=weights_RK.shape[-1] - 1)
    greedy_R = torch.tensor([draw is None for draw in draws], device=logits_RV.device)
    pick_R = torch.where(greedy_R, torch.zeros_like(pick_R), pick_R)[:, None]
    return top.indices.gather(1, pick_R)[:, 0], top.values.gather(1, pick_R)[:, 0] - norm_R


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
