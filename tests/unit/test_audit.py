"""The audit of reports, ours and in the published layout: what it finds, what it leaves alone, how it is told."""

import json

import pytest
from metrics_world import World, features_of, predict, write_features
from typer.testing import CliRunner

from polyalign.audit.facts import Bucket, Facts, Gap
from polyalign.audit.names import is_sample, language_of, method_of, model_of, shows_reference
from polyalign.audit.read import read_facts
from polyalign.audit.run import (
    audit_facts,
    audit_files,
    has_errors,
    to_json,
    to_markdown,
    to_text,
    write_audit,
)
from polyalign.cli import app
from polyalign.errors import PolyAlignError
from polyalign.files import read_json, write_json
from polyalign.metrics.evaluate import evaluate


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("audit"))


def findings(facts: Facts) -> dict:
    return {finding.code: finding for finding in audit_facts([facts])[0].findings}


def of_file(path) -> dict:
    return {finding.code: finding for finding in audit_files([path])[0].findings}


def test_a_report_of_ours_is_read_with_all_that_the_checks_need(world):
    facts = read_facts(world.report("sft", 0.5))
    assert (facts.name, facts.language, facts.method, facts.model) == ("en_sft_tiny", "en", "sft", "tiny")
    assert facts.scorer == "tiny"
    assert facts.rows == facts.rows_expected == 90
    assert len(facts.buckets) == 3
    assert facts.value("qa_f1") > 0
    constant = next(gap for gap in facts.gaps if gap.feature == "lm_max_seq_length")
    assert constant.constant
    assert constant.role == "run_constant"


def test_a_constant_that_differs_between_the_sides_is_found_with_its_share(tmp_path):
    """The run constant of the published reports: 4096 for the answers, something else for the humans."""
    world = World(tmp_path)
    rows = predict(world.records, 0.5)
    path, _ = world.predictions(rows)
    values = features_of([row["prediction"] for row in rows], max_length=2048.0)
    features = write_features(tmp_path / "p.parquet", list(range(90)), world.records, values)
    report = evaluate(
        world.records_file, path, world.references, world.human, features, settings={"bootstrap": 0}
    )
    report.save(tmp_path / "report.json")
    found = of_file(tmp_path / "report.json")
    assert found["constant_in_bng"].severity == "error"
    assert found["constant_in_bng"].evidence["share"] > 0.9
    assert found["dominated_bng"].evidence["feature"] == "lm_max_seq_length"
    assert found["large_bng"].severity == "error"
    assert "no_intervals" in found


def test_an_offset_is_told_from_a_large_gap():
    def facts(values: list[float], features: int = 177) -> Facts:
        buckets = [Bucket(f"b{place}", 100, value, 0.1) for place, value in enumerate(values)]
        mean = sum(values) / len(values)
        return Facts("x", "published figures", n_features=features, values={"bng": mean}, buckets=buckets)

    offset = 4096 / 177
    found = findings(facts([offset + 0.3, offset + 0.5, offset + 2.0]))
    assert found["constant_in_bng"].evidence["offset"] == pytest.approx(offset)
    assert found["constant_in_bng"].evidence["without"] == pytest.approx(2.8 / 3)
    assert "large_bng" not in found
    assert "constant_in_bng" not in findings(facts([offset - 0.01, offset + 0.5]))
    assert "constant_in_bng" not in findings(facts([500.0, 600.0]))
    assert "constant_in_bng" not in findings(facts([0.3, 0.5]))
    assert (
        findings(facts([2048 / 134 + 0.1, 2048 / 134 + 0.2], 134))["constant_in_bng"].evidence["share"] > 0.9
    )


def test_one_feature_that_makes_most_of_bng_is_named():
    gaps = [
        Gap("lm_unconditional_perplexity", 0.6, 30.0, False, "response"),
        Gap("a", 0.4, 0.5, False, "response"),
    ]
    found = findings(Facts("x", "report", values={"bng": 1.0}, gaps=gaps, replicates=100))
    assert found["dominated_bng"].severity == "error"
    assert "lm_unconditional_perplexity makes 60%" in found["dominated_bng"].sentence
    assert "together give 0.400" in found["dominated_bng"].sentence


