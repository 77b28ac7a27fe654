"""Keys and values of prefixes, each there once, and of many branches that are decoded behind them.

Shapes: B branches, H query heads, K key/value heads, G = H / K, P prefix tokens, L new tokens of a branch,
M = G * L queries of a branch that meet the same keys, T tokens of its own, R = B * M for the branches of one
prefix, D head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

ROOM = 32  # places by which room for own tokens grows and is read: products keep their shapes meanwhile


class Prefix:
    """Keys and values of one prefix: a forward pass whose cache it is fills it."""

    def __init__(self) -> None:
        """Start empty."""
        self.layers: list[tuple[Tensor, Tensor]] = []

    @property
    def length(self) -> int:
        """Tokens of the prefix."""
        return self.layers[0][0].shape[1]

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Take a layer's keys and values (called by the model)."""
        assert keys.shape[0] == 1 and layer == len(self.layers), "a prefix is one row, passed once"
        self.layers.append((keys[0].contiguous(), values[0].contiguous()))
        return keys, values

    def get_seq_length(self, layer: int = 0) -> int:  # noqa: ARG002
        """Part of the interface that models expect of a cache."""
        return 0


class Group(NamedTuple):
    """Branches that stand behind the same prefix: from `start` to `stop` once sorted by prefix."""

    prefix: Prefix
    start: int
    stop: int


