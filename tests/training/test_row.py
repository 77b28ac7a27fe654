"""A row's log-probabilities are those of its branches, each run by itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import make_model

from sense.llms.shared_prefix import use_shared_prefix
from sense.training.losses import sum_by_branch
from sense.training.row import completion_logprobs, make_row
from sense.training.tokens import Branch

ids = st.integers(0, 499)
branch = st.builds(
    lambda prompt, answer: Branch(id="b", prompt=tuple(prompt), completion=tuple(answer)),
    st.lists(ids, min_size=1, max_size=5),
    st.lists(ids, min_size=1, max_size=5),
)
MODEL = make_model("llama")
PLAIN = make_model("llama")  # the same weights: they come from the same seed
use_shared_prefix(MODEL)


@torch.no_grad()
def by_itself(schema: tuple[int, ...], own: Branch) -> list[float]:
    row = torch.tensor([[*schema, *own.prompt, *own.completion]])
    logprobs = PLAIN(row).logits[0].log_softmax(dim=-1)
    first = len(schema) + len(own.prompt)
    return [float(logprobs[first + n - 1, token]) for n, token in enumerate(own.completion)]


@settings(max_examples=12)
@given(schema=st.lists(ids, max_size=6).map(tuple), branches=st.lists(branch, min_size=1, max_size=7))
@torch.no_grad()
def test_each_token_has_the_logprob_of_its_branch_alone(
    schema: tuple[int, ...], branches: list[Branch]
) -> None:
    row = make_row(schema, branches)
    made = completion_logprobs(MODEL, row)
    for number, own in enumerate(branches):
        mine = made[row.branch_N == number].tolist()
        assert mine == pytest.approx(by_itself(schema, own), rel=1e-4, abs=1e-4)
    sums = sum_by_branch(made, row.branch_N, branches=len(branches))
    expected = [sum(by_itself(schema, own)) for own in branches]
    assert sums.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("kind", ["llama", "granite"])  # granite scales its logits after the output layer
def test_logits_made_in_chunks_change_neither_values_nor_gradients(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(kind, **({"logits_scaling": 4.0} if kind == "granite" else {}))
    use_shared_prefix(model)
    row = make_row((7, 8), [Branch(id="b", prompt=(1,), completion=(2, 5, 9, 0))] * 3)
    found = []
    for most in (10**9, 5 * 500):  # the second: 12 targets in chunks of 5
        monkeypatch.setattr("sense.training.row.CHUNK_LOGITS", most)
        model.zero_grad()
        logprobs_N = completion_logprobs(model, row)
        (logprobs_N * torch.arange(12)).sum().backward()
        gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
        found.append((logprobs_N.detach(), gradients))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-5)
    assert (found[0][1] - found[1][1]).norm() <= 1e-5 * found[0][1].norm()
    assert model(torch.tensor([[1, 2]])).logits.shape == (1, 2, 500)  # and the model is as it was


def test_the_last_token_is_a_target_and_no_input() -> None:
    row = make_row((7, 8), [Branch(id="b", prompt=(1, 2), completion=(3, 4, 0))])
    assert row.input_ids_1T.tolist() == [[7, 8, 1, 2, 3, 4]]
    assert row.layout.position_ids.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert (row.places_N.tolist(), row.targets_N.tolist()) == ([3, 4, 5], [3, 4, 0])


def test_positions_of_every_branch_go_on_from_the_schema() -> None:
    branches = [
        Branch(id="b", prompt=(1,), completion=(2, 0)),
        Branch(id="c", prompt=(1, 1), completion=(0,)),
    ]
    assert make_row((7, 8), branches).layout.position_ids.tolist() == [[0, 1, 2, 3, 2, 3]]


def test_a_row_moves_to_another_device_as_a_whole() -> None:
    row = make_row((7, 8), [Branch(id="b", prompt=(1,), completion=(2, 0))])
    moved = row.layout.to(torch.device("meta"))
    assert {part.device.type for block in moved.blocks for part in block} == {"meta"}
    assert moved.position_ids.device.type == "meta"


@pytest.mark.gpu
@torch.no_grad()
def test_a_gpu_gives_the_logprobs_of_the_processor() -> None:
    row = make_row((7, 8), [Branch(id="b", prompt=(1,), completion=(2, 0))] * 5)
    expected = completion_logprobs(MODEL, row)
    on_gpu = make_model("llama").to("cuda")
    use_shared_prefix(on_gpu)
    assert completion_logprobs(on_gpu, row).tolist() == pytest.approx(expected.tolist(), rel=1e-4)