def test_prompts_rows_and_scorer_of_our_reports(world, tmp_path):
    rows = predict(world.records, 0.5)[:60]
    for row in rows[:15]:
        row["prediction"] = " "
    rows[20]["finish_reason"] = "error"
    for row in rows[30:40]:
        row["finish_reason"] = "length"
    path = world.report("dpo", 0.5, rows=rows, generation={"prompt_mode": "oracle"}, model="other")
    found = of_file(path)
    assert (
        found["oracle"].severity
        == found["partial_rows"].severity
        == found["empty_answers"].severity
        == "error"
    )
    assert "60 of 90 rows (67%)" in found["partial_rows"].sentence
    assert "15 of 60 answers (25%) are empty" in found["empty_answers"].sentence
    assert found["cut_answers"].severity == "warning"
    assert found["failed_rows"].evidence["rows"] == 1
    assert found["other_scorer"].severity == "warning"
    other = world.report("sft", 0.5, generation={"prompt_mode": "profile"})
    assert of_file(other)["other_prompt"].severity == "error"


def test_a_sound_report_has_no_errors_and_copies_are_told(world):
    found = of_file(world.report("sft", 0.3))
    assert not {"oracle", "partial_rows", "empty_answers", "copies", "aggregate_not_reproduced"} & set(found)
    assert "copies" in of_file(world.report("hdpo", 0.9))


def test_common_rows_are_no_partial_rows(world, tmp_path):
    rows = predict(world.records, 0.5)
    other, _ = world.predictions(rows[:60], "first")
    path = world.report("bucketsft", 0.5, rows=rows, common_with=[other])
    found = of_file(path)
    assert "partial_rows" not in found
    assert "60 rows that 2 prediction files" in found["common_rows"].sentence


def test_an_aggregate_that_does_not_follow_is_found(world, tmp_path):
    report = read_json(world.report("sft", 0.5))
    assert "aggregate_not_reproduced" not in of_file(world.report("sft", 0.5))
    report["metrics"]["aggregate"]["overall"] += 0.01
    write_json(tmp_path / "changed.json", report)
    assert of_file(tmp_path / "changed.json")["aggregate_not_reproduced"].severity == "error"


def test_chinese_scores_are_read_by_characters():
    values = {"qa_f1": 0.1, "qa_em": 0.08}
    published = findings(Facts("x", "published figures", language="zh", values=values))
    assert published["whitespace_f1"].severity == "warning"
    ours = findings(Facts("x", "report", language="zh", values=values | {"char_f1": 0.4}))
    assert "by characters it is 0.400" in ours["whitespace_f1"].sentence
    assert "whitespace_f1" not in findings(Facts("x", "report", language="en", values=values))


def test_reports_side_by_side(world, tmp_path):
    one = world.report(
        "base", 0.2, generation={"prompt_mode": "completion", "decoding": {"temperature": 0.1}}
    )
    two = world.report(
        "sft", 0.2, rows=predict(world.records, 0.2)[:70], generation={"decoding": {"temperature": 1}}
    )
    together = audit_files([one, two])[-1]
    assert together.kind == "comparison"
    assert {"different_rows", "different_decoding"} <= {finding.code for finding in together.findings}
    assert len(audit_files([one])) == 1


def published_layout() -> dict:
    """A report as the authors wrote them, with the parts that matter here."""
    offset = 4096 / 177
    buckets = [
        {"bucket_id": f"zh|single|qa|{size}", "n_examples": 100, "n_features": 177, "bng": offset + gap}
        for size, gap in (("short", 0.4), ("medium", 0.2))
    ]
    hcr = [{"bucket_id": row["bucket_id"], "n_examples": 100, "hcr": 0.0} for row in buckets]
    bng = offset + 0.3
    return {
        "alignment": {"n_current_test_rows": 6357, "n_prediction_rows": 3398},
        "artifacts": {"shared_feature_count": 177, "prediction_rows": 3398},
        "inputs": {
            "predictions_path": "data/chinese/runs/qwen25-1-5b-hdpo-zh-ref-conditioned/predictions.jsonl"
        },
        "parameters": {"model_alias": "qwen25_3b"},
        "metrics": {
            "utility": {"overall": {"qa_f1": 0.45, "qa_em": 0.3, "raw_em": 0.3, "rouge_l_f1": 0.45}},
            "bng": {"overall_macro": bng, "overall_weighted": bng, "by_bucket": buckets},
            "hcr": {"overall_macro": 0.0, "by_bucket": hcr},
            "mauve": {"global": float("nan")},
            "nuf": {"overall": {"hypervolume": 0.1, "frontier_points": [{"bucket_id": "b"}]}},
            "aggregate": {
                "overall": (0.45 * 0.1 / (1 + bng)) ** (1 / 3),
                "components": {"qa_f1": 0.45, "bng_score": 1 / (1 + bng), "nuf_hypervolume": 0.1},
            },
        },
    }


