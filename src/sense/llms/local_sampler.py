"""Sample from a model that runs here, in transformers: a schema is computed once for all that continue it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sense.errors import ModelError
from sense.llms.decoder import Job
from sense.llms.local import Dtype, load, sample
from sense.llms.sampler import Ended, OnAnswers, Prompt, Sampled
from sense.llms.token_ids import token_ids


class LocalSampler:
    """A model of this process."""

    def __init__(
        self,
        model: str,
        *,
        dtype: Dtype,
        batch: int,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        stops: Sequence[str],
    ) -> None:
        """Load the model; an answer ends before any of `stops`.

        Raises:
            ModelError: there is no such model, or it cannot be used here.
        """
        self._loaded = load(model, dtype=dtype)
        self._batch, self._max_new_tokens = batch, max_new_tokens
        self._temperature, self._top_p, self._stops = temperature, top_p, stops

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

    def sample(self, prompts: Sequence[Prompt], *, on_answers: OnAnswers) -> Ended:
        """Decode all samples; prompts of one schema had better stand side by side."""
        places = [(p, k) for p, prompt in enumerate(prompts) for k in range(len(prompt.seeds))]
        jobs = (
            Job(schema=prompts[p].schema, text=prompts[p].text, seed=prompts[p].seeds[k]) for p, k in places
        )
        written = sample(
            self._loaded,
            jobs,
            max_new_tokens=self._max_new_tokens,
            temperature=self._temperature,
            top_p=self._top_p,
            batch=self._batch,
            stops=self._stops,
        )
        for place, one in written:
            p, k = places[place]
            on_answers(p, {k: Sampled(one.text, one.logprob, one.tokens, one.finished)})
        return Ended()
