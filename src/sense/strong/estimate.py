"""What the next round is going to use and cost, before anything is sent, and what the replies have cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sense.llms.batch_files import Reply, Request
from sense.progress import say
from sense.strong.asking import AskingConfig

# Of a reply, as the requests ask for it or as the demo's replies have it; what a model thinks comes on top.
DATABASE_TOKENS = 2_800
QUESTIONS_TOKENS = 3_000
QUESTION_TOKENS = 110  # of each where they are listed: strong-v1's have 334 characters with their JSON
LISTED = re.compile(r"^\d+\. (?:easy|medium|hard|extra);", re.MULTILINE)


def tokens_written(request: Request) -> int:
    """Guess the tokens of a reply that holds a database, or else questions."""
    if request.custom_id.startswith("database-"):
        return DATABASE_TOKENS
    listed = sum(len(LISTED.findall(message.content)) for message in request.messages)
    return listed * QUESTION_TOKENS or QUESTIONS_TOKENS


def estimate(
    requests: Sequence[Request],
    config: AskingConfig,
    *,
    tokens_of_reply: Callable[[Request], int] = tokens_written,
) -> dict[str, Any]:
    """Say and return how many requests there are, and about how many tokens and US dollars they take."""
    from sense.llms.budget import (
        BYTES_PER_TOKEN,
        estimate_cost,
        read_prices,
    )  # here, for YAML is slow to load

    prices = read_prices(config.prices)
    likely = estimate_cost([replace(each, max_tokens=tokens_of_reply(each)) for each in requests], prices)
    most = estimate_cost(requests, prices)
    say(
        f"dry run: {len(requests)} requests, about {likely.prompt_tokens:,} prompt tokens (one for "
        f"{BYTES_PER_TOKEN:g} bytes) and {likely.completion_tokens:,} completion tokens (at most "
        f"{most.completion_tokens:,})"
    )
    models = sorted({each.model for each in requests})
    if likely.usd is None:
        say(f"dry run: no price known of {', '.join(models)}")
    else:
        dates = ", ".join(f"{model}: {prices[model].as_of}" for model in models)
        say(
            f"dry run: about {_money(likely.usd)} USD, by batch files {_money(likely.batch_usd)}, at most "
            f"{_money(most.usd)}; prices of {dates}: check before you rely on them"
        )
    return {
        "requests": len(requests),
        "prompt_tokens": likely.prompt_tokens,
        "completion_tokens": likely.completion_tokens,
        "usd": likely.usd,
        "batch_usd": likely.batch_usd,
        "most_completion_tokens": most.completion_tokens,
        "most_usd": most.usd,
    }


def _money(usd: float | None) -> str:
    return "unknown" if usd is None else f"{usd:.2f}" if usd >= 1 else f"{usd:.4f}"


def used(replies: Sequence[Reply], config: AskingConfig) -> dict[str, Any]:
    """Return the tokens that the server counted for these replies, and their price, None where none is known.

    What was paid for tries that brought no reply is not in it.
    """
    from sense.llms.budget import read_prices  # here, for YAML is slow to load

    prompts = sum(reply.prompt_tokens for reply in replies)
    completions = sum(reply.completion_tokens for reply in replies)
    price = read_prices(config.prices).get(config.model)
    usd = None
    if price and prompts + completions:
        usd = price.usd(prompts, completions) * (1 - price.batch_discount * (config.provider == "batch"))
    return {"prompt_tokens": prompts, "completion_tokens": completions, "usd": usd and round(usd, 6)}
