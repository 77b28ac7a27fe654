"""The stages by name, and how one is run: unless its folder holds this very run's result already."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast

from sense.errors import ConfigError, nearest
from sense.progress import clock, say
from sense.rundir import RunDir
from sense.stage import Outcome, StageConfig

# In the order of the data. Modules are named and not imported, so that a command loads only what it needs.
STAGES: dict[str, str] = {
    "synthesize": "sense.strong.generate",
    "filter": "sense.strong.filter",
    "judge": "sense.strong.judge",
    "data": "sense.strong.release",
    "split": "sense.training.hold_out",
    "sft": "sense.training.sft",
    "sample": "sense.weak.sample",
    "label": "sense.weak.label",
    "pairs": "sense.weak.pairs",
    "dpo": "sense.training.dpo",
    "predict": "sense.inference.predict",
    "suite": "sense.evaluation.build_suite",
    "score": "sense.evaluation.score",
    "report": "sense.report.page",
}


class Stage(Protocol):
    """What a stage's module offers."""

    Config: type[StageConfig]

    def run(self, config: StageConfig, run_dir: RunDir) -> Outcome:
        """Do the stage's work in the run folder."""


def load_stage(name: str) -> Stage:
    """Import a stage's module.

    Raises:
        ConfigError: there is no such stage.
    """
    if name not in STAGES:
        raise ConfigError(f"unknown stage {name!r}; {nearest(name, STAGES)}")
    return cast(Stage, importlib.import_module(STAGES[name]))


def bring_up_to_date(run_dir: RunDir, config: StageConfig, *, label: str) -> dict[str, Any]:
    """Run a stage unless its folder holds this very run's result; return the run's state.

    Args:
        run_dir: the run's folder.
        config: the run's settings.
        label: how to call it in messages.
    """
    state = run_dir.state()
    if run_dir.is_up_to_date():
        say(f"{label}: up to date")
        return state
    config.check()
    if not state:
        say(f"{label}: starts")
    elif run_dir.was_made_otherwise() is None and state["status"] == "done":
        say(f"{label}: made anew: files of the finished run are missing or changed")
        run_dir.replace()
    elif run_dir.was_made_otherwise() is None:
        say(f"{label}: goes on where it stopped")
    began = time.monotonic()
    outcome = load_stage(run_dir.stage).run(config, run_dir)
    seconds = time.monotonic() - began
    run_dir.finish(outcome, seconds=seconds)
    say(f"{label}: {'done' if outcome.complete else 'not complete'} in {clock(seconds)}")
    return run_dir.state()


def shortfalls(state: Mapping[str, Any], *, label: str) -> Iterator[str]:
    """Say what a run fell short of."""
    if state["status"] != "done":
        yield f"{label}: {state['shortfall'] or 'not complete; give the same command again to go on'}"
    elif state["shortfall"]:
        yield f"{label}: {state['shortfall']}"
