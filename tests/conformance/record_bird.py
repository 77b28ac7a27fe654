"""Make bird.jsonl anew: what BIRD's own scripts say of small results and of lists of times.

    python record_bird.py --official mini_dev/evaluation --older DAMO-ConvAI/bird/llm/src

The scripts want numpy and func_timeout. Their functions run as they are; for speed, the one that reads the
clock is replaced by one that hands out times written here. The tests read the recorded file alone.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import itertools
import json
import random
import sys
from pathlib import Path
from types import ModuleType

OUTPUT = Path(__file__).with_name("bird.jsonl")
SEED = 7
RANDOM_PAIRS = 110
VALUES: list[object] = [
    None,
    0,
    1,
    2,
    10,
    -3,
    1.0,
    2.0,
    0.5,
    0.1 + 0.2,
    0.3,
    "",
    "a",
    "A",
    "1",
    "1.0",
    "None",
    "ä",
    "a b",
]

Table = list[list[object]]

HAND_MADE: list[tuple[Table, Table]] = [
    ([], []),
    ([], [[1]]),
    ([[1]], []),
    ([[None]], []),
    ([[None]], [[None]]),
    ([[None]], [["None"]]),
    ([[None, 1]], [[1, None]]),
    ([[1]], [[1.0]]),
    ([[1]], [["1"]]),
    ([[0.3]], [[0.1 + 0.2]]),
    ([[""]], [[None]]),
    ([[0]], [[None]]),
    ([[1], [2]], [[2], [1]]),
    ([[1], [1], [2]], [[1], [2], [2]]),
    ([[1], [1.0], [2]], [[1], [2]]),
    ([[1, 2], [1, 2]], [[2, 1]]),
    ([[1, 1]], [[1]]),
    ([[1]], [[1, 1]]),
    ([[1]], [[1, 1, 1], [2, 2, 2]]),
    ([[1, 2]], [[1, 1, 1, 1]]),
    ([[1, 2, 3]], [[3]]),
    ([[1, 1, 2]], [[2, 2, 1]]),
    ([["a", 1], ["b", 2]], [[1, "a"], [2, "b"]]),
    ([["a", 1], ["b", 2]], [["a"], ["b"]]),
    ([["a", 1], ["b", 2]], [["a", 1], ["b", 2], ["c", 3]]),
    ([["a", 1], ["b", 2], ["c", 3]], [["a", 1]]),
    ([["a", 1], ["b", 2], ["c", 3]], [["b", 2], ["c", 3]]),
    ([["a"], ["b"]], [["A"], ["b"]]),
    ([["ä"]], [["a\u0308"]]),
    ([[10**15]], [[1e15]]),
    ([[2**53 + 1]], [[float(2**53)]]),
]

HAND_TIMED: list[tuple[list[float], list[float]]] = [
    ([3.0], [1.0]),  # one repeat
    ([2.0] * 5, [1.0] * 5),  # no deviation
    ([3.0, 5.0], [1.0, 1.0]),
    ([1.0, 2.0], [0.0, 1.0]),  # a candidate that took no time
    ([0.0, 0.0], [1.0, 2.0]),  # a gold query that took none
    ([0.0, 1.0], [1.0, 1.0]),
    ([1.5, 2.5], [1.0, 1.0]),  # the boundary 2, and what is just below it
    ([1.5, 2.499999], [1.0, 1.0]),
    ([0.5, 1.5], [1.0, 1.0]),
    ([0.5, 1.499999], [1.0, 1.0]),
    ([0.25, 0.75], [1.0, 1.0]),
    ([0.25, 0.749999], [1.0, 1.0]),
    ([0.125, 0.375], [1.0, 1.0]),
    ([0.125, 0.374999], [1.0, 1.0]),
    ([0.001, 0.002], [1.0, 1.0]),
    ([1.0, 1.1] * 4 + [1.0, 50.0], [1.0] * 10),  # of ten, none can be an outlier
    ([1.0, 1.1] * 5 + [50.0], [1.0] * 11),  # of eleven, one can
    ([1.0] * 9 + [11.0], [1.0] * 10),  # exactly three deviations above the mean, and below it
    ([11.0] * 9 + [1.0], [1.0] * 10),
    ([1.0] * 99 + [2.0], [1.0] * 100),
    ([1.0] * 50 + [1.5] * 49 + [0.0], [1.0] * 100),
]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--official", type=Path, required=True, help="bird-bench/mini_dev, evaluation/")
    arguments.add_argument("--older", type=Path, required=True, help="DAMO-ConvAI, bird/llm/src/")
    folders = arguments.parse_args()
    # evaluation_utils.py imports the clients of two servers that are not asked here.
    sys.modules.update({name: ModuleType(name) for name in ("psycopg2", "pymysql")})
    sys.path.insert(0, str(folders.official))
    files = [folders.official / f"evaluation_{name}.py" for name in ("ex", "f1", "ves")]
    files.append(folders.older / "evaluation_ves.py")
    ex, f1, r_ves, ves = (load(file, name=f"official_{place}") for place, file in enumerate(files))
    rng = random.Random(SEED)

    lines: list[dict[str, object]] = [
        {"kind": "scripts", "sha256": [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]}
    ]
    for gold, candidate in [*HAND_MADE, *(random_pair(rng) for _ in range(RANDOM_PAIRS))]:
        left, right = [tuple(row) for row in gold], [tuple(row) for row in candidate]
        verdicts = {"ex": ex.calculate_ex(right, left), "soft_f1": f1.calculate_f1_score(right, left)}
        lines.append({"kind": "rows", "gold": gold, "candidate": candidate, **verdicts})
    timed = [*HAND_TIMED, *(random_times(rng) for _ in range(40))]
    ratios, rewards = [], []
    for gold_s, candidate_s in timed:
        ratios.append(older_ratio(ves, gold_s, candidate_s))
        rewards.append(newer_reward(r_ves, gold_s, candidate_s))
        measured = {"gold_s": gold_s, "candidate_s": candidate_s}
        lines.append({"kind": "times", **measured, "time_ratio": ratios[-1], "reward": rewards[-1]})
    for size in (1, 2, 5, 20, 60):
        # Numbers of lists above; None for a candidate that is wrong, which both scripts give a plain 0.
        of = [rng.choice([None, *range(len(timed))]) for _ in range(size)]
        older = ves.compute_ves([{"time_ratio": 0 if at is None else ratios[at]} for at in of])
        newer = r_ves.compute_ves([{"reward": 0 if at is None else rewards[at]} for at in of])
        lines.append({"kind": "scores", "of": of, "ves": older, "r_ves": newer})
    OUTPUT.write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8"
    )


def load(path: Path, *, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def older_ratio(script: ModuleType, gold_s: list[float], candidate_s: list[float]) -> float:
    clock = interleaved(gold_s, candidate_s)
    vars(script)["execute_sql"] = lambda sql, db_path: next(clock)
    result = script.execute_model("SELECT 1", "SELECT 1", ":memory:", 0, len(gold_s), 60.0)
    return float(result["time_ratio"])


def newer_reward(script: ModuleType, gold_s: list[float], candidate_s: list[float]) -> float:
    clock = interleaved(gold_s, candidate_s)
    vars(script)["execute_sql"] = lambda *_, return_time=False: next(clock) if return_time else [(1,)]
    result = script.execute_model("SELECT 1", "SELECT 1", ":memory:", 0, len(gold_s), 60.0, "SQLite")
    return float(result["reward"])


def interleaved(gold_s: list[float], candidate_s: list[float]) -> itertools.chain[float]:
    """Return the times in the order in which the scripts ask for them: candidate first."""
    return itertools.chain.from_iterable(zip(candidate_s, gold_s, strict=True))


def random_pair(rng: random.Random) -> tuple[Table, Table]:
    """Make a gold table and a candidate that is like it or not: rows and columns moved, dropped, doubled."""
    values = rng.sample(VALUES, rng.randint(2, len(VALUES)))
    width = rng.randint(1, 4)
    gold = [[rng.choice(values) for _ in range(width)] for _ in range(rng.randint(1, 5))]
    candidate = [list(row) for row in gold]
    for change in rng.sample(["cell", "drop row", "double row", "rows", "columns"], rng.randint(0, 3)):
        match change:
            case "cell":
                rng.choice(candidate)[rng.randrange(width)] = rng.choice(values)
            case "drop row" if len(candidate) > 1:
                candidate.pop(rng.randrange(len(candidate)))
            case "double row":
                candidate.insert(rng.randrange(len(candidate)), list(rng.choice(candidate)))
            case "rows":
                rng.shuffle(candidate)
            case "columns":
                order = rng.sample(range(width), width)
                candidate = [[row[at] for at in order] for row in candidate]
    if rng.random() < 0.2:
        extra = rng.choice(values)
        candidate = [row[:-1] if width > 1 and extra is None else [*row, extra] for row in candidate]
    return gold, candidate


def random_times(rng: random.Random) -> tuple[list[float], list[float]]:
    """Make times around a true ratio, with now and then a run that took far longer."""
    repeats, true_ratio = (
        rng.choice([2, 3, 5, 10, 11, 30, 100]),
        rng.choice([0.1, 0.25, 0.5, 0.9, 1, 1.1, 2, 9]),
    )
    noise = [rng.lognormvariate(0, 0.1) * rng.choice([1] * 30 + [20]) for _ in range(2 * repeats)]
    gold_s = [float(f"{0.001 * true_ratio * factor:.6g}") for factor in noise[:repeats]]
    return gold_s, [float(f"{0.001 * factor:.6g}") for factor in noise[repeats:]]


if __name__ == "__main__":
    main()
