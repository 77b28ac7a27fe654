"""A run folder: settings, provenance, results of one stage; resumable, and never overwritten by another run.

`run.json` is the folder's identity. Its `key` is a hash of the stage, its settings and the content of
its inputs: the same key means the same run, so a command given again goes on with it or finds it done. An
input that is the result of another run counts by that run's key, so gigabytes of weights are not read to find
that nothing changed. One process at a time works in a folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import sqlite3
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sense
from sense.caches import file_digest
from sense.errors import ConfigError, DataError, DiskError
from sense.progress import is_follower
from sense.stage import Outcome, StageConfig

RUN_FILE = "run.json"
RECIPE_FILE = "recipe.json"  # marks the folder that holds the run folders of a recipe
LOCK_FILE = ".lock"
BOOKKEEPING = frozenset({RUN_FILE, RUN_FILE + ".part", LOCK_FILE})  # not what a run was made for
MIN_FREE_BYTES = 20 * 2**20  # below this even the records of a small run may not fit
TRACKED_PACKAGES = ("torch", "transformers", "peft", "tokenizers", "sqlglot", "pydantic")


class RunDir:
    """One stage's folder, opened for the run that `config` describes."""

    def __init__(self, path: Path, *, stage: str, config: StageConfig, owner: str = "") -> None:
        """Describe the run; nothing is written before `start`.

        Args:
            path: the folder, made when it is not there.
            stage: the stage's name.
            config: its settings.
            owner: the recipe that this run belongs to, "" for a single command.

        Raises:
            DataError: an input is missing.
        """
        self.path = path
        self.stage = stage
        self.owner = owner
        self.settings = json.loads(config.model_dump_json())
        self.inputs = _fingerprints(config, path)
        self._speed_only = config.SPEED_ONLY
        settings = self._plain(self.settings)
        self.key = _hash_json([stage, settings, self.inputs])
        self._replaces = False
        self._unlock: Callable[[], object] = lambda: None
        grown = config.MAY_GROW
        self._root_key = _hash_json(
            [stage] + [{k: v for k, v in part.items() if k not in grown} for part in (settings, self.inputs)]
        )

    def __truediv__(self, name: str) -> Path:
        """Name a file of the run."""
        return self.path / name

    def state(self) -> dict[str, Any]:
        """Read run.json, {} where there is none."""
        return _read_run_file(self.path)

    def is_up_to_date(self) -> bool:
        """Tell whether this very run has ended here and its files are as it left them."""
        state = self.state()
        same = state.get("key") == self.key and state.get("status") == "done"
        return same and not _differs(self.path, state["outputs"])

    def was_made_otherwise(self) -> str | None:
        """Say what sets the run found in the folder apart from this one, None if nothing does."""
        reason = belongs_elsewhere(self.path, self.owner)
        if reason is not None:
            return reason
        state = self.state()
        if not state:
            return None
        if state["stage"] != self.stage:
            return f"it holds a run of 'sense {state['stage']}'"
        if state["key"] == self.key:
            return None
        if state.get("root_key") == self._root_key and state["status"] != "done":
            return None
        old = self._plain(state["settings"])
        changed = [
            f"{name}: {old.get(name)!r} -> {value!r}"
            for name, value in self._plain(self.settings).items()
            if old.get(name) != value
        ]
        before = state["inputs"]
        changed += [f"content of {name}" for name, value in self.inputs.items() if before.get(name) != value]
        return "changed: " + ("; ".join(changed) or "settings that no longer exist")

    def start(self, *, need_bytes: int = 0) -> bool:
        """Make the folder, or go on with the same run where it stopped; True if there is a run to go on with.

        Args:
            need_bytes: how much the run is going to write, if it is known to be much.

        A follower of a training in several processes changes nothing: the first process does.

        Raises:
            ConfigError: the folder belongs to another run.
            DiskError: the disk is too full.
        """
        if is_follower():
            return bool(self.state())
        reason = self.was_made_otherwise()
        if reason is not None and not self._replaces:
            raise ConfigError(f"{self.path}: this folder cannot be used: {reason}; name another with --out")
        self.check_disk(need_bytes)
        self.path.mkdir(parents=True, exist_ok=True)
        self._unlock = weakref.finalize(self, os.close, lock(self.path))
        if self._replaces:
            _empty(self.path)
        resumed = bool(self.state())
        if not resumed:
            self._write({"started": _now(), "status": "running"})
        return resumed

    def replace(self) -> None:
        """Let `start` remove the run found in the folder; a stage that refuses its inputs leaves it be."""
        self._replaces = True

    def check_disk(self, need_bytes: int = 0) -> None:
        """Raise DiskError where less than `need_bytes` (and a little more) is free."""
        check_disk(self.path, need_bytes)

    def finish(self, outcome: Outcome, *, seconds: float) -> None:
        """Note how the run ended and what it left."""
        if is_follower():
            return
        before = self.state()
        self._write(
            {
                "started": before.get("started", _now()),
                "finished": _now(),
                "seconds": round(before.get("seconds", 0.0) + seconds, 1),
                "status": "done" if outcome.complete else "incomplete",
                "shortfall": outcome.shortfall,
                "summary": outcome.summary,
                "outputs": _sizes(self.path),
            }
        )
        self._unlock()

    def _plain(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out what is no part of a run's identity: speed, and where an input lies (not its name)."""
        kept: dict[str, Any] = {}
        for name, value in settings.items():
            if name in self.inputs and isinstance(value, dict):
                kept[name] = list(value)
            elif name not in self.inputs and name not in self._speed_only:
                kept[name] = value
        return kept

    def _write(self, state: dict[str, Any]) -> None:
        head = {
            "stage": self.stage,
            "owner": self.owner,
            "key": self.key,
            "root_key": self._root_key,
            "settings": self.settings,
            "inputs": self.inputs,
            "versions": _versions(),
        }
        write_json(self.path / RUN_FILE, head | state)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file so that it is there completely or not at all."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1, default=str)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def belongs_elsewhere(path: Path, owner: str) -> str | None:
    """Say why a folder is not for `owner` to write in; None if it is, or is empty, or is not there."""
    if not path.exists():
        return None
    if not path.is_dir():
        return "it is a file"
    state = _read_run_file(path)
    if not state:
        strange = sorted(entry.name for entry in path.iterdir() if entry.name not in BOOKKEEPING)
        return f"it holds files that are no run of sense ({strange[0]!r})" if strange else None
    if state["owner"] != owner:
        return f"it was made by {_owner_name(state['owner'])}, not by {_owner_name(owner)}"
    return None


def check_disk(path: Path, need_bytes: int = 0) -> None:
    """Raise DiskError where less than `need_bytes` (and a little more) is free."""
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < need_bytes + MIN_FREE_BYTES:
        need = need_bytes + MIN_FREE_BYTES
        raise DiskError(
            f"{path}: {free / 2**20:.0f} MiB free, {need / 2**20:.0f} MiB needed for the run folder; "
            f"free some space or name another disk with --out"
        )


def lock(folder: Path) -> int:
    """Keep other processes out of a folder until the descriptor that is returned is closed.

    Raises:
        ConfigError: another process is at work there.
    """
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # lockf and not flock: a worker process that outlives a killed run must not go on holding the lock
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.close(descriptor)
        raise ConfigError(f"{folder}: another sense is at work here; wait, or name another --out") from None
    return descriptor


def fingerprint(path: Path, *, own: Path | None = None) -> str:
    """Hash what a path holds: a run's result by the run's key, anything else by its content.

    Args:
        path: a file or folder.
        own: the asking run's folder; what a user has put there is no result, though the run counts it as one.

    Raises:
        DataError: there is nothing at the path.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    result = None if own and path.is_relative_to(own) else _as_result(path.absolute())
    if result is not None:
        return result
    if path.is_file():
        return "sha256:" + file_digest(path)
    stamps = [[str(file.relative_to(path)), _stamp(file)] for file in sorted(_files(path))]
    return "sha256:" + _hash_json(stamps)


def _as_result(path: Path) -> str | None:
    """Name a path by the finished run that wrote it; None if none did, or it is not as the run left it."""
    for folder in (path, *path.parents):
        try:
            state = _read_run_file(folder)
        except DataError:  # somebody else's run.json, above ours
            continue
        if state.get("status") != "done":
            continue
        name = path.relative_to(folder).as_posix()
        sizes = {
            output: size
            for output, size in state["outputs"].items()
            if name in (".", output) or output.startswith(name + "/")
        }
        if sizes and not _differs(folder, sizes):
            return f"run:{state['key']}/{name}"
    return None


def _files(folder: Path) -> Iterator[Path]:
    """Yield a data folder's files; not caches, and not our own runs that a user keeps below the data."""
    seen: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        found = os.stat(root)  # noqa: PTH116 - a link may lead back to where the walk has been
        real = (found.st_dev, found.st_ino)
        ours = Path(root) != folder and not {RUN_FILE, RECIPE_FILE}.isdisjoint(names)
        if real in seen or ours:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(root, name) for name in names if name not in BOOKKEEPING)
        yield from (file for file in files if file.is_file())


