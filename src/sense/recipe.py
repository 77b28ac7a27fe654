"""A recipe: a YAML file that names a chain of stages with their settings. `run` does what is not up to date.

    name: demo                      who owns the run folders
    out: runs/demo                  step `sft` writes to runs/demo/sft
    settings: {model: smollm2-135m} free values; `null` has to be given with --set
    steps:
      sft: {model: "${model}", data: my-data}
      second: {stage: predict, model: "${sft}/model"}     `${sft}` is the folder of that earlier step

All of a recipe is checked before anything of it runs or is written.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from sense.errors import ConfigError, DataError, SenseError, nearest
from sense.progress import say
from sense.rundir import BOOKKEEPING, RECIPE_FILE, RunDir, belongs_elsewhere, check_disk, lock, write_json
from sense.stage import StageConfig
from sense.stages import STAGES, bring_up_to_date, load_stage, shortfalls

SUMMARY_FILE = "summary.json"
STEP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # a step's name becomes a folder's
REFERENCE = re.compile(r"\$\{([^}]*)\}")


class RecipeFile(StageConfig):
    """The top level of a recipe file."""

    name: str = Field(min_length=1, description="owner of the run folders")
    description: str = Field("", description="what the recipe is for")
    out: Path = Field(description="folder of the run folders")
    settings: dict[str, Any] = Field({}, description="free values, for ${name} in the steps")
    steps: dict[str, dict[str, Any] | None] = Field(min_length=1, description="the stages to run, in order")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stage of a recipe, with its checked settings and its run folder."""

    name: str
    stage: str
    config: StageConfig
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A checked recipe."""

    name: str
    file: Path
    out: Path
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a recipe or a single stage gave; `shortfalls` is empty where all is as it was asked for."""

    summary: dict[str, Any]
    shortfalls: tuple[str, ...]


def read(file: Path, *, overrides: Sequence[str] = (), out: Path | None = None) -> Recipe:
    """Read and check a recipe file.

    Args:
        file: the YAML file.
        overrides: `name=value` for a setting of the recipe, `step.name=value` for one of a step.
        out: a folder to use in place of the recipe's.

    Raises:
        ConfigError: something in it cannot be obeyed; the message says which step of which file.
    """
    # Here, for a single stage needs no YAML, and takes half as long to start without it.
    from sense.yaml_files import parse_override, read_yaml_mapping

    values = read_yaml_mapping(file)
    draft = RecipeFile.parse(values, where=str(file))
    settings = dict(draft.settings)
    steps = {name: dict(body or {}) for name, body in draft.steps.items()}
    folder = out or draft.out
    for override in overrides:
        name, value = parse_override(override)
        step, dot, key = name.partition(".")
        if dot and step in steps:
            steps[step][key] = value
        elif dot:
            raise ConfigError(f"--set {override}: {file} has no step {step!r}; {nearest(step, steps)}")
        elif name == "out" and isinstance(value, str):
            folder = Path(value)
        elif name in settings:
            settings[name] = value
        else:
            raise ConfigError(f"--set {override}: {file} has no setting {name!r}; {nearest(name, settings)}")
    for name, value in settings.items():
        if value is None:
            raise ConfigError(f"{file}: settings.{name} is needed: give --set {name}=DIR")
    return Recipe(
        name=draft.name,
        file=file,
        out=folder,
        steps=tuple(_steps(file, steps, settings=settings, out=folder)),
    )


def run(recipe: Recipe) -> Result:
    """Run every step that is not up to date; stop at one that has to wait.

    Raises:
        ConfigError: a folder belongs to another recipe, or another process works in it.
        DataError: an input is missing.
        DiskError: the disk is too full.
    """
    _check_folders(recipe)
    _check_inputs(recipe)
    check_disk(recipe.out)
    recipe.out.mkdir(parents=True, exist_ok=True)
    held = lock(recipe.out)
    try:
        _write_if_changed(recipe.out / RECIPE_FILE, {"name": recipe.name, "file": str(recipe.file)})
        return _run_steps(recipe)
    finally:
        os.close(held)


