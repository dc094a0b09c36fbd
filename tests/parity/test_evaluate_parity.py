"""Whole evaluations of real texts: the reference run on 177 features, and what published Chinese systems wrote."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from polyalign.features.files import describe_file
from polyalign.features.lm import load_scorer, score_with
from polyalign.features.names import LM_NAMES
from polyalign.features.table import MadeBy, read_features, write_features
from polyalign.files import read_jsonl, write_jsonl
from polyalign.metrics.evaluate import evaluate
from polyalign.metrics.report import read_report
from polyalign.records import make_record
from polyalign.references import REFERENCES_FILE, build_references

OTHER_STOP_WORDS = ("stopword_count", "stopword_ratio", "lexical_density")
"""Features that the end-to-end reference measured with another stop word list than the kit's feature files."""


def rows_of(path: Path) -> list[dict]:
    return [row for _, row in read_jsonl(path)]


@pytest.fixture(scope="module")
def end_to_end(shared, tmp_path_factory) -> tuple[dict, dict]:
    """(metrics found, what the reference found) for 134 text and 43 language-model features of the English kit."""
    parity, work = shared / "data" / "parity", tmp_path_factory.mktemp("177")
    kit = parity / "en"
    records, predictions = rows_of(kit / "current.jsonl.gz"), rows_of(kit / "predictions.jsonl.gz")
    write_jsonl(work / "records.jsonl", records)
    write_jsonl(work / "predictions.jsonl", predictions)
    scorer = load_scorer(parity / "tiny_lm", max_length=4096, truncation="published")
    sides = {
        "human": ("features_human.jsonl.gz", [record["human_answer"] for record in records]),
        "generated": ("features_pred.jsonl.gz", [row["prediction"] for row in predictions]),
    }
    for name, (file, answers) in sides.items():
        table = read_features(kit / file)
        values = score_with(scorer, records, answers)
        whole = table.with_columns(LM_NAMES, values, MadeBy("paper-v1", "tiny_lm"))
        write_features(work / f"{name}.parquet", whole)
    build_references([work / "records.jsonl"], [work / "human.parquet"], work)
    names = ("records.jsonl", "predictions.jsonl", REFERENCES_FILE, "human.parquet", "generated.parquet")
    report = evaluate(*(work / name for name in names), settings={"bootstrap": 0})
    with open(kit / "expected_e2e_177.json", encoding="utf-8") as handle:
        return report.model_dump(mode="json", by_alias=True), json.load(handle)


def test_rows_and_features_are_those_of_the_reference(end_to_end):
    found, expected = end_to_end
    coverage, alignment = found["coverage"], expected["alignment"]
    assert coverage["rows_expected"] == alignment["n_test_rows"]
    assert coverage["answered"] == alignment["n_prediction_rows"]
    assert coverage["missing"] == alignment["missing_index_count"]
    assert sorted(found["features"]["names"]) == sorted(expected["artifacts"]["shared_feature_names"])


def test_gap_of_each_feature_end_to_end(end_to_end):
    found, expected = end_to_end
    gaps = {row["feature"]: row for row in found["metrics"]["bng"]["contributions"]}
    assert len(gaps) == len(expected["bng_contributions_177"]) == 177
    for row in expected["bng_contributions_177"]:
        if row["feature"] not in OTHER_STOP_WORDS:
            own = gaps[row["feature"]]
            assert own["mean_gap"] == pytest.approx(row["mean_gap"], rel=1e-6, abs=1e-9), row["feature"]
            assert own["zero_variance_buckets"] == row["zero_variance_buckets"]
    # With the three features as the reference has them, the total is its own.
    reference = {row["feature"]: row["mean_gap"] for row in expected["bng_contributions_177"]}
    total = found["metrics"]["bng"]["overall_macro"]
    total += sum(reference[name] - gaps[name]["mean_gap"] for name in OTHER_STOP_WORDS) / 177
    assert total == pytest.approx(expected["metrics"]["bng"]["overall_macro"], rel=1e-7)


