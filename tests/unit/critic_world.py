"""A tiny random encoder, pairs of two vocabularies and a critic trained on them, for tests of the critic."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from polyalign.critic.train import train_critic
from polyalign.files import write_table
from polyalign.pairs import PAIR_SCHEMA

HUMAN_WORDS = [f"h{n}" for n in range(20)]
MODEL_WORDS = [f"m{n}" for n in range(20)]
BUCKETS = ("en|single|qa|short", "en|multi|dialogue|short")


def save_encoder(folder, seed):
    """A random one-layer model with a word-level tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    words = ["<unk>", "<eos>", *HUMAN_WORDS, *MODEL_WORDS]
    raw = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", eos_token="<eos>").save_pretrained(
        folder
    )
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.5,
    )
    LlamaModel(config).save_pretrained(folder)
    return folder


def pair(number, bucket, chosen, rejected, chosen_target, rejected_target):
    language, track, family, length = bucket.split("|")
    return {
        "source_index": number,
        "id": f"r{number}",
        "bucket_id": bucket,
        "style_bucket": "qa_search",
        "length_bin": length,
        "family": family,
        "track": track,
        "language": language,
        "pair_type": "global",
        "chosen": chosen,
        "rejected": rejected,
        "chosen_target": chosen_target,
        "rejected_target": rejected_target,
    }


def write_pairs(path, count, seed, *, without=0, buckets=BUCKETS):
    """Human words have targets near 0.1, model words near 0.8; the last `without` pairs lack targets."""
    rng = np.random.default_rng(seed)

    def text(words):
        return " ".join(rng.choice(words, size=rng.integers(2, 7)))

    rows = [
        pair(
            number,
            buckets[0] if number % 4 else buckets[1],
            text(HUMAN_WORDS),
            text(MODEL_WORDS),
            float(rng.uniform(0.05, 0.15)) if number < count - without else None,
            float(rng.uniform(0.7, 0.9)) if number < count - without else None,
        )
        for number in range(count)
    ]
    write_table(path, pa.Table.from_pylist(rows, schema=PAIR_SCHEMA))
    return path


FAST = {"epochs": 20, "batch_size": 16, "encoder": {"dtype": "float32"}}


def train(folder: Path, encoder_dir: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """Details of a critic trained on the pair tables of a folder, on a CPU; vectors are kept beside the tables."""
    tables = folder / "train.parquet", folder / "val.parquet"
    return train_critic(*tables, encoder_dir, out, folder / "cache", {**FAST, **changes}, "cpu")


def trained_critic(folder: Path) -> tuple[Path, dict[str, Any]]:
    """(folder, details) of a critic trained on 200 pairs, with its encoder and pair tables beside it."""
    save_encoder(folder / "encoder", seed=0)
    write_pairs(folder / "train.parquet", 200, 1, without=10)
    write_pairs(folder / "val.parquet", 60, 2)
    return folder, train(folder, folder / "encoder", folder / "bundle")


def collapsing_pairs(*paths: Path, targets: tuple[float | None, float | None] = (0.1, 0.8)) -> None:
    """Write pairs of unknown words alone, which all have the same vector."""
    rows = [pair(n, BUCKETS[0], f"x{n}", f"y{n}", *targets) for n in range(8)]
    for path in paths:
        write_table(path, pa.Table.from_pylist(rows, schema=PAIR_SCHEMA))
