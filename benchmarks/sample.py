"""Time sampling against plain batched `generate` of transformers, and compare greedy answers token for token.

    python benchmarks/sample.py --data DIR --model MODEL --questions 200 --k 8 --json

DIR has Spider's layout. Both sides sample `k` answers to the same questions, evenly spread over the split,
with the same temperature, top-p, dtype and token limit. The baseline is a row for each sample: padded on the
left, scaled dot-product attention, `num_return_sequences=k`, questions sorted by length so that little is
padding; its batch is the fastest of a short trial unless `--baseline-batch` gives it. Each side is a process
of its own, and its time is that of sampling alone, without loading. What is sampled differs by chance, and so
does its length: tokens a second are told too. Greedy answers are compared in float32, whatever `--dtype` is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TRIED = (8, 16, 32, 64)  # rows; on a CPU more are no faster, and hold more memory
TRIAL_TOKENS = 32  # as many as an answer has, or the trial would time prompts alone


class Asked(NamedTuple):
    """A prompt in its two parts."""

    schema: str
    text: str


def main() -> None:
    """Measure, and print the figures."""
    given = parse_arguments()
    if given.side:
        Path(given.result).write_text(json.dumps(SIDES[given.side](given)))
        return
    ours, theirs = run_side("ours"), run_side("baseline")
    equal = [one == other for one, other in zip(run_side("our-greedy"), run_side("greedy"), strict=True)]
    ratio = ours["samples_per_second"] / theirs["samples_per_second"]
    tokens_ratio = ours["tokens_per_second"] / theirs["tokens_per_second"]
    for name, side in (("ours", ours), ("generate", theirs)):
        say(
            f"{name}: {side['samples']} samples, {side['tokens']} tokens in {side['seconds']:.1f} s: "
            f"{side['samples_per_second']:.2f} samples/s, {side['tokens_per_second']:.1f} tokens/s, "
            f"batch {side['batch']}, peak {side['peak_mib']:.0f} MiB"
        )
    say(
        f"{ratio:.2f}x the samples, {tokens_ratio:.2f}x the tokens; {sum(equal)} of {len(equal)} greedy equal"
    )
    result = {
        "ratio": ratio,
        "tokens_ratio": tokens_ratio,
        "greedy_equal": sum(equal) / len(equal) if equal else None,
        "greedy_questions": len(equal),
        "ours": ours,
        "baseline": theirs,
        "k": given.k,
        "dtype": given.dtype,
        "processors": os.cpu_count(),
    }
    if given.json:
        print(json.dumps(result))  # noqa: T201


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder in Spider's layout")
    parser.add_argument("--model", required=True, help="known name, Hugging Face id or folder")
    parser.add_argument("--split", default="train_spider")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--k", type=int, default=8, help="samples of each question")
    parser.add_argument("--batch", type=int, default=128, help="our rows decoded together")
    parser.add_argument(
        "--baseline-batch", type=int, default=0, help="generate's rows; 0: the best of a trial"
    )
    parser.add_argument("--baseline-questions", type=int, default=0, help="fewer for generate; 0: the same")
    parser.add_argument("--greedy-questions", type=int, default=40)
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=0.95)
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--side", choices=sorted(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    return parser.parse_args()


def run_side(side: str) -> Any:
    """Run one side in a process of its own; returns what it measured, with the most memory it held."""
    with tempfile.TemporaryDirectory(prefix="sense-benchmark-") as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, *sys.argv, "--side", side, "--result", str(result)]
        process = subprocess.Popen(command)  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{side} failed")
        measured = json.loads(result.read_text())
    if isinstance(measured, dict):
        measured["peak_mib"] = usage.ru_maxrss / 1024
        measured["samples_per_second"] = measured["samples"] / measured["seconds"]
        measured["tokens_per_second"] = measured["tokens"] / measured["seconds"]
    return measured


def prompts(given: argparse.Namespace, count: int) -> list[Asked]:
    """Take so many questions, evenly spread over the split; those of one database side by side."""
    from sense.databases import spider
    from sense.prompts.text_to_sql import Prompter, split_prompt

    questions = spider.load_questions(given.data, given.split)
    count = min(count, len(questions))
    spread = [questions[i * len(questions) // count] for i in range(count)]
    prompter = Prompter(given.data)
    spread.sort(key=lambda question: question.db_id)
    return [Asked(*split_prompt(prompter.prompt(question))) for question in spread]


def sample_ours(given: argparse.Namespace) -> dict[str, Any]:
    """Sample as `sense sample` does."""
    from sense.llms.local import Job, load, sample

    loaded = load(given.model, dtype=given.dtype)
    jobs = [
        Job(schema=schema, text=text, seed=f"{given.seed}/{number}/{k}")
        for number, (schema, text) in enumerate(prompts(given, given.questions))
        for k in range(given.k)
    ]
    started = time.perf_counter()
    made = sample(
        loaded,
        jobs,
        max_new_tokens=given.max_new_tokens,
        temperature=given.temperature,
        top_p=given.top_p,
        batch=given.batch,
    )
    tokens = [answer.tokens for _, answer in made]
    seconds = time.perf_counter() - started
    return {"samples": len(tokens), "tokens": sum(tokens), "seconds": seconds, "batch": given.batch}


def sample_baseline(given: argparse.Namespace) -> dict[str, Any]:
    """Sample with `generate`."""
    import torch

    model, loaded = plain_model(given, given.dtype)
    torch.manual_seed(given.seed)
    asked = prompts(given, given.baseline_questions or given.questions)
    encoded = sorted((token_ids(loaded, prompt) for prompt in asked), key=len)

    def run(rows: int, some: Sequence[list[int]], max_new_tokens: int) -> tuple[int, float]:
        size = max(1, rows // given.k)
        started = time.perf_counter()
        tokens = 0
        for start in range(0, len(some), size):
            made = generate(
                model,
                loaded,
                some[start : start + size],
                max_new_tokens=max_new_tokens,
                do_sample=True,
                temperature=given.temperature,
                top_p=given.top_p,
                top_k=0,
                num_return_sequences=given.k,
            )
            tokens += sum(map(len, made))
        return tokens, time.perf_counter() - started

    batch = given.baseline_batch
    if not batch:
        sizes = [rows for rows in TRIED if given.k <= rows <= given.k * len(encoded)] or [given.k]
        most = encoded[:: max(1, len(encoded) * given.k // sizes[-1])][: max(1, sizes[-1] // given.k)]
        batch = min(sizes, key=lambda rows: run(rows, most, TRIAL_TOKENS)[1])
    tokens, seconds = run(batch, encoded, given.max_new_tokens)
    return {"samples": len(encoded) * given.k, "tokens": tokens, "seconds": seconds, "batch": batch}


def greedy_ours(given: argparse.Namespace) -> list[list[int]]:
    """Answer greedily in float32; the tokens are noted as they are chosen."""
    from sense.llms import decoder
    from sense.llms.local import Job, load, sample

    loaded = load(given.model, dtype="float32")
    asked = prompts(given, min(given.questions, given.greedy_questions))
    found: dict[int, list[int]] = {}
    take = decoder.Decoder._take

    def note(self: Any, rows: Any, logits: Any) -> Any:
        answers = take(self, rows, logits)
        found.update({row.index: row.ids for row in rows})
        return answers

    decoder.Decoder._take = note  # type: ignore[method-assign]  # an answer tells its text, not its tokens
    jobs = [Job(schema=schema, text=text) for schema, text in asked]
    for _ in sample(loaded, jobs, max_new_tokens=given.max_new_tokens, batch=given.batch):
        pass
    return [found[index] for index in range(len(jobs))]


def greedy_baseline(given: argparse.Namespace) -> list[list[int]]:
    """Answer greedily in float32 with `generate`, one row at a time, so that nothing is padded."""
    model, loaded = plain_model(given, "float32")
    asked = prompts(given, min(given.questions, given.greedy_questions))
    return [
        generate(
            model, loaded, [token_ids(loaded, prompt)], max_new_tokens=given.max_new_tokens, do_sample=False
        )[0]
        for prompt in asked
    ]


def plain_model(given: argparse.Namespace, dtype: str) -> tuple[Any, Any]:
    """Load the model as we do, then give it the attention of transformers."""
    from sense.llms.local import load

    loaded = load(given.model, dtype=dtype)
    loaded.model.set_attn_implementation("sdpa")
    return loaded.model, loaded


def token_ids(loaded: Any, prompt: Asked) -> list[int]:
    """Encode a prompt in its two parts, as we do."""
    from sense.llms.token_ids import token_ids

    return [token for part in prompt for token in token_ids(part, loaded.tokenizer)]


def generate(model: Any, loaded: Any, rows: Sequence[list[int]], **options: Any) -> list[list[int]]:
    """Answer rows of one batch, padded on the left; returns each one's own tokens, up to its end."""
    import torch

    longest = max(map(len, rows))
    end = loaded.tokenizer.eos_token_id
    ids = torch.tensor([[end] * (longest - len(row)) + row for row in rows], device=model.device)
    seen = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=model.device)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about settings of the model's own that are not used here
        out = model.generate(
            ids,
            attention_mask=seen,
            eos_token_id=sorted(loaded.end_ids),
            pad_token_id=end,
            repetition_penalty=1.0,  # some models come with another
            **options,
        )
    return [_to_end(row, loaded.end_ids) for row in out[:, longest:].tolist()]


def _to_end(tokens: list[int], ends: frozenset[int]) -> list[int]:
    return tokens[: next((at + 1 for at, token in enumerate(tokens) if token in ends), len(tokens))]


SIDES: dict[str, Callable[[argparse.Namespace], Any]] = {
    "ours": sample_ours,
    "baseline": sample_baseline,
    "our-greedy": greedy_ours,
    "greedy": greedy_baseline,
}


def say(line: str) -> None:
    """Tell a person how it goes."""
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
