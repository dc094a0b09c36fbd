"""Published figures: typed, whole, and one report a cell to compare with."""

import csv
import math
from collections import Counter
from pathlib import Path

import pytest

from polyalign import published
from polyalign.methods import ORACLE_METHODS
from polyalign.published import (
    FLAGS,
    published_buckets,
    published_detections,
    published_judgements,
    published_metrics,
    published_reports,
)


def test_every_cell_of_the_paper_has_one_main_report():
    main = Counter(report.cell for report in published_reports() if report.main)
    assert set(main.values()) == {1}
    assert set(main) == {report.cell for report in published_reports()}
    for language in ("en", "zh"):
        for method in ("base", "cot", "sft", "bucketsft", "dpo"):
            for model in ("qwen1.5b", "gemma2b", "qwen3b", "llama3b"):
                report = published_metrics(f"{language}_{method}_{model}")
                assert report is not None
                assert report.rows == report.rows_expected == published.TEST_ROWS[language]


def test_published_hdpo_in_english_is_an_oracle_and_says_so():
    report = published_metrics("en_hdpo_gemma2b")
    assert report.actual_cell == "en_hdporef_gemma2b"
    assert {"oracle", "partial_rows"} <= set(report.flags)
    assert not report.comparable
    assert any("reference answer" in warning for warning in report.warnings)
    assert published_metrics("en_hdporef_gemma2b") is report
    assert published_metrics("en_hdpo_llama3b") is None
    honest = published_metrics("zh_hdpo_gemma2b")
    assert honest.method == "hdpo"
    assert published_metrics("zh_hdporef_gemma2b").method == "hdporef"


def test_a_cell_evaluated_twice_is_the_one_with_its_own_scorer():
    both = published_reports("zh_dpo_qwen1.5b")
    assert sorted(report.feature_scorer for report in both) == ["qwen1.5b", "qwen3b"]
    assert published_metrics("zh_dpo_qwen1.5b").feature_scorer == "qwen1.5b"
    assert published_metrics("en_bucketsft_qwen1.5b").flags == ("other_scorer",)


@pytest.mark.parametrize("rows", [published_reports, published_judgements, published_detections])
def test_flags_are_known_and_figures_are_finite(rows):
    found = rows()
    assert found
    for row in found:
        assert set(row.flags) <= set(FLAGS)
        assert ("oracle" in row.flags) == (row.method in ORACLE_METHODS)
        assert all(value is None or math.isfinite(value) for value in row.values.values())


def test_the_page_explains_every_flag():
    page = (published.FOLDER / "README.md").read_text(encoding="utf-8")
    for flag, meaning in FLAGS.items():
        assert f"| `{flag}` | {meaning} |" in page


def test_buckets_add_up_to_their_report():
    for report in published_reports():
        buckets = published_buckets(report.report)
        mean = sum(bucket.values["bng"] for bucket in buckets) / len(buckets)
        assert mean == pytest.approx(report.value("bng"), rel=1e-9)


def test_judges_and_detectors_of_a_cell():
    judgements = published_judgements("en_hdpo_qwen3b")
    assert {row.judge for row in judgements} == {"Qwen3-8B", "Qwen2.5-7B-Instruct"}
    assert all({"oracle", "misaligned"} <= set(row.flags) for row in judgements)
    (binoculars,) = published_detections("en_sft_llama3b", "Binoculars")
    assert "nan_scores" in binoculars.flags
    (human,) = published_detections("zh_human_human", "Fast-DetectGPT")
    assert human.common_rows is None
    assert human.value("ai_rate") == pytest.approx(0.10995752713544124)


def test_figures_are_those_of_the_published_reports(shared: Path):
    ours = {report.report: report for report in published_reports()}
    keys = {"qa_f1": "qa_f1", "bng_macro": "bng", "mauve_global": "mauve", "nuf_hypervolume": "nuf"}
    with open(shared / "data" / "published" / "published_metrics.csv", newline="") as handle:
        theirs = list(csv.DictReader(handle))
    assert len(theirs) == len(ours)
    for row in theirs:
        report = ours[row["file"]]
        assert report.rows == int(row["n_rows"])
        for key, name in keys.items():
            assert report.value(name) == (None if row[key] == "nan" else float(row[key]))