class PrefixCache:
    """What each branch has so far: its prefix, and keys and values of its own tokens.

    A forward pass over new tokens of all branches stands between `begin` and `advance`.
    """

    def __init__(self, layers: int, device: torch.device) -> None:
        """Start without branches."""
        self._device = device
        self._prefixes: list[Prefix] = []
        self._lengths: list[int] = []
        self._keys_BKTD = [torch.empty(0, 0, 0, 0)] * layers
        self._values_BKTD = [torch.empty(0, 0, 0, 0)] * layers
        self._masks: dict[tuple[int | None, int, int | None], Tensor] = {}
        self.groups: list[Group] = []
        self.sorted_B: Tensor | None = None  # branches sorted by prefix; None: they stand so
        self.back_B: Tensor | None = None  # where each is then

    def add(self, prefixes: Sequence[Prefix]) -> None:
        """Add an empty branch behind each of these."""
        self._prefixes += prefixes
        self._lengths += [0] * len(prefixes)
        self._sort()

    def forget_prefixes(self) -> None:
        """Keep the branches' own tokens only: other caches can still take them from here."""
        self._prefixes, self.groups = [], []

    def enter(
        self, rows: Sequence[int], prefixes: Sequence[Prefix], *, source: PrefixCache, origins: Sequence[int]
    ) -> None:
        """Copy branches of another cache here: in the place of others, or behind the last, in order."""
        for row, prefix, origin in zip(rows, prefixes, origins, strict=True):
            self._prefixes[row : row + 1] = [prefix]
            self._lengths[row : row + 1] = [source._lengths[origin]]
        longest = max(source._lengths[origin] for origin in origins)
        to, of = self._tensor(rows), self._tensor(origins)
        for mine, theirs in (
            (self._keys_BKTD, source._keys_BKTD),
            (self._values_BKTD, source._values_BKTD),
        ):
            for layer, others in enumerate(theirs):
                mine[layer] = self._with_room(mine[layer], longest, like=others)
                mine[layer][to, :, :longest] = others[of, :, :longest]
        self._sort()

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the branches at these indices, in this order; those that stay in place are not copied."""
        moved = [(to, of) for to, of in enumerate(rows) if to != of]
        if moved:
            to, of = self._tensor([to for to, _ in moved]), self._tensor([of for _, of in moved])
            for states in (*self._keys_BKTD, *self._values_BKTD):
                states[to] = states[of]
        self._prefixes = [self._prefixes[row] for row in rows]
        self._lengths = [self._lengths[row] for row in rows]
        self._sort()

    def begin(self, tokens: int) -> Tensor:
        """Prepare a forward pass over so many new tokens of each branch; returns their positions (B, L)."""
        self._masks.clear()
        self._new = tokens
        self._read = -(-(max(self._lengths) + tokens) // ROOM) * ROOM
        self._rows_B1 = torch.arange(len(self._lengths), device=self._device)[:, None]
        steps_L = torch.arange(tokens, device=self._device)
        self._places_BL = self._tensor(self._lengths)[:, None] + steps_L
        return self._tensor([prefix.length for prefix in self._prefixes])[:, None] + self._places_BL

    def advance(self, tokens: Sequence[int]) -> None:
        """Count how many of the pass's tokens each branch keeps; the others are overwritten later."""
        self._lengths = [length + new for length, new in zip(self._lengths, tokens, strict=True)]

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Take a layer's new keys and values (called by the model) and give back the branches' own so far."""
        for mine, new in ((self._keys_BKTD, keys), (self._values_BKTD, values)):
            mine[layer] = self._with_room(mine[layer], self._read, like=new)
            mine[layer][self._rows_B1, :, self._places_BL] = new.transpose(1, 2)
        b = len(self._lengths)
        return self._keys_BKTD[layer][:b, :, : self._read], self._values_BKTD[layer][:b, :, : self._read]

    def get_seq_length(self, layer: int = 0) -> int:  # noqa: ARG002
        """Part of the interface that models expect of a cache."""
        return max(self._lengths)

    def hidden_own(self, window: int | None, *, heads: int) -> Tensor:
        """Which of its own tokens each query of a branch does not see (B, 1, M, T), for `heads` a key."""
        key = (window, heads, None)
        if key not in self._masks:
            places_T = torch.arange(self._read, device=self._device)
            hidden_BLT = places_T > self._places_BL[:, :, None]
            if window is not None:
                hidden_BLT |= places_T <= self._places_BL[:, :, None] - window
            self._masks[key] = hidden_BLT.repeat(1, heads, 1)[:, None]
        return self._masks[key]

    def hidden_prefix(self, window: int | None, group: int, *, heads: int) -> Tensor | None:
        """Which tokens of its prefix each query of a group does not see (R, P); None: it sees all."""
        prefix, start, stop = self.groups[group]
        if window is None or prefix.length + max(self._lengths) + self._new <= window:
            return None
        key = (window, heads, group)
        if key not in self._masks:
            sorted_BL = self._places_BL if self.sorted_B is None else self._places_BL[self.sorted_B]
            last_BL1 = prefix.length + sorted_BL[start:stop, :, None]
            hidden_BLP = torch.arange(prefix.length, device=self._device) <= last_BL1 - window
            self._masks[key] = hidden_BLP.repeat(1, heads, 1).flatten(0, 1)
        return self._masks[key]

    def _sort(self) -> None:
        """Find the groups."""
        number = {prefix: n for n, prefix in enumerate(dict.fromkeys(self._prefixes))}
        numbers = [number[prefix] for prefix in self._prefixes]
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        self.groups = []
        for prefix, n in number.items():
            start = self.groups[-1].stop if self.groups else 0
            self.groups.append(Group(prefix, start, start + numbers.count(n)))
        in_order = numbers == sorted(numbers)
        self.sorted_B = None if in_order else self._tensor(order)
        self.back_B = None if self.sorted_B is None else self.sorted_B.argsort()

    def _with_room(self, states_BKTD: Tensor, tokens: int, *, like: Tensor) -> Tensor:
        """Return the states, or a larger copy, with room for all branches and so many tokens of each."""
        b, _, t, _ = states_BKTD.shape
        rows, tokens = max(b, len(self._lengths)), max(t, -(-tokens // ROOM) * ROOM)
        if (rows, tokens) == (b, t):
            return states_BKTD
        # Zeros: what is hidden has weight 0, and 0 times what memory happens to hold may be no number.
        larger = like.new_zeros(rows, like.shape[1], tokens, like.shape[3])
        if b:
            larger[:b, :, :t] = states_BKTD
        return larger

    def _tensor(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=self._device)


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
    """The branches of a prefix meet its one copy in a single product; each branch, its own tokens."""
    b, heads, length, size = query.shape
    kv_heads, t = own_keys_BKTD.shape[1:3]
    heads_a_key = heads // kv_heads
    m = heads_a_key * length
    queries_BKMD = (query * scaling).reshape(b, kv_heads, m, size)
    to_own_BKMT = queries_BKMD @ own_keys_BKTD.transpose(2, 3)
    least = torch.finfo(query.dtype).min
    to_own_BKMT = to_own_BKMT.masked_fill(cache.hidden_own(window, heads=heads_a_key), least)
    if cache.sorted_B is not None:
        queries_BKMD, to_own_BKMT = queries_BKMD[cache.sorted_B], to_own_BKMT[cache.sorted_B]
    from_prefix: list[Tensor] = []
    own_weights: list[Tensor] = []
    for number, (prefix, start, stop) in enumerate(cache.groups):
        keys_KPD, values_KPD = prefix.layers[layer]
        p = prefix.length
        to_prefix_KRP = _by_key(queries_BKMD[start:stop]) @ keys_KPD.transpose(1, 2)
        hidden_RP = cache.hidden_prefix(window, number, heads=heads_a_key)
        if hidden_RP is not None:
            to_prefix_KRP = to_prefix_KRP.masked_fill(hidden_RP, least)
        weights = torch.cat([to_prefix_KRP, _by_key(to_own_BKMT[start:stop])], dim=-1).softmax(dim=-1)
        from_prefix.append((weights[..., :p] @ values_KPD).reshape(kv_heads, stop - start, m, size))
        own_weights.append(weights[..., p:].reshape(kv_heads, stop - start, m, t))
    out_BKMD = torch.cat(from_prefix, dim=1).transpose(0, 1)
    weights_BKMT = torch.cat(own_weights, dim=1).transpose(0, 1)
    if cache.back_B is not None:
        out_BKMD, weights_BKMT = out_BKMD[cache.back_B], weights_BKMT[cache.back_B]
    return (out_BKMD + weights_BKMT @ own_values_BKTD).reshape(b, heads, length, size)


def _by_key(states: Tensor) -> Tensor:
    """Lay the rows of all branches out under each key head: (B, K, M, ...) to (K, B * M, ...)."""
    return states.transpose(0, 1).flatten(1, 2)
