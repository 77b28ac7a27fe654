"""Keep of the strong model's data what holds when it is run: build each database, run every query.

The result is a folder in Spider's layout with a train and a test split: of most databases some questions are
held out (your own database), some databases are held out whole (a new domain). The run folder can be filtered
again, by the opinions of others that were asked meanwhile: its `databases.jsonl` and `items.jsonl` are of the
form that `sense synthesize` writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sense import jsonl
from sense.databases import spider
from sense.databases.features import sql_features
from sense.databases.hardness import hardness
from sense.databases.schema import TABLES_FILE, Schema, entry_of_schema
from sense.errors import ConfigError, DataError
from sense.execution.outcome import Ending
from sense.execution.pool import QueryJob, run_queries
from sense.execution.run import Limits
from sense.progress import meter
from sense.rundir import RunDir, write_json
from sense.stage import InputPath, InputPaths, Outcome, StageConfig
from sense.strong.checks import CHECKS, MEASURES, Bounds, Case, Check, Item, Kept
from sense.strong.decontaminate import HeldOut
from sense.strong.findings import Findings, counts, details
from sense.strong.make_databases import as_built, count_rows, make_databases, plant_for
from sense.strong.own_database import OwnDatabase, plain_schema, read_sources
from sense.strong.second_opinions import Opinions, read_opinions
from sense.strong.sft_file import SFT_FILE, write_sft_file
from sense.strong.splits import split, split_as_before
from sense.strong.written import SynthDatabase

MAX_RESULT_BYTES = 4 * 2**20  # results wait here for their turn, dozens of them


class Config(StageConfig):
    """Settings of `sense filter`."""

    source: InputPath = Field(
        description="run folder of 'sense synthesize', or of 'sense filter', whose splits then stay"
    )
    test_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.25, description="share of a database's questions held out"
    )
    new_databases: Annotated[int, Field(ge=0)] = Field(
        2, description="databases held out whole, drawn by seed"
    )
    max_rows: Annotated[int, Field(ge=1)] = Field(
        200, description="a query with more rows answers no question"
    )
    max_per_skeleton: Annotated[int, Field(ge=1)] = Field(
        2, description="kept queries of a database that differ in values alone"
    )
    against: InputPaths = Field(
        (), description="question files of benchmarks: what resembles one of their questions is dropped"
    )
    strict_hardness: bool = Field(False, description="drop what is not of the hardness that was asked for")
    literals: Literal["report", "drop"] = Field(
        "report", description="what to do with SQL that compares with values its question does not say"
    )
    grammar: Literal["any", "spider"] = Field(
        "any", description="spider: drop what Spider's own parser does not read"
    )
    judgements: InputPath | None = Field(
        None, description="judgements.jsonl of 'sense judge': what is judged wrong is dropped"
    )
    round_trip: InputPath | None = Field(
        None, description="verdicts.jsonl of 'sense label': a model's answers to the questions"
    )
    min_agree: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        description="least share of the answers that say what the SQL says; below a half most say otherwise",
    )
    fill_rows: Annotated[int, Field(ge=0, le=100_000)] = Field(
        0, description="top each table up to so many rows, like those written; 0: leave it as it is"
    )
    fill_tries: Annotated[int, Field(ge=0)] = Field(
        0, description="how often to try to plant rows for a query that returns none"
    )
    sft_file: bool = Field(False, description=f"write {SFT_FILE} too, for other trainers")
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = Field(
        10.0, description="seconds that a query may run"
    )
    workers: Annotated[int, Field(ge=0)] = Field(0, description="processes that run queries; 0: one a core")
    seed: int = Field(0, description="seed of the splits and of added rows")


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Build, run, check, split; writes `data/` in Spider's layout and `dropped.jsonl`.

    Copies of the user's own databases are marked private: `sense push` does not send them.
    """
    databases = read_sources(config.source)
    if (config.fill_rows or config.fill_tries) and any(isinstance(each, OwnDatabase) for each in databases):
        raise ConfigError("fill_rows and fill_tries are for databases that a model wrote, not for your own")
    items = jsonl.read(config.source / "items.jsonl", Item)
    if not items:
        raise DataError(f"{config.source}: no questions; the replies to 'sense synthesize' are still awaited")
    held_out = HeldOut(config.against)
    opinions = read_opinions(config.judgements, config.round_trip, item_ids=[item.id for item in items])
    run_dir.start()
    data = run_dir / "data"
    made = make_databases(databases, items, data, fill_rows=config.fill_rows, seed=config.seed)
    dropped = [
        {"id": name, "db_id": name, "check": "builds", "reason": why}
        for name, why in made.unbuildable.items()
    ]
    usable = [item for item in items if item.db_id in made.rows]
    dropped += [
        {"id": item.id, "db_id": item.db_id, "check": "builds", "reason": "its database could not be built"}
        for item in items
        if item.db_id not in made.rows
    ]
    files = {name: spider.database_file(data, name) for name in made.rows}
    more: dict[str, Any] = opinions.counts([item.id for item in items])
    if config.fill_rows:
        more["rows_added"] = made.added
    if config.fill_tries:
        limits, workers = _limits(config), config.workers
        more["planted"] = plant_for(
            usable, data, tries=config.fill_tries, seed=config.seed, limits=limits, workers=workers
        )
        made.rows.update({name: count_rows(path) for name, path in files.items()})
    schemas = {name: plain_schema(path, name) for name, path in files.items()}
    kept, fallen, findings = _check_all(
        usable, data, config, schemas=schemas, held_out=held_out, opinions=opinions
    )
    dropped += fallen
    jsonl.write(run_dir / "dropped.jsonl", dropped)
    jsonl.write(run_dir / "rejected-rows.jsonl", made.rejected)
    splits = (
        split_as_before(kept)
        if all(item.split for item in items)
        else split(kept, test_share=config.test_share, new_databases=config.new_databases, seed=config.seed)
    )
    for name, members in (("train", splits.train), ("test", splits.test)):
        spider.write_questions(data / f"{name}.json", [_question_of(item) for item in members])
    write_json(data / TABLES_FILE, [entry_of_schema(schema) for schema in schemas.values()])
    is_more = bool(config.fill_rows or config.fill_tries)
    jsonl.write(
        run_dir / "databases.jsonl",
        (
            (
                as_built(each, files[each.db_id]) if is_more and isinstance(each, SynthDatabase) else each
            ).model_dump(mode="json")
            for each in databases
            if each.db_id in files
        ),
    )
    places = {item.id: "train" for item in splits.train}
    jsonl.write(
        run_dir / "items.jsonl",
        (
            item.model_copy(update={"split": places.get(item.id, "test")}).model_dump(exclude_none=True)
            for item in kept
        ),
    )
    if own := [each.db_id for each in databases if isinstance(each, OwnDatabase) and each.db_id in files]:
        more["marked_private"] = own
    if config.sft_file:
        more["sft_examples"] = write_sft_file(run_dir / SFT_FILE, data) if splits.train else 0
    summary = counts(items, kept, dropped, splits, made.rows, len(made.rejected))
    summary |= details(findings, kept) | more
    if config.against:
        names = [name for each in databases for name in (each.db_id, each.domain)]
        summary["against"] = {
            "questions": {
                f"{path.parent.name}/{path.name}": len(questions)
                for path, questions in held_out.questions.items()
            },
            "same_names": held_out.same_names(names),
        }
    return Outcome(summary=summary)


