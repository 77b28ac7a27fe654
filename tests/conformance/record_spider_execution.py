"""Make the verdicts of spider_execution.jsonl and result_eq.jsonl anew with the official script.

It wants a checkout of taoyds/test-suite-sql-eval and a Python with sqlparse and tqdm:

    python tests/conformance/record_spider_execution.py --official CHECKOUT

The pairs stay; one is added by a line with its id, db, gold and predicted. It is evaluation.py's way
without its files of lines, in which no query can hold a tab or a line end: `value` is rewritten, and
eval_exec_match does the rest, on a fresh copy of the databases, for some predictions change them.

result_eq.jsonl holds small results of few values, which are hard to tell apart; bytes stand there as
{"hex": ...}.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from spider_databases import DATABASES, build

PAIRS = Path(__file__).with_name("spider_execution.jsonl")
RESULTS = Path(__file__).with_name("result_eq.jsonl")
OPTIONS = {
    "default": {"plug_value": False, "keep_distinct": False},
    "keep_distinct": {"plug_value": False, "keep_distinct": True},
    "plug_value": {"plug_value": True, "keep_distinct": False},
}
CRASH = "crash"  # the official script ends with an error, and no pair gets a verdict


def main() -> None:
    """Read the files, ask the official script, write them back."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--official", type=Path, required=True, help="checkout of taoyds/test-suite-sql-eval")
    sys.path.insert(0, str(parser.parse_args().official.resolve()))
    official = importlib.import_module("exec_eval")
    pairs = read(PAIRS)
    with tempfile.TemporaryDirectory() as folder:
        originals = Path(folder)
        for name in DATABASES:
            build(originals, name)
        for pair in pairs:
            for option, flags in OPTIONS.items():
                pair[option] = verdict(official, pair, flags, originals=originals)
    write(PAIRS, pairs)
    results = read(RESULTS)
    for result in results:
        gold, candidate = rows(result["gold"]), rows(result["candidate"])
        result["same"] = official.result_eq(gold, candidate, result["ordered"])
    write(RESULTS, results)


def read(path: Path) -> list[Any]:
    """Read JSON Lines; a line end of Unicode's in a string ends no line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def write(path: Path, items: list[Any]) -> None:
    """Write JSON Lines."""
    lines = [json.dumps(item, ensure_ascii=False) + "\n" for item in items]
    path.write_text("".join(lines), encoding="utf-8")


def rows(table: list[list[Any]]) -> list[tuple[Any, ...]]:
    """Take a result out of its JSON."""
    return [tuple(bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for v in row) for row in table]


def verdict(official: Any, pair: dict[str, str], flags: dict[str, bool], *, originals: Path) -> int | str:
    """Ask for one verdict; what the prediction writes, it writes into a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        name = pair["db"]
        first = shutil.copytree(originals / name, Path(folder, name)) / f"{name}.sqlite"
        p_str = pair["predicted"].replace("value", "1")  # evaluation.py, evaluate
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                return int(
                    official.eval_exec_match(
                        db=os.fspath(first),
                        p_str=p_str,
                        g_str=pair["gold"],
                        progress_bar_for_each_datapoint=False,
                        **flags,
                    )
                )
        except Exception:  # noqa: BLE001 - whatever it is, it ends the official run
            return CRASH


if __name__ == "__main__":
    main()
