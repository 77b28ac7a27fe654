"""Recipes: what is refused before anything is written, and what is done again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import yaml

from sense import recipe
from sense.errors import ConfigError, DataError, DiskError
from sense.rundir import lock

Chain = dict[str, Any]


def write(chain: Chain) -> Path:
    Path("toy.yaml").write_text(yaml.safe_dump(chain, sort_keys=False))
    return Path("toy.yaml")


def run(chain: Chain, *overrides: str) -> recipe.Result:
    return recipe.run(recipe.read(write(chain), overrides=overrides))


def runs_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The steps that were not up to date in the last run."""
    lines = capsys.readouterr().err.splitlines()
    return [line.partition(":")[0] for line in lines if ": done in" in line]


def test_settings_reach_the_steps_with_their_type(chain: Chain) -> None:
    steps = recipe.read(write(chain)).steps
    assert steps[0].config.model_dump() == {
        "source": Path("data/in.jsonl"), "times": 2, "workers": 1, "keep": True,
    }  # fmt: skip


def test_an_earlier_step_is_named_by_its_folder(chain: Chain) -> None:
    last = recipe.read(write(chain)).steps[-1]
    assert dict(last.config.inputs()) == {"source": Path("runs/copy/lines.jsonl")}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        pytest.param("times=3", 3, id="of the recipe"),
        pytest.param("copy.times=4", 4, id="of a step"),
        pytest.param("copy.times='5'", 5, id="a string that is a number"),
    ],
)
def test_set_wins_over_the_file(chain: Chain, override: str, expected: int) -> None:
    config = recipe.read(write(chain), overrides=[override]).steps[0].config
    assert config.model_dump()["times"] == expected


def test_set_out_moves_every_folder(chain: Chain) -> None:
    assert recipe.read(write(chain), overrides=["out=other"]).steps[0].folder == Path("other/copy")


@pytest.mark.parametrize(
    ("place", "key", "value", "message"),
    [
        pytest.param(
            [], "stepz", {}, "toy.yaml: unknown setting 'stepz'; did you mean 'steps'?", id="top level"
        ),
        pytest.param([], "out", None, "toy.yaml: out: ", id="no folder"),
        pytest.param(
            ["settings"], "data", None, "settings.data is needed: give --set data=DIR", id="null setting"
        ),
        pytest.param(
            ["steps"], "cuont", {}, "step 'cuont': unknown stage 'cuont'; did you mean 'count'?", id="stage"
        ),
        pytest.param(
            ["steps"], "../up", {"stage": "count"}, "step '../up': a step's name is made of", id="path"
        ),
        pytest.param(["steps"], "data", {"stage": "count"}, "a setting has the same name", id="ambiguous"),
        pytest.param(
            ["steps", "copy"], "tims", 1, "step 'copy': unknown setting 'tims'; did you mean", id="setting"
        ),
        pytest.param(["steps", "copy"], "times", "x", "step 'copy': times: ", id="type"),
        pytest.param(
            ["steps", "copy"], "times", "${tmes}", "${tmes} is no setting and no earlier", id="reference"
        ),
        pytest.param(
            ["steps", "copy"], "source", "${count}", "${count} is no setting and no earl", id="later step"
        ),
    ],
)
def test_a_recipe_that_cannot_be_obeyed_is_refused(
    chain: Chain, place: list[str], key: str, value: object, message: str
) -> None:
    spot = chain
    for name in place:
        spot = spot[name]
    spot[key] = value
    with pytest.raises(ConfigError) as refusal:
        run(chain)
    assert message in str(refusal.value)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        pytest.param("tims=1", "did you mean 'times'?", id="setting"),
        pytest.param("copi.times=1", "did you mean 'copy'?", id="step"),
        pytest.param("times", "NAME=VALUE is expected", id="no value"),
        pytest.param("times=[1", "--set times=[1:1: not YAML", id="no YAML"),
        pytest.param("data=", "settings.data is needed", id="empty"),
    ],
)
def test_a_wrong_override_is_refused(chain: Chain, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        run(chain, override)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("name: toy\nsteps: [\n", "toy.yaml:3: not YAML", id="syntax"),
        pytest.param(
            "name: toy\nsteps:\n  a: {}\n  a: {}\n", "toy.yaml:4: not YAML: 'a' is given twice", id="twice"
        ),
        pytest.param("- 1\n", "toy.yaml: names and values", id="list"),
        pytest.param("name: \x00\n", "toy.yaml: not YAML", id="binary"),
        pytest.param("name: toy\nout: runs\nsteps: {}\n", "toy.yaml: steps: ", id="no steps"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "toy.yaml").write_text(text)
    with pytest.raises(ConfigError) as refusal:
        recipe.read(tmp_path / "toy.yaml")
    assert message in str(refusal.value)


def test_a_missing_recipe_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        recipe.read(Path("nowhere.yaml"))


def test_a_missing_input_of_the_last_step_is_found_before_the_first_runs(chain: Chain) -> None:
    chain["steps"]["count"]["source"] = "data/nothing.jsonl"
    with pytest.raises(DataError, match=r"step 'count': source: data/nothing\.jsonl: no such file"):
        run(chain)
    assert not Path("runs").exists()


def test_a_full_disk_is_found_before_the_first_step_runs(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    # Patched because a test cannot fill the disk.
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(100, 99, 1))
    with pytest.raises(DiskError, match="0 MiB free"):
        run(chain)
    assert not Path("runs").exists()


@pytest.mark.parametrize("place", [".", "copy"])
def test_files_that_are_not_ours_are_left_alone(chain: Chain, place: str) -> None:
    folder = Path("runs", place)
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="holds files that are no run of sense"):
        run(chain)
    assert sorted(file.name for file in Path("runs").rglob("*") if file.is_file()) == ["thesis.tex"]


