"""Which engine answers: the one place where engines are made."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polyalign.inference.decoding import Decoding
from polyalign.inference.engine import Engine, EngineSettings
from polyalign.prompts import stop_token_ids


@contextmanager
def open_engine(
    model_dir: Path, tokenizer: Any, mode: str, decoding: Decoding, settings: EngineSettings
) -> Iterator[Engine]:
    """The engine that `settings` name, ready to answer prompts of `mode`; what it started ends with the block.

    Args:
        model_dir: folder of model and tokenizer. The `openai` engine reads only the tokenizer and the model's
            limits there, unless it serves the model itself.

    Raises:
        BadInput: no model there, settings that do not fit, or no GPU where one was asked for.
        PolyAlignError: a package that is missing, or a server that does not answer.
    """
    stops = stop_token_ids(tokenizer, mode)
    # Imported here: each needs packages that the others do without.
    if settings.engine == "transformers":
        from polyalign.inference.transformers_engine import TransformersEngine

        yield TransformersEngine(model_dir, tokenizer, decoding, settings, stops)
    elif settings.engine == "vllm":
        from polyalign.inference.vllm_engine import VllmEngine

        engine = VllmEngine(model_dir, tokenizer, decoding, settings, stops)
        try:
            yield engine
        finally:
            engine.close()
    else:
        from polyalign.inference.openai_engine import open_openai_engine

        with open_openai_engine(model_dir, tokenizer, mode, decoding, settings, stops) as engine:
            yield engine
