"""Two processes train as one does that takes all packs of a step itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from sense import jsonl

SHARDED = Path(__file__).parents[2] / "recipes" / "accelerate" / "fsdp.yaml"
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def sft(
    launch: list[str], model: Path, data: Path, out: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launch, "-m", "sense", "sft"]
    command += ["--model", str(model), "--data", str(data), "--out", str(out), "--no-bf16", "--epochs", "2"]
    command += ["--branches-per-pack", "2", "--packs-per-step", "3", *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=110, check=False)


def check_same(one: Path, two: Path) -> None:
    expected, found = (jsonl.read_objects(out / "metrics.jsonl") for out in (one, two))
    assert len(expected) == len(found) == 4
    for mine, theirs in zip(expected, found, strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-5)
        assert theirs["grad_norm"] == pytest.approx(mine["grad_norm"], rel=1e-4)
        assert theirs["tokens"] == mine["tokens"]
    weights = [load_file(out / "model" / "model.safetensors") for out in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][name] - weights[1][name]).abs().max() <= 1e-5 for name in weights[0])


@pytest.mark.timeout(240)
def test_two_processes_give_the_losses_and_weights_of_one(llama_folder: Path, pets_and_shops: Path) -> None:
    one, two = pets_and_shops.parent / "one", pets_and_shops.parent / "two"
    best = ["--valid-data", str(pets_and_shops), "--valid-split", "train", "--eval-steps", "2"]
    best += ["--no-eval-ex", "--keep-best", "loss", "--checkpoint-minutes", "0"]
    for launch, out in (([], one), (TWO, two)):
        done = sft(launch, llama_folder, pets_and_shops, out, *best)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("loss_last_tenth") == 1  # one of them speaks
    check_same(one, two)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_two_processes_with_shards_of_the_model_give_the_losses_and_weights_of_one(
    llama_folder: Path, pets_and_shops: Path
) -> None:
    one, two = pets_and_shops.parent / "one", pets_and_shops.parent / "two"
    on_cpu = pets_and_shops.parent / "fsdp.yaml"
    on_cpu.write_text(SHARDED.read_text().replace("num_machines: 1", "num_machines: 1\nuse_cpu: true"))
    launch = ["-m", "accelerate.commands.launch", "--config_file", str(on_cpu)]
    for how, out in (([], one), (launch, two)):
        done = sft(how, llama_folder, pets_and_shops, out)
        assert done.returncode == 0, done.stderr
    check_same(one, two)
    refused = sft(
        launch, llama_folder, pets_and_shops, two.with_name("three"), "--valid-data", str(pets_and_shops)
    )
    assert "valid_data: not while the model lies in shards" in refused.stderr
