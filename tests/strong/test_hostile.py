"""Replies and schemas of the worst kind, through `synthesize`, `filter`, `judge`: counted, never a crash."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sense import jsonl
from sense.databases.spider import load_questions
from sense.prompts.text_to_sql import Prompter, split_prompt
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.strong import filter as filter_stage
from sense.strong import generate, judge, populate

from .conftest import DATABASE

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
DEEP = '{"a":' * 200_000


class Case(NamedTuple):
    """A database, its `tables` as (CREATE, rows), and a query about it; `check` drops it, if any does."""

    tables: list[tuple[str, list[list[object]]]]
    sql: str
    check: str | None = None


SCHEMAS = {
    "cycle": Case(
        [
            ("CREATE TABLE a (id INTEGER PRIMARY KEY, b_id INT REFERENCES b (id))", [[1, 1], [2, 2]]),
            ("CREATE TABLE b (id INTEGER PRIMARY KEY, a_id INT REFERENCES a (id))", [[1, 2], [2, 1]]),
        ],
        "SELECT T1.id, T2.a_id FROM a AS T1 JOIN b AS T2 ON T1.b_id = T2.id",
    ),
    "itself": Case([("CREATE TABLE a (id INT PRIMARY KEY REFERENCES a)", [[1], [2]])], "SELECT id FROM a"),
    "words": Case(
        [('CREATE TABLE "order" ("group" INTEGER PRIMARY KEY, "select" TEXT)', [[1, "x"], [2, "y"]])],
        'SELECT "select" FROM "order" WHERE "group" = 1',
    ),
    "quotes": Case(
        [('CREATE TABLE "it\'s ""x""" ("a""b" TEXT, [c d] TEXT, `e\'` TEXT)', [["'", '"', "`"]])],
        'SELECT "a""b", [c d] FROM "it\'s ""x"""',
    ),
    "newlines": Case(
        [('CREATE TABLE "t\nquestion: who?" ("c\nsql: SELECT 1" TEXT)', [["v\nevidence: none"]])],
        'SELECT "c\nsql: SELECT 1" FROM "t\nquestion: who?"',
    ),
    "wide": Case(
        [(f"CREATE TABLE w ({', '.join(f'c{i} INT' for i in range(60))})", [list(range(60))])],
        "SELECT c0, c59 FROM w",
    ),
    "long": Case(
        [("CREATE TABLE r (id INTEGER PRIMARY KEY, name TEXT)", [[i, f"n{i}"] for i in range(10_000)])],
        "SELECT name FROM r WHERE id = 9999",
    ),
    "nul": Case([("CREATE TABLE n (v TEXT)", [["a\0b"], ["\0"]])], "SELECT v FROM n"),
    "half": Case([("CREATE TABLE h (v TEXT)", [["\ud800"], ["whole"]])], "SELECT v FROM h"),
    "no rows": Case([("CREATE TABLE e (v TEXT)", [])], "SELECT v FROM e", "returns_rows"),
    "nul in a name": Case([('CREATE TABLE "n\0" (v TEXT)', [])], "SELECT 1", "builds"),
    "half a name": Case([('CREATE TABLE "\udfff" (v TEXT)', [])], "SELECT 1", "builds"),
    "attach": Case([("ATTACH 'out.sqlite' AS x", [])], "SELECT 1", "builds"),
    "select": Case([("CREATE TABLE s AS SELECT 1 AS v", [])], "SELECT v FROM s", "builds"),
    "endless": Case([(f"CREATE TABLE c (v INT CHECK (({ENDLESS}) > v))", [[1]])], "SELECT 1", "builds"),
    "a megabyte": Case([(f"CREATE TABLE m ({'v' * 2**20} TEXT)", [])], "SELECT 1", "builds"),
    "2,000 columns": Case(
        [(f"CREATE TABLE w ({', '.join(f'c{i}' for i in range(2_000))})", [])], "SELECT 1", "builds"
    ),
}
QUERIES = {
    "": "one_statement",
    "Which birds are there?": "parses",
    "DELETE FROM bird": "reads_only",
    "DROP TABLE bird": "reads_only",
    "ATTACH 'out.sqlite' AS out": "reads_only",
    "VACUUM INTO 'out.sqlite'": "reads_only",
    "PRAGMA journal_mode = WAL": "reads_only",
    "PRAGMA writable_schema = ON": "reads_only",
    "SELECT load_extension('out.so')": "reads_only",
    "SELECT writefile('out', 'x')": "runs",
    "SELECT kind FROM bird; DROP TABLE bird": "one_statement",
    ENDLESS: "runs",
    "SELECT length(zeroblob(2000000000)) FROM bird": "runs",
    "SELECT printf('%2000000000d', id) FROM bird": "says_something",  # SQLite makes it NULL
    f"SELECT {'(' * 5_000}kind{')' * 5_000} FROM bird": "parses",
    f"SELECT '{'x' * 2**20}' FROM bird": "is_text",
    "SELECT '\ud800' FROM bird": "is_text",
    "SELECT '\0', kind FROM bird": "runs",
    "SELECT kind FROM bird AS b": None,
}
OPINIONS = ["", "Yes.", "[]", DEEP, "{" * 2**20, '{"verdict": 1}', '{"verdict": "no", "reason": ["\ud800"]}']
LONG = json.dumps({"verdict": "no", "reason": "\ud800" + "x" * 2**20})


