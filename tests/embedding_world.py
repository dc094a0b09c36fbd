"""Inputs of the embedding analysis for tests: a tiny random encoder, records with hostile answers, predictions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from polyalign.files import write_jsonl
from polyalign.records import make_record
from tests.human_eval_world import HOSTILE

WORDS = {"plain": [f"w{n}" for n in range(30)], "odd": [f"x{n}" for n in range(30)]}
BUCKETS = (("squad_v2", "single", "qa"), ("dailydialog", "multi", "dialogue"))


def save_encoder(folder: Path, seed: int = 0, *, bert: bool = False) -> Path:
    """A random one-layer model with a word-level tokenizer; of the BERT kind, it has no end-of-sequence token."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    special = ["[UNK]", "[CLS]", "[SEP]"] if bert else ["<unk>", "<eos>"]
    words = [*special, *WORDS["plain"], *WORDS["odd"]]
    raw = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token=special[0]))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if bert:
        raw.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
        names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    else:
        names = {"unk_token": "<unk>", "eos_token": "<eos>"}
    PreTrainedTokenizerFast(tokenizer_object=raw, **names).save_pretrained(folder)
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": len(words),
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.5,
    }
    model = (
        BertModel(BertConfig(**sizes)) if bert else LlamaModel(LlamaConfig(**sizes, num_key_value_heads=1))
    )
    model.save_pretrained(folder)
    return folder


def text(generator: np.random.Generator, words: Sequence[str]) -> str:
    """Two to seven words."""
    return " ".join(generator.choice(words, size=generator.integers(2, 8)))


def write_world(folder: Path, rows: int = 60) -> tuple[Path, dict[str, Path]]:
    """Records in two buckets, and predictions of two systems: `same` answers as people do, `odd` in other words.

    The first answers of `odd` hold markup.
    """
    generator = np.random.default_rng(3)
    records = []
    for number in range(rows):
        dataset, track, family = BUCKETS[number % 2]
        records.append(
            make_record(
                id=f"r{number}",
                dataset=dataset,
                split="test",
                language="en",
                track=track,
                family=family,
                style_bucket="qa_search" if family == "qa" else "open_chat",
                question=f"What <b>about</b> {number}?",
                context="",
                dialogue_history=[],
                human_answer=text(generator, WORDS["plain"]),
                meta={},
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "records.jsonl", records)
    predictions = {}
    for name, words in (("same", WORDS["plain"]), ("odd", WORDS["odd"])):
        answers = [text(generator, words) for _ in records]
        if name == "odd":
            answers[: len(HOSTILE)] = HOSTILE
        predictions[name] = folder / f"{name}.jsonl"
        write_jsonl(
            predictions[name],
            [
                {"source_index": index, "id": record["id"], "prediction": answer, "finish_reason": "stop"}
                for index, (record, answer) in enumerate(zip(records, answers, strict=True))
            ],
        )
    return folder / "records.jsonl", predictions
