"""A local model that is asked only what fits in its context: beyond it, what it writes is noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sense.errors import ModelError
from sense.llms.local_sampler import LocalSampler
from sense.llms.sampler import Prompt
from sense.llms.token_ids import token_ids


class FittingSampler(LocalSampler):
    """A model of this process that can tell which prompts are too long for it."""

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Raise ModelError for the first prompt that leaves no room for a whole answer."""
        config: Any = cast(Any, self._loaded.model.config).get_text_config()
        most: int | None = getattr(config, "max_position_embeddings", None)
        if most is None:  # its positions have no end
            return
        lengths: dict[str, int] = {}
        for prompt in prompts:
            for text in (prompt.schema, prompt.text):
                if text not in lengths:
                    lengths[text] = len(token_ids(text, self._loaded.tokenizer))
            length = lengths[prompt.schema] + lengths[prompt.text]
            if length + self._max_new_tokens > most:
                raise ModelError(
                    f"{prompt.name}: its prompt has {length} tokens, and with max_new_tokens "
                    f"{self._max_new_tokens} the model's {most} are passed; take a shorter prompt_format, a "
                    f"smaller max_new_tokens or another model"
                )
