"""Every metric of the paper equals the reference numbers: 1e-9, turn dynamics 1e-6."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from polyalign.files import read_jsonl, write_json, write_jsonl
from polyalign.metrics import nuf
from polyalign.metrics.aggregate import aggregate
from polyalign.metrics.bng import bucket_gaps, contributions
from polyalign.metrics.diversity import NgramTable, _smoothed_bleu, diversity
from polyalign.metrics.evaluate import evaluate
from polyalign.metrics.feature_inputs import read_row_features
from polyalign.metrics.inputs import read_rows
from polyalign.metrics.naturalness import large_buckets
from polyalign.metrics.tokens import tokenize
from polyalign.metrics.utility import score_rows

SETTINGS = {"bootstrap": 0}


def load(folder: Path, name: str):
    path = folder / name
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    with gzip.open(f"{path}.gz", "rt", encoding="utf-8") as handle:
        return json.load(handle)


def lines(folder: Path, name: str) -> list[dict]:
    path = folder / name
    return [row for _, row in read_jsonl(path if path.is_file() else f"{path}.gz")]


@pytest.fixture(scope="module", params=["en", "zh"])
def kit(request, shared, tmp_path_factory) -> dict:
    """Kit folder, the files of an evaluation, and its report."""
    folder = shared / "data" / "parity" / request.param
    work = tmp_path_factory.mktemp(request.param)
    write_jsonl(work / "records.jsonl", lines(folder, "current.jsonl"))
    write_jsonl(work / "predictions.jsonl", lines(folder, "predictions.jsonl"))
    write_json(work / "references.json", load(folder, "bucket_references.json"))
    # The published feature rows, as they are.
    write_jsonl(work / "human.jsonl", lines(folder, "features_human.jsonl"))
    write_jsonl(work / "generated.jsonl", lines(folder, "features_pred.jsonl"))
    files = [
        work / name
        for name in (
            "records.jsonl",
            "predictions.jsonl",
            "references.json",
            "human.jsonl",
            "generated.jsonl",
        )
    ]
    report = evaluate(*files, settings=SETTINGS)
    return {
        "folder": folder,
        "files": files,
        "expected": load(folder, "expected.json"),
        "metrics": report.model_dump(mode="json", by_alias=True)["metrics"],
    }


def assert_equal(found, expected, tolerance: float, path: str = "") -> None:
    """Every expected key, list item and number stands in `found`."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            assert key in found, f"{path}/{key}"
            assert_equal(found[key], value, tolerance, f"{path}/{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), path
        for position, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert_equal(a, b, tolerance, f"{path}[{position}]")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance), path
    else:
        assert found == expected, path


@pytest.mark.parametrize("metric", ["utility", "diversity", "bng"])
def test_metrics_equal_the_reference(kit, metric):
    assert_equal(kit["metrics"][metric], kit["expected"][metric], 1e-9)


def test_tdm_equals_the_reference(kit):
    assert_equal(kit["metrics"]["tdm"], kit["expected"]["tdm"], 1e-6)


def test_hcr_equals_the_reference_on_both_supports_and_for_humans(kit):
    expected, found = kit["expected"], kit["metrics"]
    assert_equal(found["hcr"], expected["hcr"]["support_q10_q90"], 1e-9)
    assert_equal(found["hcr_q25_q75"], expected["hcr"]["support_q25_q75"], 1e-9)
    assert_equal(found["hcr_of_human_rows"], expected["hcr_of_human_rows"], 1e-9)


def test_frontiers_and_aggregate_equal_the_reference(kit):
    expected, found = kit["expected"], kit["metrics"]
    if expected["nuf"] is None:
        # The reference crashed without multi-turn rows; here that part is null and says why.
        assert found["nuf"]["multi_turn"]["hypervolume"] is None
        assert "multi-turn" in found["nuf"]["multi_turn"]["reason"]
        assert found["tdm"]["reason"] == "no multi-turn rows"
        assert found["aggregate"]["component_count"] == 3
        return
    # TDM is a component of the multi-turn frontier, and the SVD behind it is randomised.
    assert_equal(found["nuf"], expected["nuf"], 1e-6)
    assert_equal(
        found["nuf"]["overall"]["frontier_points"], expected["nuf"]["overall"]["frontier_points"], 1e-9
    )
    assert_equal(found["aggregate"], expected["aggregate"], 1e-9)