def test_the_folder_of_another_recipe_is_refused(chain: Chain) -> None:
    run(chain)
    with pytest.raises(ConfigError, match="belongs to recipe 'toy', not to 'other'"):
        run(chain | {"name": "other"})


def test_a_single_command_s_run_inside_the_folder_is_refused(chain: Chain) -> None:
    run(chain)
    state = json.loads(Path("runs/count/run.json").read_text())
    Path("runs/count/run.json").write_text(json.dumps(state | {"owner": ""}))
    with pytest.raises(ConfigError, match="made by a single command, not by recipe 'toy'"):
        run(chain)


def test_all_steps_run_in_order_and_are_summed_up(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(chain)
    assert runs_of(capsys) == ["copy", "first", "count"]
    assert result.summary["lines"] == 4
    assert result.summary["steps"]["copy"]["summary"] == {"copied": 4, "found": 0}
    assert json.loads(Path("runs/summary.json").read_text()) == result.summary


def test_what_is_up_to_date_is_not_touched(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(chain)
    before = {file: file.stat().st_mtime_ns for file in Path("runs").rglob("*")}
    capsys.readouterr()
    assert run(chain) == first
    assert runs_of(capsys) == []
    assert {file: file.stat().st_mtime_ns for file in Path("runs").rglob("*")} == before


def test_a_change_redoes_what_depends_on_it_and_nothing_else(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    run(chain)
    capsys.readouterr()
    run(chain, "copy.times=3")
    error = capsys.readouterr().err
    assert "copy: made anew: changed: times: 2 -> 3" in error
    assert "first: up to date" in error
    assert "count: made anew: changed: content of source" in error


def test_changed_data_counts_and_a_setting_of_speed_does_not(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    run(chain)
    capsys.readouterr()
    run(chain, "copy.workers=7")
    assert runs_of(capsys) == []
    Path("data/in.jsonl").write_text('{"n": 1}\n')
    run(chain)
    assert runs_of(capsys) == ["copy", "first", "count"]


def test_a_stopped_run_goes_on_where_it_stopped(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/stop").touch()
    with pytest.raises(KeyboardInterrupt):
        run(chain)
    with Path("runs/copy/lines.jsonl").open("a") as file:
        file.write('{"n": ')
    Path("data/stop").unlink()
    capsys.readouterr()
    result = run(chain)
    assert "copy: goes on where it stopped" in capsys.readouterr().err
    assert result.summary["steps"]["copy"]["summary"] == {"copied": 4, "found": 1}
    assert Path("runs/copy/lines.jsonl").read_text().count("\n") == 4


def test_a_finished_run_with_a_damaged_file_is_made_anew(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    run(chain)
    Path("runs/copy/lines.jsonl").write_text('{"n": 1}\n{"n')
    capsys.readouterr()
    run(chain)
    assert runs_of(capsys) == ["copy"]
    assert Path("runs/copy/lines.jsonl").read_text().count("\n") == 4


def test_a_stage_that_refuses_leaves_the_former_run(chain: Chain) -> None:
    run(chain)
    with pytest.raises(DataError, match="a file is expected"):
        run(chain, "count.source=data")
    assert Path("runs/count/count.txt").read_text() == "4"


def test_a_shortfall_is_told_again_when_nothing_runs(chain: Chain) -> None:
    chain["steps"]["first"]["at_least"] = 9
    assert run(chain).shortfalls == ("first: 2 lines, 9 wanted",)
    assert run(chain).shortfalls == ("first: 2 lines, 9 wanted",)


def test_a_step_that_waits_stops_the_recipe(chain: Chain) -> None:
    chain["steps"]["first"]["wait"] = True
    result = run(chain)
    assert result.shortfalls == ("first: not complete; give the same command again to go on",)
    assert result.summary["stopped_at"] == "first"
    assert not Path("runs/count").exists()


def test_two_processes_do_not_work_in_one_folder(chain: Chain) -> None:
    run(chain)
    held = lock(Path("runs"))
    program = (
        "from pathlib import Path; from sense.rundir import lock; from sense.errors import ConfigError\n"
        "try: lock(Path('runs'))\nexcept ConfigError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    os.close(held)
    assert told == "runs: another sense is at work here; wait, or name another --out\n"


def test_fifteen_steps_that_are_up_to_date_take_no_time(chain: Chain) -> None:
    for number in range(12):
        chain["steps"][f"more{number}"] = {"stage": "count", "source": "${copy}/lines.jsonl"}
    run(chain)
    began = time.monotonic()
    run(chain)
    assert time.monotonic() - began < 1
