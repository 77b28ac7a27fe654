"""Time SFT and DPO against TRL's SFTTrainer and DPOTrainer, and compare losses and gradients, side by side.

    python benchmarks/train.py --data DIR --model M --examples N --json

It needs `trl` and `datasets`. Both train the same model on the same token ids, on the same device and in the
same precision, one epoch after a step of warm-up; loading and tokenizing are outside the clock. Every engine
is a process of its own, so that a peak of memory is its own.

Ours: packs and steps as `sense sft` and `sense dpo` plan them, DPO's pass of the reference in the clock. TRL:
loss on completions only, no activation checkpointing, rows of like length in a batch, as many examples a step
as our largest ones have; ours are smaller, and more, where a database has fewer questions than a pack takes.

Questions are those of whole databases, for that is how an epoch looks; a pair is a question's gold SQL and
another one's of the same database. Losses and gradients are compared in float32 on our first step, at weights
a little off the start: there every DPO loss would be log 2.
"""

from __future__ import annotations

import argparse
import copy
import gc
import importlib.util
import json
import multiprocessing
import os
import random
import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple, ParamSpec, TypeVar

from rich.console import Console
from rich.table import Table

from sense.databases import spider
from sense.errors import DataError, SenseError
from sense.prompts.text_to_sql import Prompter, completion
from sense.records import Question
from sense.training.settings import TrainingConfig
from sense.training.tokens import TokenizedExample

Task = Literal["sft", "dpo"]
TASKS: tuple[Task, ...] = ("sft", "dpo")
BETA = 0.1
LEARNING_RATE = 1e-5
NOISE = 1e-3  # added to weights of some hundredths: enough to tell a policy from its reference
P = ParamSpec("P")
T = TypeVar("T")


class Timed(NamedTuple):
    """One epoch: seconds, tokens of its rows or packs with their padding, and memory in MiB."""

    seconds: float
    tokens: int
    steps: int
    loaded_mib: float  # held at most before training began
    peak_mib: float


class Apart(NamedTuple):
    """How far our loss and gradient are from TRL's, relative to TRL's."""

    loss_rel: float
    grad_rel: float
    compared_examples: int


