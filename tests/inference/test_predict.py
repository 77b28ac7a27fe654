"""The `predict` stage with a small random model: one answer a question, in the order of the split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.errors import ConfigError, ModelError
from sense.inference.predict import Config, run
from sense.records import Prediction
from sense.rundir import RunDir


def predict(model: Path | str, data: Path, *, out: str = "out", **settings: Any) -> list[Prediction]:
    settings = {
        "model": str(model),
        "data": data,
        "batch": 2,
        "max_new_tokens": 8,
        "dtype": "float32",
    } | settings
    config = Config.parse(settings, where="test")
    run(config, RunDir(data.parent / out, stage="predict", config=config))
    return jsonl.read(data.parent / out / "predictions.jsonl", Prediction)


def test_predictions_come_in_the_order_of_the_split(llama_folder: Path, pets_and_shops: Path) -> None:
    made = predict(llama_folder, pets_and_shops)
    assert [p.id for p in made] == [f"q{n * 10}" for n in range(7)]
    assert [p.db_id for p in made] == ["pets"] * 3 + ["shops"] * 2 + ["pets", "shops"]
    assert len({p.sql for p in made}) > 3


def test_ids_that_are_numbers_stay_numbers(llama_folder: Path, pets_and_shops: Path) -> None:
    items = [{"db_id": "pets", "question": f"{n}?", "query": "", "question_id": n} for n in (12, 3)]
    (pets_and_shops / "dev.json").write_text(json.dumps(items))
    assert [p.id for p in predict(llama_folder, pets_and_shops)] == [12, 3]


def test_limit_spreads_over_the_split(llama_folder: Path, pets_and_shops: Path) -> None:
    made = predict(llama_folder, pets_and_shops, limit=3)
    # places 0, 7/3 and 14/3 of 7, rounded down
    assert [p.id for p in made] == ["q0", "q20", "q40"]


@pytest.mark.parametrize("batch", [1, 64])
def test_an_answer_does_not_depend_on_the_batch(llama_folder: Path, pets_and_shops: Path, batch: int) -> None:
    expected = predict(llama_folder, pets_and_shops)
    assert predict(llama_folder, pets_and_shops, out="other", batch=batch) == expected


def test_a_killed_run_ends_with_the_same_predictions(
    llama_folder: Path, pets_and_shops: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = predict(llama_folder, pets_and_shops)
    out = pets_and_shops.parent / "out"
    (out / "predictions.jsonl").unlink()
    # What a kill in the middle of the second batch of `pets` (questions 0, 1; 2, 5) leaves.
    jsonl.write(out / "answers.jsonl", whole[:3])
    with (out / "answers.jsonl").open("a") as file:
        file.write('{"id": "q5')
    assert predict(llama_folder, pets_and_shops) == whole
    assert "predict: 2 predictions reused" in capsys.readouterr().err
    assert not (out / "answers.jsonl").exists()


def marked(folder: Path, model: Path, prompt_format: str) -> Path:
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "sense.json").write_text(json.dumps({"prompt_format": prompt_format}))
    return folder


def test_a_model_is_asked_in_the_format_it_was_trained_with(llama_folder: Path, pets_and_shops: Path) -> None:
    model = marked(pets_and_shops.parent / "model", llama_folder, "ddl-1")
    config = Config.parse({"model": str(model), "data": pets_and_shops, "max_new_tokens": 2}, where="test")
    outcome = run(config, RunDir(pets_and_shops.parent / "out", stage="predict", config=config))
    assert outcome.summary == {"predictions": 7, "prompt_format": "ddl-1"}


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        pytest.param(
            {"prompt_format": "compact-1"}, ModelError, "trained with prompt format 'ddl-1'", id="other"
        ),
        pytest.param({"prompt_format": "x"}, ConfigError, "unknown prompt format 'x'", id="unknown"),
    ],
)
def test_another_format_is_refused(
    llama_folder: Path, pets_and_shops: Path, settings: dict[str, str], error: type[Exception], message: str
) -> None:
    model = marked(pets_and_shops.parent / "model", llama_folder, "ddl-1")
    with pytest.raises(error, match=message):
        predict(model, pets_and_shops, **settings)
    assert not (pets_and_shops.parent / "out").exists()
