"""Turn prompts and completions into token ids, so that a schema's tokens never depend on what follows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sense.llms.token_ids import Tokenizer, token_ids
from sense.prompts.text_to_sql import split_prompt


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
            schemas[schema] = tuple(token_ids(schema, tokenizer))
        question_ids = tuple(token_ids(question, tokenizer))
        branches = tuple(
            Branch(
                id=row_id,
                prompt=question_ids,
                completion=(*token_ids(text, tokenizer), tokenizer.eos_token_id),
            )
            for text in completions
        )
        examples.append(TokenizedExample(id=row_id, schema=schemas[schema], branches=branches))
    return examples
