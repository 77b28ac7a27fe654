"""Turn a GGUF file into a Hugging Face folder with plain float32 weights, which trainers accept."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging

from sense.errors import ModelError


def convert(gguf: Path, folder: Path) -> None:
    """Unpack the weights and the tokenizer of `gguf` into `folder`, which appears whole or not at all.

    Raises:
        ModelError: the file is no GGUF model that transformers can read.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                dtype=torch.float32,
                # A model left quantized refuses to be trained or saved.
                quantization_config=GgufConfig(dequantize=True),
            )
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        raise ModelError(f"{gguf}: not readable as a GGUF model: {str(error).splitlines()[0]}") from None
    _tie_if_split(model)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        part = Path(scratch) / folder.name
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        try:
            part.rename(folder)
        except OSError:
            if not (folder / "config.json").exists():  # else another process was quicker
                raise


def _tie_if_split(model: torch.nn.Module) -> None:
    """Join embedding and output where the file holds one matrix twice, rounded differently (Qwen2.5's files).

    The output's rounding is the finer one (8 bit against 5).
    """
    embedding, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight  # type: ignore[operator]
    if embedding.data_ptr() == output.data_ptr() or embedding.shape != output.shape:
        return
    with torch.no_grad():
        apart = (embedding - output).norm() / output.norm()
        if apart < 0.1:
            embedding.copy_(output)
            model.config.tie_word_embeddings = True  # type: ignore[union-attr]
            model.tie_weights()  # type: ignore[operator]
