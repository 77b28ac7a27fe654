"""The command line: `sense STAGE`, `sense run RECIPE`, `sense model`. Only here are errors shown.

A stage's flags are made from the fields of its `Config`. Exit codes: 0 done, 1 done but short of what was
asked for, 2 cannot be done as asked, 130 stopped by the user.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_origin

from sense import __version__, stages
from sense.errors import ConfigError, SenseError, nearest
from sense.flags import add_flag, flag_of, named_values, plain_kind
from sense.progress import is_follower, say
from sense.rundir import RunDir
from sense.stage import StageConfig

# One line on each stage, in the order of the data; the modules themselves are not loaded to show them.
STAGE_LINES = {
    "synthesize": "a strong model writes databases, questions and SQL",
    "filter": "run what it wrote, keep what works and is new: training data",
    "judge": "a model judges whether questions and SQL agree, for a second filter",
    "data": "data build: a data folder from a release like data/strong-v1",
    "split": "data split: hold out the questions of some databases, to choose settings by",
    "sft": "fine-tune an open model on questions with their SQL",
    "sample": "a small model writes several SQL queries for each question",
    "label": "execute them: right, wrong, or why there is no telling",
    "pairs": "pair a right query with a wrong one, for dpo",
    "dpo": "train the model to prefer the right one of each pair",
    "predict": "answer a data set's questions with a model",
    "suite": "suite build: variants of databases that tell right SQL from lucky SQL",
    "score": "how good the answers are, by the official rules and more",
    "report": "one page with results, curves and errors",
}
SPELLED = {"data": "data build", "split": "data split", "suite": "suite build"}  # commands of two words
OTHER_LINES = {
    "ask": "ask a model about a database of yours",
    "run": "run a recipe: a chain of stages; what is up to date is not done again",
    "model": "download a model by its name, or list the known ones",
    "push": "send a data or model folder to the Hugging Face Hub",
}
# Where a package comes from that a plain install leaves out.
EXTRAS = {"matplotlib": "report", "httpx2": "api", "faker": "fill", "huggingface_hub": "hub"}
EXTRAS |= dict.fromkeys(("torch", "transformers", "peft", "accelerate", "safetensors", "gguf"), "train")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
NO_ROOM_PHRASES = ("No space left on device", "database or disk is full")  # as C and Rust libraries report it
EXIT_SHORT, EXIT_REFUSED, EXIT_STOPPED, EXIT_PIPE = 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else tokenizers warns in every worker process
    try:
        code = _dispatch(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except SenseError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        say("sense: stopped; the same command goes on from here")
        return EXIT_STOPPED
    except BrokenPipeError:
        # Python flushes standard output once more at exit, and would complain of the closed pipe there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _refuse(
            f"package {error.name!r} is not installed; install it with: pip install 'sense-sql[{extra}]'"
        )
    except Exception as error:
        if getattr(error, "errno", None) in NO_ROOM or any(
            phrase in str(error) for phrase in NO_ROOM_PHRASES
        ):
            return _refuse(
                f"no room left on the disk ({error}); free some, and the same command goes on from here"
            )
        if isinstance(error, OSError):
            return _refuse(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        raise
    return code


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        _show(_help())
        return 0
    command, rest = argv[0], argv[1:]
    if command in ("--version", "-V"):
        _show(f"sense {__version__}")
        return 0
    others = {"run": _run_recipe, "model": _model, "ask": _ask, "push": _push}
    if command in others:
        return others[command](rest)
    if command in {words.split()[0] for words in SPELLED.values()}:
        command, rest = _second_word(command, rest)
    if command in stages.STAGES:
        return _run_stage(command, rest)
    commands = [*stages.STAGES, *OTHER_LINES]
    raise ConfigError(f"unknown command {command!r}; {nearest(command, commands)}")


def _second_word(first: str, rest: list[str]) -> tuple[str, list[str]]:
    """Tell which stage two words name; what follows `data build` may be a folder without a flag."""
    stage_of = {words: stage for stage, words in SPELLED.items() if words.startswith(first + " ")}
    stage = stage_of.get(f"{first} {rest[0]}") if rest else None
    if stage is None:
        if {"-h", "--help"} & set(rest):
            return next(iter(stage_of.values())), rest
        seconds = " or ".join(repr(words.split()[1]) for words in stage_of)
        raise ConfigError(
            f"sense {first}: {seconds} is expected: sense {next(iter(stage_of))} --help tells more"
        )
    rest = rest[1:]
    if stage == "data" and rest and not rest[0].startswith("-"):
        return stage, ["--source", *rest]
    return stage, rest


def _help() -> str:
    def table(lines: Mapping[str, str]) -> str:
        return "\n".join(f"  {name:<11} {line}" for name, line in lines.items())

    return f"""\
