"""Attention in which many branches continue one prefix, and the prefix is there only once.

A text-to-SQL prompt is nine tenths schema. Here the schema of a database is a prefix, and each question about
it a branch: a branch sees the prefix and itself, never another branch, and its positions go on from the
prefix. The result is that of separate rows; only the work is less.

* `BranchedRow` computes prefix and branches in one flat row (training, log-probabilities).
* `PrefixCache` keeps the prefix's keys and values once and each branch's own beside it (decoding).

Both enter a transformers model as an attention function and one keyword argument of its forward pass, so any
decoder that uses the attention interface with plain causal attention can run them. What is not supported is
refused by `use_shared_prefix`: sliding windows, logit soft-capping, attention sinks.

Shapes: B branches, H query heads, K key/value heads, G = H / K, P prefix tokens, L tokens of a branch,
D head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from sense.errors import ModelError

ATTENTION_NAME = "sense_shared_prefix"


BLOCK_BRANCHES = 4  # branches of like length that attention pads to one; the other layers see no padding


class BranchedRow:
    """The layout of a flat row: `prefix` tokens, then branches of these lengths, one by one, unpadded.

    Branches of like length should stand side by side: attention takes them in blocks and pads within a block.
    """

    def __init__(self, *, prefix: int, lengths: Sequence[int], device: torch.device | str = "cpu") -> None:
        """Lay out a row."""
        self.prefix = prefix
        positions = [torch.arange(prefix), *(torch.arange(prefix, prefix + length) for length in lengths)]
        self.position_ids = torch.cat(positions).unsqueeze(0).to(device)
        self.blocks: list[Block] = []
        start = prefix
        for first in range(0, len(lengths), BLOCK_BRANCHES):
            own = torch.tensor(lengths[first : first + BLOCK_BRANCHES])
            longest = int(own.max())
            steps = torch.arange(longest)
            starts = start + own.cumsum(0) - own
            # Padding repeats a branch's last token: behind all its real ones, so none of them sees it.
            places_BL = starts[:, None] + torch.minimum(steps, own[:, None] - 1)
            real = (steps < own[:, None]).flatten().nonzero()[:, 0]
            sees_LT = torch.ones(longest, prefix + longest, dtype=torch.bool).tril(diagonal=prefix)
            self.blocks.append(Block(places_BL.to(device), real.to(device), sees_LT.to(device)))
            start += int(own.sum())

    def to(self, device: torch.device) -> BranchedRow:
        """Move the row's tensors to a device, in place."""
        self.position_ids = self.position_ids.to(device)
        self.blocks = [Block(*(part.to(device) for part in block)) for block in self.blocks]
        return self


class Block(NamedTuple):
    """Branches that attention computes together.

    `places_BL` says where in the row each (padded) token of a branch stands, `real` which of the B x L are no
    padding, `sees_LT` which of the prefix's and its own branch's tokens a token sees.
    """

    places_BL: Tensor
    real: Tensor
    sees_LT: Tensor


