"""Branches behind several prefixes in one batch: each sees its own prefix and itself, wherever its row is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sense.llms.branched_row import window_mask
from sense.llms.prefix_cache import ROOM, Prefix, PrefixCache, attend_cached

HEADS, KV_HEADS, SIZE = 4, 2, 8
CPU = torch.device("cpu")


class Branch:
    """What a branch should hold: all keys and values from the start of its prefix."""

    def __init__(self, prefix: Prefix) -> None:
        self.prefix = prefix
        self.states = torch.stack(prefix.layers[0])

    def attend(self, query_HLD: Tensor, new: Tensor, window: int | None) -> Tensor:
        self.states = torch.cat([self.states, new], dim=2)
        keys, values = self.states.repeat_interleave(HEADS // KV_HEADS, dim=1)
        seen = window_mask(query_HLD.shape[1], keys.shape[1], window, CPU)
        return scaled_dot_product_attention(query_HLD, keys, values, attn_mask=seen, scale=0.3)


def make_prefix(length: int) -> Prefix:
    prefix = Prefix()
    prefix.update(*torch.randn(2, 1, KV_HEADS, length, SIZE), 0)
    return prefix


def check_pass(cache: PrefixCache, branches: list[Branch], lengths: list[int], window: int | None) -> None:
    """Pass new tokens through the cache, padded to the longest, and compare each real one's attention."""
    longest = max(lengths)
    query = torch.randn(len(lengths), HEADS, longest, SIZE)
    new = torch.randn(2, len(lengths), KV_HEADS, longest, SIZE)
    before = [branch.states.shape[2] for branch in branches]
    assert cache.begin(longest)[:, 0].tolist() == before
    own = cache.update(new[0], new[1], 0)
    made = attend_cached(query, *own, scaling=0.3, cache=cache, layer=0, window=window)
    cache.advance(lengths)
    for b, (branch, length) in enumerate(zip(branches, lengths, strict=True)):
        expected = branch.attend(query[b, :, :length], new[:, b, :, :length], window)
        assert torch.allclose(made[b, :, :length], expected, atol=1e-5)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**16),
    prefixes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    behind=st.lists(st.integers(0, 3), min_size=1, max_size=6),
    window=st.sampled_from([None, 1, 4, 50]),
    data=st.data(),
)
def test_each_branch_attends_as_a_row_of_its_own(
    seed: int, prefixes: list[int], behind: list[int], window: int | None, data: st.DataObject
) -> None:
    torch.manual_seed(seed)
    made = [make_prefix(length) for length in prefixes]
    branches = [Branch(made[n % len(made)]) for n in behind]
    texts = PrefixCache(1, CPU)
    texts.add([branch.prefix for branch in branches])
    check_pass(texts, branches, [data.draw(st.integers(1, 5)) for _ in branches], window)
    texts.forget_prefixes()

    def copies(of: list[int]) -> list[Branch]:
        found = [Branch(branches[b].prefix) for b in of]
        for branch, b in zip(found, of, strict=True):
            branch.states = branches[b].states
        return found

    some = st.lists(st.integers(0, len(branches) - 1), min_size=1, max_size=6)
    of = data.draw(some)
    rows, cache = copies(of), PrefixCache(1, CPU)
    cache.enter(range(len(of)), [row.prefix for row in rows], source=texts, origins=of)
    for _ in range(3):
        check_pass(cache, rows, [1] * len(rows), window)
        kept = data.draw(st.lists(st.sampled_from(range(len(rows))), min_size=1, unique=True))
        cache.keep(kept)
        rows = [rows[b] for b in kept]
        check_pass(cache, rows, [1] * len(rows), window)
        of = data.draw(some)
        places = range(len(rows) - 1, len(rows) - 1 + len(of))  # the last is replaced, others are behind it
        rows[places.start :] = copies(of)
        cache.enter(places, [row.prefix for row in rows[places.start :]], source=texts, origins=of)


def test_what_a_branch_does_not_keep_is_not_seen_later() -> None:
    torch.manual_seed(0)
    branches = [Branch(make_prefix(3))]
    cache = PrefixCache(1, CPU)
    cache.add([branches[0].prefix])
    cache.begin(2)
    cache.update(*torch.randn(2, 1, KV_HEADS, 2, SIZE), 0)
    cache.advance([0])
    check_pass(cache, branches, [1], None)


def test_room_grows_and_shapes_stay_meanwhile() -> None:
    torch.manual_seed(0)
    branches = [Branch(make_prefix(2))]
    cache = PrefixCache(1, CPU)
    cache.add([branches[0].prefix])
    for _ in range(ROOM):
        check_pass(cache, branches, [1], None)
    states = torch.randn(2, 1, KV_HEADS, 1, SIZE)
    cache.begin(1)
    assert cache.update(*states, 0)[0].shape == (1, KV_HEADS, 2 * ROOM, SIZE)
    cache.advance([1])
    branches[0].states = torch.cat([branches[0].states, states[:, 0]], dim=2)
    check_pass(cache, branches, [1], None)


def test_a_prefix_is_one_row() -> None:
    with pytest.raises(AssertionError, match="one row"):
        Prefix().update(*torch.randn(2, 2, KV_HEADS, 3, SIZE), 0)
