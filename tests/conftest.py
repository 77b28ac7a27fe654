"""Two small stages, for tests of what runs stages and not of what stages do."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import settings
from pydantic import Field

from sense import jsonl, recipe
from sense.errors import DataError
from sense.rundir import RunDir
from sense.stage import InputPath, Outcome, StageConfig

pytest_plugins = ("tiny_models", "tiny_data")

settings.register_profile("untimed", deadline=None)  # a busy machine is slow, not wrong
settings.load_profile("untimed")


class CopyConfig(StageConfig):
    """Settings of `copy`."""

    source: InputPath = Field(description="file of objects to copy")
    times: int = Field(1, ge=1, description="how often")
    workers: int = Field(1, description="how many at a time")
    keep: bool = Field(True, description="keep empty ones")


class CountConfig(StageConfig):
    """Settings of `count`."""

    source: InputPath = Field(description="file to count the lines of")
    at_least: int = Field(0, description="how many are wanted")
    wait: bool = Field(False, description="end without being complete")


def copy(config: CopyConfig, run_dir: RunDir) -> Outcome:
    """Append the source's objects to lines.jsonl; a file `stop` beside it stops it after the first."""
    objects = jsonl.read_objects(config.source) * config.times
    run_dir.start()
    done = len(jsonl.resume(run_dir / "lines.jsonl", dict))
    with jsonl.Appender(run_dir / "lines.jsonl") as file:
        for value in objects[done:]:
            file.add(value)
            if (config.source.parent / "stop").exists():
                raise KeyboardInterrupt
    return Outcome(summary={"copied": len(objects), "found": done})


def count(config: CountConfig, run_dir: RunDir) -> Outcome:
    """Count the source's lines."""
    if not config.source.is_file():
        raise DataError(f"{config.source}: a file is expected")
    run_dir.start()
    lines = len(config.source.read_text().splitlines())
    shortfall = f"{lines} lines, {config.at_least} wanted" if lines < config.at_least else None
    (run_dir / "count.txt").write_text(str(lines))
    return Outcome(summary={"lines": lines}, shortfall=shortfall, complete=not config.wait)


@pytest.fixture
def toy_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    # The table is patched because every stage of the product takes seconds or a model to run.
    for name, config, function in (("copy", CopyConfig, copy), ("count", CountConfig, count)):
        module = cast(ModuleType, SimpleNamespace(Config=config, run=function))
        monkeypatch.setitem(sys.modules, f"toy_{name}", module)
        monkeypatch.setitem(recipe.STAGES, name, f"toy_{name}")


@pytest.fixture
def chain(toy_stages: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A recipe of three steps as YAML would give it, with its data, in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "in.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    return {
        "name": "toy",
        "out": "runs",
        "settings": {"data": "data", "times": 2},
        "steps": {
            "copy": {"source": "${data}/in.jsonl", "times": "${times}"},
            "first": {"stage": "count", "source": "${data}/in.jsonl"},
            "count": {"source": "${copy}/lines.jsonl"},
        },
    }
