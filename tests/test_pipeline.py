"""The demo from end to end through the command line, with a small random model in place of the real one."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from sense.cli import main

ROOT = Path(__file__).parent.parent
MODELS = ("base", "sft", "sense")
SMALLER = [
    "sft.epochs=1",
    "sft.limit=60",
    "sft.bf16=false",
    "sample.limit=20",
    "sample.samples=2",
    "sample.max_new_tokens=6",
    "pairs.strategy=gold",  # a random model has no right answer to choose
    "dpo.bf16=false",
    *(f"predict_{model}.{value}" for model in MODELS for value in ("limit=30", "max_new_tokens=6")),
    *(f"score_{model}.only_predicted=true" for model in MODELS),
]


def test_the_demo_runs_to_its_report_and_then_is_up_to_date(
    llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)  # the recipe names its data from there
    out = tmp_path / "run"
    command = ["run", "recipes/demo.yaml", "--out", str(out), "--set", f"model={llama_folder}"]
    for setting in SMALLER:
        command += ["--set", setting]
    assert main(command) == 0, capsys.readouterr().err
    summary = json.loads((out / "summary.json").read_text())
    assert summary["n"] == 30
    assert list(summary["ex"]) == list(MODELS)
    assert all(0 <= ex <= 1 for ex in summary["ex"].values())
    assert (out / "report" / "index.html").stat().st_size > 1_000
    told = capsys.readouterr().err
    assert "up to date" not in told
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    began = time.monotonic()
    assert main(command) == 0
    assert time.monotonic() - began < 5
    told = capsys.readouterr().err
    assert told.count(": up to date") == len(summary["steps"])
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == files
