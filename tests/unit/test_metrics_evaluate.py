"""A whole evaluation: what is reported, what is null, what is refused."""

import numpy as np
import pytest
from metrics_world import World, features_of, predict, write_features

from polyalign.errors import PolyAlignError
from polyalign.files import read_json, read_table, write_json, write_jsonl
from polyalign.metrics.evaluate import evaluate
from polyalign.metrics.evaluation import estimates_of
from polyalign.metrics.groups import group_estimates
from polyalign.metrics.report import read_report


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def test_a_report_has_the_published_keys_and_survives_its_file(world, tmp_path):
    report = world.evaluate(predict(world.records, 0.5))
    report.save(tmp_path / "report.json")
    values = read_json(tmp_path / "report.json")
    assert 0 < values["metrics"]["utility"]["overall"]["qa_f1"] < 1
    assert values["metrics"]["bng"]["overall_macro"] > 0
    assert values["metrics"]["mauve"]["global"] is None
    assert values["metrics"]["nuf"]["overall"]["hypervolume"] > 0
    assert values["features"]["scorer"] == "tiny"
    assert read_report(tmp_path / "report.json") == report


def test_the_same_inputs_give_the_same_report(world):
    rows = predict(world.records, 0.5)
    assert world.evaluate(rows) == world.evaluate(rows)


def test_minimal_predictions_are_enough(world, tmp_path):
    rows = [
        {"source_index": row["source_index"], "prediction": row["prediction"]}
        for row in predict(world.records, 0.5)
    ]
    write_jsonl(tmp_path / "p.jsonl", rows)
    report = evaluate(world.records_file, tmp_path / "p.jsonl", settings={"bootstrap": 20})
    assert report.metrics.utility.overall.qa_f1 > 0
    assert report.coverage.length_share is None
    for measure in (report.metrics.bng, report.metrics.hcr, report.metrics.hcr_calibrated):
        assert measure.overall_macro is None
        assert measure.reason == "no feature files were given"
    assert "bng" not in report.intervals.metrics


def test_humans_as_predictions_reach_every_ceiling(world):
    report = world.evaluate(predict(world.records, 1.1))
    metrics = report.metrics
    assert metrics.utility.overall.raw_em == 1
    assert metrics.bng.overall_macro == metrics.bng_robust.overall_macro == 0
    assert metrics.hcr_calibrated.overall_macro == pytest.approx(0.9, abs=0.04)
    assert metrics.hcr.by_bucket == metrics.hcr_of_human_rows.support_q10_q90.by_bucket
    assert metrics.tdm.overall_macro == pytest.approx(1)
    assert metrics.human_ceiling.values["bng"] > 0


def test_intervals_hold_the_estimate_and_replicates_stand_beside(world, tmp_path):
    path = tmp_path / "replicates.parquet"
    report = world.evaluate(predict(world.records, 0.5), replicates_path=path)
    table = read_table(path)
    assert {name for name in table.column_names if "/" not in name} == set(report.intervals.metrics)
    assert {"qa_f1", "bng", "bng_robust", "hcr_calibrated", "distinct_2", "tdm"} <= set(table.column_names)
    for found in report.intervals.metrics.values():
        assert found.low <= found.estimate <= found.high
    assert table.num_rows == report.intervals.replicates == 50
    assert table.schema.metadata[b"polyalign.draws_digest"].decode() == report.intervals.draws_digest


def test_buckets_and_datasets_have_replicates_of_their_own(world, tmp_path):
    path = tmp_path / "replicates.parquet"
    metrics = world.evaluate(predict(world.records, 0.5), replicates_path=path).metrics.model_dump()
    table = read_table(path)
    estimates = group_estimates(metrics)
    assert {name for name in table.column_names if name.split("/")[0] in ("bng", "tdm", "char_f1")} == {
        *("bng", "tdm", "char_f1"),
        *(name for name in estimates if name.split("/")[0] in ("bng", "tdm", "char_f1")),
    }
    # A bucket is resampled within itself, so its mean stays; overall is the mean of buckets where the metric is macro.
    for name in estimates:
        if name.startswith("qa_f1/"):
            assert np.mean(table.column(name)) == pytest.approx(estimates[name], abs=0.05)
    buckets = [np.array(table.column(name)) for name in table.column_names if name.startswith("bng/")]
    assert len(buckets) == 3
    assert np.mean(buckets, axis=0) == pytest.approx(np.array(table.column("bng")))


def test_no_multi_turn_rows_and_no_bootstrap_are_null_with_the_reason(tmp_path):
    world = World(tmp_path, rows=60, multi=False)
    report = world.evaluate(predict(world.records, 0.3), settings={"bootstrap": 0})
    assert report.metrics.tdm.reason == "no multi-turn rows"
    assert report.metrics.nuf.multi_turn.hypervolume is None
    assert report.metrics.aggregate.component_count == 3
    assert report.intervals.reason == "bootstrap is 0"