class Chain:
    """Runs the stages in a folder of their own; what is beside it must stay as it was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "out"
        self.folder.mkdir()

    def synthesize(self, reply_to: Callable[[str], object], **settings: Any) -> Outcome:
        settings = {"databases": 1, "workers": 1} | settings
        return self._asked(generate, "synthesize", reply_to, settings)

    def filter(self, **settings: Any) -> tuple[Outcome, dict[str, str]]:
        settings = {"source": self.folder / "synthesize", "new_databases": 0, "workers": 1} | settings
        settings |= {"test_share": 0, "timeout_s": 0.5, "sft_file": True}
        name = f"filter{len(settings)}"
        config = filter_stage.Config.parse(settings, where="test")
        outcome = filter_stage.run(config, RunDir(self.folder / name, stage="filter", config=config))
        lines = jsonl.read_objects(self.folder / name / "dropped.jsonl")
        return outcome, {line["id"]: line["check"] for line in lines}

    def judge(self, reply_to: Callable[[str], object]) -> Outcome:
        return self._asked(judge, "judge", reply_to, {"data": self.data, "workers": 1})

    @property
    def data(self) -> Path:
        return self.folder / "filter6" / "data"

    def lines(self, stage: str, name: str) -> list[dict[str, Any]]:
        return jsonl.read_objects(self.folder / stage / f"{name}.jsonl")

    def _asked(
        self, stage: Any, name: str, reply_to: Callable[[str], object], settings: dict[str, Any]
    ) -> Outcome:
        """Answer by files until nothing is awaited."""
        replies = self.folder / f"{name}.jsonl"
        while True:
            config = stage.Config.parse(settings, where="test")
            outcome: Outcome = stage.run(config, RunDir(self.folder / name, stage=name, config=config))
            if outcome.complete:
                return outcome
            awaited = self.lines(name, "requests-awaiting-replies")
            jsonl.write(replies, (_reply(each["custom_id"], reply_to(each["custom_id"])) for each in awaited))
            settings["replies"] = [replies]


def _reply(custom_id: str, said: object) -> dict[str, Any]:
    content = said if isinstance(said, str) else json.dumps(said)
    body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
    return {"custom_id": custom_id, "response": {"status_code": 200, "body": body}}


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chain]:
    monkeypatch.setattr(populate, "BUILD_SECONDS", 0.5)  # no setting: a CHECK without end takes it all
    monkeypatch.chdir(tmp_path)  # where SQL that writes a file would leave it
    yield Chain(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def questions(*queries: str, about: str = "birds") -> dict[str, object]:
    return {
        "questions": [
            {"slot": n, "question": f"Number {n} of {about}, which {about} is it?", "sql": sql}
            for n, sql in enumerate(queries, start=1)
        ]
    }


def test_schemas_of_every_kind_are_built_or_counted(chain: Chain) -> None:
    names = list(SCHEMAS)

    def reply_to(custom_id: str) -> object:
        if custom_id.startswith("database-"):
            name = names[int(custom_id[9:12]) - 1]
            tables = [{"name": "t", "create": create, "rows": rows} for create, rows in SCHEMAS[name].tables]
            return {"domain": name, "db_id": "d", "tables": tables}
        domains = {each["db_id"]: each["domain"] for each in chain.lines("synthesize", "databases")}
        name = domains[custom_id.split("/")[0]]
        return questions(SCHEMAS[name].sql, about=name)

    outcome = chain.synthesize(reply_to, databases=len(names), rounds=1, questions_per_database=1)
    unbuildable = [name for name, case in SCHEMAS.items() if case.check == "builds"]
    assert (outcome.summary["malformed"], outcome.summary["awaiting_replies"]) == (len(unbuildable), 0)
    domains = {each["db_id"]: each["domain"] for each in chain.lines("synthesize", "databases")}
    assert sorted(domains.values()) == sorted(set(names) - set(unbuildable))
    _, dropped = chain.filter()
    found = {domains[name.split("/")[0]]: check for name, check in dropped.items()}
    assert found == {name: case.check for name, case in SCHEMAS.items() if case.check == "returns_rows"}
    for question in load_questions(chain.data, "train"):
        schema, rest = split_prompt(Prompter(chain.data).prompt(question))
        assert schema.startswith("database ") and rest.startswith("question: Number 1 of")
    summary = chain.judge(lambda _: {"verdict": "yes"}).summary
    assert summary["verdicts"] == {"yes": len(names) - len(unbuildable) - 1, "no": 0, "unsure": 0}


def test_queries_of_every_kind_are_dropped_with_a_reason(chain: Chain) -> None:
    def reply_to(custom_id: str) -> object:
        if custom_id.startswith("database-"):
            return DATABASE
        return questions(*QUERIES) if "/easy-" in custom_id else DEEP

    outcome = chain.synthesize(reply_to, plan="fixed")
    assert (outcome.summary["questions"], outcome.summary["malformed"]) == (len(QUERIES), 3)
    outcome, dropped = chain.filter()
    checks = {item["sql"]: dropped.get(item["id"]) for item in chain.lines("synthesize", "items")}
    assert checks == QUERIES
    assert outcome.summary["kept"] == 1


def test_opinions_of_every_kind_are_unsure_or_cut(chain: Chain) -> None:
    said = [*OPINIONS, LONG, '{"verdict": "yes"}']
    columns = [f"SELECT kind, id {'+ id ' * number}FROM bird" for number in range(len(said))]

    def reply_to(custom_id: str) -> object:
        if custom_id.startswith("database-"):
            return DATABASE
        return questions(*columns) if "/easy-" in custom_id else questions()

    chain.synthesize(reply_to, plan="fixed")
    outcome, dropped = chain.filter()
    assert (outcome.summary["kept"], dropped) == (len(said), {})
    outcome = chain.judge(lambda custom_id: said[int(custom_id.split("/")[3][:2]) - 1])
    assert outcome.summary["verdicts"] == {"yes": 1, "no": 1, "unsure": len(OPINIONS)}
    assert max(len(each["reason"]) for each in chain.lines("judge", "judgements")) < 1_000
    judgements = chain.folder / "judge" / "judgements.jsonl"
    outcome, dropped = chain.filter(source=chain.data.parent, judgements=judgements)
    assert (outcome.summary["kept"], list(dropped.values())) == (len(said) - 1, ["not_judged_wrong"])
