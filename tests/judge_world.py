"""A judge small enough for tests: random weights, room for the rubric, a tokenizer that knows the rubric's words."""

from pathlib import Path

from polyalign.files import write_jsonl
from polyalign.judge.rubric import Rubric
from polyalign.judge.stand_in import judge_tokenizer
from polyalign.prompts import load_chat_template
from polyalign.tiny_model import make_model, train_tokenizer
from tests.unit.model_families import record_of

SIZES = {"hidden_size": 32, "intermediate_size": 64, "layers": 1, "heads": 2, "kv_heads": 1}
NO_FLAGS = {"empty_or_unintelligible": False, "wrong_language": False, "contradicts_context": False}
BUCKETS = ("en|single|qa|short", "en|single|assistant|medium", "en|multi|dialogue|long")


def all_of(rubric: Rubric, score: int) -> dict[str, int]:
    """The same score in every dimension."""
    return dict.fromkeys(rubric.dimensions, score)


def save_judge(folder: Path, vocabulary: int = 800, seed: int = 0) -> Path:
    """A model folder of a judge with 4,096 positions."""
    texts = ["Which number is it?", "It is one.", "几点了？三点。"] * 20
    base = train_tokenizer(texts, vocabulary, load_chat_template("tiny"))
    tokenizer = judge_tokenizer(texts, base)
    make_model(tokenizer, SIZES, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_judge_world(folder: Path, rows: int = 3) -> Path:
    """A judge, records and predictions of each of them, for the command line."""
    save_judge(folder / "model")
    write_jsonl(folder / "records.jsonl", [record_of(index) for index in range(rows)])
    write_jsonl(
        folder / "predictions.jsonl",
        [
            {"source_index": index, "id": f"row-{index}", "prediction": f"Number {index}."}
            for index in range(rows)
        ],
    )
    return folder