def main() -> None:
    """Measure, and print the figures."""
    given = parse_arguments()
    missing = [name for name in ("trl", "datasets") if importlib.util.find_spec(name) is None]
    if missing:
        stop(f"{' and '.join(missing)} not installed: pip install trl datasets")
    try:
        result = measure(given)
    except SenseError as error:
        stop(str(error))
    except BrokenProcessPool:
        stop("a process was killed, most likely for memory: a smaller --trl-batch or --model may fit")
    if given.json:
        print(json.dumps(result))  # noqa: T201
    else:
        show(result)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder in Spider's layout")
    parser.add_argument("--model", required=True, help="model to start from, as in `sense sft`")
    parser.add_argument(
        "--examples",
        type=int,
        required=True,
        help="SFT: questions, of whole databases drawn by --seed; the last one's are cut to make so many",
    )
    parser.add_argument("--split", default="train_spider")
    parser.add_argument(
        "--pairs", type=int, help="DPO: pairs, of the same databases; default: half the examples"
    )
    parser.add_argument("--precision", choices=["bf16", "float32"], default="bf16", help="bf16: autocast")
    parser.add_argument("--lora-rank", type=int, default=0, help="rank of LoRA adapters; 0: full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1, help="of all engines in turn; medians count")
    parser.add_argument("--trl-batch", type=int, default=4, help="rows, or pairs, of a forward pass of TRL's")
    parser.add_argument(
        "--trl-attention",
        default="sdpa",
        help="attention of TRL's model; with flash_attention_2, for GPUs, its SFT rows are not padded",
    )
    parser.add_argument(
        "--trl-precompute", action="store_true", help="TRL: all of the reference's passes first, in the clock"
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    given = parser.parse_args()
    given.pairs = given.examples // 2 if given.pairs is None else given.pairs
    for name in ("examples", "pairs", "rounds", "trl_batch"):
        if getattr(given, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return given


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Run every engine, and compare."""
    made = in_process(make_examples, given)
    engines: dict[str, Callable[..., Timed]] = {"sense": time_sense, "trl": time_trl}
    parts: dict[str, dict[str, Any]] = {}
    for task in TASKS:
        examples = made[task]
        runs: dict[str, list[Timed]] = {name: [] for name in engines}
        for number in range(given.rounds):
            for name, engine in engines.items():
                runs[name].append(in_process(engine, task, examples, given))
                say(f"{task}: round {number + 1}: {name}: {runs[name][-1].seconds:.2f} s")
        apart = in_process(compare, task, examples, given)
        parts[task] = {
            "examples": len(examples),
            "databases": len({example.schema for example in examples}),
            **compared(runs, len(examples)),
            **apart._asdict(),
        }
    return {
        "sft_ratio": parts["sft"]["ratio"],
        "dpo_ratio": parts["dpo"]["ratio"],
        "loss_rel": max(part["loss_rel"] for part in parts.values()),
        "grad_rel": max(part["grad_rel"] for part in parts.values()),
        "memory_ratio": max(part["memory_ratio"] for part in parts.values()),
        "token_bound": {task: part["token_bound"] for task, part in parts.items()},
        "share_of_bound": {task: part["share_of_bound"] for task, part in parts.items()},
        **parts,
        **in_process(surroundings),
        **{name: str(value) if isinstance(value, Path) else value for name, value in vars(given).items()},
    }


def compared(runs: dict[str, list[Timed]], examples: int) -> dict[str, Any]:
    """Set our runs beside TRL's; medians of rounds, and of memory the most."""
    engines = {
        name: {
            "examples_per_s": examples / statistics.median(run.seconds for run in found),
            "tokens": round(statistics.median(run.tokens for run in found)),
            "tokens_per_s": statistics.median(run.tokens / run.seconds for run in found),
            "steps": found[0].steps,
            "seconds": [run.seconds for run in found],
            "loaded_mib": max(run.loaded_mib for run in found),
            "peak_mib": max(run.peak_mib for run in found),
        }
        for name, found in runs.items()
    }
    ours, trl = engines["sense"], engines["trl"]
    ratio = ours["examples_per_s"] / trl["examples_per_s"]
    bound = trl["tokens"] / ours["tokens"]
    return {
        "ratio": ratio,
        "token_bound": bound,
        "share_of_bound": ratio / bound,
        "memory_ratio": ours["peak_mib"] / trl["peak_mib"],
        **engines,
    }


def make_examples(given: argparse.Namespace) -> dict[Task, list[TokenizedExample]]:
    """Tokenize the questions and pairs as the stages do."""
    from transformers import AutoTokenizer

    from sense.llms import store
    from sense.training.session import prune_long, within
    from sense.training.tokens import tokenize

    questions = draw_questions(given.data, given.split, count=given.examples, seed=given.seed)
    pairs = list(make_pairs(questions))
    if len(pairs) < given.pairs:
        raise DataError(
            f"{given.data}: {len(questions)} questions make {len(pairs)} pairs, not {given.pairs}"
        )
    prompter = Prompter(given.data)
    tokenizer = AutoTokenizer.from_pretrained(store.resolve(given.model))
    sides: dict[Task, list[tuple[Question, list[str]]]] = {
        "sft": [(question, [question.gold_sql]) for question in questions],
        "dpo": [(question, [question.gold_sql, rejected]) for question, rejected in pairs[: given.pairs]],
    }
    max_tokens = config_of(given, bf16=False).max_tokens
    made: dict[Task, list[TokenizedExample]] = {}
    for task, found in sides.items():
        rows = [
            (str(question.id), prompter.prompt(question), [*map(completion, sqls)])
            for question, sqls in found
        ]
        shorter = prune_long(rows, tokenizer, max_tokens=max_tokens)
        made[task] = within(tokenize(shorter, tokenizer), max_tokens=max_tokens, label=task)
    return made


def draw_questions(data: Path, split: str, *, count: int, seed: int) -> list[Question]:
    """Draw databases by seed, and take all their questions until there are `count`."""
    by_database: dict[str, list[Question]] = {}
    for question in spider.load_questions(data, split):
        by_database.setdefault(question.db_id, []).append(question)
    order = random.Random(seed).sample(list(by_database), len(by_database))
    found = [question for db_id in order for question in by_database[db_id]]
    if len(found) < count:
        raise DataError(f"{data}: split {split!r} has {len(found)} questions, not {count}")
    return found[:count]


def make_pairs(questions: Sequence[Question]) -> Iterator[tuple[Question, str]]:
    """Reject for a question the gold SQL of the next one of its database that has another."""
    for _, group in groupby(questions, key=lambda question: question.db_id):
        members = list(group)
        for place, question in enumerate(members):
            for other in members[place + 1 :] + members[:place]:
                if completion(other.gold_sql) != completion(question.gold_sql):
                    yield question, other.gold_sql
                    break


def config_of(given: argparse.Namespace, *, bf16: bool) -> TrainingConfig:
    """Write the settings as those of a stage."""
    return TrainingConfig(
        model=given.model,
        epochs=1,
        learning_rate=LEARNING_RATE,
        lora_rank=given.lora_rank,
        bf16=bf16,
        checkpoint_minutes=1e9,
        seed=given.seed,
    )


def plan(task: Task, examples: Sequence[TokenizedExample], config: TrainingConfig) -> list[list[Any]]:
    """Lay out the steps of an epoch as the stages do."""
    from sense.training.pack import plan_steps

    return plan_steps(
        examples,
        epochs=1,
        branches_per_pack=config.branches_per_pack,
        pack_tokens=config.pack_tokens,
        packs_per_step=config.packs_per_step,
        count_pairs=task == "dpo",
        seed=config.seed,
    )


def pack_loss(task: Task, model: Any, steps: Sequence[Sequence[Any]], *, bf16: bool) -> Callable[..., Any]:
    """Make the loss of a task; for DPO the model as it is now becomes the reference."""
    from sense.training.losses import conservative_dpo
    from sense.training.objectives import preference_loss, reference_logprobs, sft_loss

    if task == "sft":
        return sft_loss
    references: dict[str, tuple[float, float]] = {}
    for step in steps:
        for pack in step:
            references |= reference_logprobs(model, pack, bf16=bf16)
    pair_loss = partial(conservative_dpo, beta=BETA, label_smoothing=0.0)
    return preference_loss(references, pair_loss, length_normalized=False, sft_weight=0.0)


def time_sense(task: Task, examples: Sequence[TokenizedExample], given: argparse.Namespace) -> Timed:
    """Train an epoch with our trainer."""
    from sense.training import session, trainer
    from sense.training.row import make_row

    config = config_of(given, bf16=given.precision == "bf16")
    model = session.open_model(config).model
    loaded_mib = peak_mib()
    steps = plan(task, examples, config)
    with tempfile.TemporaryDirectory(prefix="sense-benchmark-") as name:

        def train(steps: list[list[Any]], folder: Path) -> float:
            folder.mkdir()
            return clocked(
                lambda: trainer.train(
                    model,
                    steps,
                    pack_loss=pack_loss(task, model, steps, bf16=config.bf16),
                    hyperparameters=session.hyperparameters_of(config),
                    folder=folder,
                    label=task,
                )
            )

        train(steps[:1], Path(name, "warm-up"))
        gc.collect()  # the warm-up's optimizer
        seconds = train(steps, Path(name, "timed"))
    rows = (make_row(pack.schema, pack.branches) for step in steps for pack in step)
    tokens = sum(row.input_ids_1T.numel() for row in rows)
    return Timed(seconds, tokens, len(steps), loaded_mib, peak_mib())


def time_trl(task: Task, examples: Sequence[TokenizedExample], given: argparse.Namespace) -> Timed:
    """Train an epoch with TRL's trainer."""
    from peft import LoraConfig

    from sense.llms.local import load

    quiet()
    config = config_of(given, bf16=given.precision == "bf16")
    model = load(given.model).model
    loaded_mib = peak_mib()
    model.set_attn_implementation(given.trl_attention)
    branches = config.branches_per_pack * config.packs_per_step
    adapters = LoraConfig(
        r=config.lora_rank or 1,
        lora_alpha=config.lora_alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with tempfile.TemporaryDirectory(prefix="sense-benchmark-") as name:
        trainer = trl_trainer(
            task,
            model,
            examples,
            given,
            folder=name,
            bf16=config.bf16,
            gradient_accumulation_steps=max(1, branches // len(examples[0].branches) // given.trl_batch),
            peft_config=adapters if config.lora_rank else None,
        )
        trainer.args.max_steps = 1
        trainer.train()
        trainer.args.max_steps = -1
        trainer.data_collator.tokens = 0
        gc.collect()
        seconds = clocked(trainer.train)
    steps = int(trainer.state.global_step)
    seconds += getattr(trainer, "reference_s", 0.0)
    return Timed(seconds, trainer.data_collator.tokens, steps, loaded_mib, peak_mib())


def trl_trainer(
    task: Task,
    model: Any,
    examples: Sequence[TokenizedExample],
    given: argparse.Namespace,
    *,
    folder: str,
    bf16: bool,
    peft_config: Any = None,
    gradient_accumulation_steps: int = 1,
) -> Any:
    """Make TRL's trainer of a task, over our token ids and counting what its batches hold."""
    import torch
    import trl
    from datasets import Dataset
    from transformers import AutoTokenizer
    from transformers.trainer_callback import PrinterCallback

    from sense.llms import store

    class Dpo(trl.DPOTrainer):
        """DPOTrainer that takes token ids as they are, and times what it does before training."""

        reference_s = 0.0

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, *arguments: Any) -> Any:
            started = time.perf_counter()
            found = super()._precompute_ref_logps(*arguments)
            self.reference_s += time.perf_counter() - started
            return found

    if task == "sft":
        trainer_class, config_class, reference = trl.SFTTrainer, trl.SFTConfig, {}
        own: dict[str, Any] = {"padding_free": given.trl_attention.startswith("flash")}
    else:
        trainer_class, config_class = Dpo, trl.DPOConfig
        own = {"beta": BETA, "precompute_ref_log_probs": given.trl_precompute}
        kept = not given.lora_rank and not given.trl_precompute
        reference = {"ref_model": copy.deepcopy(model)} if kept else {}
    trainer = trainer_class(
        model=model,
        args=config_class(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=given.trl_batch,
            gradient_accumulation_steps=gradient_accumulation_steps,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="cosine",
            max_length=None,
            activation_checkpointing=False,
            train_sampling_strategy="group_by_length",
            remove_unused_columns=False,  # the lengths
            bf16=bf16,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            seed=given.seed,
            **own,
        ),
        train_dataset=Dataset.from_list([trl_row(task, example) for example in examples]),
        processing_class=AutoTokenizer.from_pretrained(store.resolve(given.model)),
        peft_config=peft_config,
        **reference,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.data_collator = Counting(trainer.data_collator)
    return trainer


def trl_row(task: Task, example: TokenizedExample) -> dict[str, Any]:
    """Write an example in the columns that TRL's collators take."""
    first = example.branches[0]
    prompt = [*example.schema, *first.prompt]
    if task == "sft":
        ids = [*prompt, *first.completion]
        return {"input_ids": ids, "labels": [-100] * len(prompt) + [*first.completion], "length": len(ids)}
    chosen, rejected = (list(branch.completion) for branch in example.branches)
    longest = len(prompt) + max(len(chosen), len(rejected))
    return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected, "length": longest}


class Counting:
    """A collator that counts the tokens of its batches, padding among them."""

    def __init__(self, collate: Callable[[list[Any]], dict[str, Any]]) -> None:
        """Wrap a collator."""
        self._collate = collate
        self.tokens = 0

    def __call__(self, rows: list[Any]) -> dict[str, Any]:
        """Make a batch."""
        batch = self._collate(rows)
        self.tokens += batch["input_ids"].numel()
        return batch


def compare(task: Task, examples: Sequence[TokenizedExample], given: argparse.Namespace) -> Apart:
    """Compute loss and gradient of our first step, in float32, packed and by TRL."""
    import torch

    from sense.llms.shared_prefix import ATTENTION_NAME
    from sense.training import session

    quiet()
    given = argparse.Namespace(**(vars(given) | {"trl_precompute": False, "trl_attention": "sdpa"}))
    config = config_of(given, bf16=False)
    model: Any = session.open_model(config).model.eval()
    step = plan(task, examples, config)[0]
    chosen = [example for pack in step for example in pack.examples]
    ours = pack_loss(task, model, [step], bf16=False)
    base = model.get_base_model() if config.lora_rank else model
    base.set_attn_implementation(given.trl_attention)
    with tempfile.TemporaryDirectory(prefix="sense-benchmark-") as name:
        trainer = trl_trainer(task, model, chosen, given, folder=name, bf16=False)
    model.eval()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    noise = torch.Generator().manual_seed(given.seed)
    for parameter in trained.values():
        parameter.data += NOISE * torch.randn(parameter.shape, generator=noise).to(parameter.device)

    def trl_losses() -> Iterator[Any]:
        items = sum(len(example.branches[0].completion) for example in chosen)
        for start in range(0, len(chosen), given.trl_batch):
            rows = [trl_row(task, example) for example in chosen[start : start + given.trl_batch]]
            batch = trainer._prepare_inputs(trainer.data_collator(rows))
            share = 1.0 if task == "sft" else len(rows) / len(chosen)  # a DPO loss is its own batch's mean
            yield share * trainer.compute_loss(model, batch, num_items_in_batch=torch.tensor(items))

    theirs = summed(trl_losses(), trained)
    base.set_attn_implementation(ATTENTION_NAME)
    mine = summed((ours(model, pack)[0] / pack.denominator for pack in step), trained)
    norm = sum(float(gradient.square().sum()) for gradient in theirs[1].values())
    apart = sum(float((mine[1][name] - theirs[1][name]).square().sum()) for name in trained)
    return Apart(abs(mine[0] - theirs[0]) / abs(theirs[0]), (apart / norm) ** 0.5, len(chosen))


def summed(losses: Iterator[Any], trained: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Add up losses and their gradients."""
    total = 0.0
    for loss in losses:
        loss.backward()
        total += loss.item()
    gradients = {name: parameter.grad.clone() for name, parameter in trained.items()}
    for parameter in trained.values():
        parameter.grad = None
    return total, gradients


def clocked(work: Callable[[], Any]) -> float:
    """Time some work, to the end of what it asked of a GPU."""
    import torch

    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def peak_mib() -> float:
    """Tell the most memory that this process ever held: of the GPU, where there is one."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def surroundings() -> dict[str, Any]:
    """Tell what the figures depend on beside the arguments."""
    import torch
    import transformers
    import trl

    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else f"cpu, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }


def in_process(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a function in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments, **named).result()


def quiet() -> None:
    """Keep what TRL and its libraries remark off the screen."""
    import logging

    import datasets

    warnings.simplefilter("ignore")
    os.environ["TQDM_DISABLE"] = "1"
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()


def show(result: dict[str, Any]) -> None:
    """Print a table for people."""
    table = Table("task", "engine", "examples/s", "tokens", "tokens/s", "peak MiB")
    lines: list[str] = []
    for task in TASKS:
        part = result[task]
        for name in ("sense", "trl"):
            engine = part[name]
            figures = (engine["tokens"], engine["tokens_per_s"], engine["peak_mib"])
            cells = [f"{engine['examples_per_s']:,.2f}", *(f"{figure:,.0f}" for figure in figures)]
            table.add_row(task, name, *cells)
        lines.append(
            f"{task}: {part['ratio']:.2f}x TRL's examples/s, {part['share_of_bound']:.0%} of the "
            f"{part['token_bound']:.2f}x fewer tokens; {part['memory_ratio']:.2f} of its memory; "
            f"float32 loss {part['loss_rel']:.1e} and gradient {part['grad_rel']:.1e} from TRL's, relatively"
        )
    console = Console()
    console.print(table)
    console.print(*lines, f"{result['device']}, {result['precision']}", sep="\n", highlight=False)


def say(line: str) -> None:
    """Tell a person how it goes."""
    sys.stderr.write(line + "\n")


def stop(line: str) -> None:
    """End with one line, and exit code 2."""
    say(f"error: {line}")
    sys.exit(2)


if __name__ == "__main__":
    main()
