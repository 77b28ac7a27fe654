"""Run folders: the same run is gone on with, another one is never overwritten."""

from __future__ import annotations

import gc
import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from pydantic import Field

from sense.errors import ConfigError, DataError, DiskError
from sense.rundir import RunDir, check_disk, fingerprint, write_json
from sense.stage import InputPath, NamedInputPaths, Outcome, StageConfig


class Config(StageConfig):
    source: InputPath | None = None
    scores: NamedInputPaths = Field({})
    rate: float = 0.1
    workers: int = 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in/a.txt").write_text("a")
    return Path("run")


def opened(folder: Path, config: Config, *, owner: str = "") -> RunDir:
    return RunDir(folder, stage="toy", config=config, owner=owner)


def finished(folder: Path, config: Config, *, text: str = "result") -> RunDir:
    run_dir = opened(folder, config)
    run_dir.start()
    (run_dir / "out.txt").write_text(text)
    run_dir.finish(Outcome(summary={"n": 1}), seconds=1.0)
    return run_dir


def test_describing_a_run_writes_nothing(folder: Path) -> None:
    assert not opened(folder, Config()).is_up_to_date()
    assert not folder.exists()


def test_a_finished_run_is_up_to_date(folder: Path) -> None:
    finished(folder, Config(source=Path("in")))
    assert opened(folder, Config(source=Path("in"))).is_up_to_date()
    assert opened(folder, Config(source=Path("in").absolute(), workers=8)).is_up_to_date()


def test_a_started_run_is_gone_on_with(folder: Path) -> None:
    assert opened(folder, Config()).start() is False
    again = opened(folder, Config())
    assert not again.is_up_to_date()
    assert again.start() is True


def test_a_kill_before_the_first_note_leaves_a_usable_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / ".lock").touch()
    (folder / "run.json.part").write_text("{")
    assert opened(folder, Config()).start() is False


@pytest.mark.parametrize(
    ("config", "owner", "reason"),
    [
        pytest.param(Config(rate=0.2), "", "changed: rate: 0.1 -> 0.2", id="setting"),
        pytest.param(Config(source=Path("in")), "", "content of source", id="input"),
        pytest.param(Config(), "demo", "made by a single command, not by recipe 'demo'", id="owner"),
    ],
)
def test_another_run_is_refused_by_its_difference(
    folder: Path, config: Config, owner: str, reason: str
) -> None:
    finished(folder, Config())
    with pytest.raises(ConfigError) as error:
        opened(folder, config, owner=owner).start()
    assert reason in str(error.value)
    assert (folder / "out.txt").exists()


def test_new_names_of_the_same_inputs_are_another_run(folder: Path) -> None:
    finished(folder, Config(scores={"base": Path("in")}))
    reason = opened(folder, Config(scores={"tuned": Path("in")})).was_made_otherwise()
    assert reason is not None
    assert "scores: ['base'] -> ['tuned']" in reason


def test_a_run_is_replaced_only_when_it_starts(folder: Path) -> None:
    finished(folder, Config())
    run_dir = opened(folder, Config(rate=0.2))
    run_dir.replace()
    assert (folder / "out.txt").exists()
    assert run_dir.start() is False
    assert not (folder / "out.txt").exists()


@pytest.mark.parametrize("damage", [b"", b"resul"])
def test_a_damaged_result_is_not_up_to_date(folder: Path, damage: bytes) -> None:
    finished(folder, Config())
    (folder / "out.txt").write_bytes(damage)
    assert not opened(folder, Config()).is_up_to_date()


def test_an_incomplete_run_is_not_up_to_date_and_adds_up_its_time(folder: Path) -> None:
    run_dir = opened(folder, Config())
    run_dir.start()
    run_dir.finish(Outcome(complete=False), seconds=1.5)
    assert not run_dir.is_up_to_date()
    run_dir.start()
    run_dir.finish(Outcome(), seconds=1.0)
    assert run_dir.state()["seconds"] == 2.5


def test_a_run_json_that_is_not_ours_is_named(folder: Path) -> None:
    folder.mkdir()
    (folder / "run.json").write_text("{half")
    with pytest.raises(DataError, match=r"run\.json: not the run\.json of a run of sense"):
        opened(folder, Config()).start()


def test_a_missing_input_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        opened(folder, Config(source=Path("nowhere")))


def test_a_full_disk_is_found_before_anything_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    # Patched because a test cannot fill the disk.
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, 100 * 2**20))
    check_disk(folder, 50 * 2**20)
    with pytest.raises(DiskError, match="100 MiB free, 120 MiB needed"):
        opened(folder, Config()).start(need_bytes=100 * 2**20)
    assert not folder.exists()


def test_the_lock_goes_with_the_run_that_holds_it(folder: Path) -> None:
    run_dir = opened(folder, Config())
    run_dir.start()
    descriptors = len(list(Path("/dev/fd").iterdir()))
    del run_dir
    gc.collect()
    assert len(list(Path("/dev/fd").iterdir())) < descriptors


def test_a_run_s_result_counts_by_the_run_s_key(folder: Path) -> None:
    run_dir = finished(folder, Config())
    assert fingerprint(folder / "out.txt") == f"run:{run_dir.key}/out.txt"
    assert fingerprint(folder) == f"run:{run_dir.key}/."


def test_a_result_that_was_edited_counts_by_its_content(folder: Path) -> None:
    finished(folder, Config())
    (folder / "out.txt").write_text("edited by hand")
    assert fingerprint(folder / "out.txt").startswith("sha256:")


def test_a_stranger_s_file_in_a_run_folder_counts_by_its_content(folder: Path) -> None:
    finished(folder, Config())
    (folder / "mine.txt").write_text("1")
    first = fingerprint(folder / "mine.txt")
    (folder / "mine.txt").write_text("2")
    assert fingerprint(folder / "mine.txt") != first


def test_a_folder_s_fingerprint_follows_names_and_content(folder: Path) -> None:
    seen = {fingerprint(Path("in"))}
    Path("in/b.txt").write_text("a")
    seen.add(fingerprint(Path("in")))
    Path("in/b.txt").write_text("bb")
    seen.add(fingerprint(Path("in")))
    Path("in/b.txt").rename("in/c.txt")
    seen.add(fingerprint(Path("in")))
    assert len(seen) == 4


def test_runs_below_the_data_do_not_change_the_data(folder: Path) -> None:
    before = fingerprint(Path("in"))
    finished(Path("in/runs/one"), Config())
    assert fingerprint(Path("in")) == before


def test_a_folder_that_links_to_itself_is_read_once(folder: Path) -> None:
    before = fingerprint(Path("in"))
    Path("in/loop").symlink_to(Path("in").absolute())
    assert fingerprint(Path("in")) == before


def test_json_is_there_completely_or_not_at_all(folder: Path) -> None:
    write_json(Path("x.json"), {"a": 1})
    with pytest.raises(ValueError, match="Circular"):
        write_json(Path("x.json"), (loop := {"a": Path("p")}) | {"loop": loop.setdefault("loop", loop)})
    assert json.loads(Path("x.json").read_text()) == {"a": 1}
