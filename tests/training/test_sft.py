"""The `sft` stage on a small data folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import peft_reads_an_old_name, save_model

from sense import jsonl
from sense.errors import ConfigError, DatabaseError, DataError, ModelError, SenseError
from sense.llms.local import load
from sense.records import SftExample
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.training.sft import Config, make_examples, run
from sense.training.validation import make_evaluation


def sft(model: Path, data: Path | list[Path], **settings: Any) -> Outcome:
    settings = {"model": str(model), "data": data, "epochs": 1, "bf16": False, "seed": 3} | settings
    config = Config.parse(settings, where="test")
    return run(config, RunDir(folder(data), stage="sft", config=config))


def folder(data: Path | list[Path]) -> Path:
    return (data if isinstance(data, Path) else data[0]).parent / "out"


def write_split(data: Path, split: str, *questions: tuple[str, str]) -> None:
    items = [{"db_id": "pets", "question": question, "query": sql} for question, sql in questions]
    (data / f"{split}.json").write_text(json.dumps(items))


def test_a_model_is_learnt_saved_and_marked(llama_folder: Path, pets_and_shops: Path) -> None:
    outcome = sft(llama_folder, pets_and_shops, epochs=8, learning_rate=1e-2, branches_per_pack=4)
    out = folder(pets_and_shops)
    assert outcome.summary["examples"] == 7
    assert outcome.summary["loss_last_tenth"] < outcome.summary["loss_first"] / 2
    assert outcome.summary["tokens"] < outcome.summary["tokens_unpacked"]
    marks = json.loads((out / "model" / "sense.json").read_text())
    assert (marks["prompt_format"], marks["trained_by"], marks["base"]) == (
        "compact-1",
        "sft",
        str(llama_folder),
    )
    assert not (out / "checkpoints").exists()
    assert load(str(out / "model")).model.dtype == torch.float32


def test_what_was_learnt_from_can_be_read(llama_folder: Path, pets_and_shops: Path) -> None:
    sft(llama_folder, pets_and_shops)
    first = jsonl.read(folder(pets_and_shops) / "examples.jsonl", SftExample)[0]
    assert first.id == "q0"
    assert first.prompt.startswith("database pets\ntable pet (")
    assert first.prompt.endswith("\nquestion: How many pets?\nsql:")
    assert first.completion == " SELECT COUNT(*) FROM pet"


def test_the_start_model_is_left_as_it_is(llama_folder: Path, pets_and_shops: Path) -> None:
    before = (llama_folder / "model.safetensors").read_bytes()
    sft(llama_folder, pets_and_shops)
    assert (llama_folder / "model.safetensors").read_bytes() == before
    assert (folder(pets_and_shops) / "model" / "model.safetensors").read_bytes() != before


def test_the_same_settings_give_the_same_weights(llama_folder: Path, pets_and_shops: Path) -> None:
    weights = []
    for name in ("one", "two"):
        config = Config.parse({"model": str(llama_folder), "data": pets_and_shops, "epochs": 1}, where="test")
        run(config, RunDir(pets_and_shops.parent / name, stage="sft", config=config))
        weights.append(load(str(pets_and_shops.parent / name / "model")).model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_lora_leaves_an_adapter_and_the_merged_model(llama_folder: Path, pets_and_shops: Path) -> None:
    sft(llama_folder, pets_and_shops, lora_rank=4, lora_alpha=8, learning_rate=1e-2, epochs=3)
    out = folder(pets_and_shops)
    adapted, merged, base = (load(str(path)).model for path in (out / "adapter", out / "model", llama_folder))
    assert (out / "adapter" / "sense.json").exists()
    for name, weight in merged.state_dict().items():
        assert torch.allclose(weight, adapted.state_dict()[name], atol=1e-6)
    assert not torch.allclose(
        merged.model.layers[0].mlp.up_proj.weight, base.model.layers[0].mlp.up_proj.weight, atol=1e-6
    )


def test_folders_are_mixed_and_their_ids_kept_apart(pets_and_shops: Path) -> None:
    config = Config.parse({"model": "a/b", "data": [pets_and_shops, pets_and_shops]}, where="test")
    ids = [example.id for example in make_examples(config)]
    assert (ids[0], ids[7], len(set(ids))) == ("0:q0", "1:q0", 14)


def test_limit_draws_by_seed(pets_and_shops: Path) -> None:
    drawn = [
        tuple(
            example.id
            for example in make_examples(
                Config.parse({"model": "a/b", "data": pets_and_shops, "limit": 3, "seed": seed}, where="test")
            )
        )
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 3


def test_examples_that_are_too_long_are_left_out_and_counted(
    llama_folder: Path, pets_and_shops: Path
) -> None:
    write_split(pets_and_shops, "train", ("Short?", "SELECT 1"), ("Long? " * 60, "SELECT 1"))
    outcome = sft(llama_folder, pets_and_shops, max_tokens=200)
    assert (outcome.summary["examples"], outcome.summary["left_out"]) == (1, 1)


def test_rows_without_sharing_learn_the_same(llama_folder: Path, pets_and_shops: Path) -> None:
    found = []
    for name, settings in {
        "shared": {},
        "rows": {"share_schema": False},
        "again": {"gradient_checkpointing": True},
    }.items():
        config = Config.parse(
            {
                "model": str(llama_folder),
                "data": pets_and_shops,
                "epochs": 2,
                "bf16": False,
                "learning_rate": 1e-3,
            }
            | settings,
            where="test",
        )
        summary = run(config, RunDir(pets_and_shops.parent / name, stage="sft", config=config)).summary
        found.append(
            (summary["tokens"], load(str(pets_and_shops.parent / name / "model")).model.state_dict())
        )
    (shared, weights), (rows, theirs), (again, checkpointed) = found
    assert rows > shared == again
    for name in weights:
        assert torch.allclose(weights[name], theirs[name], atol=2e-5)
        assert torch.allclose(weights[name], checkpointed[name], atol=2e-5)


def test_the_best_weights_of_all_evaluations_are_kept(llama_folder: Path, pets_and_shops: Path) -> None:
    # Learned by heart: the loss on other questions falls first and rises later.
    write_split(pets_and_shops, "valid", ("Which pets?", "WITH p AS (SELECT 'x' AS y) SELECT y FROM p"))
    settings = {"valid_data": pets_and_shops, "valid_split": "valid", "eval_steps": 1, "epochs": 12}
    summary = sft(llama_folder, pets_and_shops, learning_rate=0.03, keep_best="loss", **settings).summary
    out = folder(pets_and_shops)
    lines = jsonl.read_objects(out / "metrics.jsonl")
    losses = [line["eval_loss"] for line in lines]
    assert all(0 <= line["eval_ex"] <= 1 and line["eval_n"] == 1 for line in lines)
    assert summary["eval_loss"] == min(losses)
    assert losses[summary["best_step"] - 1] == min(losses)
    config = Config.parse(
        {"model": str(out / "model"), "data": pets_and_shops, "bf16": False} | settings, where="t"
    )
    measured = make_evaluation(config, load(str(out / "model"))).measure(load(str(out / "model")).model)
    assert measured["eval_loss"] == pytest.approx(min(losses), rel=1e-4)
    assert min(losses) < losses[-1]


def test_a_model_says_how_it_was_made_and_is_asked(llama_folder: Path, pets_and_shops: Path) -> None:
    sft(llama_folder, pets_and_shops)
    card = (folder(pets_and_shops) / "model" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "prompt format `compact-1`" in card
    assert str(llama_folder.parent) not in card  # a folder of this machine says nothing to others


def test_questions_without_sql_are_nothing_to_evaluate_on(llama_folder: Path, pets_and_shops: Path) -> None:
    write_split(pets_and_shops, "valid", ("A?", "SELECT 1"), ("B?", " "))
    with pytest.raises(DataError, match="question 1 has no SQL to compare with"):
        sft(llama_folder, pets_and_shops, valid_data=pets_and_shops)
    assert not folder(pets_and_shops).exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("tensorbord", "unknown tracker 'tensorbord'; did you mean 'tensorboard'", id="unknown"),
        pytest.param("clearml", "pip install clearml", id="not installed"),
    ],
)
def test_a_tracker_that_is_not_there_is_refused(
    llama_folder: Path, pets_and_shops: Path, name: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        sft(llama_folder, pets_and_shops, report_to=[name])
    assert not folder(pets_and_shops).exists()


def test_what_a_launcher_says_of_precision_gives_way(
    llama_folder: Path, pets_and_shops: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sft(llama_folder, pets_and_shops).summary["loss_first"]
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    config = Config.parse(
        {"model": str(llama_folder), "data": pets_and_shops, "epochs": 1, "bf16": False, "seed": 3}, where="t"
    )
    again = run(config, RunDir(pets_and_shops.parent / "again", stage="sft", config=config)).summary
    assert again["loss_first"] == first


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"eval_steps": 5}, "give valid_data", id="evaluate on nothing"),
        pytest.param({"quantize": "4bit"}, "give lora_rank", id="4 bits without adapters"),
        pytest.param({"keep_best": "loss"}, "give valid_data", id="best of nothing"),
        pytest.param(
            {"keep_best": "ex", "valid_data": "x", "eval_ex": False},
            "needs eval_ex",
            id="best of what is not measured",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.parse({"model": "a/b", "data": "d"} | settings, where="test")


@peft_reads_an_old_name
def test_an_adapter_of_another_base_is_refused(
    llama_folder: Path, pets_and_shops: Path, tmp_path: Path
) -> None:
    sft(llama_folder, pets_and_shops, lora_rank=4)
    other = save_model(tmp_path / "other", "llama", hidden_size=32)
    config = folder(pets_and_shops) / "adapter" / "adapter_config.json"
    settings = json.loads(config.read_text()) | {"base_model_name_or_path": str(other)}
    config.write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"adapter: it does not fit its base"):
        load(str(config.parent))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        pytest.param(
            {"prompt_format": "ddl-1"}, ModelError, "trained with prompt format 'compact-1'", id="format"
        ),
        pytest.param({"prompt_format": "dll-1"}, ConfigError, "did you mean 'ddl-1'", id="unknown format"),
        pytest.param({"split": "tset"}, DataError, "no such split; splits there: dev", id="no split"),
        pytest.param({"split": "empty"}, DataError, "question 1 has no SQL to learn from", id="no SQL"),
        pytest.param({"split": "semicolon"}, DataError, "question 0 has no SQL", id="SQL of nothing"),
        pytest.param({"split": "gone"}, DatabaseError, "database 'gone'", id="no database"),
        pytest.param({"max_tokens": 16}, DataError, "no example of at most 16 tokens", id="all too long"),
    ],
)
def test_what_cannot_be_learnt_is_refused_before_anything_is_written(
    llama_folder: Path, pets_and_shops: Path, settings: dict[str, Any], error: type[SenseError], message: str
) -> None:
    write_split(pets_and_shops, "empty", ("A?", "SELECT 1"), ("B?", " "))
    write_split(pets_and_shops, "semicolon", ("A?", ";"))
    (pets_and_shops / "gone.json").write_text('[{"db_id": "gone", "question": "?", "query": "SELECT 1"}]')
    model = marked_copy(llama_folder, pets_and_shops.parent / "model")
    with pytest.raises(error, match=message):
        sft(model, pets_and_shops, **settings)
    assert not folder(pets_and_shops).exists()


def test_a_model_that_is_not_there_is_refused(pets_and_shops: Path) -> None:
    with pytest.raises(ModelError, match="unknown model"):
        sft(Path("no/where/here"), pets_and_shops)
    assert not folder(pets_and_shops).exists()


def marked_copy(model: Path, to: Path) -> Path:
    """A model that was trained with the prompt format compact-1."""
    to.mkdir()
    for file in model.iterdir():
        (to / file.name).symlink_to(file)
    (to / "sense.json").write_text('{"prompt_format": "compact-1"}')
    return to