def test_small_buckets_have_no_naturalness(tmp_path):
    world = World(tmp_path, rows=30)
    report = world.evaluate(predict(world.records, 0.5))
    assert report.metrics.bng.overall_macro is None
    assert "20 predictions" in report.metrics.bng.reason
    assert len(report.metrics.utility.by_bucket) == 3


def test_coverage_tells_missing_empty_and_cut_answers(world):
    rows = predict(world.records, 0.5)[:60]
    rows[0]["prediction"] = "  "
    rows[1]["finish_reason"] = rows[4]["finish_reason"] = "length"
    report = world.evaluate(rows)
    coverage = report.coverage
    assert (coverage.rows_expected, coverage.answered, coverage.missing) == (90, 60, 30)
    assert coverage.empty_predictions == 1
    assert coverage.length_share == pytest.approx(2 / 60)
    cut = {part.bucket_id: part.length_share for part in coverage.by_bucket}
    assert cut[world.records[1]["bucket_id"]] == pytest.approx(2 / 20)
    # Unanswered rows are left out of the draws, not taken as wrong.
    assert report.intervals.metrics["qa_f1"].low > 0
    assert np.isfinite(report.intervals.metrics["bng"].high)


def test_the_oracle_prompt_is_told(world):
    generation = {"prompt_mode": "oracle", "decoding": {"temperature": 0.0}}
    report = world.evaluate(predict(world.records, 0.5), generation=generation)
    assert report.oracle
    assert report.decoding == {"temperature": 0.0}


@pytest.mark.parametrize(
    "change, said",
    [
        ({"source_index": 90}, "field 'source_index': 90 is out of range"),
        ({"source_index": 0}, "field 'source_index': 0 already answered in row 1"),
        ({"source_index": "5"}, "field 'source_index': found '5'"),
        ({"prediction": None}, "field 'prediction': found None"),
        ({"id": "other"}, "expected 'r5', the id of row 5"),
        ({"finish_reason": "eos"}, "field 'finish_reason': found 'eos'"),
    ],
)
def test_broken_predictions_are_refused_by_row_and_field(world, tmp_path, change, said):
    rows = predict(world.records, 0.5)
    rows[5] |= change
    write_jsonl(tmp_path / "p.jsonl", rows)
    with pytest.raises(PolyAlignError) as error:
        evaluate(world.records_file, tmp_path / "p.jsonl")
    assert "p.jsonl, row 6" in str(error.value)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_features_that_do_not_belong_are_refused(world, tmp_path):
    rows = predict(world.records, 0.5)
    path, _ = world.predictions(rows)
    values = features_of([row["prediction"] for row in rows])
    indices = list(range(90))

    def refused(features) -> str:
        with pytest.raises(PolyAlignError) as error:
            evaluate(world.records_file, path, world.references, world.human, features)
        assert len(str(error.value).splitlines()) == 1
        return str(error.value)

    def write(name, indices, values, **options):
        return write_features(tmp_path / f"{name}.parquet", indices, world.records, values, **options)

    assert "scorer is qwen3b, that of" in refused(write("scorer", indices, values, scorer="qwen3b"))
    assert "no features for 1 of 90 rows" in refused(write("short", indices[:-1], values[:-1]))
    assert "source_index 0 comes twice" in refused(write("twice", [*indices[:-1], 0], values))
    stale = values.copy()
    stale[7, 0] += 1
    assert "features of another text" in refused(write("stale", indices, stale))
    broken = values.copy()
    broken[3, 2] = np.nan
    assert "row 4, field 'distinct_1': not finite" in refused(write("nan", indices, broken))


def test_references_of_other_features_and_half_the_files_are_refused(world, tmp_path):
    rows = predict(world.records, 0.5)
    path, features = world.predictions(rows)
    references = read_json(world.references)
    for part in references.values():
        del part["feature_stats"]["distinct_1"]
    write_json(tmp_path / "references.json", references)
    with pytest.raises(PolyAlignError, match="no reference for feature distinct_1"):
        evaluate(world.records_file, path, tmp_path / "references.json", world.human, features)
    with pytest.raises(PolyAlignError, match="belong together"):
        evaluate(world.records_file, path, world.references, world.human)
    without = evaluate(world.records_file, path, world.references, settings={"bootstrap": 0})
    assert without.metrics.hcr.reason == "no feature files were given"


def test_reading_what_is_no_report(tmp_path, world):
    report = world.evaluate(predict(world.records, 0.5)).model_dump(mode="json", by_alias=True)
    for change, said in (
        ({"kind": "other"}, "not an evaluation report"),
        ({"schema_version": 99}, "schema version 99"),
        ({"coverage": {}}, "coverage.rows_expected"),
    ):
        write_json(tmp_path / "r.json", report | change)
        with pytest.raises(PolyAlignError, match=said):
            read_report(tmp_path / "r.json")


