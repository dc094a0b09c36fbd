"""The audit of the published figures finds, from figures and names alone, what is known to be wrong with each."""

import csv
from pathlib import Path

import pytest

from polyalign import published
from polyalign.audit.read import facts_of_figures
from polyalign.audit.run import audit_facts, audit_published
from polyalign.published import published_detections, published_judgements, published_reports

METRIC_FLAGS = {
    "oracle_leak": "oracle",
    "row_count_differs": "partial_rows",
    "alias_mismatch": "other_scorer",
    "method_mismatch": "other_method",
    "is_sample": "sample",
    "bng_constant_offset_4096_177": "constant_in_bng",
    "hcr_zero_everywhere": "hcr_zero",
}
"""Flag of the shared table of published reports -> code of the audit."""


def table(shared: Path, name: str) -> list[dict[str, str]]:
    with open(shared / "data" / "published" / name, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def audited():
    """Findings by kind and subject, made without the flags."""
    found: dict[str, dict[str, dict]] = {}
    for one in audit_published():
        findings = {finding.code: finding for finding in one.findings}
        found.setdefault(one.kind, {})[one.subject] = findings
    return found


def test_every_flag_of_every_report_is_found_and_nothing_is_found_without_one(shared, audited):
    rows = table(shared, "published_metrics.csv")
    assert len(rows) == 60
    for row in rows:
        found = audited["published figures"][row["file"]]
        for flag, code in METRIC_FLAGS.items():
            assert (row[flag] == "1") == (code in found), (row["file"], flag)


def test_what_is_left_of_bng_and_of_the_aggregate_is_that_of_the_shared_tables(shared, audited):
    for row in table(shared, "published_metrics.csv"):
        found = audited["published figures"][row["file"]]
        if row["bng_constant_offset_4096_177"] == "1":
            left = found["constant_in_bng"].evidence["without"]
            assert left == pytest.approx(float(row["bng_macro_minus_offset"]), rel=1e-9)
        frontier_lost = row["nuf_frontier_auc"] == "nan"
        assert frontier_lost == ("single_point_frontier" in found), row["file"]
        assert (row["language"] == "zh") == ("whitespace_f1" in found)
    for row in table(shared, "published_recomputed.csv"):
        found = audited["published figures"][row["file"]]
        assert (float(row["abs_diff_agg"]) > 1e-6) == ("aggregate_not_reproduced" in found), row["file"]


def test_explosions_of_bng_are_found(audited):
    found = audited["published figures"]
    assert found["gemma2-2b-en-dpo-test.json"]["large_bng"].severity == "error"
    assert found["qwen25_3b_sft_test-en.json"]["one_bucket"].evidence["share"] > 0.5
    assert "large_bng" not in found["qwen25_3b_dist-sft_test-en.json"]
    # Above the constant there is nothing left to complain about.
    assert "large_bng" not in found["gemma2-2b-hdpo-zh-test.json"]


def test_judges_and_detectors(shared, audited):
    judged = {(row.judge, row.cell): row for row in published_judgements()}
    for (judge, cell), row in judged.items():
        found = audited["judge"][f"{judge} on {cell}"]
        assert set(row.flags) == {"oracle", "partial_rows", "misaligned"} & set(found), (judge, cell)
    empty = audited["judge"]["Qwen2.5-7B-Instruct on en_base_qwen3b"]["empty_answers"]
    assert empty.severity == "error"
    assert empty.evidence["empty"] == 27317
    for row in published_detections():
        found = audited["detector"][f"{row.detector} on {row.cell}"]
        # Two of the Chinese runs share their rows: no figure tells which of them was scored.
        oracle = {"oracle"} & set(found) or ({"oracle"} if "oracle_possible" in found else set())
        certain = {"partial_rows", "nan_scores"} & set(found)
        assert set(row.flags) - {"oracle"} == certain, row.cell
        assert set(row.flags) & {"oracle"} <= oracle, row.cell
        if "oracle" not in row.flags:
            assert "oracle" not in found
    of_flags = {(row["language"], row["detector"]) for row in table(shared, "published_detection.csv")}
    assert len(of_flags) == 4


def test_flags_are_not_looked_at(monkeypatch):
    """With every flag and the method that follows from them taken away, the findings are the same."""
    before = audit_facts([facts_of_figures(report) for report in published_reports()])
    original = published._common

    def without_flags(row, *arguments, **options):
        blank = {**row, "flags": "", "method": row["published_as"]}
        return original(blank, *arguments, **options)

    monkeypatch.setattr(published, "_common", without_flags)
    published._reports.cache_clear()
    try:
        assert not any(report.flags for report in published_reports())
        assert audit_facts([facts_of_figures(report) for report in published_reports()]) == before
    finally:
        published._reports.cache_clear()


def test_reports_side_by_side(audited):
    together = audited["comparison"]
    assert "37,271 rows" in together["en qwen1.5b together"]["different_rows"].sentence
    assert "different_scorers" in together["zh qwen1.5b together"]
    assert together["zh qwen1.5b together"]["same_predictions"].severity == "warning"
    gemma = together["en gemma2b together"]["same_predictions"]
    assert gemma.severity == "error"
    assert "at least one did not evaluate the predictions that it names" in gemma.sentence