def _fingerprints(config: StageConfig, own: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, path in config.inputs():
        found.setdefault(name, []).append(fingerprint(path, own=own))
    return found


LARGE_FILE_BYTES = 8 * 2**20  # of a folder's larger files only the size and the first part are hashed


def _stamp(path: Path) -> str:
    size = path.stat().st_size
    if size <= LARGE_FILE_BYTES:
        return file_digest(path)
    return f"{size}:{file_digest(path, first_bytes=LARGE_FILE_BYTES)}"


def _hash_json(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:32]


def _read_run_file(folder: Path) -> dict[str, Any]:
    try:
        state = json.loads((folder / RUN_FILE).read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}
    except ValueError:
        raise DataError(f"{folder / RUN_FILE}: not the run.json of a run of sense; move it away") from None
    ours = {"key", "stage", "owner", "settings", "inputs", "status"}
    return state if isinstance(state, dict) and ours <= state.keys() else {}


def _differs(folder: Path, sizes: Mapping[str, int]) -> bool:
    files = ((folder / name, size) for name, size in sizes.items())
    return any(not file.is_file() or file.stat().st_size != size for file, size in files)


def _sizes(path: Path) -> dict[str, int]:
    files = (file for file in path.rglob("*") if file.is_file() and file.name not in BOOKKEEPING)
    return {str(file.relative_to(path)): file.stat().st_size for file in sorted(files)}


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK_FILE:
            entry.unlink()


def _versions() -> dict[str, str]:
    """Name the versions of what this process has loaded: nothing else can have mattered."""
    found = {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "sense": sense.__version__,
    }
    for package in TRACKED_PACKAGES:
        if package in sys.modules:
            found[package] = str(sys.modules[package].__version__)
    return found


def _owner_name(owner: str) -> str:
    return f"recipe {owner!r}" if owner else "a single command"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
