"""Decode many answers about many schemas in one batch that stays full: as some end, others enter.

A schema's keys and values are computed once, a question's once however many samples it has, and both are let
go when no open row and no job read ahead needs them. Jobs enter in the order given, so jobs about one schema
belong side by side.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, groupby, islice
from math import isfinite
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sense.errors import ModelError
from sense.llms.choose import choose
from sense.llms.prefix_cache import Prefix, PrefixCache
from sense.llms.token_ids import token_ids

REFILL_AT = 0.875  # share of rows still open at which the others are replaced: not a few at every step
TEXTS_AT_ONCE = 32  # texts run together behind their schemas: enough work for a pass, and little memory
MAX_PREFIXES = 16  # schemas kept at a time; of Spider's, each with some 50 questions, a batch has a few


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One answer to make: to a text behind a schema; `seed` is that of its sample (None: greedy)."""

    schema: str
    text: str
    seed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model wrote. `logprob` is at temperature 1; `finished` is False if the token limit cut it."""

    text: str
    logprob: float
    tokens: int
    finished: bool


@dataclass(slots=True, eq=False)
class _Row:
    """A job under way, or one that has ended and whose row is not taken yet."""

    index: int
    job: Job
    draw: random.Random | None
    ids: list[int] = field(default_factory=list)
    logprob: float = 0.0
    open: bool = True


class _Ready(NamedTuple):
    """A text that has been run behind its schema: its row of a cache, and what may come next."""

    prefix: Prefix
    cache: PrefixCache
    row: int
    logits_V: Tensor


class Decoder:
    """The batch, the jobs read ahead, and what is kept for them."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        ends: frozenset[int],
        stops: Sequence[str],
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        batch: int,
    ) -> None:
        """Start with an empty batch; `ends` are tokens, `stops` texts that end an answer."""
        assert all(stop and not stop.endswith(" ") for stop in stops), (
            "tokens may hide a space at their start"
        )
        self._model, self._tokenizer = model, tokenizer
        self._ends, self._stops = ends, stops
        self._max_new_tokens, self._temperature, self._top_p = max_new_tokens, temperature, top_p
        self._batch = batch
        self._layers: int = cast(Any, model.config.get_text_config()).num_hidden_layers
        self._cache = PrefixCache(self._layers, model.device)
        self._rows: list[_Row] = []
        self._waiting: deque[tuple[int, Job]] = deque()
        self._wanted: set[str] = set()
        self._prefixes: dict[str, Prefix] = {}
        self._ready: dict[tuple[str, str], _Ready] = {}
        self._may_stop: dict[int, bool] = {}

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Answer]]:
        """Answer jobs; yields each one's place in their order and its answer, as they end."""
        source = enumerate(jobs)
        while True:
            if sum(row.open for row in self._rows) <= REFILL_AT * len(self._rows):
                yield from self._refill(source)
            if self._rows:
                yield from self._step()
            elif not self._waiting:
                return

    def _step(self) -> list[tuple[int, Answer]]:
        """Go on by one token; rows that have ended go along until they are replaced."""
        ids = torch.tensor([[row.ids[-1]] for row in self._rows], device=self._model.device)
        positions = self._cache.begin(1)
        logits_RV = self._forward(ids, positions, self._cache, prefix_cache=self._cache)
        self._cache.advance([int(row.open) for row in self._rows])
        return self._take(self._rows, logits_RV)

    def _refill(self, source: Iterator[tuple[int, Job]]) -> list[tuple[int, Answer]]:
        """Put waiting jobs in the place of rows that have ended, and close what gaps remain."""
        gaps = [r for r, row in enumerate(self._rows) if not row.open]
        self._waiting.extend(islice(source, self._batch - len(self._waiting)))
        self._let_go()
        entering: list[tuple[_Row, _Ready]] = []
        while self._waiting and len(entering) < self._batch - len(self._rows) + len(gaps):
            index, job = self._waiting[0]
            if job.schema not in self._wanted:
                break
            if (job.schema, job.text) not in self._ready:
                self._run_texts()
            self._waiting.popleft()
            draw = None if job.seed is None else random.Random(job.seed)
            entering.append((_Row(index, job, draw), self._ready[job.schema, job.text]))
        places = list(islice(chain(gaps, range(len(self._rows), self._batch)), len(entering)))
        for place, (row, _) in zip(places, entering, strict=True):
            self._rows[place : place + 1] = [row]
        for cache, members in groupby(zip(places, entering, strict=True), key=lambda each: each[1][1].cache):
            texts = [(place, ready) for place, (_, ready) in members]
            self._cache.enter(
                [place for place, _ in texts],
                [ready.prefix for _, ready in texts],
                source=cache,
                origins=[ready.row for _, ready in texts],
            )
        answers: list[tuple[int, Answer]] = []
        if entering:
            logits_RV = torch.stack([ready.logits_V for _, ready in entering])
            answers = self._take([row for row, _ in entering], logits_RV)
        self._close(gaps[len(entering) :])
        return answers

    def _close(self, gaps: Sequence[int]) -> None:
        """Move the last rows into gaps."""
        left = len(self._rows) - len(gaps)
        movable = [r for r in range(left, len(self._rows)) if r not in gaps]
        order = list(range(left))
        for gap, row in zip((gap for gap in gaps if gap < left), movable, strict=True):
            order[gap] = row
        if gaps:
            self._cache.keep(order)
            self._rows = [self._rows[r] for r in order]

    def _let_go(self) -> None:
        """Settle which schemas may be kept; drop the others, and texts that no job waits for."""
        in_batch = (row.job.schema for row in self._rows)
        schemas = dict.fromkeys(chain(in_batch, (job.schema for _, job in self._waiting)))
        self._wanted = set(islice(schemas, MAX_PREFIXES))
        texts = {(job.schema, job.text) for _, job in self._waiting if job.schema in self._wanted}
        self._prefixes = {name: prefix for name, prefix in self._prefixes.items() if name in self._wanted}
        self._ready = {key: ready for key, ready in self._ready.items() if key in texts}

    def _run_texts(self) -> None:
        """Run the next texts, each once, behind their schemas."""
        waiting = dict.fromkeys((job.schema, job.text) for _, job in self._waiting)
        new = (key for key in waiting if key[0] in self._wanted and key not in self._ready)
        keys = list(islice(new, TEXTS_AT_ONCE))
        prefixes = [self._prefix(schema) for schema, _ in keys]
        encoded = [token_ids(text, self._tokenizer) for _, text in keys]
        if not all(encoded):
            raise ModelError("an empty text cannot be answered")
        longest = max(map(len, encoded))
        lengths = [len(ids) for ids in encoded]
        padded = [ids + [0] * (longest - len(ids)) for ids in encoded]
        cache = PrefixCache(self._layers, self._model.device)
        cache.add(prefixes)
        positions = cache.begin(longest)
        with _head_reads_last(self._model, lengths):
            logits_BV = self._forward(
                torch.tensor(padded, device=self._model.device),
                positions,
                cache,
                prefix_cache=cache,
                logits_to_keep=0,
            )
        cache.advance(lengths)
        cache.forget_prefixes()
        for row, (key, prefix) in enumerate(zip(keys, prefixes, strict=True)):
            self._ready[key] = _Ready(prefix, cache, row, logits_BV[row])

    def _prefix(self, schema: str) -> Prefix:
        if schema not in self._prefixes:
            ids = token_ids(schema, self._tokenizer)
            if not ids:
                raise ModelError("an empty schema cannot be shared")
            prefix = Prefix()
            device = self._model.device
            positions = torch.arange(len(ids), device=device)[None]
            self._forward(torch.tensor([ids], device=device), positions, prefix)
            self._prefixes[schema] = prefix
        return self._prefixes[schema]

    def _forward(
        self, ids: Tensor, positions: Tensor, states: Prefix | PrefixCache, **given: object
    ) -> Tensor:
        """Run the model; returns the logits (B, V) of the last place."""
        output = self._model(
            input_ids=ids,
            position_ids=positions,
            past_key_values=states,
            use_cache=True,
            **{"logits_to_keep": 1} | given,
        )
        return cast(Tensor, output.logits[:, -1])

    def _take(self, rows: Sequence[_Row], logits_RV: Tensor) -> list[tuple[int, Answer]]:
        """Choose the next token of each open row; returns the answers that end with it."""
        aims = [row.draw.random() if row.draw and row.open else None for row in rows]
        choice = choose(logits_RV, aims, temperature=self._temperature, top_p=self._top_p)
        answers: list[tuple[int, Answer]] = []
        tokens, logprobs = choice.tokens_R.tolist(), choice.logprobs_R.tolist()
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            if not row.open:
                continue
            if not isfinite(logprob):
                raise ModelError(
                    "the model's next-token scores are no numbers: broken weights, or too large for its dtype"
                )
            row.ids.append(token)
            row.logprob += logprob
            text = self._ended(row.ids)
            finished = text is not None
            if text is None and len(row.ids) == self._max_new_tokens:
                text = self._text(row.ids)
            if text is not None:
                row.open = False
                answer = Answer(text=text, logprob=row.logprob, tokens=len(row.ids), finished=finished)
                answers.append((row.index, answer))
        return answers

    def _ended(self, ids: list[int]) -> str | None:
        """Return the text of an answer that its last token ends, up to its end; None: it goes on."""
        if ids[-1] in self._ends:
            return self._text(ids[:-1])
        if ids[-1] not in self._may_stop:
            piece = self._text(ids[-1:])
            self._may_stop[ids[-1]] = any(stop[-1] in piece for stop in self._stops)
        if not self._may_stop[ids[-1]]:
            return None
        text = self._text(ids)
        start = len(text) - len(text.lstrip())
        found = [at for stop in self._stops if (at := text.find(stop, start)) >= 0]
        return text[: min(found)] if found else None

    def _text(self, ids: list[int]) -> str:
        return cast(str, self._tokenizer.decode(ids, skip_special_tokens=True))


@contextmanager
def _head_reads_last(model: PreTrainedModel, lengths: Sequence[int]) -> Iterator[None]:
    """Let the model's head see the last real place of each row only: no logits are made for the others."""

    def last(_head: object, states: tuple[Tensor]) -> tuple[Tensor]:
        places = torch.tensor(lengths, device=states[0].device) - 1
        return (states[0][torch.arange(len(lengths), device=states[0].device), places][:, None],)

    head = model.get_output_embeddings()
    assert head is not None, "a language model has a head"
    handle = head.register_forward_pre_hook(last)
    try:
        yield
    finally:
        handle.remove()
