"""Attention in which many branches continue one prefix, and the prefix is there only once.

A text-to-SQL prompt is nine tenths schema. Here the schema of a database is a prefix, and each question about
it a branch: a branch sees the prefix and itself, never another branch, and its positions go on from the
prefix. The result is that of separate rows; only the work is less.

* `BranchedRow` computes prefix and branches in one flat row (training, log-probabilities).
* `PrefixCache` keeps the prefix's keys and values once and each branch's own beside it (decoding).

Both enter a transformers model as an attention function and one keyword argument of its forward pass, so any
decoder that uses the attention interface with causal attention, whole or in a sliding window, can run them.
What is not supported is refused: by name where a config tells it (`use_shared_prefix`), and by value where it
does not, such as attention sinks (`check_shared_prefix`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from sense.errors import ModelError
from sense.llms.branched_row import BranchedRow, attend_branched, attend_causal
from sense.llms.prefix_cache import PrefixCache, attend_cached

ATTENTION_NAME = "sense_shared_prefix"
# Nats that rounding may set two ways of computing apart, of tokens that are not all but impossible.
MOST_APART = {torch.float32: 1e-2, torch.bfloat16: 0.25}
LIKELY = -15.0
LAYERS = {"full_attention", "sliding_attention"}  # kinds of layers, as transformers' configs name them


def use_shared_prefix(model: PreTrainedModel) -> None:
    """Let a model's attention read `branched_row=` and `prefix_cache=`.

    Raises:
        ModelError: the model's attention is of a kind that this one does not compute.
    """
    config = model.config.get_text_config()
    kind = config.model_type
    others = sorted({layer for layer in getattr(config, "layer_types", None) or () if layer not in LAYERS})
    if others:
        raise ModelError(
            f"model type {kind!r} has {', '.join(others)} layers, which a shared prefix does not compute"
        )
    for name in (
        "attn_logit_softcapping",
        "attention_dropout",
        "use_bidirectional_attention",
    ):
        if getattr(config, name, None):
            raise ModelError(f"model type {kind!r} uses {name}, which a shared prefix does not compute")
    if not getattr(model, "_supports_attention_backend", False) or not hasattr(config, "num_key_value_heads"):
        raise ModelError(f"model type {kind!r} does not use the attention interface of transformers")
    model.set_attn_implementation(ATTENTION_NAME)


@torch.no_grad()
def check_shared_prefix(model: PreTrainedModel, *, native: str) -> None:
    """Compare a few log-probabilities with those of the model's own attention.

    Args:
        model: a model that `use_shared_prefix` has taken.
        native: the attention it had before.

    Raises:
        ModelError: they differ, or the model does not run on a shared prefix.
    """
    kind = model.config.get_text_config().model_type
    rows = [[*range(1, 7), *range(7, 10)], [*range(1, 7), *range(11, 15)]]
    row = BranchedRow(prefix=6, lengths=[3, 4], device=model.device)
    ids = torch.tensor([[*rows[0], *rows[1][6:]]], device=model.device)
    try:
        output = model(input_ids=ids, position_ids=row.position_ids, branched_row=row, use_cache=False)
        found = output.logits[0, 6:].float().log_softmax(dim=-1)
        model.set_attn_implementation(native)
        plain = [model(input_ids=ids.new_tensor([own]), use_cache=False).logits[0, 6:] for own in rows]
        expected = torch.cat(plain).float().log_softmax(dim=-1)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"model type {kind!r} does not run on a shared prefix: {str(error).splitlines()[0]}"
        ) from None
    finally:
        model.set_attn_implementation(ATTENTION_NAME)
    most = MOST_APART.get(model.dtype, MOST_APART[torch.bfloat16])
    apart = (found - expected).abs()[expected > LIKELY].max().item() if expected.isfinite().all() else 0.0
    if not apart <= most:
        raise ModelError(
            f"model type {kind!r}: its attention is not what a shared prefix computes: log-probabilities "
            f"are {apart:.2g} apart"
        )


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001
    *,
    scaling: float,
    branched_row: BranchedRow | None = None,
    prefix_cache: PrefixCache | None = None,
    sliding_window: int | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Compute attention for queries (1 or B, H, T, D); returns (1 or B, T, H, D).

    Without `branched_row` and `prefix_cache` rows are plain and causal, and must be without padding on the
    left.
    """
    assert dropout == 0.0, "attention dropout is not supported"
    window = sliding_window
    if branched_row is not None:
        out = attend_branched(query, key, value, scaling=scaling, row=branched_row, window=window)
    elif prefix_cache is not None:
        layer: Any = module.layer_idx
        out = attend_cached(
            query, key, value, scaling=scaling, cache=prefix_cache, layer=layer, window=window
        )
    else:
        out = attend_causal(query, key, value, scaling=scaling, window=window)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION_NAME, _attention)
