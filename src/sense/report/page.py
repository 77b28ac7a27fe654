"""The stage `report`: one HTML file that shows what a run did, from the scores down to single wrong answers.

The file holds everything it needs: it asks for nothing over a network, and its script only filters what is
there. Questions, SQL and what databases return are untrusted text, escaped by the template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pydantic import Field

from sense.execution.run import Limits
from sense.report.comparison import compare, pairs_of, read_scored
from sense.report.data_sections import DataSections, make_sections, read_sources
from sense.report.errors import ErrorsByKind, errors_by_kind, label_of
from sense.report.plots import check_matplotlib, interval_chart, line_plot
from sense.report.runs import Run, pipeline, pretty, read_run, training_plots, versions
from sense.report.side_by_side import WrongAnswer, check_databases, draw_wrong, run_both
from sense.report.tables import Column, headline, metric_name, p_value, percent, points, verdict
from sense.rundir import RunDir, write_json
from sense.stage import InputPath, InputPaths, NamedInputPaths, Outcome, StageConfig

MAX_RESULT_BYTES = 4 * 2**20  # only the first rows are shown; dozens of results wait for their turn
PAGE_FILE, SUMMARY_FILE, TEMPLATE = "index.html", "summary.json", "page.html.j2"
NO_SECTIONS: Mapping[str, Any] = {"weak": {}, "pairs": {}, "strong": {}}
SYMBOLS = "●■◆▲▼✚"  # the markers of the chart, in the same order


class Config(StageConfig):
    """The settings of `report`."""

    scores: NamedInputPaths = Field(
        {}, description="run folders of 'score', by the name the page gives each model, in order"
    )
    runs: InputPaths = Field((), description="run folders of all other stages, in the order they ran")
    data: InputPath | None = Field(
        None, description="folder in Spider's layout, to show what gold and predicted queries return"
    )
    weak: NamedInputPaths = Field(
        {}, description="verdicts.jsonl of 'label', by the name the page gives each, to show how often right"
    )
    weak_data: InputPath | None = Field(
        None, description="folder with the questions that 'label' judged candidates of (default: data)"
    )
    weak_split: str = Field("train", description="their question file: train means train.json")
    pairs: NamedInputPaths = Field(
        {},
        description="pairs.jsonl of 'pairs', by the name the page gives each, to show how long the sides are",
    )
    strong: NamedInputPaths = Field(
        {},
        description="data sets to describe, by name: folders in Spider's layout with train.json, or question "
        "files in such folders",
    )
    compare: NamedInputPaths = Field({}, description="data sets to hold those of strong against, by name")
    title: str = Field("Sense: what a run did", description="headline of the page")
    max_wrong: int = Field(40, ge=0, description="wrong answers shown, drawn at random")
    timeout_s: float = Field(30, gt=0, le=86_400, description="how long one query may run, in seconds")
    workers: int = Field(0, ge=0, description="processes that run queries; 0 for one per core")
    seed: int = Field(0, description="of the bootstrap and of all that is drawn at random")

    def check(self, made: Sequence[Path] = ()) -> None:  # noqa: ARG002
        """Look for matplotlib, before hours are spent on what it is to draw."""
        check_matplotlib()


def run(config: Config, run_dir: RunDir) -> Outcome:
    """Write index.html and summary.json.

    Raises:
        ConfigError: matplotlib is missing, or there is nothing to show.
        DataError: an input does not hold what it should, or two models answered different questions.
        DatabaseError: a database of a wrong answer or of a data set is missing.
    """
    check_matplotlib()
    is_on_data_alone = not config.scores and bool(config.weak or config.pairs or config.strong)
    models = {} if is_on_data_alone else read_scored(config.scores)
    runs = [read_run(path) for path in (*config.runs, *config.scores.values())]
    answers = draw_wrong(models, most=config.max_wrong, seed=config.seed) if models else []
    sources = read_sources(
        weak=config.weak,
        pairs=config.pairs,
        data=config.weak_data or config.data,
        split=config.weak_split,
        strong=config.strong,
        compare=config.compare,
    )
    if config.data is not None:
        check_databases(answers, data=config.data)
    run_dir.start()
    if config.data is not None:
        answers = run_both(
            answers,
            data=config.data,
            limits=Limits(timeout_s=config.timeout_s, max_bytes=MAX_RESULT_BYTES),
            workers=config.workers,
        )
    errors = errors_by_kind(models) if models else None
    sections = make_sections(sources, seed=config.seed)
    scored = compare(models, seed=config.seed) | {"errors": errors.summary} if errors else {}
    summary = {**scored, **sections.summary, "page": str(run_dir / PAGE_FILE)}
    html = render(
        title=config.title,
        summary=summary,
        runs=runs,
        errors=errors,
        answers=answers,
        sections=sections,
        nonce=run_dir.key,
    )
    # A lone surrogate, which JSON can hold and UTF-8 cannot, becomes a question mark.
    (run_dir / PAGE_FILE).write_text(html, encoding="utf-8", errors="replace")
    write_json(run_dir / SUMMARY_FILE, summary)
    return Outcome(summary=summary)


def render(
    *,
    title: str,
    summary: Mapping[str, Any],
    runs: Sequence[Run],
    errors: ErrorsByKind | None,
    answers: Sequence[WrongAnswer],
    sections: DataSections,
    nonce: str,
) -> str:
    """Fill the template.

    Args:
        title: headline of the page.
        summary: as `comparison.compare` makes it, with that of the sections.
        runs: the stages, in the order of the pipeline table.
        errors: why answers are wrong; None where there are no scores.
        answers: the wrong answers to show.
        sections: what is shown of data.
        nonce: lets the page's own script run and no other; must not be known to who wrote the data.
    """
    template = _environment().get_template(TEMPLATE)
    pictures = {
        part: [Markup(svg) for svg in drawn]  # noqa: S704 - our own SVG, its texts are escaped
        for part, drawn in sections.pictures.items()
    }
    return template.render(
        title=title,
        summary=summary,
        symbols=SYMBOLS,
        has_scores=errors is not None,
        pipeline=pipeline(runs),
        curves=[
            Markup(line_plot(plot, name=f"curve-{at}-{number}"))  # noqa: S704 - as above
            for at, one in enumerate(runs)
            for number, plot in enumerate(training_plots(one))
        ],
        sections={**NO_SECTIONS, **sections.summary},
        pictures=pictures,
        features=sections.features,
        runs=runs,
        versions=versions(runs),
        nonce=nonce,
        **({} if errors is None else _of_scores(summary, errors, answers)),
    )


def _of_scores(
    summary: Mapping[str, Any], errors: ErrorsByKind, answers: Sequence[WrongAnswer]
) -> dict[str, Any]:
    """Gather what the sections on scores show."""
    models = list(summary["ex"])
    columns = headline(summary)
    metric = metric_name(summary)
    return {
        "models": models,
        "columns": columns,
        "metric": metric,
        "chart": Markup(interval_chart(columns, models, metric=metric)),  # noqa: S704 - as above
        "lead": _lead(columns[0], models),
        "changes": [
            (old, new, difference, verdict(difference))
            for old, new in pairs_of(models)
            if (difference := summary["differences"].get(f"{new} - {old}"))
        ],
        "errors": errors,
        "label_of": label_of,
        "answers": answers,
        "n_wrong": errors.wrong[models[-1]],
        "kinds": list(dict.fromkeys(label_of(errors.diagnoses[answer.score.id].kind) for answer in answers)),
        "hardnesses": list(dict.fromkeys(answer.score.hardness for answer in answers)),
        "databases": sorted({answer.score.db_id for answer in answers}),
    }


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sense.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "points": _points,
        "p_value": p_value,
        "pretty": pretty,
        "sample_sizes": _sample_sizes,
    }
    return environment


def _points(share: float) -> str:
    return points(share).replace("-", "\N{MINUS SIGN}")  # as wide as a plus, unlike the hyphen


def _sample_sizes(weak: Mapping[str, Any]) -> list[str]:
    """List the k of all pass@k, from the smallest on."""
    return sorted({k for one in weak.values() for k in one["pass_at"]}, key=int)


def _lead(overall: Column, models: Sequence[str]) -> str:
    """Say the result in one sentence."""
    cells = [(model, overall.cells[model]) for model in models]
    shares = [f"{model} answers {percent(cell.ex)} %" for model, cell in cells if cell is not None]
    return ", ".join(shares) + " of the questions right." if shares else "No question could be judged."
