"""The trainer: a step is the mean over its examples, and a killed training ends as an undisturbed one."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import training_run
from safetensors.torch import load_file
from tiny_models import peft_reads_an_old_name
from torch import Tensor
from training_run import make_hyperparameters, make_steps
from transformers import AutoModelForCausalLM

from sense import jsonl
from sense.errors import ModelError
from sense.llms.local import Loaded, load
from sense.training.best import Best, Evaluation
from sense.training.objectives import sft_loss
from sense.training.pack import Pack
from sense.training.trainer import remove_checkpoints, totals, train

PROGRAM = Path(__file__).with_name("training_run.py")
STEPS = 6  # 14 examples in packs of 2 or 3 of one schema: 6 packs, so 3 steps an epoch, 2 epochs


@pytest.fixture
def loaded(llama_folder: Path) -> Loaded:
    """A model that a test may train."""
    fresh = load(str(llama_folder))
    fresh.model.train()
    return fresh


def run(
    loaded: Loaded, folder: Path, *, loss: Any = sft_loss, epochs: int = 2, **settings: Any
) -> dict[str, float]:
    steps = make_steps(loaded.tokenizer, epochs=epochs)
    chosen = make_hyperparameters(**settings)
    train(loaded.model, steps, pack_loss=loss, hyperparameters=chosen, folder=folder, label="test")
    return totals(folder)


def weights(folder: Path) -> dict[str, Tensor]:
    (file,) = (folder / "model").glob("*.safetensors")
    return load_file(file)


def plain_step(model: Any, step: list[Pack]) -> tuple[float, Tensor]:
    """Loss and gradient norm of a step: the mean over all completion tokens, example by example, unpacked."""
    plain = AutoModelForCausalLM.from_pretrained(model.name_or_path)
    losses: list[Tensor] = []
    for pack in step:
        for example in pack.examples:
            (branch,) = example.branches
            row = torch.tensor([[*example.schema, *branch.prompt, *branch.completion]])
            logprobs = plain(row).logits[0, :-1].log_softmax(dim=-1)
            own = logprobs.gather(1, row[0, 1:, None])[-len(branch.completion) :, 0]
            losses += (-own).unbind()
    mean = torch.stack(losses).mean()
    mean.backward()
    norm = torch.nn.utils.get_total_norm([p.grad for p in plain.parameters()])
    return mean.item(), norm


def test_a_steps_loss_and_gradient_are_those_of_its_examples_one_by_one(
    loaded: Loaded, tmp_path: Path
) -> None:
    first = make_steps(loaded.tokenizer)[0]
    assert len(first) == 2
    mean, norm = plain_step(loaded.model, first)
    run(loaded, tmp_path)
    line = jsonl.read_objects(tmp_path / "metrics.jsonl")[0]
    assert line["loss"] == pytest.approx(mean, rel=1e-5)
    assert line["grad_norm"] == pytest.approx(float(norm), rel=1e-4)


def test_a_short_last_step_is_a_step_like_any_other(loaded: Loaded, tmp_path: Path) -> None:
    steps = make_steps(loaded.tokenizer, epochs=1, packs_per_step=4)
    assert [len(step) for step in steps] == [4, 2]
    mean, norm = plain_step(loaded.model, steps[1])
    train(
        loaded.model,
        steps,
        pack_loss=sft_loss,
        hyperparameters=make_hyperparameters(learning_rate=1e-12),
        folder=tmp_path,
        label="t",
    )
    line = jsonl.read_objects(tmp_path / "metrics.jsonl")[1]
    assert line["loss"] == pytest.approx(mean, rel=1e-5)
    assert line["grad_norm"] == pytest.approx(float(norm), rel=1e-4)


def test_training_learns(loaded: Loaded, tmp_path: Path) -> None:
    result = run(loaded, tmp_path, epochs=8)
    assert result["loss_last_tenth"] < result["loss_first"] / 3


@pytest.mark.parametrize("bf16", [False, True])
def test_weights_stay_float32(loaded: Loaded, tmp_path: Path, bf16: bool) -> None:
    run(loaded, tmp_path, epochs=1, bf16=bf16)
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}


def test_metrics_count_the_tokens_with_and_without_sharing(loaded: Loaded, tmp_path: Path) -> None:
    run(loaded, tmp_path, epochs=1)
    lines = jsonl.read_objects(tmp_path / "metrics.jsonl")
    packs = [pack for step in make_steps(loaded.tokenizer, epochs=1) for pack in step]
    own = sum(len(branch) for pack in packs for branch in pack.branches)
    assert sum(line["tokens"] for line in lines) == own + sum(len(pack.schema) for pack in packs)
    assert sum(line["tokens_unpacked"] for line in lines) == own + sum(
        len(pack.schema) * len(pack.branches) for pack in packs
    )


def test_learning_rate_warms_up_and_falls_to_zero(loaded: Loaded, tmp_path: Path) -> None:
    run(loaded, tmp_path, epochs=4, warmup_ratio=0.25, learning_rate=1e-3)
    rates = [line["learning_rate"] for line in jsonl.read_objects(tmp_path / "metrics.jsonl")]
    assert rates[:4] == pytest.approx([0, 1e-3 / 3, 2e-3 / 3, 1e-3])  # 12 steps: three to warm up in
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] < 1e-4


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_and_names_the_step(
    loaded: Loaded, tmp_path: Path, value: float
) -> None:
    seen: list[Pack] = []

    def breaks(model: torch.nn.Module, pack: Pack) -> tuple[Tensor, dict[str, float]]:
        seen.append(pack)
        total, shown = sft_loss(model, pack)
        return (total * value if len(seen) == 4 else total), shown

    with pytest.raises(ModelError, match=rf"loss is {value} at step 2 \(examples \d/\d"):
        run(loaded, tmp_path, loss=breaks)
    assert [line["step"] for line in jsonl.read_objects(tmp_path / "metrics.jsonl")] == [1]


def test_a_gradient_that_is_no_number_stops_before_the_weights_are_changed(
    loaded: Loaded, tmp_path: Path
) -> None:
    seen: list[Pack] = []

    def breaks(model: torch.nn.Module, pack: Pack) -> tuple[Tensor, dict[str, float]]:
        seen.append(pack)
        total, shown = sft_loss(model, pack)
        # A square root of 0 is a number, and its slope is none.
        return total + ((total * 0.0).sqrt() if len(seen) == 4 else 0.0), shown

    with pytest.raises(ModelError, match="gradient is not a number at step 2: training stopped before"):
        run(loaded, tmp_path, loss=breaks)
    assert all(parameter.isfinite().all() for parameter in loaded.model.parameters())


def test_weights_are_not_chosen_by_a_figure_that_is_no_number(loaded: Loaded, tmp_path: Path) -> None:
    best = Best(
        tmp_path / "best", Evaluation(measure=dict, every=1, keep="eval_loss", higher_is_better=False)
    )
    best.offer(loaded.model, {"eval_loss": 1.0}, step=1)
    with pytest.raises(ModelError, match="eval_loss is not a number at step 2"):
        best.offer(loaded.model, {"eval_loss": math.nan}, step=2)
    best.offer(loaded.model, {"eval_loss": 5.0}, step=3)
    assert best.restore(loaded.model, label="t") == 1


def start(model: Path, folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(PROGRAM), str(model), str(folder)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def kill_on_the_way(process: subprocess.Popen[str], folder: Path, *, after: int) -> None:
    """Kill a training without warning once it has written so many steps."""
    metrics = folder / "metrics.jsonl"
    while process.poll() is None:
        if metrics.exists() and metrics.read_text().count("\n") >= after:
            process.kill()
            break
        time.sleep(0.005)
    _, told = process.communicate()
    assert process.returncode == -9, told


@peft_reads_an_old_name
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_killed_training_ends_as_an_undisturbed_one(
    llama_folder: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, killed = tmp_path / f"{kind}-whole", tmp_path / f"{kind}-killed"
    whole.mkdir()
    training_run.main(str(llama_folder), whole)
    kill_on_the_way(start(llama_folder, killed), killed, after=3)
    training_run.main(str(llama_folder), killed)
    assert "test: going on from step " in capsys.readouterr().err
    expected, found = weights(whole), weights(killed)
    assert expected.keys() == found.keys()
    assert max(float((expected[name] - found[name]).abs().max()) for name in expected) <= 1e-6
    steps = Counter(line["step"] for line in jsonl.read_objects(killed / "metrics.jsonl"))
    assert steps == Counter(range(1, STEPS + 1))


def test_a_half_written_checkpoint_is_ignored(loaded: Loaded, tmp_path: Path, llama_folder: Path) -> None:
    run(loaded, tmp_path, checkpoint_minutes=0.0)
    (last,) = (tmp_path / "checkpoints").iterdir()
    assert last.name == f"checkpoint-{STEPS - 1}"  # the end needs none: the model is saved
    half = last.with_name(f"checkpoint-{STEPS}")
    shutil.copytree(last, half)
    (half / "complete").unlink()
    (half / "model.safetensors").write_bytes(b"half")
    again = load(str(llama_folder))
    run(again, tmp_path, checkpoint_minutes=0.0)
    assert not half.exists()
    for name, weight in again.model.state_dict().items():
        assert torch.allclose(weight, loaded.model.state_dict()[name], atol=1e-6)


def test_half_a_line_of_metrics_is_done_again(loaded: Loaded, tmp_path: Path, llama_folder: Path) -> None:
    run(loaded, tmp_path, checkpoint_minutes=0.0)
    metrics = tmp_path / "metrics.jsonl"
    whole = metrics.read_text()
    metrics.write_text(whole[:-20])
    run(load(str(llama_folder)), tmp_path, checkpoint_minutes=0.0)
    found = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [line["step"] for line in found] == list(range(1, STEPS + 1))
    assert found[-1]["loss"] == pytest.approx(json.loads(whole.splitlines()[-1])["loss"], rel=1e-5)


def test_checkpoints_go_when_the_model_is_saved(loaded: Loaded, tmp_path: Path) -> None:
    run(loaded, tmp_path, checkpoint_minutes=0.0)
    remove_checkpoints(tmp_path)
    assert not (tmp_path / "checkpoints").exists()
