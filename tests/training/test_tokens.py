"""Tokens: where schema, question and completion meet, on a real tokenizer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sense.llms.local import Loaded
from sense.prompts.text_to_sql import completion, question_text
from sense.training.tokens import tokenize

SCHEMA = "database pets\ntable pet ( id number key, name text [Rex | Tom], age number )\n"
texts = st.text(max_size=30)


@given(question=texts, other=texts, evidence=texts, sql=texts)
def test_a_schemas_tokens_never_depend_on_what_follows(
    llama: Loaded, question: str, other: str, evidence: str, sql: str
) -> None:
    rows = [
        ("a", SCHEMA + question_text(question, evidence), [sql]),
        ("b", SCHEMA + question_text(other), [sql + " "]),
    ]
    one, two = tokenize(rows, llama.tokenizer)
    assert one.schema == two.schema
    assert llama.tokenizer.decode(one.schema) == SCHEMA


@given(question=texts, sql=texts)
def test_a_questions_tokens_never_depend_on_the_answer(llama: Loaded, question: str, sql: str) -> None:
    (example,) = tokenize([("a", SCHEMA + question_text(question), [sql, "SELECT 1"])], llama.tokenizer)
    first, second = example.branches
    assert first.prompt == second.prompt
    assert llama.tokenizer.decode(first.prompt) == question_text(question)


def test_a_branch_reads_as_it_is_asked_and_ends_with_the_end_mark(llama: Loaded) -> None:
    text = completion("SELECT name\nFROM pet;")
    (example,) = tokenize([("a", SCHEMA + question_text("Names?"), [text])], llama.tokenizer)
    (branch,) = example.branches
    assert llama.tokenizer.decode(branch.completion) == " SELECT name FROM pet<|end|>"
    assert branch.completion.count(llama.tokenizer.eos_token_id) == 1
    assert len(branch) == len(branch.prompt) + len(branch.completion)


def test_a_prompt_of_another_make_is_all_question(llama: Loaded) -> None:
    (example,) = tokenize([("a", "Translate to SQL: names", ["SELECT 1"])], llama.tokenizer)
    assert example.schema == ()
    assert llama.tokenizer.decode(example.branches[0].prompt) == "Translate to SQL: names"
