"""The `dpo` stage on a few pairs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from sense import jsonl
from sense.errors import DataError, ModelError, SenseError
from sense.llms.local import load
from sense.records import PreferencePair
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.training.dpo import Config, run

SCHEMA = "database {0}\ntable {0} ( id number key, name text, age number )\n"
SETTINGS = {"learning_rate": 1e-3, "bf16": False, "branches_per_pack": 4, "packs_per_step": 1}


def pair(
    number: int, *, db_id: str = "pet", chosen: str | None = None, rejected: str = " SELECT 1"
) -> PreferencePair:
    return PreferencePair(
        id=f"{number}-0",
        db_id=db_id,
        prompt=SCHEMA.format(db_id) + f"question: Number {number}?\nsql:",
        chosen=f" SELECT name FROM {db_id} WHERE id = {number}" if chosen is None else chosen,
        rejected=rejected,
    )


PAIRS = [pair(n, db_id=db_id) for n, db_id in enumerate(["pet", "owner", "pet", "pet", "owner"])]


def dpo(model: Path, folder: Path, pairs: list[PreferencePair] | None = None, **settings: Any) -> Outcome:
    jsonl.write(folder / "pairs.jsonl", PAIRS if pairs is None else pairs)
    settings = SETTINGS | {"model": str(model), "pairs": folder / "pairs.jsonl"} | settings
    config = Config.parse(settings, where="test")
    return run(config, RunDir(folder / "out", stage="dpo", config=config))


def by_itself(model: Any, tokenizer: Any, prompt: str, answer: str) -> float:
    """A completion's log-probability from a plain row."""
    schema, _, rest = prompt.partition("question: ")
    texts = (schema, "question: " + rest, answer)
    parts = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    row = torch.tensor([[*parts[0], *parts[1], *parts[2], tokenizer.eos_token_id]])
    with torch.no_grad():
        logprobs = model(row).logits[0, :-1].log_softmax(dim=-1).gather(1, row[0, 1:, None])
    return float(logprobs[-len(parts[2]) - 1 :].sum())


def test_the_chosen_side_gains_on_the_rejected_one(llama_folder: Path, tmp_path: Path) -> None:
    outcome = dpo(llama_folder, tmp_path, epochs=6)
    lines = jsonl.read_objects(tmp_path / "out" / "metrics.jsonl")
    assert lines[0]["reward_margin"] == pytest.approx(0, abs=1e-4)  # at the start it is the reference
    assert lines[0]["loss"] == pytest.approx(0.693147, abs=1e-4)  # log 2
    assert outcome.summary["reward_margin"] > 0
    assert outcome.summary["reward_accuracy"] == 1
    assert outcome.summary["pairs"] == 5
    marks = json.loads((tmp_path / "out" / "model" / "sense.json").read_text())
    assert (marks["trained_by"], marks["prompt_format"]) == ("dpo", "compact-1")


def test_references_are_the_start_models_logprobs(llama_folder: Path, tmp_path: Path) -> None:
    dpo(llama_folder, tmp_path)
    loaded = load(str(llama_folder))
    found = {row["id"]: row for row in jsonl.read_objects(tmp_path / "out" / "references.jsonl")}
    assert len(found) == len(PAIRS)
    for own in PAIRS:
        chosen, rejected = (
            by_itself(loaded.model, loaded.tokenizer, own.prompt, answer)
            for answer in (own.chosen, own.rejected)
        )
        assert found[own.id]["chosen"] == pytest.approx(chosen, rel=1e-5)
        assert found[own.id]["rejected"] == pytest.approx(rejected, rel=1e-5)


def test_references_are_computed_once(
    llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dpo(llama_folder, tmp_path)
    path = tmp_path / "out" / "references.jsonl"
    whole = path.read_text()
    os.truncate(path, len(whole) - 10)  # as a kill leaves it
    dpo(llama_folder, tmp_path)
    assert "dpo: 4 reference log-probabilities reused" in capsys.readouterr().err
    assert sorted(path.read_text().splitlines()) == sorted(whole.splitlines())


def test_sft_weight_holds_up_the_chosen_side(llama_folder: Path, tmp_path: Path) -> None:
    chosen = []
    for weight in (0.0, 1.0):
        folder = tmp_path / str(weight)
        folder.mkdir()
        chosen.append(dpo(llama_folder, folder, epochs=4, sft_weight=weight).summary["logp_chosen"])
    assert chosen[1] > chosen[0]


def test_lora_starts_from_its_reference(llama_folder: Path, tmp_path: Path) -> None:
    dpo(llama_folder, tmp_path, lora_rank=4, epochs=2)
    lines = jsonl.read_objects(tmp_path / "out" / "metrics.jsonl")
    assert lines[0]["reward_margin"] == pytest.approx(0, abs=1e-4)
    assert (tmp_path / "out" / "adapter" / "adapter_config.json").exists()
    assert (tmp_path / "out" / "model" / "config.json").exists()


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        pytest.param([], "no pairs to learn from", id="no pair"),
        pytest.param(
            [pair(0), pair(1, chosen=" SELECT 1")],
            "pair '1-0': chosen and rejected are the same",
            id="equal sides",
        ),
        pytest.param([pair(0, chosen=" ")], "pair '0-0': chosen or rejected is empty", id="nothing chosen"),
        pytest.param(
            [pair(0, rejected="")], "pair '0-0': chosen or rejected is empty", id="nothing rejected"
        ),
        pytest.param([pair(0), pair(0)], "two pairs have the id '0-0'", id="an id twice"),
        pytest.param(
            [PreferencePair(id="x", db_id="pet", prompt="", chosen="a", rejected="b")],
            "pair 'x': the prompt is empty",
            id="no prompt",
        ),
    ],
)
def test_pairs_that_teach_nothing_are_refused(
    llama_folder: Path, tmp_path: Path, pairs: list[PreferencePair], message: str
) -> None:
    refused(llama_folder, tmp_path, DataError, f"pairs.jsonl: {message}", pairs=pairs)


def test_a_model_of_another_prompt_format_is_refused(llama_folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "sense.json").write_text('{"prompt_format": "ddl-1"}')
    refused(model, tmp_path, ModelError, "trained with prompt format 'ddl-1', asked in 'compact-1'")


def refused(model: Path, tmp_path: Path, error: type[SenseError], message: str, **settings: Any) -> None:
    with pytest.raises(error, match=message):
        dpo(model, tmp_path, **settings)
    assert not (tmp_path / "out").exists()
