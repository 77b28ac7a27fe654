"""The `dpo` stage on a few pairs."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import make_model, peft_reads_an_old_name

from sense import jsonl
from sense.errors import ConfigError, DataError, ModelError, SenseError
from sense.llms.local import load
from sense.records import PreferencePair
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.training.dpo import Config, run

SCHEMA = "database {0}\ntable {0} ( id number key, name text, age number )\n"
SETTINGS = {"learning_rate": 1e-3, "bf16": False, "branches_per_pack": 4, "packs_per_step": 1}


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("SENSE_HOME", str(folder))
    return folder


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
    folder.mkdir(exist_ok=True)
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


def test_a_killed_run_goes_on_with_its_references(
    llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dpo(llama_folder, tmp_path, reference_cache=False)
    path = tmp_path / "out" / "references.jsonl"
    whole = path.read_text()
    os.truncate(path, len(whole) - 10)  # as a kill leaves it
    shutil.rmtree(tmp_path / "out" / "model")
    dpo(llama_folder, tmp_path, reference_cache=False)
    assert "dpo: 4 of 5 reference log-probabilities reused" in capsys.readouterr().err
    assert path.read_text() == whole


def reused(capsys: pytest.CaptureFixture[str]) -> int:
    """How many references the last training found."""
    lines = [line for line in capsys.readouterr().err.splitlines() if "reference log-probabilities" in line]
    return int(lines[-1].split()[1]) if lines else 0


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"beta": 0.5}, id="another beta"),
        pytest.param({"loss": "ipo"}, id="another loss"),
        pytest.param({"seed": 1, "epochs": 2}, id="another order"),
        pytest.param(
            {"lora_rank": 2}, id="adapters, which start as their base", marks=peft_reads_an_old_name
        ),
    ],
)
def test_a_run_of_the_same_model_and_pairs_reuses_the_references(
    llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any]
) -> None:
    dpo(llama_folder, tmp_path / "first")
    assert reused(capsys) == 0
    dpo(llama_folder, tmp_path / "second", **settings)
    assert reused(capsys) == 5
    first, second = (
        sorted((tmp_path / name / "out" / "references.jsonl").read_text().splitlines())
        for name in ("first", "second")
    )
    assert first == second
    lines = jsonl.read_objects(tmp_path / "second" / "out" / "metrics.jsonl")
    assert lines[0]["reward_margin"] == pytest.approx(0, abs=1e-4)


def other_weights(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    make_model("llama", seed=1, tie_word_embeddings=True).save_pretrained(folder)
    return folder


def test_references_of_other_weights_or_precision_are_not_reused(
    llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dpo(llama_folder, tmp_path / "first")
    dpo(other_weights(llama_folder, tmp_path / "model"), tmp_path / "second")
    dpo(llama_folder, tmp_path / "third", bf16=True)
    assert reused(capsys) == 0


def test_only_the_pairs_that_are_new_are_computed(
    llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dpo(llama_folder, tmp_path / "first")
    changed = [*PAIRS[:3], pair(3, rejected=" SELECT 2"), pair(4, db_id="owner", chosen=" SELECT 3"), pair(9)]
    dpo(llama_folder, tmp_path / "second", pairs=changed)
    assert reused(capsys) == 3


def shift_kept(home: Path, nats: float) -> None:
    """Change what is kept of all chosen sides, so that it shows where it is used."""
    with closing(sqlite3.connect(home / "references.sqlite")) as connection:
        connection.execute("UPDATE reference SET chosen = chosen + ?", (nats,))
        connection.commit()


def test_what_is_used_is_what_is_kept(llama_folder: Path, tmp_path: Path, home: Path) -> None:
    dpo(llama_folder, tmp_path / "first")
    shift_kept(home, -10)
    dpo(llama_folder, tmp_path / "second", packs_per_step=9)
    (line,) = jsonl.read_objects(tmp_path / "second" / "out" / "metrics.jsonl")
    assert line["logp_chosen_gain"] == pytest.approx(10, abs=1e-3)
    assert line["reward_margin"] == pytest.approx(1, abs=1e-4)


def test_nothing_is_kept_where_it_is_not_wanted(llama_folder: Path, tmp_path: Path, home: Path) -> None:
    dpo(llama_folder, tmp_path, reference_cache=False)
    assert not (home / "references.sqlite").exists()
    assert len(jsonl.read_objects(tmp_path / "out" / "references.jsonl")) == 5


@pytest.mark.parametrize(
    "content", [pytest.param(None, id="a folder"), pytest.param(b"no database" * 99, id="text")]
)
def test_a_cache_that_cannot_be_used_costs_only_time(
    llama_folder: Path, tmp_path: Path, home: Path, content: bytes | None
) -> None:
    path = home / "references.sqlite"
    path.mkdir() if content is None else path.write_bytes(content)
    outcome = dpo(llama_folder, tmp_path)
    assert outcome.summary["pairs"] == 5


@peft_reads_an_old_name
@pytest.mark.filterwarnings(
    "ignore:Could not find a config file in:UserWarning"
)  # peft, of adapters' adapters
def test_an_adapters_references_are_its_bases_and_its_own(
    llama_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = other_weights(llama_folder, tmp_path / "model")
    dpo(model, tmp_path / "sft", lora_rank=2, epochs=3)
    adapter = tmp_path / "sft" / "out" / "adapter"
    capsys.readouterr()
    dpo(adapter, tmp_path / "first", lora_rank=2)
    assert reused(capsys) == 0
    dpo(adapter, tmp_path / "second", lora_rank=2, beta=0.5)
    assert reused(capsys) == 5
    shutil.copy(llama_folder / "model.safetensors", model)
    dpo(adapter, tmp_path / "third", lora_rank=2)
    assert reused(capsys) == 0


def test_gains_are_told_step_by_step_and_of_the_last_tenth(llama_folder: Path, tmp_path: Path) -> None:
    outcome = dpo(llama_folder, tmp_path, epochs=10)
    lines = jsonl.read_objects(tmp_path / "out" / "metrics.jsonl")
    assert len(lines) == 30  # so a tenth is three steps
    assert lines[0]["logp_chosen_gain"] == pytest.approx(0, abs=1e-4)
    for side in ("chosen", "rejected"):
        name = f"logp_{side}_gain"
        mean = sum(line[name] for line in lines[-3:]) / 3
        assert outcome.summary[f"{name}_last_tenth"] == pytest.approx(mean, abs=1e-4)
    assert outcome.summary["logp_rejected_gain_last_tenth"] < 0


@pytest.mark.parametrize(
    ("nats", "told"), [pytest.param(10.5, True, id="much"), pytest.param(9.5, False, id="less")]
)
def test_it_is_told_when_the_chosen_queries_fell_by_much(
    llama_folder: Path,
    tmp_path: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    nats: float,
    told: bool,
) -> None:
    dpo(llama_folder, tmp_path / "first")
    shift_kept(home, nats)
    outcome = dpo(llama_folder, tmp_path / "second", learning_rate=1e-9)
    assert outcome.summary["logp_chosen_gain_last_tenth"] == pytest.approx(-nats, abs=1e-3)
    assert (f"dpo: the chosen queries lost {nats} nats on average" in capsys.readouterr().err) is told
    assert outcome.shortfall is None


def test_ipo_starts_at_its_own_loss_and_draws_the_sides_apart(llama_folder: Path, tmp_path: Path) -> None:
    outcome = dpo(llama_folder, tmp_path, loss="ipo", beta=0.25, epochs=6, learning_rate=1e-4)
    lines = jsonl.read_objects(tmp_path / "out" / "metrics.jsonl")
    assert lines[0]["loss"] == pytest.approx(4, rel=1e-3)  # (0 - 1 / (2 * 0.25))^2
    assert outcome.summary["loss_last_tenth"] < 4
    assert outcome.summary["reward_margin"] > 0


def test_with_length_normalization_the_start_is_log_2_too(llama_folder: Path, tmp_path: Path) -> None:
    outcome = dpo(llama_folder, tmp_path, length_normalized=True, beta=2.0, epochs=6)
    lines = jsonl.read_objects(tmp_path / "out" / "metrics.jsonl")
    assert lines[0]["loss"] == pytest.approx(0.693147, abs=1e-4)
    assert outcome.summary["reward_margin"] > 0


def test_ipo_has_no_label_smoothing(tmp_path: Path) -> None:
    settings = {"model": "smollm2-135m", "pairs": tmp_path}
    assert Config.parse(settings, where="test").label_smoothing == 0.1
    assert Config.parse(settings | {"loss": "ipo"}, where="test").label_smoothing == 0
    wrong = settings | {"loss": "ipo", "label_smoothing": 0.1}
    with pytest.raises(
        ConfigError, match=r"^test: label_smoothing is of loss dpo: with ipo it is 0, not 0\.1$"
    ):
        Config.parse(wrong, where="test")


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
        pytest.param(
            [PreferencePair(id="x", db_id="pet", prompt="To SQL: all pets", chosen="a", rejected="b")],
            "pair 'x': the prompt is of another format",
            id="another prompt",
        ),
        pytest.param(
            [PreferencePair(id="x", db_id="pet", prompt="question: Pets?\nsql:", chosen="a", rejected="b")],
            "pair 'x': the prompt is of another format",
            id="no schema",
        ),
    ],
)
def test_pairs_that_teach_nothing_are_refused(
    llama_folder: Path, tmp_path: Path, pairs: list[PreferencePair], message: str
) -> None:
    refused(llama_folder, tmp_path, DataError, f"pairs.jsonl: {message}", pairs=pairs)


def test_sides_that_are_the_same_to_the_model_are_refused(llama_folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(llama_folder, model)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Lowercase"}
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    pairs = [pair(0), pair(1, chosen=" SELECT 1", rejected=" select 1")]
    refused(model, tmp_path, DataError, "pair '1-0': chosen and rejected are the same tokens", pairs=pairs)


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