def test_other_metrics_end_to_end(end_to_end):
    found, expected = (side["metrics"] for side in end_to_end)
    assert found["tdm"]["overall_macro"] == pytest.approx(expected["tdm"]["overall_macro"], rel=1e-6)
    buckets = {row["bucket_id"]: row for row in found["hcr"]["by_bucket"]}
    for row in expected["hcr"]["by_bucket"]:
        own = buckets[row["bucket_id"]]
        assert own["n_features"] == row["n_features"]
        # At most the three features differ, in few rows.
        assert own["hcr"] == pytest.approx(row["hcr"], abs=0.005)
        assert own["mean_feature_inside_rate"] == pytest.approx(row["mean_feature_inside_rate"], abs=5e-4)
    for part in ("overall", "multi_turn"):
        volume = expected["nuf"][part]["hypervolume"]
        assert found["nuf"][part]["hypervolume"] == pytest.approx(volume, rel=1e-4)
    assert found["aggregate"]["overall"] == pytest.approx(expected["aggregate"]["overall"], rel=1e-4)
    assert found["aggregate"]["component_count"] == expected["aggregate"]["component_count"]


@pytest.fixture(scope="module")
def outputs(shared) -> list[dict]:
    return rows_of(shared / "data" / "zh_outputs" / "outputs.jsonl")


def as_record(row: dict, number: int) -> dict:
    names = ("dataset", "split", "language", "track", "family", "style_bucket", "question", "context")
    return make_record(
        **{name: row[name] for name in names},
        id=f"{row['id']}-{number}",
        human_answer=row["human_answer"],
        dialogue_history=(),
        meta={},
    )


def test_every_published_chinese_system_is_evaluated(outputs, tmp_path):
    systems = defaultdict(list)
    for row in outputs:
        systems[row["main_model"], row["variant"]].append(row)
    assert len(systems) == 20
    for rows in systems.values():
        write_jsonl(tmp_path / "records.jsonl", map(as_record, rows, range(20)))
        minimal = ({"source_index": n, "prediction": row["prediction"]} for n, row in enumerate(rows))
        write_jsonl(tmp_path / "predictions.jsonl", minimal)
        report = evaluate(
            tmp_path / "records.jsonl", tmp_path / "predictions.jsonl", settings={"bootstrap": 20}
        )
        scores = report.metrics.utility.overall
        # Split at whitespace, most Chinese answers are a single token.
        assert scores.qa_f1 <= scores.char_f1
        assert scores.char_f1 > 0
        assert report.metrics.tdm.reason == "no multi-turn rows"
        assert report.metrics.bng.reason == "no feature files were given"


def test_published_chinese_outputs_end_to_end(outputs, tmp_path):
    """From texts to features, references and the report, all 400 outputs as one run."""
    records, predictions = tmp_path / "records.jsonl", tmp_path / "predictions.jsonl"
    write_jsonl(records, map(as_record, outputs, range(len(outputs))))
    write_jsonl(
        predictions,
        ({"source_index": n, "prediction": row["prediction"]} for n, row in enumerate(outputs)),
    )
    human, generated = tmp_path / "human.parquet", tmp_path / "generated.parquet"
    describe_file(records, human, feature_set="core-v1")
    describe_file(records, generated, feature_set="core-v1", predictions=predictions)
    build_references([records], [human], tmp_path)
    settings = {"bootstrap": 100}
    report = evaluate(records, predictions, tmp_path / REFERENCES_FILE, human, generated, settings=settings)
    report.save(tmp_path / "report.json")
    assert read_report(tmp_path / "report.json") == report
    metrics = report.metrics
    assert len(metrics.bng.by_bucket) == len({row["bucket_id"] for row in outputs}) == 6
    assert metrics.utility.overall.char_f1 > 1.2 * metrics.utility.overall.qa_f1
    assert 0 < metrics.bng_robust.overall_macro < metrics.bng.overall_macro
    assert metrics.bng_robust.overall_macro > metrics.human_ceiling.values["bng_robust"]
    assert 0 < metrics.hcr_calibrated.overall_macro < 0.9
    # The same 20 prompts for every system: human answers repeat, so humans agree with themselves.
    assert metrics.human_ceiling.prompts == 20
    assert metrics.human_ceiling.values["qa_f1"] == 1
    for name, found in report.intervals.metrics.items():
        assert np.isfinite([found.low, found.high]).all(), name
        assert found.low <= found.estimate <= found.high, name
