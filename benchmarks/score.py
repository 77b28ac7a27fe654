"""Time `sense score` and `sense label` against the official script and a bare sqlite3 loop, side by side.

    python benchmarks/score.py --data DIR --predictions FILE... --official DIR --json

DIR of `--data` has Spider's layout with `dev.json`; a FILE has one query a line. DIR of `--official` is a
checkout of taoyds/test-suite-sql-eval; it needs `sqlparse`, `nltk` and `tqdm`. A copy of it is run in which
NLTK does not look for sentences: the model for that is a download of its own, and a query is one sentence.

Every time is that of a whole process. The rounds of all contenders are interleaved, and medians compared.
`cold` is a first run, with an empty cache folder; `warm` is the same command once more; `gold` finds the
results of the gold queries of an earlier run, and no verdicts: other predictions for a split scored before.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

DRIVER = """\
import json, sys
import evaluation
verdicts, judge = [], evaluation.eval_exec_match
def note(**given):
    verdicts.append(int(judge(**given)))
    return verdicts[-1]
evaluation.eval_exec_match = note
gold, pred, db, table, out = sys.argv[1:]
maps = evaluation.build_foreign_key_map_from_json(table)
evaluation.evaluate(gold, pred, db, "exec", maps, False, False, False)
json.dump(verdicts, open(out, "w"))
"""
BARE = """\
import json, sqlite3, sys, time
jobs = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
started, open_path, connection = time.perf_counter(), None, None
for path, sql in jobs:
    if path != open_path:
        connection, open_path = sqlite3.connect(path), path
    try:
        connection.execute(sql).fetchall()
    except sqlite3.Error:
        pass
