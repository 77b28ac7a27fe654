"""Send a data or model folder to the Hugging Face Hub, through huggingface_hub; or say what would be sent.

Left at home are hidden files and a run folder's bookkeeping, which names paths of this machine. A folder
in which a file is called `PRIVATE`, as `sense filter` puts beside copies of the user's own databases, is not
sent at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import filter_repo_objects, validate_repo_id
from pydantic import Field

from sense.databases.spider import PRIVATE_MARK
from sense.errors import ConfigError, DataError, ModelError
from sense.rundir import BOOKKEEPING
from sense.stage import StageConfig

CARD = "README.md"
LEFT_OUT = (".*", "*/.*", "*.part", *sorted(BOOKKEEPING), *(f"*/{name}" for name in sorted(BOOKKEEPING)))


class Config(StageConfig):
    """Settings of `sense push`."""

    folder: Path = Field(description="what to send; it needs a card, README.md")
    repo: str = Field(description="where to, as user/name; made if it is not there")
    type: Literal["dataset", "model"] = Field("dataset", description="what it is")
    private: bool = Field(False, description="if it is made now, only its owner sees it")
    dry_run: bool = Field(False, description="send nothing; say what would be sent")


def push(config: Config) -> Iterator[str]:
    """Make the repository if it is not there, and send the files in one commit; yields lines on what is sent.

    Raises:
        ConfigError: the repository's name is none, or there is nobody to send as.
        DataError: the folder is not there, has no card, or holds what is marked private.
        ModelError: the hub refuses, or cannot be reached.
    """
    _check_name(config.repo)
    files = _files(config.folder)
    if get_token() is None:
        raise ConfigError("no token for the Hugging Face Hub: set HF_TOKEN, or log in with 'hf auth login'")
    yield from (f"{size:>12,}  {name}" for name, size in files.items())
    yield f"{sum(files.values()):>12,}  bytes in {len(files)} files, for {config.type} {config.repo}"
    if not config.dry_run:
        yield f"sent: {_send(config)}"


def _send(config: Config) -> str:
    api = HfApi()
    try:
        url = api.create_repo(
            config.repo, repo_type=config.type, private=config.private or None, exist_ok=True
        )
        api.upload_folder(
            repo_id=config.repo,
            repo_type=config.type,
            folder_path=config.folder,
            ignore_patterns=list(LEFT_OUT),
            commit_message="Upload with sense push",
        )
    except OSError as error:  # what the hub's client raises, on refusals too
        raise ModelError(f"{api.endpoint}: {config.repo}: {_first_line(error)}") from None
    return str(url)


def _check_name(repo: str) -> None:
    try:
        validate_repo_id(repo)
        is_name = repo.count("/") == 1
    except HFValidationError:
        is_name = False
    if not is_name:
        raise ConfigError(f"--repo {repo!r}: a name like user/name is expected, of letters, digits and . _ -")


def _files(folder: Path) -> dict[str, int]:
    """List what is sent, with its size in bytes."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    there = sorted(path for path in folder.rglob("*") if path.is_file())
    marked = next((path for path in there if path.name == PRIVATE_MARK), None)
    if marked is not None:
        raise DataError(f"{marked.parent}: marked private by its file {PRIVATE_MARK}; nothing is sent")
    names = (path.relative_to(folder).as_posix() for path in there)
    sent = filter_repo_objects(names, ignore_patterns=list(LEFT_OUT))
    files = {str(name): (folder / name).stat().st_size for name in sent}
    if CARD not in files:
        raise DataError(f"{folder}: no {CARD}: a card should say what this is, how it was made, its license")
    return files


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
