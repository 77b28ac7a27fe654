"""The next token: an aim points into tokens side by side, likeliest first, each as wide as it is likely."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sense.llms.choose import choose

THREE = torch.tensor([0.2, 0.5, 0.3]).log()


@pytest.mark.parametrize(
    ("aim", "options", "token"),
    [
        pytest.param(None, {}, 1, id="no aim: the likeliest"),
        pytest.param(0.0, {}, 1, id="the first"),
        pytest.param(0.49, {}, 1, id="still the first"),
        pytest.param(0.51, {}, 2, id="the second, from 0.5 on"),
        pytest.param(0.81, {}, 0, id="the third, from 0.8 on"),
        pytest.param(0.62, {"top_p": 0.7}, 1, id="of a nucleus of 0.8, the first up to 0.625"),
        pytest.param(0.63, {"top_p": 0.7}, 2, id="of a nucleus of 0.8, the second from 0.625 on"),
        pytest.param(0.999, {"top_p": 0.7}, 2, id="never what is outside of the nucleus"),
        pytest.param(0.999, {"top_p": 0.4}, 1, id="a nucleus of one"),
        # Squares of 0.5, 0.3 and 0.2 are 0.25, 0.09 and 0.04 of 0.38 in all: 0.658 and 0.895 are reached.
        pytest.param(0.65, {"temperature": 0.5}, 1, id="colder, still the first"),
        pytest.param(0.89, {"temperature": 0.5}, 2, id="colder, still the second"),
        pytest.param(0.90, {"temperature": 0.5}, 0, id="colder, the third"),
    ],
)
def test_an_aim_points_to_a_token(aim: float | None, options: dict[str, float], token: int) -> None:
    choice = choose(THREE[None] + 7.0, [aim], **{"temperature": 1.0, "top_p": 1.0} | options)
    assert choice.tokens_R.tolist() == [token]
    # The log-probability is at temperature 1 and of all tokens, however it was drawn.
    assert choice.logprobs_R.tolist() == pytest.approx([float(THREE[token])])


@given(
    seed=st.integers(0, 999), top_p=st.sampled_from([0.05, 0.5, 0.9, 0.99, 1.0]), width=st.floats(0.1, 5.0)
)
def test_the_nucleus_is_that_of_the_whole_vocabulary(seed: int, top_p: float, width: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 300, generator=rng) * width
    aims = torch.rand(6, generator=rng).tolist()
    chosen = choose(logits, [*aims[:5], None], temperature=0.8, top_p=top_p).tokens_R.tolist()
    for row, aim, token in zip(logits, [*aims[:5], 0.0], chosen, strict=True):
        chances, order = (row.double() / 0.8).softmax(0).sort(descending=True)
        before = chances.cumsum(0) - chances
        aim *= float(chances[before < top_p].sum())
        place = order.tolist().index(token)
        assert before[place] < top_p + 1e-6
        assert before[place] - 1e-5 <= aim <= before[place] + chances[place] + 1e-5


def test_of_equals_the_first_is_the_likeliest() -> None:
    assert choose(torch.zeros(2, 500), [None, None], temperature=1.0, top_p=1.0).tokens_R.tolist() == [0, 0]
