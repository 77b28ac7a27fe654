"""The `sample` stage with a small random model: what it writes, and that a kill changes nothing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.errors import ModelError
from sense.records import Candidate
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.weak.sample import Config, run


def sample(model: Path, data: Path, *, out: str = "out", **settings: Any) -> tuple[Outcome, list[Candidate]]:
    settings = {
        "model": str(model),
        "data": data,
        "samples": 3,
        "batch": 6,
        "max_new_tokens": 8,
        "dtype": "float32",
    } | settings
    config = Config.parse(settings, where="test")
    outcome = run(config, RunDir(data.parent / out, stage="sample", config=config))
    return outcome, jsonl.read(data.parent / out / "candidates.jsonl", Candidate)


def test_every_question_has_its_samples(llama_folder: Path, pets_and_shops: Path) -> None:
    outcome, candidates = sample(llama_folder, pets_and_shops)
    assert Counter(c.question_id for c in candidates) == {f"q{n * 10}": 3 for n in range(7)}
    assert {c.id for c in candidates} == {f"q{n * 10}#{k}" for n in range(7) for k in range(3)}
    assert {c.question_id for c in candidates if c.db_id == "shops"} == {"q30", "q40", "q60"}
    assert (outcome.summary["questions"], outcome.summary["candidates"]) == (7, 21)
    assert outcome.summary["different"] > 15
    assert all(c.logprob < 0 and 1 <= c.tokens <= 8 for c in candidates)


@pytest.mark.parametrize("kept", [0, 5, 13, 20])
def test_a_killed_run_ends_with_the_same_candidates(
    llama_folder: Path, pets_and_shops: Path, kept: int
) -> None:
    _, whole = sample(llama_folder, pets_and_shops)
    path = pets_and_shops.parent / "out" / "candidates.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:kept]) + lines[kept][:30])  # as a kill leaves it
    _, resumed = sample(llama_folder, pets_and_shops)
    assert resumed == whole


def test_whole_batches_are_kept_and_not_made_again(
    llama_folder: Path, pets_and_shops: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample(llama_folder, pets_and_shops)
    path = pets_and_shops.parent / "out" / "candidates.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:13]))
    sample(llama_folder, pets_and_shops)
    # Two questions make a batch of six: of 13 candidates, two batches are whole.
    assert "sample: 12 candidates reused" in capsys.readouterr().err


def test_a_candidate_does_not_depend_on_the_batch(llama_folder: Path, pets_and_shops: Path) -> None:
    one, other = (
        {c.id: c.sql for c in sample(llama_folder, pets_and_shops, out=str(batch), batch=batch)[1]}
        for batch in (1, 64)
    )
    assert one == other


def test_limit_draws_questions_by_seed(llama_folder: Path, pets_and_shops: Path) -> None:
    drawn = [
        {c.question_id for c in sample(llama_folder, pets_and_shops, out=str(n), limit=3, seed=seed)[1]}
        for n, seed in enumerate((0, 0, 1))
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 3


def test_databases_are_taken_whole(llama_folder: Path, pets_and_shops: Path) -> None:
    _, made = sample(llama_folder, pets_and_shops, databases=1)
    assert {c.db_id for c in made} in ({"pets"}, {"shops"})
    assert len({c.question_id for c in made}) == {"pets": 4, "shops": 3}[made[0].db_id]


def test_a_model_of_another_prompt_format_is_refused(pets_and_shops: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "sense.json").write_text('{"prompt_format": "ddl-1"}')
    with pytest.raises(ModelError, match="trained with prompt format 'ddl-1'"):
        sample(model, pets_and_shops, prompt_format="compact-1")
    assert not (tmp_path / "out").exists()
