"""Features, references and support distances against the published implementation's numbers."""

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from polyalign.features.lm import score_with
from polyalign.features.names import LM_NAMES, TEXT_NAMES
from polyalign.features.scorer import load_scorer
from polyalign.features.table import read_features
from polyalign.features.text import extract_text_features
from polyalign.prompts import condition_prefix
from polyalign.references import build_references, read_references
from polyalign.support import table_distances

LANGUAGES = ("en", "zh")


def load(folder: Path, name: str) -> list | dict:
    """A JSON or JSONL file of a kit, gzipped or not."""
    path = folder / name if (folder / name).exists() else folder / f"{name}.gz"
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as handle:
        text = handle.read()
    return [json.loads(line) for line in text.splitlines()] if ".jsonl" in name else json.loads(text)


@pytest.fixture(scope="module")
def parity(shared) -> Path:
    return shared / "data" / "parity"


@pytest.fixture(scope="module")
def nltk_data(shared):
    import nltk

    nltk.data.path.insert(0, str(shared / "data" / "nltk_data"))
    yield
    nltk.data.path.pop(0)


def answers(folder: Path, which: str) -> list[str]:
    if which == "human":
        return [record["human_answer"] for record in load(folder, "current.jsonl")]
    rows = sorted(load(folder, "predictions.jsonl"), key=lambda row: row["source_index"])
    return [row["prediction"] for row in rows]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("which", ["human", "pred"])
def test_text_features_of_every_row(parity, nltk_data, language, which):
    folder = parity / language
    expected = read_features(folder / f"features_{which}.jsonl.gz")
    assert list(expected.names) == list(TEXT_NAMES)
    found = extract_text_features(answers(folder, which), "paper-v1", workers=2)
    np.testing.assert_allclose(found, expected.values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_features_of_the_edge_cases(parity, nltk_data, language):
    cases = load(parity / language, "edge_cases.json")["strings"]
    found = extract_text_features([case["text"] for case in cases], "paper-v1")
    for case, row in zip(cases, found, strict=True):
        expected = [case["features"][name] for name in TEXT_NAMES]
        np.testing.assert_allclose(row, expected, rtol=0, atol=1e-6, err_msg=case["text"])


def test_sentiment_and_tokens_equal_nltks(parity, nltk_data):
    from nltk.sentiment.vader import SentimentIntensityAnalyzer
    from nltk.tokenize import sent_tokenize, word_tokenize

    from polyalign.features.backends import load_backend

    backend, analyzer = load_backend("paper-v1"), SentimentIntensityAnalyzer()
    for text in filter(None, (text.strip() for text in answers(parity / "en", "pred")[:150])):
        expected = analyzer.polarity_scores(text)
        assert backend.polarity(text) == tuple(expected[key] for key in ("neg", "neu", "pos", "compound"))
        tokens, parts = backend.split_text(text)
        assert tokens == word_tokenize(text)
        assert parts == [(part, len(word_tokenize(part))) for part in map(str.strip, sent_tokenize(text))]


def test_paper_features_stop_when_a_file_of_nltk_is_removed_or_changed(parity, shared, tmp_path):
    from polyalign.errors import PolyAlignError
    from polyalign.features.backends import backends
    from polyalign.features.nltk_data import gather_nltk_data, load_packages, use_folder

    gather_nltk_data(tmp_path, shared / "data" / "nltk_data")
    use_folder(tmp_path)
    try:
        assert backends.__wrapped__("paper-v1") == backends.__wrapped__("paper-v1")
        for package in load_packages().values():
            for name in package.files:
                content = (tmp_path / name).read_bytes()
                (tmp_path / name).write_bytes(content + b"\n")
                with pytest.raises(PolyAlignError, match=f"{name} .*differs.*polyalign nltk-data"):
                    backends.__wrapped__("paper-v1")
                (tmp_path / name).unlink()
                with pytest.raises(PolyAlignError, match=f"{name} .*not found.*polyalign nltk-data"):
                    backends.__wrapped__("paper-v1")
                (tmp_path / name).write_bytes(content)
    finally:
        use_folder(None)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("rows", "max_length"), [("rows", 1024), ("rows_with_max_seq_length_96", 96)])
def test_language_model_features(parity, language, rows, max_length):
    folder = parity / language
    records, predictions = load(folder, "current.jsonl"), answers(folder, "pred")
    scorer = load_scorer(parity / "tiny_lm", max_length=max_length, truncation="published")
    cases = [
        (row["index"], field, row[field])
        for row in load(folder, "expected_lm.json")[rows]
        for field in ("human_answer", "prediction")
        if field in row
    ]
    # Whole prompts are slow on a small machine: every third is enough.
    cases = cases[:: 1 if max_length == 96 else 3]
    texts = [
        records[row]["human_answer"] if field == "human_answer" else predictions[row]
        for row, field, _ in cases
    ]
    found = score_with(scorer, [records[row] for row, _, _ in cases], texts, batch_tokens=4096)
    expected = np.array([[float(values[name]) for name in LM_NAMES] for _, _, values in cases])
    loose = np.array(["perplexity" in name for name in LM_NAMES])
    np.testing.assert_allclose(found[:, loose], expected[:, loose], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found[:, ~loose], expected[:, ~loose], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("language", LANGUAGES)
def test_condition_prefixes(parity, language):
    for case in load(parity / language, "expected_text.json")["history_cases"]:
        assert condition_prefix(case["record"]) == case["lm_condition_prefix"]


@pytest.fixture(scope="module", params=LANGUAGES)
def kit(request, parity, tmp_path_factory):
    """(folder, references built from its human features, details)."""
    folder, out = parity / request.param, tmp_path_factory.mktemp("references")
    details = build_references([folder / "current.jsonl.gz"], [folder / "features_human.jsonl.gz"], out)
    return folder, read_references(out / "bucket_references.json"), details


def assert_equal(found, expected, place=""):
    if isinstance(expected, dict):
        assert list(found) == list(expected), place
        for key, value in expected.items():
            assert_equal(found[key], value, f"{place}/{key}")
    else:
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12), place


def test_bucket_references(kit):
    folder, references, _ = kit
    assert_equal(references, load(folder, "bucket_references.json"))


@pytest.mark.parametrize("support", ["q10_q90", "q25_q75"])
@pytest.mark.parametrize("which", ["human", "pred"])
def test_support_distances_and_critic_targets(kit, which, support):
    folder, references, _ = kit
    records, texts = load(folder, "current.jsonl"), answers(folder, which)
    table = read_features(folder / f"features_{which}.jsonl.gz")
    buckets = [record["bucket_id"] for record in records]
    found = table_distances(table, references, file="kit", support=support, bucket_ids=buckets)
    rows = load(folder, "expected_rows.jsonl")
    expected = [row.get(f"support_distance_{which}_{support}") for row in rows]
    expected = np.array([np.nan if value is None else value for value in expected])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    summary = load(folder, "expected_text.json")["critic_target_summary"][f"{which}_{support}"]
    written = np.array([text.strip() != "" for text in texts])
    kept = written & ~np.isnan(found)
    assert int(kept.sum()) == summary["records"]
    # The published targets were rounded before their mean was taken.
    assert found[kept].mean() == pytest.approx(summary["mean_target"], rel=1e-9, abs=1e-8)
    assert int((~written).sum()) == summary["skipped_missing_text"]
    ids = "\n".join(record["id"] for record, keep in zip(records, kept, strict=True) if keep)
    assert hashlib.sha1(ids.encode()).hexdigest() == summary["ids_sha1"]