def test_frontiers_and_aggregate_with_given_mauve_equal_the_reference(kit):
    expected, given = kit["expected"], kit["expected"]["with_made_up_mauve"]

    def by_bucket(rows, key):
        return {row["bucket_id"]: row[key] for row in rows}

    found = nuf.frontiers(
        by_bucket(expected["utility"]["by_bucket"], "qa_f1"),
        by_bucket(expected["bng"]["by_bucket"], "bng"),
        by_bucket(expected["hcr"]["support_q10_q90"]["by_bucket"], "hcr"),
        by_bucket(given["mauve_input"]["by_bucket"], "c_mauve"),
        by_bucket(expected["tdm"]["by_bucket"], "tdm"),
    )
    if given["nuf"] is None:
        assert found["overall"]["hypervolume"] > 0
        return
    assert_equal(found, given["nuf"], 1e-9)
    total = aggregate(
        expected["utility"]["overall"]["qa_f1"],
        expected["bng"]["overall_macro"],
        given["mauve_input"]["global"],
        found["overall"]["hypervolume"],
    )
    assert_equal(total, given["aggregate"], 1e-9)


def test_row_scores_equal_the_reference(kit):
    rows = read_rows(*kit["files"][:2])
    scores = score_rows(rows.predictions, rows.answers)
    expected = lines(kit["folder"], "expected_rows.jsonl")
    for name in ("raw_em", "qa_em", "qa_f1", "rouge_l_f1"):
        np.testing.assert_allclose(scores[name], [row[name] for row in expected], atol=1e-12)


def test_contributions_equal_the_reference(kit):
    expected = load(kit["folder"], "bng_contributions.json")
    rows = read_rows(*kit["files"][:2])
    features = read_row_features(rows, *kit["files"][2:])
    buckets = {b.name: bucket_gaps(b.generated, b.human) for b in large_buckets(rows, features, 20)}
    for name, gaps in buckets.items():
        assert_equal(
            dict(zip(features.names, map(float, gaps.gaps), strict=True)), expected["by_bucket"][name], 1e-9
        )
    found = {row["feature"]: row for row in contributions(buckets, features.names)}
    for row in expected["mean_gap_by_feature_desc"]:
        assert_equal(found[row["feature"]], row, 1e-9)


@pytest.fixture(scope="module")
def edges(shared) -> dict:
    return load(shared / "data" / "parity" / "en", "edge_cases.json")


def test_pairs_of_tricky_strings(edges):
    pairs = edges["pairs"]
    scores = score_rows([pair["prediction"] for pair in pairs], [pair["reference"] for pair in pairs])
    np.testing.assert_allclose(scores["qa_f1"], [pair["token_f1"] for pair in pairs], atol=1e-12)
    np.testing.assert_allclose(scores["rouge_l_f1"], [pair["rouge_l_f1"] for pair in pairs], atol=1e-12)


def test_diversity_of_tricky_strings(edges):
    for case in edges["diversity"]:
        table = NgramTable(tokenize(case["texts"]))
        found = diversity(table, np.arange(len(case["texts"])), sample=5, references=3)
        assert found["self_bleu_4"] == pytest.approx(case["self_bleu_4_s5_r3"], abs=1e-12)
        for order in (1, 2, 3):
            assert found[f"distinct_{order}"] == pytest.approx(case[f"distinct_{order}"], abs=1e-12)


def test_frontier_cases(edges):
    for case in edges["frontier"]:
        frontier = nuf.pareto_frontier(case["rows"], "u", "nat")
        assert frontier == case["frontier"]["frontier_points"]
        for found, expected in (
            (nuf.frontier_area(frontier, "u", "nat"), case["frontier"]["frontier_auc"]),
            (nuf.hypervolume(frontier, "u", "nat"), case["hypervolume"]),
            (nuf.hypervolume(frontier, "u", "nat", (0.1, 0.2)), case["hypervolume_ref_0.1_0.2"]),
        ):
            assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))


def test_bleu_equals_nltk():
    texts = ["a b c d e f", "a b c d x y", "c d", "e f a b c d e f", "q"]
    words = [text.split() for text in texts]
    smoothing = SmoothingFunction().method1
    for position, own in enumerate(words):
        others = words[:position] + words[position + 1 :]
        expected = sentence_bleu(others, own, smoothing_function=smoothing)
        clipped = []
        for order in range(1, 5):
            grams = [tuple(own[i : i + order]) for i in range(len(own) - order + 1)]
            most = {
                gram: max([sum(tuple(o[i : i + order]) == gram for i in range(len(o))) for o in others])
                for gram in set(grams)
            }
            clipped.append(sum(min(grams.count(gram), most[gram]) for gram in set(grams)))
        nearest = min((abs(len(o) - len(own)), len(o)) for o in others)[1]
        assert _smoothed_bleu(clipped, len(own), nearest) == pytest.approx(expected, abs=1e-15)
