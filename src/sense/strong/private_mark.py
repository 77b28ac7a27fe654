"""The file that marks a folder as holding data of the user's own, which `sense push` does not send."""

from __future__ import annotations

from pathlib import Path

from sense.databases.spider import PRIVATE_MARK

_TEXT = """The database in this folder is a copy of your own, with all of its rows, private columns too.
While this file is here, 'sense push' sends nothing of the folders around it.
To share them all the same, delete this file. Nobody but you should.
"""


def mark_private(folder: Path) -> None:
    """Mark a folder, made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PRIVATE_MARK).write_text(_TEXT, encoding="utf-8")
