"""Fast-DetectGPT and Binoculars on real Chinese outputs of twenty systems, from prediction files to summaries."""

from collections import defaultdict

import numpy as np
import pytest

from polyalign.answer_texts import Text, predicted_texts
from polyalign.detection.run import detect_texts, load_detector
from polyalign.detection.settings import Detection
from polyalign.detection.summary import summarize
from polyalign.errors import BadInput
from polyalign.files import read_jsonl, write_jsonl
from polyalign.tables.detection import build_detection

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

METHODS = {"baselm": "base", "full-sft": "sft", "bucket-sft": "bucketsft", "dpo": "dpo", "hdpo": "hdpo"}
MODELS = {
    "Qwen2.5-1.5B": "qwen1.5b",
    "Gemma2-2B": "gemma2b",
    "Qwen2.5-3B": "qwen3b",
    "Llama3.2-3B": "llama3b",
}


@pytest.fixture(scope="module")
def outputs(shared):
    """{cell: rows of that system}."""
    found = defaultdict(list)
    for _, row in read_jsonl(shared / "data/zh_outputs/outputs.jsonl"):
        oracle = "ref-conditioned" in row["prediction_model_name"]
        method = "hdporef" if oracle else METHODS[row["variant"]]
        found[f"zh_{method}_{MODELS[row['main_model']]}"].append(row)
    return found


@pytest.fixture(scope="module")
def folders(shared, tmp_path_factory):
    """The tiny model of the parity kit, and a copy with some noise in its weights."""
    first = shared / "data/parity/tiny_lm"
    second = tmp_path_factory.mktemp("other")
    model = transformers.AutoModelForCausalLM.from_pretrained(first)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * weight.std() * torch.randn_like(weight)) if weight.numel() > 1 else None
    model.save_pretrained(second)
    transformers.AutoTokenizer.from_pretrained(first).save_pretrained(second)
    return first, second


def log_probabilities(folder, ids):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].double().numpy()
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@pytest.mark.parametrize("detector", ["fast_detectgpt", "binoculars"])
def test_real_outputs_from_files_to_a_page(outputs, folders, tmp_path, detector):
    assert len(outputs) == 20
    roles = ("sampler", "scorer") if detector == "fast_detectgpt" else ("observer", "performer")
    # The kit's vocabulary is so small that the longest outputs have 15,000 tokens.
    settings = Detection(long_texts="error", max_length=512)
    loaded = load_detector(detector, dict(zip(roles, folders, strict=True)), settings)
    # Systems answered different prompts, so each is compared with the human answers to its own.
    total, too_long = 0, 0
    for cell, rows in outputs.items():
        predictions = write(tmp_path / f"{cell}_in.jsonl", rows)
        found = predicted_texts(predictions)
        details = detect_texts(loaded, found, tmp_path / detector / f"{cell}.jsonl")
        human = [Text(row["source_index"], row["id"], row["human_answer"]) for row in ordered(rows)]
        detect_texts(loaded, human, tmp_path / detector / f"{cell}_human.jsonl")
        assert details["scored"] + sum(details["errors"].values()) == len(rows)
        total += details["scored"]
        too_long += details["errors"].get("too_long", 0)
    assert total + too_long > 380
    assert total > 250
    cell = "zh_sft_qwen1.5b"
    summary = summarize(
        detector,
        "zh",
        tmp_path / detector / f"{cell}_human.jsonl",
        {cell: tmp_path / detector / f"{cell}.jsonl"},
        Detection(bootstrap=100),
        1,
    )
    assert 0 <= summary["systems"][cell]["auroc"] <= 1
    build_detection([summary], tmp_path / "tables")
    assert "not calibrated" in (tmp_path / "tables/detection_zh.html").read_text()


def ordered(rows):
    return sorted(rows, key=lambda row: row["source_index"])


def write(path, rows):
    fields = ("source_index", "id", "prediction", "finish_reason")
    write_jsonl(path, [{name: row[name] for name in fields} for row in ordered(rows)])
    return path


def test_scores_are_those_of_the_formulas_on_the_models_logits(outputs, folders):
    texts = [row["prediction"] for row in outputs["zh_dpo_llama3b"] if 5 < len(row["prediction"]) < 300][:4]
    fast = load_detector(
        "fast_detectgpt", dict(zip(("sampler", "scorer"), folders, strict=True)), Detection()
    ).detect(texts)
    binoculars = load_detector(
        "binoculars", dict(zip(("observer", "performer"), folders, strict=True)), Detection()
    ).detect(texts)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders[0])
    for text, curvature, ratio in zip(texts, fast, binoculars, strict=True):
        ids = tokenizer(text)["input_ids"]
        one, two = (log_probabilities(folder, ids) for folder in folders)
        places, targets = np.arange(len(ids) - 1), ids[1:]
        mean = (np.exp(one) * two).sum(-1)
        variance = (np.exp(one) * (two - mean[:, None]) ** 2).sum(-1)
        expected = (two[places, targets].sum() - mean.sum()) / np.sqrt(variance.sum())
        assert curvature.raw == pytest.approx(expected, abs=5e-4)
        assert ratio.raw == pytest.approx(one[places, targets].sum() / mean.sum(), abs=1e-4)


def test_a_shifted_prediction_file_is_refused(outputs, tmp_path):
    rows = ordered(outputs["zh_sft_qwen1.5b"])
    shifted = [{**row, "id": other["id"]} for row, other in zip(rows, rows[1:] + rows[:1], strict=True)]
    scores = [
        {"source_index": row["source_index"], "id": row["id"], "score": 0.1, "threshold": 0.5}
        | {"decision": "human", "error": None}
        for row in rows
    ]
    write_jsonl(tmp_path / "human.jsonl", scores)
    moved = [{**score, "id": row["id"]} for score, row in zip(scores, shifted, strict=True)]
    write_jsonl(tmp_path / "cell.jsonl", moved)
    with pytest.raises(BadInput, match="score predictions of the same split"):
        summarize(
            "binoculars",
            "zh",
            tmp_path / "human.jsonl",
            {"zh_sft_qwen1.5b": tmp_path / "cell.jsonl"},
            Detection(),
            1,
        )
