"""What is kept between runs."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sense import caches


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make_old(path: Path) -> None:
    os.utime(path, (1_000_000_000, 1_000_000_000))


def test_the_digest_is_sha256(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"some text")
    assert caches.file_digest(path) == hashlib.sha256(b"some text").hexdigest()
    assert caches.file_digest(path, first_bytes=4) == hashlib.sha256(b"some").hexdigest()


def test_a_changed_file_has_another_digest(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    first = caches.file_digest(path)
    path.write_bytes(b"other")  # the same size, perhaps within one tick of the clock
    assert caches.file_digest(path) != first


def test_a_file_just_written_is_not_trusted_to_stay(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"first")
    caches.file_digest(path)
    with closing(sqlite3.connect(home / "hashes.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM hash").fetchone() == (0,)


def test_a_folder_that_cannot_be_written_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    monkeypatch.setenv("SENSE_HOME", str(tmp_path / "home"))
    path = tmp_path / "file"
    path.write_bytes(b"some text")
    assert caches.file_digest(path) == hashlib.sha256(b"some text").hexdigest()
