"""Make the verdicts of exact_match.jsonl anew with the official script.

It wants a checkout of taoyds/test-suite-sql-eval and a Python with nltk, sqlparse and tqdm:

    python tests/conformance/record_exact_match.py --official CHECKOUT

The pairs stay as they are; a pair is added by a line with its id, gold and predicted. It is evaluation.py's
way with --etype match, without its files of lines. A pair gets `official`, 0 or 1, `hardness`, and `unlike`,
the components whose F1 is 0; null stands where the official script ends with an error. Text is taken as one
line: nltk's models that cut text into sentences are not needed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

PAIRS = Path(__file__).with_name("exact_match.jsonl")

COLUMNS = {
    "Owner": ["id", "name", "city", "age"],
    "Pet": ["id", "name", "kind", "age", "owner_id", "market_value"],
    "Visit": ["pet_id", "vet_id", "day", "cost", "owner_id"],
    "Vet": ["id", "name", "city", "none"],
}
FOREIGN_KEYS = [
    ("Pet.owner_id", "Owner.id"),
    ("Visit.vet_id", "Vet.id"),
    ("Visit.pet_id", "Pet.id"),
    ("Visit.owner_id", "Owner.id"),
    ("Vet.id", "Owner.id"),  # ties two groups of columns: they stay two
]


def entry() -> dict[str, Any]:
    """Write the schema of the pairs as an entry of Spider's tables.json."""
    columns = [(-1, "*")] + [(at, name) for at, names in enumerate(COLUMNS.values()) for name in names]
    places = ["*"] + [f"{table}.{name}" for table, names in COLUMNS.items() for name in names]
    return {
        "db_id": "clinic",
        "table_names_original": list(COLUMNS),
        "column_names_original": columns,
        "column_types": ["text"] * len(columns),
        "primary_keys": [],
        "foreign_keys": [[places.index(end) for end in key] for key in FOREIGN_KEYS],
    }


def main() -> None:
    """Read the pairs, ask the official script, write them back."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--official", type=Path, required=True, help="checkout of taoyds/test-suite-sql-eval")
    sys.path.insert(0, str(parser.parse_args().official.resolve()))
    reader = importlib.import_module("process_sql")
    tokenizer = importlib.import_module("nltk").NLTKWordTokenizer()
    reader.word_tokenize = lambda text, **_: tokenizer.tokenize(text)  # type: ignore[attr-defined]
    official = importlib.import_module("evaluation")
    schema = official.Schema(read_schema(official))
    pairs = [json.loads(line) for line in PAIRS.read_text(encoding="utf-8").split("\n") if line]
    for pair in pairs:
        pair |= {"official": None, "hardness": None, "unlike": None}
        with contextlib.suppress(Exception):  # whatever it is, it ends the official run
            pair |= verdict(official, pair, schema=schema)
    lines = [json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs]
    PAIRS.write_text("".join(lines), encoding="utf-8")


def read_schema(official: Any) -> dict[str, list[str]]:
    """Let the official script read the tables from a database file, as it wants to."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "clinic.sqlite")
        with closing(sqlite3.connect(path)) as connection:
            for table, names in COLUMNS.items():
                connection.execute(f"CREATE TABLE {table}({', '.join(names)})")
        schema: dict[str, list[str]] = official.get_schema(str(path))
        return schema


def verdict(official: Any, pair: dict[str, Any], *, schema: Any) -> dict[str, Any]:
    """Ask for one verdict, with the steps of evaluation.py, evaluate."""
    evaluator = official.Evaluator()
    gold = official.get_sql(schema, pair["gold"])
    pair["hardness"] = evaluator.eval_hardness(gold)
    try:
        predicted = official.get_sql(schema, pair["predicted"].replace("value", "1"))
    except Exception:  # noqa: BLE001 - as the official script does
        predicted = empty()
    keys = official.build_foreign_key_map(entry())
    gold, predicted = (rebuild(official, sql, schema=schema, keys=keys) for sql in (gold, predicted))
    exact = evaluator.eval_exact_match(predicted, gold)
    unlike = [name for name, score in evaluator.partial_scores.items() if not score["f1"]]
    return {"official": int(exact), "unlike": unlike}


def rebuild(official: Any, sql: dict[str, Any], *, schema: Any, keys: dict[str, str]) -> Any:
    """Take out what is not compared."""
    columns = official.build_valid_col_units(sql["from"]["table_units"], schema)
    return official.rebuild_sql_col(columns, official.rebuild_sql_val(sql), keys)


def empty() -> dict[str, Any]:
    """Make what the official script puts for a prediction that it cannot parse."""
    lists: dict[str, Any] = {part: [] for part in ("where", "groupBy", "having", "orderBy")}
    nothing = dict.fromkeys(("limit", "intersect", "union", "except"))
    return lists | nothing | {"select": [False, []], "from": {"conds": [], "table_units": []}}


if __name__ == "__main__":
    main()
