"""Attention over one flat row: a prefix, and branches that continue it without seeing each other.

Used where whole texts are known: training, log-probabilities. Two ways give the same numbers. On a GPU,
FlexAttention skips the blocks of the row that no token sees. Elsewhere branches of like length are padded to
blocks, in attention only, and each block meets the prefix in one product.

Shapes: B branches, H query heads, K key/value heads, G = H / K, P prefix tokens, L tokens of a branch,
D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

BLOCK_BRANCHES = 4  # branches of like length that attention pads to one; the other layers see no padding


class Block(NamedTuple):
    """Branches that attention computes together.

    `places_BL` says where in the row each (padded) token of a branch stands, `real` which of the B x L are no
    padding.
    """

    places_BL: Tensor
    real: Tensor


class BranchedRow:
    """The layout of a flat row: `prefix` tokens, then branches of these lengths, one by one, unpadded.

    Branches of like length should stand side by side: attention takes them in blocks and pads within a block.
    """

    def __init__(
        self,
        *,
        prefix: int,
        lengths: Sequence[int],
        device: torch.device | str = "cpu",
        flex: bool | None = None,
    ) -> None:
        """Lay out a row. `flex`: by FlexAttention; None: on a GPU only."""
        self.prefix = prefix
        self.lengths = list(lengths)
        positions = [torch.arange(prefix), *(torch.arange(prefix, prefix + length) for length in lengths)]
        self.position_ids = torch.cat(positions).unsqueeze(0).to(device)
        self.blocks: list[Block] = []
        start = prefix
        for first in range(0, len(lengths), BLOCK_BRANCHES):
            own = torch.tensor(lengths[first : first + BLOCK_BRANCHES])
            steps = torch.arange(int(own.max()))
            starts = start + own.cumsum(0) - own
            # Padding repeats a branch's last token: behind all its real ones, so none of them sees it.
            places_BL = starts[:, None] + torch.minimum(steps, own[:, None] - 1)
            real = (steps < own[:, None]).flatten().nonzero()[:, 0]
            self.blocks.append(Block(places_BL.to(device), real.to(device)))
            start += int(own.sum())
        self._flex = flex
        self._masks: dict[tuple[str, int, int | None], Any] = {}

    def to(self, device: torch.device) -> BranchedRow:
        """Move the row's tensors to a device, in place."""
        if self.position_ids.device != device:
            self.position_ids = self.position_ids.to(device)
            self.blocks = [Block(*(part.to(device) for part in block)) for block in self.blocks]
            self._masks.clear()
        return self

    @property
    def uses_flex(self) -> bool:
        """Whether FlexAttention computes the row."""
        return self.position_ids.is_cuda if self._flex is None else self._flex

    def seen_in_block(self, length: int, window: int | None) -> Tensor:
        """Which of the prefix's and its own branch's tokens each of `length` tokens sees (L, P + L)."""
        keys = self.prefix + length
        seen_LT: Tensor = self._mask(
            "block", length, window, lambda: window_mask(length, keys, window, self._device)
        )
        return seen_LT

    def block_mask(self, window: int | None) -> Any:
        """FlexAttention's block mask of the whole row."""
        return self._mask("flex", 0, window, lambda: self._block_mask(window))

    @property
    def _device(self) -> torch.device:
        return self.position_ids.device

    def _mask(self, kind: str, length: int, window: int | None, make: Callable[[], Any]) -> Any:
        """Make a mask once for all layers of a forward pass."""
        key = (kind, length, window)
        if key not in self._masks:
            self._masks[key] = make()
        return self._masks[key]

    def _block_mask(self, window: int | None) -> Any:
        from torch.nn.attention.flex_attention import create_block_mask

        owners = [torch.zeros(self.prefix, dtype=torch.long)]
        owners += [torch.full((length,), b + 1) for b, length in enumerate(self.lengths)]
        owner, place = torch.cat(owners).to(self._device), self.position_ids[0]

        def sees(_b: Tensor, _h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            same = (owner[key] == 0) | (owner[key] == owner[query])
            seen = same & (key <= query)
            return seen if window is None else seen & (place[query] - place[key] < window)

        size = len(place)
        return create_block_mask(sees, B=None, H=None, Q_LEN=size, KV_LEN=size, device=self._device)


def window_mask(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor:
    """Causal mask (queries, keys), True where seen, for queries that are the last of `keys` places."""
    seen = torch.ones(queries, keys, dtype=torch.bool, device=device).tril(diagonal=keys - queries)
    return seen if window is None else seen.triu(diagonal=keys - queries - window + 1)


def attend_causal(query: Tensor, key: Tensor, value: Tensor, *, scaling: float, window: int | None) -> Tensor:
    """Plain causal attention of rows without padding on the left."""
    groups, length = query.shape[1] // key.shape[1], query.shape[2]
    slides = window is not None and length > window
    return scaled_dot_product_attention(
        query,
        _repeat(key, groups),
        _repeat(value, groups),
        attn_mask=window_mask(length, length, window, query.device) if slides else None,
        is_causal=length > 1 and not slides,
        scale=scaling,
    )


def attend_branched(
    query: Tensor, key: Tensor, value: Tensor, *, scaling: float, row: BranchedRow, window: int | None
) -> Tensor:
    """The prefix attends to itself; each branch to the prefix and itself: (1, H, T, D)."""
    if row.uses_flex:
        block_mask = row.block_mask(window)
        flex = _compiled_flex() if query.is_cuda else _flex()
        out_1HTD: Tensor = flex(query, key, value, block_mask=block_mask, scale=scaling, enable_gqa=True)
        return out_1HTD
    p = row.prefix
    heads, kv_heads, size = query.shape[1], key.shape[1], query.shape[3]
    groups = heads // kv_heads
    outs: list[Tensor] = []
    if p:
        outs.append(
            attend_causal(query[:, :, :p], key[:, :, :p], value[:, :, :p], scaling=scaling, window=window)[0]
        )
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
            attn_mask=row.seen_in_block(length, window).repeat(groups, 1),
            scale=scaling,
        )
        flat = out.reshape(b, heads, length, size).transpose(0, 1).reshape(heads, b * length, size)
        outs.append(flat.index_select(1, block.real))
    return torch.cat(outs, dim=1).unsqueeze(0)


def _repeat(states: Tensor, groups: int) -> Tensor:
    return states if groups == 1 else states.repeat_interleave(groups, dim=1)


def _flex() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention


@cache
def _compiled_flex() -> Callable[..., Any]:
    """FlexAttention as one kernel; rows differ in length, so it is compiled for any."""
    return torch.compile(_flex(), dynamic=True)
