"""Rules of the house that a machine can check."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import sense
from sense.cli import OTHER_LINES, STAGE_LINES
from sense.recipe import STAGES
from sense.stage import StageConfig

SOURCE = Path(sense.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
MAX_LINES = 400
NAMES_THAT_SAY_NOTHING = {"utils", "helpers", "common", "misc", "core"}
FLAGS_OF_EVERY_STAGE = {"out", "json", "config", "set", "help"}

every_module = pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
every_stage = pytest.mark.parametrize("stage", STAGES)


@every_module
def test_a_file_is_one_idea(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= MAX_LINES
    assert module.stem not in NAMES_THAT_SAY_NOTHING


@every_module
def test_a_module_says_what_it_is_for(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text()))


@every_module
def test_nothing_prints(module: Path) -> None:
    calls = (node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call))
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def test_folders_are_one_level_deep() -> None:
    assert max(len(module.relative_to(SOURCE).parts) for module in MODULES) == 2


def test_every_stage_is_in_the_help() -> None:
    assert list(STAGE_LINES) == list(STAGES)
    assert STAGES.keys().isdisjoint(OTHER_LINES)


@every_stage
def test_every_setting_of_a_stage_is_described(stage: str) -> None:
    config = importlib.import_module(STAGES[stage]).Config
    assert issubclass(config, StageConfig)
    assert config.model_config.get("frozen") is True
    assert [name for name, field in config.model_fields.items() if not field.description] == []
    assert FLAGS_OF_EVERY_STAGE.isdisjoint(config.model_fields)


def test_no_stage_loads_torch_before_it_runs() -> None:
    program = (
        "import importlib, sys; from sense.recipe import STAGES\n"
        "for module in STAGES.values(): importlib.import_module(module)\n"
        "print(sorted({'torch', 'transformers', 'peft', 'matplotlib'} & sys.modules.keys()))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (told.stdout, told.returncode) == ("[]\n", 0), told.stderr


@every_stage
def test_a_stage_imports_no_other_stage(stage: str) -> None:
    """Rooms are kept apart by import-linter; this is for stages that share a room."""
    tree = ast.parse((SOURCE.parent / (STAGES[stage].replace(".", "/") + ".py")).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported.isdisjoint(set(STAGES.values()) - {STAGES[stage]})
