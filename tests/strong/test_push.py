"""`sense push`: what is sent, and what is refused, against a server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.hf_api
import pytest
from huggingface_hub import constants

from sense.cli import main


class Hub(ThreadingHTTPServer):
    """Takes small files as the hub does, unless it `refuses`; remembers what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refuses = False
        self.asked: list[tuple[str, list[dict[str, Any]]]] = []

    def answer(self, path: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
        self.asked.append((path, lines))
        if path.endswith("/preupload/main"):
            kinds = {"uploadMode": "regular", "shouldIgnore": False}
            return {"files": [{"path": file["path"], **kinds} for file in lines[0]["files"]]}
        url = f"http://127.0.0.1:{self.server_port}/datasets/ann/mews"
        return {"url": url, "commitUrl": f"{url}/commit/abc", "commitOid": "abc", "success": True}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        hub = self.server
        assert isinstance(hub, Hub)
        lines = [json.loads(line) for line in body.splitlines()]
        answer = json.dumps(hub.answer(self.path, lines)).encode()
        self.send_response(403 if hub.refuses else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    # The library reads HF_ENDPOINT once, when it is imported.
    monkeypatch.setattr(
        huggingface_hub.hf_api.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}"
    )
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_made_up_for_a_test")
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    # Nor is that of the person at this machine taken, where a test unsets the variable.
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "database" / "mews").mkdir(parents=True)
    (folder / "README.md").write_text("# Mews\n")
    (folder / "run.json").write_text("{}")
    (folder / ".lock").write_text("")
    (folder / "database" / "mews" / "mews.sqlite").write_bytes(b"x" * 4096)
    return folder


def push(folder: Path, *more: str, repo: str = "ann/mews") -> int:
    return main(["push", "--folder", str(folder), "--repo", repo, *more])


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(
    folder: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(folder, "--dry-run") == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["7", "README.md"],
        ["4,096", "database/mews/mews.sqlite"],
        ["4,103", "bytes", "in", "2", "files,", "for", "dataset", "ann/mews"],
    ]
    assert hub.asked == []


def test_the_repository_is_made_and_the_files_are_sent_in_one_commit(
    folder: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(folder, "--private") == 0
    (path, [made]), *_, (commit_path, [_, *sent]) = hub.asked
    assert (path, commit_path) == ("/api/repos/create", "/api/datasets/ann/mews/commit/main")
    assert (made["name"], made["organization"], made["visibility"]) == ("mews", "ann", "private")
    assert [line["value"]["path"] for line in sent] == ["README.md", "database/mews/mews.sqlite"]
    assert capsys.readouterr().out.endswith("/datasets/ann/mews\n")


def test_a_refusal_is_one_line(folder: Path, hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.refuses = True
    assert push(folder, "--type", "model") == 2
    [(path, [made])] = hub.asked
    assert (path, made["name"], made.get("visibility")) == ("/api/repos/create", "mews", None)
    [*_, line] = capsys.readouterr().err.splitlines()
    assert line.startswith("sense: error: http://127.0.0.1") and "403" in line


@pytest.mark.parametrize("repo", ["mews", "ann/mews/2", "ann/..", "ann /mews", "/mews"])
def test_a_name_that_is_none_is_refused(folder: Path, repo: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert push(folder, "--dry-run", repo=repo) == 2
    assert "a name like user/name is expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        pytest.param("", "no README.md: a card", id="no-card"),
        pytest.param("database/mews/PRIVATE", "marked private by its file PRIVATE", id="private"),
    ],
)
def test_what_should_not_be_sent_is_refused(
    folder: Path, path: str, complaint: str, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    if path:
        (folder / path).write_text("")
    else:
        (folder / "README.md").unlink()
    assert push(folder) == 2
    assert complaint in capsys.readouterr().err
    assert hub.asked == []


def test_without_a_token_it_says_how_to_get_one(
    folder: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert push(folder) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        "sense: error: no token for the Hugging Face Hub: set HF_TOKEN, or log in with 'hf auth login'"
    )
    assert hub.asked == []
