"""The `sample` stage with a small random model: what it writes, and that a kill changes nothing."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_model

from sense import jsonl
from sense.errors import ConfigError, DataError, ModelError, SenseError
from sense.records import Candidate
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.weak.engines import WeakModel, check_private
from sense.weak.sample import Config, run
from sense.weak.shares import share


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second model, which writes other things."""
    return save_model(tmp_path_factory.mktemp("other"), "llama", seed=1)


def sample(
    model: Path | None, data: Path, *, out: str = "out", **settings: Any
) -> tuple[Outcome, list[Candidate]]:
    own = {"batch": 6, "dtype": "float32"} if settings.get("engine", "local") == "local" else {}
    settings = {
        "model": None if model is None else str(model),
        "data": data,
        "samples": 3,
        "max_new_tokens": 8,
        **own,
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
    assert all((c.logprob or 0) < 0 and 1 <= c.tokens <= 8 for c in candidates)
    cut = sum(not c.finished for c in candidates)
    assert 0 < cut <= sum(c.tokens == 8 for c in candidates)
    assert outcome.summary["share_unfinished"] == cut / 21
    assert {c.model for c in candidates} == {""} and "models" not in outcome.summary


@pytest.mark.parametrize("kept", [0, 5, 13, 20])
def test_a_killed_run_ends_with_the_same_candidates(
    llama_folder: Path, pets_and_shops: Path, kept: int
) -> None:
    _, whole = sample(llama_folder, pets_and_shops)
    path = pets_and_shops.parent / "out" / "candidates.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:kept]) + lines[kept][:30])  # as a kill leaves it
    _, resumed = sample(llama_folder, pets_and_shops)
    assert [replace(c, logprob=0) for c in resumed] == [replace(c, logprob=0) for c in whole]
    # Batched otherwise, sums are rounded otherwise.
    assert [c.logprob for c in resumed] == pytest.approx([c.logprob for c in whole], abs=1e-3)


def test_what_is_there_is_kept_and_not_made_again(
    llama_folder: Path, pets_and_shops: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, whole = sample(llama_folder, pets_and_shops)
    path = pets_and_shops.parent / "out" / "candidates.jsonl"
    marked = [replace(c, sql="kept") for c in whole[:13]]
    jsonl.write(path, reversed(marked))
    _, resumed = sample(llama_folder, pets_and_shops)
    assert resumed[:13] == marked and len(resumed) == 21
    assert "sample: 13 candidates reused" in capsys.readouterr().err


def test_candidates_stand_by_question_and_sample(llama_folder: Path, pets_and_shops: Path) -> None:
    _, candidates = sample(llama_folder, pets_and_shops)
    assert [c.id for c in candidates] == [f"q{n * 10}#{k}" for n in range(7) for k in range(3)]


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


def test_models_share_the_samples_by_weight(
    llama_folder: Path, other_folder: Path, pets_and_shops: Path
) -> None:
    models = {"big": {"model": str(llama_folder), "weight": 2}, "small": str(other_folder)}
    outcome, candidates = sample(None, pets_and_shops, models=models)
    assert len(candidates) == len({c.id for c in candidates}) == 21
    assert Counter(c.model for c in candidates) == {"big": 14, "small": 7}
    assert {name: own["candidates"] for name, own in outcome.summary["models"].items()} == {
        "big": 14,
        "small": 7,
    }
    for name, folder in (("big", llama_folder), ("small", other_folder)):
        alone = {c.id: c.sql for c in sample(folder, pets_and_shops, out=name)[1]}
        assert all(alone[c.id] == c.sql for c in candidates if c.model == name)


def test_a_run_of_several_models_goes_on_with_the_one_that_is_missing(
    llama_folder: Path, other_folder: Path, pets_and_shops: Path
) -> None:
    models = {"a": str(llama_folder), "b": str(other_folder)}
    _, whole = sample(None, pets_and_shops, models=models)
    path = pets_and_shops.parent / "out" / "candidates.jsonl"
    jsonl.write(path, (c for c in whole if c.model == "a"))
    _, resumed = sample(None, pets_and_shops, models=models)
    assert [(c.id, c.model, c.sql) for c in resumed] == [(c.id, c.model, c.sql) for c in whole]


@pytest.mark.parametrize(
    ("weights", "samples", "counts"),
    [
        pytest.param({"a": 1, "b": 1}, 4, [{"a": 2, "b": 2}] * 3, id="even"),
        pytest.param({"a": 3, "b": 1}, 4, [{"a": 3, "b": 1}] * 3, id="whole shares"),
        pytest.param({"a": 5, "b": 1}, 2, [{"a": 2}, {"a": 1, "b": 1}, {"a": 2}], id="now and then"),
        pytest.param({"a": 0.5}, 2, [{"a": 2}] * 3, id="alone"),
    ],
)
def test_each_model_gets_its_part(
    weights: dict[str, float], samples: int, counts: list[dict[str, int]]
) -> None:
    shares = share(weights, questions=3, samples=samples, seed=0)
    assert [Counter(names) for names in shares] == counts


def test_shares_come_out_exactly_and_the_seed_turns_them() -> None:
    weights = {"a": 0.7, "b": 0.2, "c": 0.1}
    drawn = [list(share(weights, questions=50, samples=3, seed=seed)) for seed in range(4)]
    for shares in drawn:
        total = Counter(name for names in shares for name in names)
        assert total == pytest.approx({"a": 105, "b": 30, "c": 15}, abs=1)
    equal = {tuple(share({"a": 1, "b": 1, "c": 1}, questions=1, samples=1, seed=seed)) for seed in range(9)}
    assert len(equal) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"model": None}, "test: 'model' is needed, or several 'models'", id="none"),
        pytest.param({"models": {"a": "x"}}, "model is for one model; with 'models'", id="both"),
        pytest.param({"engine": "api"}, "test: engine api needs base_url", id="no url"),
        pytest.param({"base_url": "http://h/v1"}, "base_url is for engine api, not for local", id="url"),
        pytest.param({"endpoint": "completions"}, "endpoint is for engines api and batch", id="endpoint"),
        pytest.param(
            {"model": None, "models": {"a": {"model": "x", "weight": 0}}},
            "test: models.a.weight: Input should be greater than 0",
            id="weight",
        ),
        pytest.param(
            {"model": None, "models": {"a": {"model": "x", "engine": "api"}}},
            "test: models.a: engine api needs base_url",
            id="no url of one",
        ),
        pytest.param({"model": None, "models": {"a": "{model: ["}}, "models:1: not YAML", id="yaml"),
        pytest.param({"model": None, "models": {"../a": "x"}}, "test: models: name '../a'", id="name"),
        pytest.param({"model": None, "models": {"a\n": "x"}}, "test: models: name 'a\\n'", id="line"),
        pytest.param({"engine": "vllm", "batch": 6}, "batch is for engine local, not for vllm", id="batch"),
        pytest.param(
            {"engine": "gguf", "dtype": "float32"},
            "dtype is for engine local and vllm, not for gguf",
            id="dtype",
        ),
        pytest.param({"replies": ["x"]}, "replies is for engine batch, not for local", id="replies"),
        pytest.param({"concurrency": 2}, "concurrency is for engine api, not for local", id="concurrency"),
        pytest.param({"max_requests": 2}, "max_requests is for engine api, not for local", id="requests"),
        pytest.param({"engine": "batch", "max_tokens": 2}, "max_tokens is for engine api", id="tokens"),
        pytest.param(
            {"model": None, "models": {"a": "x", "b": "{model: x, engine: gguf}"}, "max_usd": 2},
            "max_usd is for engine api, not for gguf and local",
            id="usd",
        ),
        pytest.param({"temperature": float("inf")}, "temperature: Input should be a finite", id="heat"),
        pytest.param({"max_usd": float("inf")}, "max_usd: Input should be a finite", id="all the money"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        Config.parse({"model": "m", "data": tmp_path} | settings, where="test")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"base_url": "localhost:8000/v1"}, "base URL 'localhost:8000/v1'", id="url"),
        pytest.param({"base_url": "http://h/v1", "max_usd": 1}, "max_usd needs the price of 'm'", id="price"),
        pytest.param({"base_url": "http://h/v1", "prices": Path("none.yaml")}, "none.yaml", id="prices"),
    ],
)
def test_what_a_server_is_asked_with_is_looked_at_first(
    settings: dict[str, Any], message: str, pets_and_shops: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        sample(Path("m"), pets_and_shops, engine="api", **settings)
    assert message in str(error.value)
    assert not (pets_and_shops.parent / "out").exists()


def test_a_setting_that_one_of_several_models_takes_is_taken(tmp_path: Path) -> None:
    models = {"a": "x", "b": {"model": "x", "engine": "api", "base_url": "http://h/v1"}}
    config = Config.parse({"models": models, "data": tmp_path, "batch": 6, "max_usd": 2}, where="test")
    assert (config.batch, config.max_usd) == (6, 2)


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused_first(
    pets_and_shops: Path, tmp_path: Path
) -> None:
    model = str(save_model(tmp_path, "llama", max_position_embeddings=200))
    fitting, _ = sample(Path(model), pets_and_shops, out="fits", max_new_tokens=8)
    assert fitting.complete
    with pytest.raises(ModelError) as error:
        sample(Path(model), pets_and_shops, max_new_tokens=199)
    assert str(error.value).startswith("database 'pets', question q0: its prompt has ")
    assert "with max_new_tokens 199 the model's 200 are passed" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_model_of_several_may_be_written_in_braces(tmp_path: Path) -> None:
    written = "{model: m, engine: api, base_url: http://h/v1, weight: 2}"
    config = Config.parse({"models": {"a": written}, "data": tmp_path}, where="test")
    assert (config.models["a"].engine, config.models["a"].weight) == ("api", 2)


def test_the_models_of_a_run_are_its_inputs(llama_folder: Path, tmp_path: Path) -> None:
    config = Config.parse({"models": {"a": str(llama_folder), "b": "hub/b"}, "data": tmp_path}, where="test")
    assert ("models.a", llama_folder) in list(config.inputs())
    assert [name for name, _ in config.inputs()] == ["data", "models.a"]


@pytest.mark.parametrize(
    ("engine", "package", "message"),
    [
        pytest.param("vllm", "vllm", r"pip install 'sense-sql\[vllm\]'", id="vllm"),
        pytest.param("gguf", "llama_cpp", r"pip install 'sense-sql\[gguf\]'", id="gguf"),
    ],
)
def test_an_engine_that_is_not_installed_is_named_with_the_command_that_installs_it(
    engine: str, package: str, message: str, pets_and_shops: Path, tmp_path: Path
) -> None:
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(SenseError, match=message):
        sample(tmp_path / "m.gguf", pets_and_shops, engine=engine)
    assert not (tmp_path / "out").exists()


def ask_by_files(data: Path, *replies: Path) -> tuple[Outcome, list[Candidate]]:
    return sample(Path("m"), data, engine="batch", samples=2, limit=3, replies=replies)


def answer_requests(out: Path, replies: Path, texts: list[str]) -> list[dict[str, Any]]:
    """Answer the requests that a run awaits, each with these texts; return the requests."""
    requests = jsonl.read_objects(out / "requests-awaiting-replies.jsonl")
    body = {"choices": [{"message": {"content": text}} for text in texts], "usage": {"completion_tokens": 6}}
    with replies.open("w") as file:
        for request in requests:
            reply = {"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}}
            file.write(json.dumps(reply) + "\n")
    return requests


def test_by_files_it_goes_on_when_the_replies_are_given(pets_and_shops: Path, tmp_path: Path) -> None:
    first, none = ask_by_files(pets_and_shops)
    assert (first.complete, none) == (False, [])
    assert "6 of 6 samples are missing; have " in str(first.shortfall)
    requests = answer_requests(tmp_path / "out", tmp_path / "replies.jsonl", ["SELECT 1", "SELECT 2"])
    assert [(request["body"]["n"], request["url"]) for request in requests] == [
        (2, "/v1/chat/completions")
    ] * 3
    last, candidates = ask_by_files(pets_and_shops, tmp_path / "replies.jsonl")
    assert (last.complete, last.shortfall) == (True, None)
    assert [(c.sample, c.sql, c.tokens, c.logprob) for c in candidates] == [
        (0, "SELECT 1", 3, None), (1, "SELECT 2", 3, None),
    ] * 3  # fmt: skip
    assert not (tmp_path / "out" / "requests-awaiting-replies.jsonl").exists()


@pytest.mark.parametrize(
    ("settings", "goes_to"),
    [
        ({"engine": "batch"}, "a batch service"),
        ({"engine": "api", "base_url": "https://models.example/v1"}, "https://models.example/v1"),
        ({"engine": "api", "base_url": "http://127.0.0.1.models.example/v1"}, "models.example"),
        ({"engine": "api", "base_url": "http://localhost:1/v1"}, None),
        ({"engine": "api", "base_url": "http://127.0.0.1:1/v1"}, None),
        ({"engine": "api", "base_url": "http://[::1]:1/v1"}, None),
    ],
)
def test_values_of_a_private_database_stay_on_this_machine(
    pets_and_shops: Path, settings: dict[str, Any], goes_to: str | None
) -> None:
    model = WeakModel.model_validate({"model": "some"} | settings)
    check_private([model], pets_and_shops, ["pets", "shops"])
    (pets_and_shops / "database" / "shops" / "PRIVATE").touch()
    check_private([model], pets_and_shops, ["pets"])
    if goes_to is None:
        check_private([model], pets_and_shops, ["pets", "shops"])
        return
    with pytest.raises(DataError, match=rf"shops: marked private .* would go to .*{re.escape(goes_to)}"):
        check_private([model], pets_and_shops, ["pets", "shops"])


def test_a_run_that_would_send_a_private_database_leaves_no_folder(pets_and_shops: Path) -> None:
    (pets_and_shops / "database" / "shops" / "PRIVATE").touch()
    with pytest.raises(DataError, match="marked private"):
        ask_by_files(pets_and_shops)
    assert not (pets_and_shops.parent / "out").exists()


def test_what_a_reply_lacks_is_asked_for_by_files_again(pets_and_shops: Path, tmp_path: Path) -> None:
    ask_by_files(pets_and_shops)
    answer_requests(tmp_path / "out", tmp_path / "1.jsonl", ["SELECT 1"])
    short, some = ask_by_files(pets_and_shops, tmp_path / "1.jsonl")
    assert (len(some), short.complete) == (3, False)
    requests = answer_requests(tmp_path / "out", tmp_path / "2.jsonl", ["SELECT 2"])
    assert [request["body"].get("n") for request in requests] == [None] * 3
    whole, candidates = ask_by_files(pets_and_shops, tmp_path / "1.jsonl", tmp_path / "2.jsonl")
    assert (len(candidates), whole.complete) == (6, True)