def test_a_report_in_the_published_layout(tmp_path):
    path = tmp_path / "qwen25-1-5b-hdpo-zh-test.json"
    path.write_text(json.dumps(published_layout()))
    found = of_file(path)
    expected = {
        "oracle",
        "partial_rows",
        "other_scorer",
        "constant_in_bng",
        "hcr_zero",
        "single_point_frontier",
    }
    assert expected | {"whitespace_f1"} <= set(found)
    assert "qwen25-1-5b-hdpo-zh-ref-conditioned" in found["oracle"].sentence
    assert "3,398 of 6,357" in found["partial_rows"].sentence
    assert found["other_scorer"].evidence == {"model": "qwen1.5b", "scorer": "qwen3b"}
    assert "aggregate_not_reproduced" not in found


def test_the_reference_end_to_end_report_is_read(shared):
    facts = read_facts(shared / "data" / "parity" / "en" / "expected_e2e_177.json")
    assert facts.source == "published report"
    assert facts.rows == facts.rows_expected == 2000
    assert facts.n_features == 177
    assert facts.value("bng") == pytest.approx(0.7111949412776454)
    assert not has_errors(audit_facts([facts]))


@pytest.mark.parametrize(
    "name, method, model, language",
    [
        ("qwen25-1-5b-hdpo-zh-ref-conditioned-test.json", "hdporef", "qwen1.5b", "zh"),
        ("gemma_2_2b_zh_eval.json", "base", "gemma2b", "zh"),
        ("qwen25-15b-dpo-zh_eval.json", "dpo", "qwen1.5b", "zh"),
        ("llama3_2-3b_sft_zh_eval.json", "sft", "llama3b", "zh"),
        ("qwen25_3b_dist-sft_test-en.json", "bucketsft", "qwen3b", "en"),
        ("smollm2_1_7b_eval.json", "base", "smollm2-1.7b", None),
        ("gemma2_2b-cot-en.json", "cot", "gemma2b", "en"),
    ],
)
def test_published_names(name, method, model, language):
    assert (method_of(name), model_of(name), language_of(name)) == (method, model, language)
    assert shows_reference(name) == (method == "hdporef")
    assert not is_sample(name)


def test_what_is_no_report_is_refused(tmp_path):
    for text in ("{}", "[1]", '{"metrics": {"x": 1}}'):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(PolyAlignError, match=r"x\.json: not a metric report"):
            read_facts(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("no")
    with pytest.raises(PolyAlignError, match="not JSON"):
        read_facts(tmp_path / "x.json")
    with pytest.raises(PolyAlignError, match="file not found"):
        read_facts(tmp_path / "y.json")


def test_forms_of_the_output(world, tmp_path):
    path = world.report("sft", 0.5, rows=predict(world.records, 0.5)[:70])
    audited = audit_files([path])
    text = to_text(audited, "error")
    assert "ERROR partial_rows: Taken on 70 of 90 rows" in text
    assert "NOTE" not in text
    assert text.splitlines()[-1].startswith("1 report: ")
    page = to_markdown(audited)
    assert "| en_sft_tiny | 1 |" in page
    assert "`partial_rows`" in page
    # Bucket names hold bars, which would part cells.
    assert r"en\|single" in page.split("## ")[1]
    value = to_json(audited)
    assert value["audited"][0]["worst"] == "error"
    assert value["audited"][0]["findings"][0]["evidence"]["rows"] == 70
    details = write_audit([path], tmp_path / "audit.md", tmp_path / "audit.json")
    assert details["reports"] == details["error"] == 1
    assert read_json(tmp_path / "audit.json") == value


def test_the_command(world, tmp_path):
    sound, broken = world.report("base", 0.2), world.report("cot", 0.2, rows=predict(world.records, 0.2)[:70])
    run = CliRunner().invoke
    done = run(app, ["audit", str(broken), "--least", "error"])
    assert done.exit_code == 1
    assert "ERROR partial_rows" in done.output
    done = run(app, ["audit", str(sound), "--format", "json"])
    errors = any(one["worst"] == "error" for one in json.loads(done.stdout)["audited"])
    assert done.exit_code == int(errors)
    done = run(app, ["audit", "--published", "--format", "markdown", "--out", str(tmp_path / "a.md")])
    assert done.exit_code == 1
    assert "arXiv:2606.13227" in (tmp_path / "a.md").read_text()
    assert isinstance(run(app, ["audit"]).exception, PolyAlignError)
