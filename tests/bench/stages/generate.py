"""Generation: answers of the transformers engine on a CPU, one row at a time and in batches."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from polyalign.inference.decoding import Decoding
from polyalign.inference.engine import EngineSettings, Request
from polyalign.prompts import load_chat_template
from polyalign.tiny_model import SPECIAL_TOKENS, make_model, train_tokenizer
from tests.bench.harness import Case, Space

TITLE = "Generation, transformers engine on a CPU"
BOUND = (
    "Passes through the model: one for each token of the longest answer of a batch. Batches of like length share them; "
    "their memory is bounded by `inference.batch_tokens`."
)
SIZES = {
    "hidden_size": 128,
    "intermediate_size": 512,
    "layers": 3,
    "heads": 4,
    "kv_heads": 2,
    "vocab_size": 2048,
}
"""The demo's model, with random weights."""
NEW_TOKENS = 96


def _prepare(space: Space) -> None:
    folder = space.data / "tiny_model"
    if (folder / "config.json").is_file():
        return
    random = np.random.default_rng(0)
    words = ["".join(map(chr, random.integers(97, 123, 4))) for _ in range(3000)]
    tokenizer = train_tokenizer(words, SIZES["vocab_size"], load_chat_template("tiny"))
    make_model(tokenizer, SIZES, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _requests(rows: int) -> list[Request]:
    random = np.random.default_rng(1)
    lowest = len(SPECIAL_TOKENS)
    return [
        Request(
            index,
            random.integers(lowest, 300, int(random.integers(20, 160))).tolist(),
            NEW_TOKENS,
            index,
        )
        for index in range(rows)
    ]


def _start(rows: int, batch_tokens: int, space: Space) -> Callable[[], int]:
    from transformers import AutoTokenizer

    from polyalign.inference.transformers_engine import TransformersEngine

    folder: Path = space.data / "tiny_model"
    settings = EngineSettings(device="cpu", dtype="float32", batch_tokens=batch_tokens)
    # No ending tokens: every answer is as long, so that both cases do the same work a row.
    engine = TransformersEngine(folder, AutoTokenizer.from_pretrained(folder), Decoding(), settings, [])
    requests = _requests(rows)
    return lambda: sum(1 for _ in engine.generate(requests))


CASES = (
    Case("one by one", partial(_start, 48, 1), _prepare, note="batches of one row"),
    Case("batched", partial(_start, 768, 65536), _prepare, note="at least 4 times the rows/s of one by one"),
)