def _steps(
    file: Path, bodies: Mapping[str, dict[str, Any]], *, settings: Mapping[str, Any], out: Path
) -> Iterator[Step]:
    known: dict[str, Any] = dict(settings)
    for name, body in bodies.items():
        where = f"{file}: step {name!r}"
        if not STEP_NAME.fullmatch(name):
            raise ConfigError(f"{where}: a step's name is made of letters, digits, - and _")
        if name in settings:
            raise ConfigError(f"{where}: a setting has the same name, so ${{{name}}} could mean both")
        stage = str(body.get("stage", name))
        if stage not in STAGES:
            raise ConfigError(f"{where}: unknown stage {stage!r}; {nearest(stage, STAGES)}")
        values = {key: _resolve(value, known, where=where) for key, value in body.items() if key != "stage"}
        config = load_stage(stage).Config.parse(values, where=where)
        yield Step(name=name, stage=stage, config=config, folder=out / name)
        known[name] = str(out / name)


def _resolve(value: object, known: Mapping[str, Any], *, where: str) -> object:
    """Put values in the place of `${name}`; a `${name}` that stands alone keeps its value's type."""
    if isinstance(value, dict):
        return {key: _resolve(part, known, where=where) for key, part in value.items()}
    if isinstance(value, list):
        return [_resolve(part, known, where=where) for part in value]
    if not isinstance(value, str):
        return value
    for name in REFERENCE.findall(value):
        if name not in known:
            hint = nearest(name, known)
            raise ConfigError(f"{where}: ${{{name}}} is no setting and no earlier step; {hint}")
    alone = REFERENCE.fullmatch(value)
    return known[alone[1]] if alone else REFERENCE.sub(lambda match: str(known[match[1]]), value)


def _check_folders(recipe: Recipe) -> None:
    if recipe.out.exists():
        _check_out(recipe)
    for step in recipe.steps:
        reason = belongs_elsewhere(step.folder, recipe.name)
        if reason is not None:
            raise ConfigError(f"{step.folder}: this folder cannot be used: {reason}; name another with --out")


def _check_out(recipe: Recipe) -> None:
    if not recipe.out.is_dir():
        raise ConfigError(f"{recipe.out}: a folder is expected, this is a file; name another with --out")
    found = sorted(entry.name for entry in recipe.out.iterdir() if entry.name not in BOOKKEEPING)
    if RECIPE_FILE in found:
        owner = (_read_json(recipe.out / RECIPE_FILE) or {}).get("name")
        if owner != recipe.name:
            raise ConfigError(
                f"{recipe.out}: this folder belongs to recipe {owner!r}, not to {recipe.name!r}; "
                f"name another with --out"
            )
    elif found and found != [RECIPE_FILE + ".part"]:
        raise ConfigError(
            f"{recipe.out}: this folder holds files that are no run of sense ({found[0]!r}); "
            f"name another with --out"
        )


def _check_inputs(recipe: Recipe) -> None:
    """Look for every input that no earlier step is going to write."""
    made: list[Path] = []
    for step in recipe.steps:
        for name, path in step.config.inputs():
            if not path.exists() and not any(path.is_relative_to(folder) for folder in made):
                where = f"{recipe.file}: step {step.name!r}"
                raise DataError(f"{where}: {name}: {path}: no such file or folder")
        try:
            step.config.check(made)
        except SenseError as error:
            raise type(error)(f"{recipe.file}: step {step.name!r}: {error}") from None
        made.append(step.folder)


def _run_steps(recipe: Recipe) -> Result:
    states: dict[str, dict[str, Any]] = {}
    short: list[str] = []
    for step in recipe.steps:
        run_dir = RunDir(step.folder, stage=step.stage, config=step.config, owner=recipe.name)
        reason = run_dir.was_made_otherwise()
        if reason is not None:
            say(f"{step.name}: made anew: {reason}")
            run_dir.replace()
        states[step.name] = state = bring_up_to_date(run_dir, step.config, label=step.name)
        new = list(shortfalls(state, label=step.name))
        short += new
        if state["status"] != "done":
            return Result(
                summary=_summary(recipe, states) | {"stopped_at": step.name}, shortfalls=tuple(short)
            )
        for line in new:
            say(line)
    summary = _summary(recipe, states)
    _write_if_changed(recipe.out / SUMMARY_FILE, summary)
    return Result(summary=summary, shortfalls=tuple(short))


def _summary(recipe: Recipe, states: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    last: dict[str, Any] = list(states.values())[-1]["summary"]
    steps = {name: {key: state[key] for key in ("seconds", "summary")} for name, state in states.items()}
    return last | {"recipe": recipe.name, "steps": steps}


def _write_if_changed(file: Path, value: dict[str, Any]) -> None:
    if _read_json(file) != value:
        write_json(file, value)


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None