print(time.perf_counter() - started)
"""


class Run(NamedTuple):
    """A process that has ended: seconds, and the most memory that it or one of its children held."""

    seconds: float
    peak_mib: float
    output: str


def main() -> None:
    """Measure, and print the figures."""
    given = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="sense-benchmark-") as name:
        bench = Bench(given.data, given.split, given.official, Path(name))
        files = [bench.compare(path, rounds=given.rounds) for path in given.predictions]
        labels = bench.label(given.predictions, count=given.candidates)
    result: dict[str, Any] = {
        "cold_ratio": statistics.median(file["cold_ratio"] for file in files),
        "warm_ratio": statistics.median(file["warm_ratio"] for file in files),
        "gold_ratio": statistics.median(file["gold_ratio"] for file in files),
        "label_share": labels["share"],
        "verdicts_differ": sum(file["verdicts_differ"] for file in files),
        "files": files,
        "label": labels,
        "rounds": given.rounds,
        "processors": os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
    }
    if given.json:
        print(json.dumps(result))  # noqa: T201


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder in Spider's layout")
    parser.add_argument("--split", default="dev")
    parser.add_argument(
        "--predictions", type=Path, nargs="+", required=True, help="files of one query a line"
    )
    parser.add_argument("--official", type=Path, required=True, help="checkout of taoyds/test-suite-sql-eval")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=50_000, help="how many to label")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    return parser.parse_args()


class Bench:
    """The contenders, set up in a folder of their own."""

    def __init__(self, data: Path, split: str, official: Path, folder: Path) -> None:
        """Copy the official script and write its gold file."""
        self.data, self.split, self.folder = data.absolute(), split, folder
        self.script = folder / "official"
        shutil.copytree(official, self.script, ignore=shutil.ignore_patterns(".git", "database"))
        reader = self.script / "process_sql.py"
        text = reader.read_text()
        whole = "word_tokenize(string, preserve_line=True)"
        reader.write_text(text.replace("word_tokenize(string)", whole))
        (self.script / "driver.py").write_text(DRIVER)
        self.questions: list[dict[str, Any]] = json.loads((data / f"{split}.json").read_text())
        self.gold = folder / "gold.sql"
        self.gold.write_text("".join(f"{each['query']}\t{each['db_id']}\n" for each in self.questions))

    def compare(self, predictions: Path, *, rounds: int) -> dict[str, Any]:
        """Time the scoring of one file, and compare every verdict."""
        predictions = predictions.absolute()
        differ, official_ex, ours_ex = self._verdicts(predictions)
        times: dict[str, list[float]] = {"official": [], "cold": [], "warm": [], "gold": []}
        for _ in range(rounds):
            times["official"].append(self._official(predictions).seconds)
            shutil.rmtree(self.folder / "cold", ignore_errors=True)
            times["cold"].append(self._score(predictions, cache=self.folder / "cold").seconds)
            times["warm"].append(self._score(predictions, cache=self.folder / "warm").seconds)
            (self.folder / "warm" / "gold" / "verdicts.sqlite").unlink()
            times["gold"].append(self._score(predictions, cache=self.folder / "warm").seconds)
        medians = {name: statistics.median(found) for name, found in times.items()}
        result = {
            "file": predictions.name,
            "official_ex": official_ex,
            "ex": ours_ex,
            "verdicts_differ": differ,
            "cold_ratio": medians["official"] / medians["cold"],
            "warm_ratio": medians["official"] / medians["warm"],
            "gold_ratio": medians["official"] / medians["gold"],
            "seconds": {name: [min(found), medians[name], max(found)] for name, found in times.items()},
        }
        say(
            f"{predictions.name}: official {medians['official']:.2f} s, cold {medians['cold']:.2f} s "
            f"({result['cold_ratio']:.1f}x), gold {medians['gold']:.2f} s ({result['gold_ratio']:.1f}x), "
            f"warm {medians['warm']:.2f} s ({result['warm_ratio']:.1f}x); {differ} verdicts differ"
        )
        return result

    def label(self, predictions: Sequence[Path], *, count: int) -> dict[str, Any]:
        """Time `sense label` on candidates made from predictions, against a bare loop on every processor."""
        candidates = list(make_candidates(self.questions, predictions, count=count))
        few = self._label(candidates[:: max(1, len(candidates) * 10 // count)])
        bare = self.folder / "bare.jsonl"
        jobs = ([self._database(each["db_id"]), each["sql"]] for each in candidates)
        bare.write_text("".join(json.dumps(job) + "\n" for job in jobs))
        bare_s, ours = [], []
        for _ in range(3):
            bare_s.append(float(run([sys.executable, "-c", BARE, bare]).output))
            ours.append(self._label(candidates))
        seconds, processors = statistics.median(each.seconds for each in ours), os.cpu_count() or 1
        share = statistics.median(bare_s) / processors / seconds
        say(
            f"{len(candidates)} candidates: bare loop {statistics.median(bare_s):.2f} s on one processor, "
            f"sense label {seconds:.2f} s on {processors}: {share:.2f} of the bare speed; "
            f"peak {ours[0].peak_mib:.0f} MiB"
        )
        return {
            "candidates": len(candidates),
            "share": share,
            "bare_seconds": bare_s,
            "seconds": [each.seconds for each in ours],
            "peak_mib": max(each.peak_mib for each in ours),
            "peak_mib_of_a_tenth": few.peak_mib,
        }

    def _official(self, predictions: Path) -> Run:
        return run(
            [
                sys.executable,
                "evaluation.py",
                "--etype",
                "exec",
                "--gold",
                self.gold,
                "--pred",
                predictions,
                "--db",
                self.data / "database",
                "--table",
                self.data / "tables.json",
            ],
            cwd=self.script,
        )

    def _score(self, predictions: Path, *, cache: Path) -> Run:
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        return run(
            [
                *SENSE,
                "score",
                "--benchmark",
                "spider",
                "--data",
                self.data,
                "--split",
                self.split,
                "--predictions",
                predictions,
                "--out",
                self.folder / "out",
            ],
            env={"SENSE_HOME": str(cache)},
        )

    def _label(self, candidates: Sequence[dict[str, Any]]) -> Run:
        shutil.rmtree(self.folder / "labels", ignore_errors=True)
        shutil.rmtree(self.folder / "label-cache", ignore_errors=True)  # no verdict of the run before
        path = self.folder / "candidates.jsonl"
        path.write_text("".join(json.dumps(each) + "\n" for each in candidates))
        return run(
            [
                *SENSE,
                "label",
                "--rule",
                "spider",
                "--data",
                self.data,
                "--split",
                self.split,
                "--candidates",
                path,
                "--out",
                self.folder / "labels",
            ],
            env={"SENSE_HOME": str(self.folder / "label-cache")},
        )

    def _verdicts(self, predictions: Path) -> tuple[int, float, float]:
        """Count the questions on which the verdicts differ; return both means too."""
        out = self.folder / "verdicts.json"
        run(
            [
                sys.executable,
                "driver.py",
                self.gold,
                predictions,
                self.data / "database",
                self.data / "tables.json",
                out,
            ],
            cwd=self.script,
        )
        self._score(predictions, cache=self.folder / "warm")
        official: list[int] = json.loads(out.read_text())
        lines = (self.folder / "out" / "scores.jsonl").read_text().splitlines()
        ours = [json.loads(line)["ex"] for line in lines]
        differ = sum(a != b for a, b in zip(official, ours, strict=False))
        return differ, sum(official) / len(official), sum(ours) / len(ours)

    def _database(self, db_id: str) -> str:
        return str(self.data / "database" / db_id / f"{db_id}.sqlite")


def make_candidates(
    questions: Sequence[dict[str, Any]], predictions: Sequence[Path], *, count: int
) -> Iterator[dict[str, Any]]:
    """Make different candidates for the questions: predictions, and predictions with a part changed."""
    answers = [path.read_text().splitlines() for path in predictions]
    rng = random.Random(0)
    each = count // len(questions) + 1
    left = count
    for position, question in enumerate(questions):
        known = [lines[position].partition("\t")[0].strip() for lines in answers if position < len(lines)]
        known.append(question["query"])
        found: dict[str, None] = dict.fromkeys(known)
        while len(found) < each:
            found.setdefault(rng.choice(CHANGES)(rng.choice(known), rng))
        for sample, sql in enumerate(list(found)[: min(each, left)]):
            yield {
                "id": f"{position}-{sample}",
                "question_id": question.get("question_id", position),
                "db_id": question["db_id"],
                "sample": sample,
                "sql": sql,
                "logprob": -1.0,
                "tokens": 1,
            }
        left -= min(each, left)


def _other_number(sql: str, rng: random.Random) -> str:
    return re.sub(r"\b\d+\b", lambda _: str(rng.randrange(2_000)), sql, count=1)


def _other_text(sql: str, rng: random.Random) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"", f"'{rng.randrange(10_000)}'", sql, count=1)


def _limited(sql: str, rng: random.Random) -> str:
    return f"SELECT * FROM ({sql.rstrip('; ')}) LIMIT {rng.randrange(1, 1_000)}"


def _typo(sql: str, rng: random.Random) -> str:
    at = rng.randrange(len(sql) or 1)
    return sql[:at] + rng.choice("abcxyz_") + sql[at:]


# Of five candidates of a small model about one fails to run.
CHANGES: tuple[Callable[[str, random.Random], str], ...] = (
    _other_number, _other_text, _limited, _limited, _typo,
)  # fmt: skip
SENSE = (sys.executable, "-m", "sense")


def run(command: Sequence[str | Path], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> Run:
    """Run a process to its end; a failure ends the benchmark with what it said."""
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603
            [str(part) for part in command], cwd=cwd, env=os.environ | (env or {}), stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        output = said.read().decode(errors="replace")
    if process.returncode not in (0, 1):
        sys.exit(f"{' '.join(map(str, command))} failed:\n{output}")
    return Run(seconds, usage.ru_maxrss / 1024, output)


def say(line: str) -> None:
    """Tell a person how it goes."""
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    main()