def _run_all(items: Sequence[Item], data: Path, config: Config) -> Iterator[tuple[Item, Ending]]:
    """Yield items with how their queries ended, one by one: all results together may not fit in memory."""
    jobs = [QueryJob(spider.database_file(data, item.db_id), item.sql) for item in items]
    with meter("filter", total=len(jobs)) as shown:
        endings = run_queries(jobs, limits=_limits(config), workers=config.workers, on_done=shown.advance)
        yield from zip(items, endings, strict=True)


def _limits(config: Config) -> Limits:
    return Limits(timeout_s=config.timeout_s, max_rows=10 * config.max_rows, max_bytes=MAX_RESULT_BYTES)


def _check_all(
    items: Sequence[Item],
    data: Path,
    config: Config,
    *,
    schemas: Mapping[str, Schema],
    held_out: HeldOut,
    opinions: Opinions,
) -> tuple[list[Item], list[dict[str, Any]], dict[str, Findings]]:
    """Run every query and check; returns what is kept, what is dropped and why, and the counts."""
    strict = _strict(config)
    memory = Kept(items)
    bounds = Bounds(
        max_rows=config.max_rows, max_per_skeleton=config.max_per_skeleton, min_agree=config.min_agree
    )
    kept: list[Item] = []
    dropped: list[dict[str, Any]] = []
    found = {name: Findings() for name, _ in (*CHECKS, *MEASURES)}
    for item, ending in _run_all(items, data, config):
        judgement, answers = opinions.of(item.id)
        case = Case(
            item=item,
            ending=ending,
            schema=schemas[item.db_id],
            kept=memory,
            held_out=held_out,
            bounds=bounds,
            judgement=judgement,
            answers=answers,
        )
        verdict = next(((name, why) for name, check in strict if (why := check(case)) is not None), None)
        if verdict is not None:
            name, why = verdict
            found[name].add(item, why)
            dropped.append(
                {"id": item.id, "db_id": item.db_id, "check": name, "reason": why}
                | {"question": item.question, "sql": item.sql}
            )
            continue
        for name, measure in MEASURES:
            if (why := measure(case)) is not None:
                found[name].add(item, why)
        memory.add(case)
        kept.append(item.model_copy(update={"empty": not case.row_count}))  # as measured, not as claimed
    return kept, dropped, found


def _strict(config: Config) -> list[tuple[str, Check]]:
    """List what drops an item: the checks, and the measures that the settings make strict."""
    names = {
        "hardness_as_asked": config.strict_hardness,
        "values_said": config.literals == "drop",
        "in_spider_grammar": config.grammar == "spider",
    }
    return [*CHECKS, *((name, measure) for name, measure in MEASURES if names.get(name))]


def _question_of(item: Item) -> dict[str, Any]:
    marked: dict[str, Any] = {"empty": True} if item.empty else {}
    if item.evidence:
        marked["evidence"] = item.evidence
    if item.style is not None:
        marked["style"] = item.style
    if item.features is not None:
        marked["features"] = sorted(sql_features(item.sql))  # as measured
    return {
        "question_id": item.id,
        "db_id": item.db_id,
        "question": item.question,
        "query": item.sql,
        "level_asked": item.level,
        "hardness": str(hardness(item.sql)),
        **marked,
    }
