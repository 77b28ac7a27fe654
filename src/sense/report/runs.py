"""Run folders as the page shows them: what went in, what came out, how long it took, how training went."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sense import jsonl
from sense.errors import DataError
from sense.progress import clock
from sense.report.plots import Curve, Plot
from sense.rundir import RUN_FILE

METRICS_FILE = "metrics.jsonl"
# The plots of a training run: the title, and which metrics are drawn under which names.
PLOTS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("loss", {"loss": "training", "eval_loss": "held out"}),
    ("reward margin", {"reward_margin": "chosen \N{MINUS SIGN} rejected"}),
    ("reward accuracy", {"reward_accuracy": "chosen above rejected"}),
    ("log-probability", {"logp_chosen": "chosen", "logp_rejected": "rejected"}),
)
MAX_LISTED = 6  # values of a list in the pipeline table; the whole summary stands below the table

Model = TypeVar("Model", bound=BaseModel)


class RunFile(BaseModel):
    """What the page needs of run.json; a run that has not ended has neither seconds nor a summary."""

    stage: str
    status: str
    settings: dict[str, Any]
    inputs: dict[str, Any]
    versions: dict[str, str] = {}
    finished: str = ""
    seconds: float | None = None
    shortfall: str | None = None
    summary: dict[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder, its run.json, and the lines of metrics.jsonl if it has any."""

    path: Path
    file: RunFile
    metrics: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """Call the run by its folder."""
        return self.path.resolve().name


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRow:
    """One stage in the pipeline table; each fact is a name and its value."""

    name: str
    stage: str
    went_in: Sequence[tuple[str, str]]
    came_out: Sequence[tuple[str, str]]
    took: str
    note: str


def read_run(path: Path) -> Run:
    """Read a run folder.

    Raises:
        DataError: it is none, or a file in it does not hold what it should.
    """
    if not (path / RUN_FILE).is_file():
        raise DataError(f"{path}: no run folder of sense ({RUN_FILE} is missing)")
    metrics = path / METRICS_FILE
    return Run(
        path=path,
        file=read_json(path / RUN_FILE, RunFile),
        metrics=jsonl.read_objects(metrics) if metrics.is_file() else (),
    )


def read_json(path: Path, model: type[Model]) -> Model:
    """Read and check a JSON file.

    Raises:
        DataError: it is missing, is not JSON, or does not hold what it should.
    """
    try:
        return model.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    except ValidationError as error:
        raise DataError(f"{path}: {jsonl.first_complaint(error)}") from None


def pipeline(runs: Sequence[Run]) -> list[PipelineRow]:
    """Make the rows of the pipeline table, in the order given."""
    names = {run.path.resolve(): run.name for run in runs}
    return [
        PipelineRow(
            name=run.name,
            stage=run.file.stage,
            went_in=list(_inputs(run.file, names)),
            came_out=list(facts(run.file.summary, settings=run.file.settings)),
            took="" if run.file.seconds is None else clock(run.file.seconds),
            note=run.file.shortfall or ("" if run.file.status == "done" else run.file.status),
        )
        for run in runs
    ]


def facts(summary: Mapping[str, Any], *, settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a summary's numbers and plain tables of them; settings, words and deeper nests are left out.

    >>> list(facts({"kept": 1200, "dropped": {"duplicate": 3, "empty": 4}, "seed": 1}, settings={"seed": 1}))
    [('kept', '1,200'), ('dropped', 'duplicate 3, empty 4')]
    """
    for name, value in summary.items():
        if name in settings:
            continue
        text = _table(value) if isinstance(value, Mapping) else _plain(value)
        if text is not None:
            yield _spaced(name), text


def training_plots(run: Run) -> list[Plot]:
    """Choose what can be drawn of a training run, [] where it left no metrics."""
    plots = []
    for title, metrics in PLOTS:
        curves = [curve for key, label in metrics.items() if (curve := _curve(run, key=key, label=label))]
        if curves:
            plots.append(Plot(title=f"{run.name}: {title}", curves=curves))
    return plots


def versions(runs: Sequence[Run]) -> dict[str, str]:
    """Collect the versions of all runs; where they differ, every one that was used."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for package, version in run.file.versions.items():
            known = found.setdefault(package, [])
            if version not in known:
                known.append(version)
    return {package: ", ".join(known) for package, known in found.items()}


def pretty(value: object) -> str:
    """Write a setting so that a person can read it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _inputs(file: RunFile, names: Mapping[Path, str]) -> Iterator[tuple[str, str]]:
    for setting in file.inputs:
        value = file.settings.get(setting)
        if isinstance(value, str):
            paths = [value]
        elif isinstance(value, Mapping):
            paths = list(value.values())
        else:
            paths = list(value or ())
        shown = ", ".join(dict.fromkeys(_origin(path, names) for path in paths))
        yield _spaced(setting), shown


def _origin(path: str, names: Mapping[Path, str]) -> str:
    """Call a path by the run it lies in, or else by its last part.

    >>> _origin("runs/demo/filter/examples.jsonl", {Path("runs/demo/filter").resolve(): "filter"})
    'filter/examples.jsonl'
    """
    resolved = Path(path).resolve()
    for folder in (resolved, *resolved.parents):
        if folder in names:
            return str(Path(names[folder]) / resolved.relative_to(folder))
    return resolved.name


def _curve(run: Run, *, key: str, label: str) -> Curve | None:
    steps: list[float] = []
    values: list[float] = []
    for line in run.metrics:
        step, value = line.get("step"), line.get(key)
        if isinstance(step, int | float) and isinstance(value, int | float) and math.isfinite(value):
            steps.append(step)
            values.append(value)
    return Curve(label=label, steps=steps, values=values) if values else None


def _table(value: Mapping[str, Any]) -> str | None:
    cells = {name: _plain(cell) for name, cell in value.items()}
    shown = [f"{_spaced(name)} {cell}" for name, cell in cells.items() if cell is not None]
    return ", ".join(shown) or None


def _plain(value: object) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, list) and 0 < len(value) <= MAX_LISTED:
        cells = [_plain(cell) for cell in value]
        return ", ".join(cell for cell in cells if cell is not None) or None
    return None


def _spaced(name: str) -> str:
    return str(name).replace("_", " ")
