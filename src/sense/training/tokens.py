"""Turn prompts and completions into token ids, so that a schema's tokens never depend on what follows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sense.prompts.text_to_sql import split_prompt


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is needed here."""

    eos_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Turn text into token ids."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One continuation of a schema: the question's tokens, then the completion's with the end mark."""

    id: str
    prompt: tuple[int, ...]
    completion: tuple[int, ...]

    def __len__(self) -> int:
        """Count the branch's tokens."""
        return len(self.prompt) + len(self.completion)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedExample:
    """An example: its schema's tokens and the branches behind them (SFT: one; a pair: chosen, rejected)."""

    id: str
    schema: tuple[int, ...]
    branches: tuple[Branch, ...]


def tokenize(rows: Iterable[tuple[str, str, Sequence[str]]], tokenizer: Tokenizer) -> list[TokenizedExample]:
    """Tokenize (id, prompt, completions) rows; each schema text once."""
    assert tokenizer.eos_token_id is not None, "a tokenizer without an end mark is refused when it is loaded"
    schemas: dict[str, tuple[int, ...]] = {}
    examples: list[TokenizedExample] = []
    for row_id, prompt, completions in rows:
        schema, question = split_prompt(prompt)
        if schema not in schemas:
            schemas[schema] = tuple(tokenizer.encode(schema, add_special_tokens=False))
        question_ids = tuple(tokenizer.encode(question, add_special_tokens=False))
        branches = tuple(
            Branch(
                id=row_id,
                prompt=question_ids,
                completion=(*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id),
            )
            for text in completions
        )
        examples.append(TokenizedExample(id=row_id, schema=schemas[schema], branches=branches))
    return examples
