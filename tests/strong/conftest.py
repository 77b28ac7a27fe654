"""A strong model's replies, written by hand; and the shipped ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.strong import filter as filter_stage
from sense.strong import generate

DEMO = Path(__file__).parents[2] / "data" / "demo"

DATABASE: dict[str, Any] = {
    "domain": "falconry",
    "db_id": "mews",
    "tables": [
        {
            "name": "falconer",
            "create": "CREATE TABLE falconer (id INTEGER PRIMARY KEY, name TEXT)",
            "rows": [[1, "Ann"], [2, "Bo"]],
        },
        {
            "name": "bird",
            "create": "CREATE TABLE bird (id INTEGER PRIMARY KEY, kind TEXT, keeper INT REFERENCES falconer)",
            "rows": [[1, "kestrel", 1], [2, "merlin", 1], [3, "hobby", None]],
        },
    ],
}


@pytest.fixture
def synthesize(tmp_path: Path) -> Callable[..., Outcome]:
    """Run `synthesize` in tmp_path/synth with these replies, by the beginning of the request's name."""

    def run(*answers: tuple[str, object], **settings: Any) -> Outcome:
        settings = {"databases": 2, "replies": [], "seed": 1} | settings
        if answers:
            (tmp_path / "replies.jsonl").write_text("".join(_line(tmp_path, *answer) for answer in answers))
            settings["replies"] = [tmp_path / "replies.jsonl"]
        config = generate.Config.parse(settings, where="test")
        run_dir = RunDir(tmp_path / "synth", stage="synthesize", config=config)
        outcome = generate.run(config, run_dir)
        run_dir.finish(outcome, seconds=0.0)
        return outcome

    return run


def _line(tmp_path: Path, name: str, answer: object) -> str:
    asked = jsonl.read_objects(tmp_path / "synth" / "requests.jsonl")
    custom_id = next((line["custom_id"] for line in asked if line["custom_id"].startswith(name)), name)
    content = answer if isinstance(answer, str) else json.dumps(answer)
    body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return json.dumps({"custom_id": custom_id, "response": {"status_code": 200, "body": body}}) + "\n"


@pytest.fixture
def filtered(tmp_path: Path) -> Callable[..., tuple[Outcome, Path]]:
    """Run `filter` on databases and items."""

    def run(
        databases: list[dict[str, Any]],
        items: list[dict[str, Any]],
        *,
        name: str = "filtered",
        **settings: Any,
    ) -> tuple[Outcome, Path]:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        jsonl.write(source / "databases.jsonl", databases)
        jsonl.write(source / "items.jsonl", items)
        settings = {"source": source, "new_databases": 0, "workers": 1} | settings
        config = filter_stage.Config.parse(settings, where="test")
        outcome = filter_stage.run(config, RunDir(tmp_path / name, stage="filter", config=config))
        return outcome, tmp_path / name

    return run