class PrefixCache:
    """Keys and values of one prefix, once, and of the tokens that each of its branches has so far."""

    def __init__(self, layers: int) -> None:
        """Start empty; the first forward pass fills the prefix."""
        self.prefix_length = 0
        self._prefix: list[tuple[Tensor, Tensor]] = []
        self._keys_BKLD: list[Tensor] = [torch.empty(0)] * layers
        self._values_BKLD: list[Tensor] = [torch.empty(0)] * layers
        self.lengths_B = torch.empty(0, dtype=torch.long)

    def start(self, branches: int, device: torch.device) -> None:
        """Begin `branches` empty branches behind the prefix."""
        self.lengths_B = torch.zeros(branches, dtype=torch.long, device=device)
        self._keys_BKLD = [torch.empty(0)] * len(self._keys_BKLD)
        self._values_BKLD = [torch.empty(0)] * len(self._values_BKLD)

    def keep(self, rows: Tensor) -> None:
        """Keep the branches at these indices, in this order; an index given twice makes a copy."""
        self.lengths_B = self.lengths_B[rows]
        self._keys_BKLD = [keys[rows] for keys in self._keys_BKLD]
        self._values_BKLD = [values[rows] for values in self._values_BKLD]

    def advance(self, tokens_B: Tensor) -> None:
        """Count the tokens that the last forward pass added to each branch; padding is overwritten later."""
        self.lengths_B = self.lengths_B + tokens_B

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Take a layer's new keys and values (called by the model) and give back the branches' own so far."""
        if len(self._prefix) <= layer:
            assert keys.shape[0] == 1, "the prefix is one row"
            self._prefix.append((keys, values))
            self.prefix_length = keys.shape[2]
            return keys, values
        own_keys, own_values = self._room(layer, keys)
        rows = torch.arange(keys.shape[0], device=keys.device)[:, None]
        places_BL = self.lengths_B[:, None] + torch.arange(keys.shape[2], device=keys.device)
        own_keys[rows, :, places_BL] = keys.transpose(1, 2)
        own_values[rows, :, places_BL] = values.transpose(1, 2)
        return own_keys, own_values

    def prefix_of(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values (K, P, D) of the prefix in a layer."""
        keys, values = self._prefix[layer]
        return keys[0], values[0]

    def in_prefix(self) -> bool:
        """Tell whether the forward pass under way is the prefix's."""
        return self.lengths_B.numel() == 0

    def get_seq_length(self, layer: int = 0) -> int:  # noqa: ARG002
        """Part of the interface that models expect of a cache."""
        return self.prefix_length

    def _room(self, layer: int, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Give the layer's buffers room for the new tokens; grown by halves, so seldom copied."""
        own_keys, own_values = self._keys_BKLD[layer], self._values_BKLD[layer]
        have = own_keys.shape[2] if own_keys.dim() == 4 else 0
        need = int(self.lengths_B.max()) + keys.shape[2]
        if need > have:
            b, k, _, d = keys.shape
            grown = keys.new_zeros(2, b, k, max(need, have * 3 // 2, 32), d)
            if have:
                grown[0, :, :, :have], grown[1, :, :, :have] = own_keys, own_values
            own_keys, own_values = grown[0], grown[1]
            self._keys_BKLD[layer], self._values_BKLD[layer] = own_keys, own_values
        return own_keys, own_values


def use_shared_prefix(model: PreTrainedModel) -> None:
    """Let a model's attention read `branched_row=` and `prefix_cache=`.

    Raises:
        ModelError: the model's attention is of a kind that this one does not compute.
    """
    config = model.config.get_text_config()
    kind = config.model_type
    layers = getattr(config, "layer_types", None)
    slides = getattr(config, "sliding_window", None) is not None  # of all layers, where no list says which
    others = sorted({layer for layer in layers or () if layer != "full_attention"})
    if others or (not layers and slides):
        named = ", ".join(others) or "sliding-window"
        raise ModelError(f"model type {kind!r} has {named} layers, which a shared prefix does not compute")
    for name in ("attn_logit_softcapping", "attention_sinks", "attention_dropout"):
        if getattr(config, name, None):
            raise ModelError(f"model type {kind!r} uses {name}, which a shared prefix does not compute")
    if not getattr(model, "_supports_attention_backend", False) or not hasattr(config, "num_key_value_heads"):
        raise ModelError(f"model type {kind!r} does not use the attention interface of transformers")
    model.set_attn_implementation(ATTENTION_NAME)


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
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Compute attention for queries (1 or B, H, T, D); returns (1 or B, T, H, D).

    Without `branched_row` and `prefix_cache` rows are plain and causal, and must be without padding on the
    left.
    """
    assert dropout == 0.0, "attention dropout is not supported"
    if branched_row is not None:
        out = _branched(query, key, value, scaling=scaling, row=branched_row)
    elif prefix_cache is not None and not prefix_cache.in_prefix():
        layer: Any = module.layer_idx
        out = _cached(query, key, value, scaling=scaling, cache=prefix_cache, layer=layer)
    else:
        out = _causal(query, key, value, scaling=scaling)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION_NAME, _attention)


def _causal(query: Tensor, key: Tensor, value: Tensor, *, scaling: float) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    return scaled_dot_product_attention(
        query, _repeat(key, groups), _repeat(value, groups), is_causal=query.shape[2] > 1, scale=scaling
    )


def _branched(query: Tensor, key: Tensor, value: Tensor, *, scaling: float, row: BranchedRow) -> Tensor:
    """The prefix attends to itself; each branch to the prefix and itself."""
    p = row.prefix
    heads, kv_heads, size = query.shape[1], key.shape[1], query.shape[3]
    groups = heads // kv_heads
    outs: list[Tensor] = []
    if p:
        outs.append(_causal(query[:, :, :p], key[:, :, :p], value[:, :, :p], scaling=scaling)[0])
    for block in row.blocks:
        b, length = block.places_BL.shape
        places = block.places_BL.flatten()

        def behind_prefix(
            states: Tensor, b: int = b, length: int = length, places: Tensor = places
        ) -> Tensor:
            own = states[0].index_select(1, places).reshape(kv_heads, b, length, size).transpose(0, 1)
            return torch.cat([states[:, :, :p].expand(b, -1, -1, -1), own], dim=2)

        own_queries = query[0].index_select(1, places).reshape(heads, b, length, size).transpose(0, 1)
        out = scaled_dot_product_attention(
            # Heads of one group share keys: laid one after the other as queries, they need no copy of them.
            own_queries.reshape(b, kv_heads, groups * length, size),
            behind_prefix(key),
            behind_prefix(value),
            attn_mask=block.sees_LT.repeat(groups, 1),
            scale=scaling,
        )
        flat = out.reshape(b, heads, length, size).transpose(0, 1).reshape(heads, b * length, size)
        outs.append(flat.index_select(1, block.real))
    return torch.cat(outs, dim=1).unsqueeze(0)


def _cached(
    query: Tensor,
    own_keys_BKTD: Tensor,
    own_values_BKTD: Tensor,
    *,
    scaling: float,
    cache: PrefixCache,
    layer: int,
) -> Tensor:
    """All branches meet the one copy of the prefix in a single product, then each its own tokens."""
    prefix_keys_KPD, prefix_values_KPD = cache.prefix_of(layer)
    b, heads, length, size = query.shape
    kv_heads, p = prefix_keys_KPD.shape[0], prefix_keys_KPD.shape[1]
    groups = heads // kv_heads
    queries = (query * scaling).reshape(b, kv_heads, groups * length, size)
    flat_KMD = queries.transpose(0, 1).reshape(kv_heads, b * groups * length, size)
    to_prefix = (
        (flat_KMD @ prefix_keys_KPD.transpose(1, 2)).reshape(kv_heads, b, groups * length, p).transpose(0, 1)
    )
    to_own = queries @ own_keys_BKTD.transpose(2, 3)
    places_T = torch.arange(own_keys_BKTD.shape[2], device=query.device)
    last_BL = cache.lengths_B[:, None] + torch.arange(length, device=query.device)
    hidden_BLT = places_T > last_BL[:, :, None]
    to_own = to_own.masked_fill(hidden_BLT.repeat(1, groups, 1)[:, None], torch.finfo(to_own.dtype).min)
    weights = torch.cat([to_prefix, to_own], dim=-1).float().softmax(dim=-1).to(query.dtype)
    flat_KMP = weights[..., :p].transpose(0, 1).reshape(kv_heads, b * groups * length, p)
    from_prefix = (flat_KMP @ prefix_values_KPD).reshape(kv_heads, b, groups * length, size).transpose(0, 1)
    out = from_prefix + weights[..., p:] @ own_values_BKTD
    return out.reshape(b, heads, length, size)


def _repeat(states: Tensor, groups: int) -> Tensor:
    return states if groups == 1 else states.repeat_interleave(groups, dim=1)
