"""The `synthesize` stage with `db`: questions about the user's own database, by files, in rounds."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sense import jsonl
from sense.cli import main
from sense.errors import ConfigError
from sense.rundir import RunDir
from sense.stage import Outcome
from sense.strong import generate

SHOP = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, email TEXT, city TEXT);
CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer_id INT REFERENCES customer, item TEXT, price REAL);
INSERT INTO customer VALUES (1, 'Ann', 'ann@mail', 'Oslo'), (2, 'Bo', 'bo@mail', 'Rome');
INSERT INTO customer VALUES (3, 'Cy', NULL, 'Rome');
INSERT INTO purchase VALUES (1, 1, 'kite', 9.5), (2, 1, 'rope', 2.5), (3, 2, 'kite', 9.0);
"""
FREE = {"hardness_quota": dict.fromkeys(("easy", "medium", "hard", "extra"), 0), "feature_minimum": 0}
ONE = FREE | {"questions_per_database": 3, "rounds": 1, "column_coverage": 0}
WRITTEN = {
    "How many customers live in Rome?": "SELECT COUNT(*) FROM customer WHERE city = 'Rome'",
    "Which items cost more than 5?": "SELECT DISTINCT item FROM purchase WHERE price > 5",
    "Who has the address ann@mail?": "SELECT name FROM customer WHERE email = 'ann@mail'",
}
SLOTS = [
    {"slot": number, "question": question, "sql": sql}
    for number, (question, sql) in enumerate(WRITTEN.items(), start=1)
]
UNUSED = ["customer.id", "customer.name", "customer.email", "purchase.id", "purchase.customer_id"]


