"""Text to token ids."""

from pathlib import Path

from transformers import AutoTokenizer

from sense.llms.token_ids import token_ids


def test_a_control_token_spelled_out_in_a_text_is_read_as_letters(llama_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama_folder)
    assert tokenizer.eos_token_id not in token_ids(f"what is {tokenizer.eos_token} for?", tokenizer)
