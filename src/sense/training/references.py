"""The start model's log-probabilities of preference pairs: computed once, kept for later runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import sqlite3
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Protocol

import torch
import transformers

from sense import jsonl
from sense.caches import file_digest, home, open_file
from sense.llms import store
from sense.llms.local import Loaded
from sense.progress import is_follower, meter, say
from sense.training import processes
from sense.training.objectives import reference_logprobs
from sense.training.pack import Pack
from sense.training.tokens import TokenizedExample

MAX_CACHE_BYTES = 2**28  # some four million pairs; then the file is begun anew


class Settings(Protocol):
    """What of a stage's settings decides the references."""

    reference_cache: bool
    bf16: bool
    prompt_format: str


def find_references(
    loaded: Loaded, steps: Iterable[Iterable[Pack]], settings: Settings, *, file: Path, resumed: bool
) -> dict[str, tuple[float, float]]:
    """Find or compute each pair's log-probabilities under the start model; all come to stand in `file`.

    Of several processes the first does so, and the others read what it wrote.
    """
    found = {} if is_follower() else _find(loaded, steps, settings, path=file, resumed=resumed)
    processes.wait()
    return _read(file) if is_follower() else found


def _read(path: Path) -> dict[str, tuple[float, float]]:
    return {row["id"]: (row["chosen"], row["rejected"]) for row in jsonl.resume_objects(path)}


def _find(
    loaded: Loaded, steps: Iterable[Iterable[Pack]], config: Settings, *, path: Path, resumed: bool
) -> dict[str, tuple[float, float]]:
    packs: list[Pack] = []  # those of the first epoch have all pairs
    examples: dict[str, TokenizedExample] = {}
    for pack in chain.from_iterable(steps):
        own = {example.id: example for example in pack.examples}
        if not own.keys() <= examples.keys():
            packs.append(pack)
            examples |= own
    written = _read(path) if resumed and path.exists() else {}
    with (
        contextlib.closing(_ReferenceCache(loaded, config)) as cache,
        jsonl.Appender(path) as file,
        meter("dpo references", total=len(packs)) as shown,
    ):
        known = cache.get(examples.values()) | written
        if known:
            say(f"dpo: {len(known)} of {len(examples)} reference log-probabilities reused")
        loaded.model.eval()  # no dropout in what stays fixed
        for pack in packs:
            new = [example for example in pack.examples if example.id not in known]
            if new:
                known = reference_logprobs(loaded.model, pack, bf16=config.bf16) | known
                cache.put({example: known[example.id] for example in new})
            for example in pack.examples:
                if example.id not in written:
                    chosen, rejected = known[example.id]
                    file.add_soon({"id": example.id, "chosen": chosen, "rejected": rejected})
            shown.advance()
        loaded.model.train()
    return known


class _ReferenceCache:
    """The start model's log-probabilities in the user's cache folder, for runs with another beta or loss.

    A pair's are found by all that they depend on but the pack that it is computed in, whose other branches
    change no more than the rounding. Where the file cannot be read or written nothing is known or kept.
    """

    def __init__(self, loaded: Loaded, config: Settings) -> None:
        self._connection: sqlite3.Connection | None = None
        start = _content(loaded.folder) if config.reference_cache else None
        if start is None:
            return
        dtypes = sorted({str(parameter.dtype) for parameter in loaded.model.parameters()})
        device = loaded.model.device.type
        self._scope = [_code_digest(), start, dtypes, config.bf16, device, config.prompt_format]
        path = home() / "references.sqlite"
        with contextlib.suppress(sqlite3.Error, OSError):
            if path.exists() and path.stat().st_size > MAX_CACHE_BYTES:
                path.unlink()
            columns = "(key BLOB PRIMARY KEY, chosen REAL, rejected REAL)"
            self._connection = open_file(path, table=f"reference {columns} WITHOUT ROWID")

    def get(self, examples: Iterable[TokenizedExample]) -> dict[str, tuple[float, float]]:
        """Find what is kept, by the pairs' ids."""
        found: dict[str, tuple[float, float]] = {}
        if self._connection is None:
            return found
        query = "SELECT chosen, rejected FROM reference WHERE key = ?"
        with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
            for example in examples:
                row = self._connection.execute(query, (self._key(example),)).fetchone()
                if row is not None:
                    found[example.id] = float(row[0]), float(row[1])
        return found

    def put(self, references: Mapping[TokenizedExample, tuple[float, float]]) -> None:
        """Keep what is a number."""
        if self._connection is None:
            return
        finite = {example: pair for example, pair in references.items() if all(map(math.isfinite, pair))}
        rows = [(self._key(example), *pair) for example, pair in finite.items()]
        with contextlib.suppress(sqlite3.Error):
            self._connection.executemany("INSERT OR IGNORE INTO reference VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()

    def _key(self, example: TokenizedExample) -> bytes:
        chosen, rejected = example.branches
        parts = [*self._scope, example.schema, chosen.prompt, chosen.completion, rejected.completion]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()


def _content(folder: str) -> str | None:
    """Hash a loaded model's weights and settings, an adapter's base too; None where they are not found."""
    from huggingface_hub import try_to_load_from_cache

    path = Path(folder)
    if not path.is_dir():  # a Hugging Face id
        found = try_to_load_from_cache(folder, "config.json")
        if not isinstance(found, str):
            return None
        path = Path(found).parent
    adapter = path / "adapter_config.json"
    base: str | None = ""
    if adapter.exists():
        name = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
        base = _content(store.resolve(name))
    weights = sorted([*path.glob("*.safetensors"), *path.glob("*.bin")])
    if base is None or not weights:
        return None
    return " ".join([base, *map(file_digest, [*sorted(path.glob("*config.json")), *weights])])


@lru_cache(maxsize=1)
def _code_digest() -> str:
    """Hash what computes log-probabilities: torch, transformers, and our own code."""
    here = Path(__file__).parent
    sources = [*sorted(here.glob("*.py")), *sorted((here.parent / "llms").glob("*.py"))]
    return " ".join([torch.__version__, transformers.__version__, *map(file_digest, sources)])
