"""kill -9 in the middle of each stage of the demo, then the same command: the records of an undisturbed run.

With a small random model: what is tested is the chain, not what the model knows.
Slow: the chain is started a dozen times. Run by hand: pytest -m slow tests/test_kill.py
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SMALL: dict[str, object] = {
    "sft.limit": 60, "sft.epochs": 1, "sft.checkpoint_minutes": 0, "sample.limit": 40, "sample.batch": 16,
    "pairs.strategy": "gold", "dpo.checkpoint_minutes": 0, "dpo.branches_per_pack": 8,
} | {
    f"predict_{model}.{name}": value
    for model in ("base", "sft", "sense")
    for name, value in {"limit": 24, "max_new_tokens": 40, "batch": 4}.items()
} | {f"score_{model}.only_predicted": True for model in ("base", "sft", "sense")}  # fmt: skip
# A stage is killed once this file of its folder has so many lines (0: once the folder is there).
MIDDLES = {
    "synthesize": ("run.json", 1), "filter": ("run.json", 1), "sft": ("metrics.jsonl", 2),
    "sample": ("candidates.jsonl", 30), "label": ("verdicts.jsonl", 1), "pairs": ("run.json", 1),
    "dpo": ("metrics.jsonl", 2), "predict_base": ("answers.jsonl", 4), "predict_sft": ("answers.jsonl", 4),
    "predict_sense": ("answers.jsonl", 4), "score_base": ("run.json", 1), "report": ("run.json", 1),
}  # fmt: skip


def command(out: Path, model: Path) -> list[str]:
    chosen = SMALL | {"model": str(model)}
    settings = [part for name, value in chosen.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    return [
        sys.executable,
        "-m",
        "sense",
        "run",
        str(ROOT / "recipes/demo.yaml"),
        "--out",
        str(out),
        *settings,
    ]


def kill_in(stage: str, out: Path, model: Path) -> bool:
    """Start the recipe, kill it in the middle of the stage; False if the stage was over too soon."""
    name, lines = MIDDLES[stage]
    with (out.parent / f"{out.name}.log").open("a") as log:
        process = subprocess.Popen(
            command(out, model), cwd=ROOT, stderr=log, stdout=log, start_new_session=True
        )
        file = out / stage / name
        while process.poll() is None:
            if file.exists() and file.read_bytes().count(b"\n") >= lines:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return True
            time.sleep(0.002)
    return False


def records(out: Path) -> dict[str, list[str]]:
    """All records of a run, but for what tells the time."""
    found: dict[str, list[str]] = {}
    for file in sorted(out.rglob("*.jsonl")):
        found[str(file.relative_to(out))] = file.read_text(encoding="utf-8").splitlines()
    for split in ("train", "test"):
        found[split] = [(out / "filter/data" / f"{split}.json").read_text(encoding="utf-8")]
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_killed_in_every_stage_ends_with_the_records_of_an_undisturbed_one(
    tmp_path: Path, llama_folder: Path
) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    subprocess.run(command(undisturbed, llama_folder), cwd=ROOT, check=True)
    hits = {stage: kill_in(stage, killed, llama_folder) for stage in MIDDLES}
    done = subprocess.run(command(killed, llama_folder), cwd=ROOT, check=True, capture_output=True, text=True)
    log = (tmp_path / "killed.log").read_text(encoding="utf-8")
    assert "reused" in log + done.stderr
    assert records(killed) == records(undisturbed)
    assert sum(hits.values()) >= 8, hits  # the quickest stages may be over before they can be hit
