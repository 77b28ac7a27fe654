"""The model card that is saved beside trained weights, in Hugging Face's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def model_card(marks: Mapping[str, str]) -> str:
    """Write a README.md with the metadata that the Hub reads, and how the model is asked.

    Args:
        marks: what stands in `sense.json` beside the weights.
    """
    base, stage = marks["base"], marks["trained_by"]
    from_hub = "/" in base and not Path(base).exists()  # only such a base is a link that works elsewhere
    how = {"sft": "supervised fine-tuning", "dpo": "preference learning"}[stage]
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "pipeline_tag: text-generation",
            "tags: [text-to-sql, sense]",
            *([f"base_model: {base}"] if from_hub else []),
            "---",
            "",
            "# A text-to-SQL model",
            "",
            f"Trained from `{base if from_hub else Path(base).name}` with Sense {marks['sense_version']} "
            f"by {how} (`sense {stage}`).",
            "",
            f"It is asked in the prompt format `{marks['prompt_format']}`: the schema first, then the",
            "question; it answers with one SQL query for SQLite. `sense predict`, `sense ask` and",
            "`sense sample` read the format from `sense.json`; another program has to write the same prompt.",
            "",
            "The settings and the data it was trained on stand in the run folder that holds it (`run.json`).",
            "The license of the base and of the data apply. Queries that a model writes may be wrong: run",
            "them read-only, and look at what comes back.",
            "",
        ]
    )
