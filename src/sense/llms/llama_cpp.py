"""Sample from a GGUF file as it is, in llama.cpp: quantized models on a laptop.

One sample after another. llama.cpp keeps what it has computed of the last prompt: a schema that the next one
begins with too is not computed again. Log-probabilities stay unknown: llama.cpp would keep the
scores of the whole prompt for them.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sense.errors import ModelError
from sense.llms.sampler import Ended, OnAnswers, Prompt, Sampled, seed_number


def check_installed() -> None:
    """Raise ModelError where llama-cpp-python is missing."""
    if find_spec("llama_cpp") is None:
        raise ModelError(
            "engine gguf: llama-cpp-python is not installed; install it, with a C++ compiler at hand, with: "
            "pip install 'sense-sql[gguf]'"
        )


def check_file(model: str) -> None:
    """Raise ModelError for what is no GGUF file."""
    if Path(model).suffix != ".gguf" or not Path(model).is_file():
        raise ModelError(f"engine gguf: {model}: a GGUF file is expected")


class LlamaCppSampler:
    """A GGUF file in llama.cpp."""

    def __init__(
        self, model: str, *, max_new_tokens: int, temperature: float, top_p: float, stops: Sequence[str]
    ) -> None:
        """Load the file; an answer ends before any of `stops`.

        Raises:
            ModelError: llama-cpp-python is not there, or cannot load the file.
        """
        check_installed()
        check_file(model)
        library: Any = importlib.import_module("llama_cpp")  # no dependency: type checkers do not know it
        try:
            self._model = library.Llama(model_path=model, n_ctx=0, verbose=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"{model}: llama.cpp cannot load it: {error}") from None
        self._max_new_tokens, self._temperature, self._top_p = max_new_tokens, temperature, top_p
        self._stops = stops

    def sample(self, prompts: Sequence[Prompt], *, on_answers: OnAnswers) -> Ended:
        """Sample one by one; prompts of one schema had better stand side by side."""
        for p, prompt in enumerate(prompts):
            # Tokenized in two, as in training; a control token spelled out in a database is letters.
            ids = [
                token
                for text in (prompt.schema, prompt.text)
                for token in self._model.tokenize(text.encode(), add_bos=False, special=False)
            ]
            for k, seed in enumerate(prompt.seeds):
                written = self._complete(ids, seed)
                choice, tokens = written["choices"][0], written["usage"]["completion_tokens"]
                on_answers(p, {k: Sampled(choice["text"], None, tokens, choice["finish_reason"] != "length")})
        return Ended()

    def _complete(self, ids: list[int], seed: str) -> Any:
        try:
            return self._model.create_completion(
                ids,
                max_tokens=self._max_new_tokens,
                temperature=self._temperature,
                top_p=self._top_p,
                top_k=0,  # any token: llama.cpp would look at 40
                min_p=0.0,
                repeat_penalty=1.0,
                stop=list(self._stops),
                seed=seed_number(seed),
            )
        except ValueError as error:  # a prompt that is longer than the model's context
            raise ModelError(f"llama.cpp: {error}") from None
