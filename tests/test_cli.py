"""The command line: flags, exit codes, errors of one line."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sense import __version__, cli, recipe
from sense.rundir import RunDir
from sense.stage import Outcome, StageConfig

Chain = dict[str, Any]


@pytest.fixture
def lines(toy_stages: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(cli.STAGE_LINES, "copy", "copy lines")
    monkeypatch.setitem(cli.STAGE_LINES, "count", "count lines")
    Path("in.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    return Path("in.jsonl")


def sense(command: str) -> int:
    return cli.main(command.split())


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def settings_of(folder: str) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(Path(folder, "run.json").read_text())["settings"]
    return settings


def test_every_stage_has_its_line_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines() if line.startswith("  ")] == [
        *recipe.STAGES, *cli.OTHER_LINES,
    ]  # fmt: skip


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"sense {__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from sense.cli import main; main(['--help'])\n"
        "print(sorted({'torch', 'transformers', 'sqlglot', 'numpy', 'matplotlib'} & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"


def test_a_stage_runs_and_sums_up_in_json(lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.main(["copy", "--source", "in.jsonl", "--times", "3", "--no-keep", "--out", "o", "--json"]) == 0
    )
    assert last_json(capsys) == {"copied": 6, "found": 0, "out": "o", "stage": "copy"}
    assert settings_of("o") == {"source": "in.jsonl", "times": 3, "workers": 1, "keep": False}


def test_a_finished_run_is_not_repeated(lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["copy", "--source", "in.jsonl", "--out", "o"]
    assert cli.main(command) == cli.main(command) == 0
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1] == "copy: up to date"
    assert shown.out == "copied: 2\nfound: 0\nout: o\nstage: copy\n" * 2


def test_flags_win_over_set_and_set_over_the_file(lines: Path) -> None:
    Path("c.yaml").write_text("{source: in.jsonl, times: 2, workers: 2}")
    assert sense("copy --config c.yaml --set times=3 --set workers=3 --workers 4 --out o") == 0
    settings = settings_of("o")
    assert (settings["times"], settings["workers"]) == (3, 4)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        pytest.param("cuont", "unknown command 'cuont'; did you mean 'count'?", id="command"),
        pytest.param(
            "copy --suorce x --out o", "unknown argument '--suorce'; did you mean --source?", id="flag"
        ),
        pytest.param("copy --out o", "sense copy: --source is needed", id="missing setting"),
        pytest.param("copy --source in.jsonl", "sense copy: --out is needed", id="no out"),
        pytest.param("copy --source in.jsonl --times x --out o", "sense copy: times: ", id="type"),
        pytest.param("copy --source no.jsonl --out o", "no.jsonl: no such file or folder", id="no input"),
        pytest.param("copy --source in.jsonl --set tims=1 --out o", "did you mean 'times'?", id="set"),
        pytest.param("copy --source", "argument --source: expected one argument", id="no value"),
        pytest.param(
            "copy --source in.jsonl --out in.jsonl", "in.jsonl: this folder cannot be used", id="a file"
        ),
        pytest.param("copy --source in.jsonl --out .", "holds files that are no run of sense", id="not ours"),
        pytest.param("run no.yaml", "no.yaml: no such file", id="recipe"),
        pytest.param("run", "the following arguments are required: recipe", id="no recipe"),
        pytest.param("model gte", "invalid choice: 'gte'", id="model"),
        pytest.param("model get smolm2", "smollm2-135m", id="model name"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    lines: Path, capsys: pytest.CaptureFixture[str], command: str, message: str
) -> None:
    assert sense(command) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    last = shown.err.splitlines()[-1]
    assert last.startswith("sense: error: ")
    assert message in last
    assert [path.name for path in Path().iterdir()] == ["in.jsonl"]


def test_the_run_of_another_command_is_kept(lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sense("copy --source in.jsonl --out o") == 0
    assert sense("copy --source in.jsonl --times 5 --out o") == 2
    assert "changed: times: 1 -> 5; name another with --out" in capsys.readouterr().err
    assert Path("o/lines.jsonl").read_text().count("\n") == 2


def test_a_shortfall_is_exit_code_1(lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = "count --source in.jsonl --at-least 3 --out o --json"
    assert sense(command) == sense(command) == 1
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1] == "sense: count: 2 lines, 3 wanted"
    assert json.loads(shown.out.splitlines()[-1])["lines"] == 2


def test_ctrl_c_says_how_to_go_on(lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("stop").touch()
    command = "copy --source in.jsonl --out o --json"
    assert sense(command) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "sense: stopped; the same command goes on from here"
    Path("stop").unlink()
    assert sense(command) == 0
    assert last_json(capsys)["found"] == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        pytest.param(
            OSError(errno.ENOSPC, "No space left on device", "w"), "no room left on the disk", id="disk"
        ),
        pytest.param(RuntimeError("io: No space left on device"), "no room left on the disk", id="disk in C"),
        pytest.param(
            PermissionError(errno.EACCES, "Permission denied", "w"), "w: Permission denied", id="rights"
        ),
        pytest.param(ModuleNotFoundError("no", name="torch"), "pip install 'sense-sql[train]'", id="extra"),
    ],
)
def test_what_the_system_refuses_is_said_in_one_line(
    lines: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    message: str,
) -> None:
    # Patched because a test cannot fill a disk, take root's rights away or uninstall a package.
    monkeypatch.setattr(sys.modules["toy_count"], "run", raising(error))
    assert sense("count --source in.jsonl --out o") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("sense: error: ")
    assert message in last


def test_a_bug_keeps_its_traceback(lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["toy_count"], "run", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        sense("count --source in.jsonl --out o")


def raising(error: Exception) -> Callable[[StageConfig, RunDir], Outcome]:
    def run(config: StageConfig, run_dir: RunDir) -> Outcome:
        raise error

    return run


def test_a_recipe_ends_with_one_line_of_json(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    Path("toy.yaml").write_text(yaml.safe_dump(chain, sort_keys=False))
    assert sense("run toy.yaml --set times=1 --out elsewhere --json") == 0
    summary = last_json(capsys)
    assert (summary["recipe"], summary["lines"]) == ("toy", 2)
    assert summary == json.loads(Path("elsewhere/summary.json").read_text())


def test_a_recipe_that_falls_short_is_exit_code_1(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    chain["steps"]["first"]["at_least"] = 3
    Path("toy.yaml").write_text(yaml.safe_dump(chain, sort_keys=False))
    assert cli.main(["run", "toy.yaml"]) == 1
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1] == "sense: first: 2 lines, 3 wanted"
    assert Path("runs/count/count.txt").exists()


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("scoer", id="command"),
        pytest.param("score --data nowhere --predictions nowhere --out o", id="input"),
        pytest.param("score --benchmark spyder --out o", id="value"),
        pytest.param("run nowhere.yaml", id="recipe"),
    ],
)
def test_a_process_ends_with_one_line_and_no_traceback(tmp_path: Path, command: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "sense", *command.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert ended.stderr.startswith("sense: error: ")
    assert ended.stderr.count("\n") == 1


def test_a_closed_pipe_is_not_an_error() -> None:
    shell = f"{sys.executable} -m sense --help | true"
    ended = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert ended.stderr == ""


@pytest.mark.parametrize(
    "command",
    [
        "predict --model M --data DIR --split dev --out DIR",
        "score --benchmark spider --data DIR --split dev --predictions FILE --out DIR",
    ],
)
def test_the_flags_of_the_readme_are_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sense(command) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "sense: error: DIR: no such file or folder"
