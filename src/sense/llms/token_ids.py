"""Text to token ids; what a user or a database wrote never becomes one of the model's control tokens."""

from __future__ import annotations

from typing import Protocol


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is needed here."""

    eos_token_id: int | None

    def encode(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool) -> list[int]:
        """Turn text into token ids."""
        ...


def token_ids(text: str, tokenizer: Tokenizer) -> list[int]:
    """Tokenize plain text: nothing is added, and a control token spelled out in it is read as letters."""
    return tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
