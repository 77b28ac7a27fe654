"""Small but real models, with random weights and two layers, and a tokenizer: made in a second."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sense.llms.local import Loaded

# Read by torch when it is loaded: on matrices this small, threads mostly wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# peft reads a property that transformers is about to rename.
peft_reads_an_old_name = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)

END = "<|end|>"
TEXT = """database pets
table pet ( id number key, name text [Rex | Tom], age number )
table owner ( id number key, pet_id number, city text ["Bern" | 'Köln'] )
owner.pet_id = pet.id
evidence: old means age > 9
question: How many pets are there in each city, and which is the oldest?
sql: SELECT COUNT(*), T1.name FROM pet AS T1 JOIN owner AS T2 ON T1.id = T2.pet_id
WHERE T1.age >= 10 GROUP BY T2.city HAVING AVG(T1.age) < 3.5 ORDER BY T1.name DESC LIMIT 1
"""


def save_tokenizer(folder: Path, *, end: str | None = END) -> None:
    """Train a byte-level BPE tokenizer and save it in `folder`; without `end` it has no end mark."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end).save_pretrained(folder)


def make_model(kind: str, *, seed: int = 0, **settings: Any) -> Any:
    """Make a model of two layers with random weights; `kind` is a model type of transformers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        kind,
        **{
            "vocab_size": 500,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "initializer_range": 0.2,  # wider than usual: else answers are one token repeated
        }
        | settings,
    )
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config).eval()


def save_model(folder: Path, kind: str, *, end: str | None = END, **settings: Any) -> Path:
    """Write a model and its tokenizer as a Hugging Face folder."""
    save_tokenizer(folder, end=end)
    make_model(kind, **settings).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with grouped queries and tied embeddings, as SmolLM2 is."""
    return save_model(tmp_path_factory.mktemp("llama"), "llama", tie_word_embeddings=True)


@pytest.fixture(scope="session")
def llama(llama_folder: Path) -> Loaded:
    """The Llama, loaded to answer; tests must leave its weights as they are."""
    from sense.llms.local import load

    return load(str(llama_folder))