def test_common_rows_are_those_that_every_file_answers(world, tmp_path):
    rows = predict(world.records, 0.5)
    write_jsonl(tmp_path / "other.jsonl", rows[30:])
    write_jsonl(tmp_path / "third.jsonl", rows[:75])
    report = world.evaluate(rows, common_with=[tmp_path / "other.jsonl", tmp_path / "third.jsonl"])
    coverage = report.coverage
    assert (coverage.records, coverage.rows_expected, coverage.answered) == (90, 45, 45)
    assert [file.path for file in coverage.common_with] == ["other.jsonl", "third.jsonl"]
    # The others, evaluated on the rows they have in common, get the same rows and the same draws.
    again = world.evaluate(rows[30:], "again", common_with=[tmp_path / "third.jsonl"])
    assert again.coverage.source_index_digest == coverage.source_index_digest
    assert again.intervals.draws_digest == report.intervals.draws_digest
    assert again.metrics.utility == report.metrics.utility
    write_jsonl(tmp_path / "rest.jsonl", rows[75:])
    with pytest.raises(PolyAlignError, match=r"rest.jsonl: no row is answered"):
        world.evaluate(rows[:75], common_with=[tmp_path / "rest.jsonl"])


def test_every_metric_has_a_ceiling_or_says_why_not(world):
    report = world.evaluate(predict(world.records, 0.5))
    ceiling = report.metrics.human_ceiling
    assert set(ceiling.values) >= set(estimates_of(report.metrics.model_dump(by_alias=True))) - {
        "mean_tokens"
    }
    for name, value in ceiling.values.items():
        assert (value is None) == (name in ceiling.reasons), name
    # The same words at random everywhere: halves are alike, and far more so than predictions of other lengths.
    assert ceiling.values["bng"] < report.metrics.bng.overall_macro
    assert ceiling.values["hcr_calibrated"] > 0.5
    assert ceiling.values["tdm"] > 0.5
    assert ceiling.values["qa_f1"] is None
    assert "two human answers" in ceiling.reasons["qa_f1"]


def test_prompts_with_two_human_answers_give_a_ceiling_of_utility(tmp_path):
    world = World(tmp_path)
    for one, other in zip(world.records[::3], world.records[1::3], strict=True):
        for name in ("question", "context", "dialogue_history"):
            other[name] = one[name]
        other["human_answer"] = one["human_answer"] + " more"
    write_jsonl(world.records_file, world.records)
    rows = predict(world.records, 0.5)
    path, _ = world.predictions(rows)
    ceiling = evaluate(world.records_file, path, settings={"bootstrap": 0}).metrics.human_ceiling
    assert ceiling.prompts == 30
    assert 0.5 < ceiling.values["qa_f1"] < 1
    assert ceiling.values["raw_em"] == 0
    assert "no features" in ceiling.reasons["bng"]


@pytest.mark.parametrize("text", ["", "  \n ", "!!!", "的"])
def test_predictions_without_a_word_are_evaluated(tmp_path, text):
    world = World(tmp_path)
    rows = [row | {"prediction": text} for row in predict(world.records, 0.5)]
    report = world.evaluate(rows)
    assert report.coverage.empty_predictions == (0 if text.strip() else 90)
    assert report.metrics.utility.overall.qa_f1 == 0
    assert report.metrics.bng.overall_macro > 0
    assert report.metrics.diversity.overall.generated.self_bleu_4 <= 1


def test_one_bucket_and_one_row_are_evaluated(tmp_path):
    world = World(tmp_path / "one", rows=3)
    report = world.evaluate(predict(world.records, 0.5)[:1])
    assert report.coverage.answered == 1
    assert report.metrics.human_ceiling.values["distinct_1"] is None
    world = World(tmp_path / "bucket", rows=60, multi=False)
    rows = [row for row in predict(world.records, 0.5) if row["source_index"] % 2]
    report = world.evaluate(rows)
    assert len(report.metrics.bng.by_bucket) == 1
    assert report.metrics.nuf.core.frontier_auc is None
    assert report.metrics.nuf.core.reason == "fewer than two buckets have every component"
    assert report.metrics.nuf.overall.hypervolume > 0
    assert "nuf" in report.intervals.metrics


def test_composite_metrics_have_intervals_around_their_value(world):
    report = world.evaluate(predict(world.records, 0.5), settings={"bootstrap": 200})
    for name in ("nuf", "aggregate", "self_bleu_4", "inside_rate"):
        found = report.intervals.metrics[name]
        assert found.low < found.estimate < found.high, name
        assert found.high - found.low < 0.5, name
