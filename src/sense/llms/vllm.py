"""Sample from a model that runs here, in vLLM: for a GPU that is to be kept busy. vLLM shares the schemas."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from sense.errors import ModelError
from sense.llms import store
from sense.llms.sampler import Ended, OnAnswers, Prompt, Sampled, seed_number
from sense.llms.token_ids import token_ids

AT_ONCE = 2_048  # samples handed to vLLM together: enough to fill a GPU, few enough to lose to a kill


def check_installed() -> None:
    """Raise ModelError where vLLM is missing."""
    if find_spec("vllm") is None:
        raise ModelError("engine vllm: vLLM is not installed; install it with: pip install 'sense-sql[vllm]'")


class VllmSampler:
    """A model of this process, in vLLM with its cache of prefixes."""

    def __init__(
        self,
        model: str,
        *,
        dtype: str,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        stops: Sequence[str],
    ) -> None:
        """Load the model; an answer ends before any of `stops`.

        Raises:
            ModelError: vLLM is not there, or cannot load the model.
        """
        check_installed()
        self._vllm: Any = importlib.import_module("vllm")  # no dependency, so not known to type checkers
        self._max_new_tokens, self._temperature, self._top_p = max_new_tokens, temperature, top_p
        self._stops = stops
        try:
            self._model = self._vllm.LLM(model=store.resolve(model), dtype=dtype, enable_prefix_caching=True)
        except (OSError, ValueError, RuntimeError) as error:
            first = (str(error).splitlines() or ["no message"])[0]
            raise ModelError(f"{model}: vLLM cannot load it: {first}") from None

    def sample(self, prompts: Sequence[Prompt], *, on_answers: OnAnswers) -> Ended:
        """Sample in portions; each sample has its own seed."""
        tokenizer = self._model.get_tokenizer()
        places = [(p, k) for p, prompt in enumerate(prompts) for k in range(len(prompt.seeds))]
        for start in range(0, len(places), AT_ONCE):
            portion = places[start : start + AT_ONCE]
            ids = {p: _ids(prompts[p], tokenizer) for p, _ in portion}
            try:
                outputs = self._model.generate(
                    [{"prompt_token_ids": ids[p]} for p, _ in portion],
                    [self._settings(prompts[p].seeds[k]) for p, k in portion],
                    use_tqdm=False,
                )
            except ValueError as error:  # a prompt that is longer than the model's context
                raise ModelError(f"vLLM: {str(error).splitlines()[0]}") from None
            for (p, k), output in zip(portion, outputs, strict=True):
                on_answers(p, {k: _read(output.outputs[0])})
        return Ended()

    def _settings(self, seed: str) -> Any:
        return self._vllm.SamplingParams(
            max_tokens=self._max_new_tokens,
            temperature=self._temperature,
            top_p=self._top_p,
            stop=list(self._stops),
            seed=seed_number(seed),
            logprobs=0,  # of the chosen tokens alone
        )


def _ids(prompt: Prompt, tokenizer: Any) -> list[int]:
    """Tokenize the schema by itself, as in training."""
    return [*token_ids(prompt.schema, tokenizer), *token_ids(prompt.text, tokenizer)]


def _read(output: Any) -> Sampled:
    return Sampled(
        output.text, output.cumulative_logprob, len(output.token_ids), output.finish_reason != "length"
    )
