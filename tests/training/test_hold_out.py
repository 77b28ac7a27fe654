"""Whole databases are held out, and every question stays what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from sense.databases.spider import check_split, load_questions
from sense.errors import ConfigError
from sense.rundir import RunDir
from sense.training.hold_out import Config, run


def split(data: Path, name: str = "out", **settings: object) -> Path:
    config = Config.parse({"data": data, "databases": 1} | settings, where="test")
    out = data.parent / name
    run(config, RunDir(out, stage="split", config=config))
    return out


def test_each_question_is_in_one_part_and_each_database_too(pets_and_shops: Path) -> None:
    out = split(pets_and_shops)
    train, valid = load_questions(out, "train"), load_questions(out, "valid")
    whole = load_questions(pets_and_shops, "train")
    assert sorted(train + valid, key=lambda q: str(q.id)) == sorted(whole, key=lambda q: str(q.id))
    assert train and valid
    assert not {q.db_id for q in train} & {q.db_id for q in valid}
    check_split(out, "valid")  # its databases are found


def test_the_draw_is_the_seeds(pets_and_shops: Path) -> None:
    drawn = [
        {q.db_id for q in load_questions(split(pets_and_shops, f"o{s}", seed=s), "valid")} for s in range(6)
    ]
    assert {frozenset(names) for names in drawn} == {frozenset({"pets"}), frozenset({"shops"})}
    again = load_questions(split(pets_and_shops, "again", seed=0), "valid")
    assert {q.db_id for q in again} == drawn[0]


def test_something_must_be_left_to_train_on(pets_and_shops: Path) -> None:
    with pytest.raises(ConfigError, match="2 of 2 cannot be held out: at most 1"):
        split(pets_and_shops, databases=2)
    assert not (pets_and_shops.parent / "out").exists()