class Shop:
    """A database, and `synthesize` about it in tmp_path/synth; replies answer requests by their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "shop.sqlite"
        self.add(SHOP)

    def add(self, script: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection:
            connection.executescript(script)

    def ask(
        self, answers: dict[str, object] | None = None, *, out: str = "synth", **settings: Any
    ) -> Outcome:
        replies = self.folder / "replies.jsonl"
        if answers:
            jsonl.write(replies, [self._reply(name, answer) for name, answer in answers.items()])
            settings["replies"] = [replies]
        config = generate.Config.parse(ONE | {"db": [self.file]} | settings, where="test")
        run_dir = RunDir(self.folder / out, stage="synthesize", config=config)
        outcome = generate.run(config, run_dir)
        run_dir.finish(outcome, seconds=0.0)
        return outcome

    def lines(self, name: str) -> list[dict[str, Any]]:
        return jsonl.read_objects(self.folder / "synth" / f"{name}.jsonl")

    def text(self, name: str) -> str:
        asked = {line["custom_id"][:-9]: line for line in self.lines("requests")}
        return str(asked[name]["body"]["messages"][-1]["content"])

    def _reply(self, name: str, answer: object) -> dict[str, Any]:
        custom_id = next(
            line["custom_id"] for line in self.lines("requests") if line["custom_id"][:-9] == name
        )
        content = answer if isinstance(answer, str) else json.dumps({"questions": answer})
        body = {"choices": [{"message": {"role": "assistant", "content": content}}]}
        return {"custom_id": custom_id, "response": {"status_code": 200, "body": body}}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def names(shop: Shop, file: str = "requests") -> list[str]:
    return [line["custom_id"][:-9] for line in shop.lines(file)]


def test_questions_are_asked_for_at_once_and_checked_on_the_file_itself(shop: Shop) -> None:
    before = hashlib.sha256(shop.file.read_bytes()).hexdigest()
    outcome = shop.ask()
    assert (outcome.complete, names(shop)) == (False, ["shop/g01/1"])
    outcome = shop.ask({"shop/g01/1": SLOTS})
    assert (outcome.complete, outcome.shortfall, outcome.summary["would_be_kept"]) == (True, None, 3)
    assert [(item["id"], item["db_id"]) for item in shop.lines("items")] == [
        (f"shop/g01/1-0{i}", "shop") for i in (1, 2, 3)
    ]
    [line] = shop.lines("databases")
    kept_back = {"private": [], "hidden": [], "values": True}
    assert line == {"db_id": "shop", "domain": "shop", "file": str(shop.file), **kept_back}
    assert hashlib.sha256(shop.file.read_bytes()).hexdigest() == before
    assert sorted(path.name for path in shop.folder.iterdir()) == ["replies.jsonl", "shop.sqlite", "synth"]


def test_coverage_counts_the_columns_that_kept_queries_name(shop: Shop) -> None:
    shop.ask()
    bad = SLOTS[2] | {"sql": "SELECT customer_id FROM purchase WHERE item = 'none'"}  # no rows: not kept
    summary = shop.ask({"shop/g01/1": [*SLOTS[:2], bad]}).summary
    assert summary["coverage"]["shop"] == {
        "tables": 1.0,
        "columns": 0.375,  # city, item and price of eight
        "unused_tables": [],
        "unused_columns": UNUSED,
    }


def test_a_later_round_asks_for_the_columns_that_are_not_used(shop: Shop) -> None:
    settings = {"rounds": 2, "column_coverage": 0.5}
    shop.ask(**settings)
    answers: dict[str, object] = {"shop/g01/1": SLOTS[:2]}
    outcome = shop.ask(answers, **settings)
    assert (outcome.complete, outcome.summary["asked_by_round"]) == (False, [3, 3])  # 5 columns, 2 a question
    assert names(shop, "requests-awaiting-replies") == ["shop/g01/2"]
    said = shop.text("shop/g01/2")
    assert (
        "in one at least: customer.id, customer.name, customer.email, purchase.id, purchase.customer_id\n"
        in said
    )
    assert "ask for other things:\n- How many customers live in Rome?\n" in said
    more = {
        "slot": 1,
        "question": "Which customers with an address bought something?",
        "sql": "SELECT T1.name FROM customer AS T1 WHERE T1.email IS NOT NULL AND EXISTS "
        "(SELECT 1 FROM purchase AS T2 WHERE T2.customer_id = T1.id)",
    }
    outcome = shop.ask(answers | {"shop/g01/2": [more]}, **settings)
    assert (outcome.complete, outcome.shortfall) == (True, None)
    assert outcome.summary["coverage"]["shop"]["columns"] == 0.875


def test_what_is_short_after_the_last_round_is_said(shop: Shop) -> None:
    settings = {"column_coverage": 0.9, "questions_wanted": 5}
    shop.ask(**settings)
    outcome = shop.ask({"shop/g01/1": SLOTS[:2]}, **settings)
    assert outcome.complete
    assert outcome.shortfall == (
        "short of the quotas after 1 rounds: 2 of 5 questions, shop: 38% of the columns used, of 90%"
    )


def test_quotas_are_asked_for_again_as_far_as_the_tables_allow(shop: Shop) -> None:
    settings = {"rounds": 2, "feature_minimum": 1}
    shop.ask(**settings)
    answers: dict[str, object] = {"shop/g01/1": SLOTS}
    shop.ask(answers, **settings)
    said = shop.text("shop/g01/2")
    assert "Write 40 new" in said and "; uses: " in said  # no more, though more are missing
    assert "exactly two JOINs" not in said and "three or more JOINs" not in said  # of two tables
    short = str(shop.ask(answers | {"shop/g01/2": SLOTS[:1]}, **settings).shortfall)
    assert "0 join of 1" in short and "two_joins" not in short


def test_slots_of_a_later_round_stay_as_they_were_drawn(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"rounds": 2, "column_coverage": 0.9}
    shop.ask(**settings)
    answers: dict[str, object] = {"shop/g01/1": SLOTS[:2]}
    shop.ask(answers, **settings)
    before = shop.lines("requests")
    # No setting changes the checks.
    monkeypatch.setattr("sense.strong.own_measure.CHECKS", (("none", lambda case: "no"),))
    shop.ask(answers, **settings)
    assert shop.lines("requests") == before


def test_the_same_settings_make_the_same_requests(shop: Shop) -> None:
    shop.ask()
    shop.ask(out="again")
    shop.ask(out="other", seed=2)
    [first, again, other] = [
        (shop.folder / out / "requests.jsonl").read_bytes() for out in ("synth", "again", "other")
    ]
    assert first == again != other


def test_values_of_private_columns_are_nowhere_in_what_is_sent(shop: Shop) -> None:
    settings = {"private": ["customer.email", "*.name"], "rounds": 2, "column_coverage": 0.9}
    shop.ask(**settings)
    shop.ask({"shop/g01/1": SLOTS[:2]}, **settings)
    sent = (shop.folder / "synth" / "requests.jsonl").read_text()
    assert "shop/g01/2" in sent and "Oslo" in sent
    assert not [value for value in ("ann@mail", "bo@mail", "Ann", "Bo |", "Cy") if value in sent]
    assert "columns are private: customer.name, customer.email. " in shop.text("shop/g01/1")


@pytest.mark.parametrize(
    ("settings", "written"),
    [
        pytest.param(
            {"private": ["customer.email"], "hide_private": True},
            {"private": ["customer.email"], "hidden": ["customer.email"], "values": True},
            id="a hidden column",
        ),
        pytest.param({"values": False}, {"private": [], "hidden": [], "values": False}, id="no values"),
    ],
)
def test_what_is_kept_back_is_written_for_those_who_ask_about_the_database_later(
    shop: Shop, settings: dict[str, Any], written: dict[str, Any]
) -> None:
    shop.ask(**settings)
    [line] = shop.lines("databases")
    assert {name: line[name] for name in written} == written


def test_what_resembles_a_benchmarks_question_counts_as_not_kept(shop: Shop) -> None:
    held = [{"db_id": "x", "question": "how MANY customers live in Rome", "query": "SELECT 1"}]
    (shop.folder / "dev.json").write_text(json.dumps(held))
    kept: list[int] = []
    for out, against in (("synth", []), ("two", [shop.folder / "dev.json"])):
        shop.ask(out=out, against=against)
        summary = shop.ask({"shop/g01/1": SLOTS}, out=out, against=against).summary
        kept.append(summary["would_be_kept"])
    assert kept == [3, 2]


def test_sql_that_pretends_to_know_a_private_value_is_dropped_and_counted(shop: Shop) -> None:
    settings = {"private": ["customer.email"]}
    shop.ask(**settings)
    summary = shop.ask({"shop/g01/1": SLOTS}, **settings).summary
    assert (summary["questions"], summary["compared_private"]) == (2, 1)
    [dropped] = shop.lines("dropped")
    assert dropped["id"] == "shop/g01/1-03"
    assert dropped["reason"] == "compares email, which is private, with a value"


def test_hidden_columns_are_in_no_request_and_need_not_be_used(shop: Shop) -> None:
    settings = {"private": ["customer.email", "customer.name"], "hide_private": True}
    shop.ask(**settings)
    sent = (shop.folder / "synth" / "requests.jsonl").read_text()
    assert "email" not in sent and "customer ( id number key, city text" in sent
    outcome = shop.ask({"shop/g01/1": SLOTS[:2]}, **settings)
    assert outcome.summary["coverage"]["shop"]["columns"] == 0.5  # city, item and price of six
    assert outcome.summary["left_out"] == {"shop": {"hidden": ["customer.name", "customer.email"]}}


def test_without_values_none_is_in_the_requests_and_the_model_is_told_so(shop: Shop) -> None:
    shop.ask(values=False)
    said = shop.text("shop/g01/1")
    assert "No values of the data are shown" in said
    assert not [value for value in ("Oslo", "kite", "9.5", "ann@mail") if value in said]


def test_many_tables_are_asked_about_in_parts(shop: Shop) -> None:
    shop.add(
        "".join(
            f"CREATE TABLE t{i} (id INTEGER PRIMARY KEY, purchase_id REFERENCES purchase, c{i});"
            f"INSERT INTO t{i} VALUES (1, 1, {i});"
            for i in range(6)
        )
        + f"CREATE TABLE wide ({', '.join(f'w{i}' for i in range(60))}); INSERT INTO wide (w0) VALUES (1);"
    )
    outcome = shop.ask(dry_run=True, model="gpt-4o")
    asked = outcome.summary["parts"]
    assert outcome.summary["next_round"]["requests"] == len(names(shop)) == asked >= 5
    sent = "".join(shop.text(name) for name in names(shop))
    shown = {f"c{i}" for i in range(6)} | {f"w{i}" for i in range(60)} | {"email", "price"}
    assert all(f" {column} " in sent for column in shown)


def test_a_reply_is_reckoned_by_the_questions_asked_for(shop: Shop) -> None:
    outcome = shop.ask(dry_run=True, questions_per_database=5)
    assert outcome.summary["next_round"]["completion_tokens"] == 5 * 110


def test_a_dry_run_shows_word_for_word_what_would_be_sent(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shop.folder / "synth"
    asked = ["synthesize", "--db", str(shop.file), "--out", str(out), "--dry-run", "--private", "*.email"]
    assert main([*asked, "--show-requests"]) == 1
    shown = capsys.readouterr().out
    for line in shop.lines("requests"):
        assert all(message["content"] in shown for message in line["body"]["messages"])
    assert "to_be_sent: \n=== shop/g01/1-" in shown and "ann@mail" not in shown
    assert main(asked) == 1
    assert "asked_by_round: [27]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(["--private", "customer.emial"], "did you mean 'customer.email'?", id="a typing error"),
        pytest.param(["--databases", "3"], "databases goes without db", id="a setting of written databases"),
        pytest.param(["--hide-private"], "hide_private goes with private", id="nothing to hide"),
        pytest.param(["--plan", "fixed"], "db goes with plan quotas", id="the demo's plan"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(
    shop: Shop, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    out = shop.folder / "synth"
    assert main(["synthesize", "--db", str(shop.file), "--out", str(out), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_settings_of_own_databases_need_one() -> None:
    with pytest.raises(ConfigError, match="private goes with db"):
        generate.Config.parse({"private": ["a.b"]}, where="test")


def test_a_database_that_changes_under_way_needs_another_folder(shop: Shop) -> None:
    shop.ask()
    shop.add("INSERT INTO customer VALUES (4, 'Di', NULL, 'Bonn')")
    with pytest.raises(ConfigError, match="changed: content of db"):
        shop.ask()
