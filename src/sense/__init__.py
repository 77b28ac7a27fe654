"""Sense turns weak and strong language models into your own text-to-SQL model.

The walk, in the direction the data flows; every arrow is a file (see `records` and `docs/data.md`):

    strong/      a strong model writes databases, questions and SQL; each is run       -> Question
    training/    an open model is fine-tuned on them, a schema paid for once           -> weights
    weak/        a small model samples SQL, an executor judges, errors become pairs    -> PreferencePair
    training/    conservative DPO on the pairs: the model learns from errors           -> weights
    inference/   the model answers questions                                           -> Prediction
    evaluation/  official execution accuracy                                           -> Score
    report/      one page with all of it

Below the stages lie their tools: `prompts`, `execution`, `llms`, `databases`. Above them `recipe` runs a
chain of stages and does only what is not up to date.
"""

__version__ = "0.1.0"