Sense turns weak and strong language models into your own text-to-SQL model.

usage: sense COMMAND ...

The stages, in the order the data flows; each reads files and fills one folder (--out):
{table(STAGE_LINES)}

All at once, models, and use:
{table(OTHER_LINES)}

`sense COMMAND --help` shows a command's settings; `sense run recipes/demo.yaml` is a good start.
A command that was stopped goes on when it is given again. Exit codes: 0 done; 1 done, but something fell
short; 2 cannot be done as asked; 130 stopped by you."""


class _Parser(argparse.ArgumentParser):
    """Raises in place of printing a screenful, and names the nearest flag."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}")

    def parse_strictly(self, argv: Sequence[str]) -> dict[str, Any]:
        values, unknown = self.parse_known_args(argv)
        if unknown:
            known = [
                flag for action in self._actions for flag in action.option_strings if flag.startswith("--")
            ]
            close = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"see {self.prog} --help"
            self.error(f"unknown argument {unknown[0]!r}; {hint}")
        return vars(values)


def _parser(prog: str, about: str) -> _Parser:
    return _Parser(
        prog=prog, description=about, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _run_stage(name: str, argv: Sequence[str]) -> int:
    stage = stages.load_stage(name)
    config_type = stage.Config
    words = f"sense {SPELLED.get(name, name)}"
    parser = _parser(words, f"{words}: {STAGE_LINES[name].removeprefix(words[6:] + ': ')}.")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder to fill (needed)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON on standard output")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML file of settings; --set and flags win over it"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, in YAML")
    settings = parser.add_argument_group("settings")
    for field_name, field in config_type.model_fields.items():
        add_flag(settings, field_name, field)
    given = parser.parse_strictly(argv)
    out, as_json = given.pop("out"), given.pop("json")
    config = _settings(config_type, given, where=parser.prog)
    if out is None:
        parser.error("--out is needed")
    run_dir = RunDir(out, stage=name, config=config)
    state = stages.bring_up_to_date(run_dir, config, label=name)
    if is_follower():
        return 0  # the first process tells how it went
    summary = state["summary"] | {"out": str(out), "stage": name}
    show = getattr(stage, "show", None)
    return _report(summary, list(stages.shortfalls(state, label=name)), as_json=as_json, show=show)


def _settings(config_type: type[StageConfig], given: dict[str, Any], *, where: str) -> StageConfig:
    """Join settings from the three places: file, then --set, then flags, the later ones winning."""
    file: Path | None = given.pop("config")
    overrides: list[str] = given.pop("set")
    values: dict[str, Any] = {}
    if file or overrides:
        from sense.yaml_files import parse_override, read_yaml_mapping  # slow to load, and seldom needed

        values = read_yaml_mapping(file) if file else {}
    for override in overrides:
        name, value = parse_override(override)
        values[name.replace("-", "_")] = value
    for name, value in given.items():
        is_mapping = get_origin(plain_kind(config_type.model_fields[name].annotation)) is dict
        values[name] = named_values(value, flag=flag_of(name)) if is_mapping else value
    missing = [
        flag_of(name)
        for name, field in config_type.model_fields.items()
        if field.is_required() and name not in values
    ]
    if missing and not values.keys() - config_type.model_fields.keys():
        raise ConfigError(f"{where}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} needed")
    return config_type.parse(values, where=where)


def _run_recipe(argv: Sequence[str]) -> int:
    parser = _parser("sense run", f"sense run: {OTHER_LINES['run']}.")
    parser.add_argument("recipe", type=Path, help="recipe file (YAML)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting, or STEP.NAME=VALUE for a step's",
    )
    parser.add_argument("--out", type=Path, help="folder of the run folders, in place of the recipe's")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON on standard output")
    given = parser.parse_strictly(argv)
    recipe = importlib.import_module("sense.recipe")
    result = recipe.run(recipe.read(given["recipe"], overrides=given["set"], out=given["out"]))
    return _report(result.summary, result.shortfalls, as_json=given["json"])


def _model(argv: Sequence[str]) -> int:
    parser = _parser("sense model", f"sense model: {OTHER_LINES['model']}.")
    parser.add_argument("action", choices=("get", "list"))
    parser.add_argument("name", nargs="?", help="with get: the model")
    given = parser.parse_strictly(argv)
    store = importlib.import_module("sense.llms.store")
    if given["action"] == "list":
        for name, known in store.KNOWN.items():
            _show(f"{name}  {known.title} ({known.license})")
        return 0
    if given["name"] is None:
        parser.error(f"name a model: {', '.join(store.KNOWN)}")
    _show(str(store.get(given["name"])))
    return 0


def _push(argv: Sequence[str]) -> int:
    push = importlib.import_module("sense.strong.push")
    parser = _parser("sense push", f"sense push: {OTHER_LINES['push']}.")
    settings = parser.add_argument_group("settings")
    for name, field in push.Config.model_fields.items():
        add_flag(settings, name, field)
    for line in push.push(push.Config.parse(parser.parse_strictly(argv), where=parser.prog)):
        _show(line)
    return 0


def _ask(argv: Sequence[str]) -> int:
    parser = _parser("sense ask", f"sense ask: {OTHER_LINES['ask']}.")
    parser.add_argument("question", help="what you want to know, in quotes")
    parser.add_argument("--model", required=True, help="known name, Hugging Face id, folder or GGUF file")
    parser.add_argument("--database", required=True, type=Path, metavar="FILE", help="SQLite file; only read")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    given = parser.parse_strictly(argv)
    inference = importlib.import_module("sense.inference.ask")
    outcome = importlib.import_module("sense.execution.outcome")
    sql, ending = inference.ask(given["question"], database=given["database"], model=given["model"])
    rows = [list(row) for row in getattr(ending, "rows", ())]
    if given["json"]:
        _show(json.dumps({"sql": sql, "rows": rows, "ending": outcome.describe(ending)}, default=str))
    else:
        _show("\n".join([sql, *("\t".join(map(str, row)) for row in rows), f"({outcome.describe(ending)})"]))
    return 0 if isinstance(ending, outcome.Rows) else EXIT_SHORT


def _report(
    summary: Mapping[str, Any],
    shortfalls: Sequence[str],
    *,
    as_json: bool,
    show: Callable[[Mapping[str, Any]], str] | None = None,
) -> int:
    if as_json:
        _show(json.dumps(summary, ensure_ascii=False, default=str))
    elif show is not None:
        _show(show(summary))
    elif "page" in summary:  # a report: its table says it all
        tables = importlib.import_module("sense.report.tables")
        _show(tables.text_table(summary))
        _show(f"report: {summary['page']}")
    else:  # a recipe's other steps have said what they did, and are in summary.json
        _show("\n".join(_lines({name: value for name, value in summary.items() if name != "steps"})))
    for line in shortfalls:
        say(f"sense: {line}")
    return EXIT_SHORT if shortfalls else 0


def _lines(value: Mapping[str, Any], indent: str = "") -> list[str]:
    lines: list[str] = []
    for name, part in value.items():
        if isinstance(part, Mapping):
            lines += [f"{indent}{name}:", *_lines(part, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {part}")
    return lines


def _show(text: str) -> None:
    sys.stdout.write(text + "\n")


def _refuse(message: str) -> int:
    say("sense: error: " + " ".join(message.splitlines()))
    return EXIT_REFUSED
