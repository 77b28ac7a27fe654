"""Keys and values of one prefix, kept once, and of many branches that are decoded behind it.

Shapes: B branches, H query heads, K key/value heads, G = H / K, P prefix tokens, L new tokens of a branch,
T tokens of its own, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


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


def attend_cached(
    query: Tensor,
    own_keys_BKTD: Tensor,
    own_values_BKTD: Tensor,
    *,
    scaling: float,
    cache: PrefixCache,
    layer: int,
    window: int | None,
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
    if window is not None:
        hidden_BLT |= places_T <= last_BL[:, :, None] - window
        prefix_P = torch.arange(p, device=query.device)
        out_of_sight_BLP = prefix_P <= p + last_BL[:, :, None] - window
        to_prefix = to_prefix.masked_fill(
            out_of_sight_BLP.repeat(1, groups, 1)[:, None], torch.finfo(to_prefix.dtype).min
        )
    to_own = to_own.masked_fill(hidden_BLT.repeat(1, groups, 1)[:, None], torch.finfo(to_own.dtype).min)
    weights = torch.cat([to_prefix, to_own], dim=-1).float().softmax(dim=-1).to(query.dtype)
    flat_KMP = weights[..., :p].transpose(0, 1).reshape(kv_heads, b * groups * length, p)
    from_prefix = (flat_KMP @ prefix_values_KPD).reshape(kv_heads, b, groups * length, size).transpose(0, 1)
    out = from_prefix + weights[..., p:] @ own_values_BKTD
    return out.reshape(b, heads, length, size)
