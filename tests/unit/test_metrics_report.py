"""The schema of the report: generated, in step with the model, and true of a real report."""

import copy

import jsonschema
import pytest
from metrics_world import World, predict

from polyalign.metrics.report import SCHEMA_VERSION, Report
from polyalign.metrics.schema import SCHEMA_FILE, report_schema, schema_text


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    world = World(tmp_path_factory.mktemp("report"))
    made = world.evaluate(predict(world.records, 0.5), generation={"prompt_mode": "plain"})
    return made.model_dump(mode="json", by_alias=True)


def test_the_schema_file_is_in_step_with_the_model():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "run python -m polyalign.metrics.schema"


def test_a_real_report_follows_the_schema_and_broken_ones_do_not(report):
    validator = jsonschema.Draft202012Validator(report_schema())
    validator.validate(report)
    for keys, value in (
        (("schema_version",), SCHEMA_VERSION + 1),
        (("metrics", "utility", "overall", "qa_f1"), 1.5),
        (("metrics", "bng", "by_bucket"), [{"bucket_id": "a"}]),
        (("coverage", "answered"), -1),
        (("unknown",), 1),
    ):
        broken = copy.deepcopy(report)
        part = broken
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
        assert not validator.is_valid(broken), keys


def test_the_published_key_names_are_part_of_the_schema():
    """Readers of published reports take these paths."""
    paths = (
        "metrics.utility.overall.qa_f1",
        "metrics.diversity.overall.generated.self_bleu_4",
        "metrics.bng.overall_macro",
        "metrics.hcr.by_bucket",
        "metrics.mauve.global",
        "metrics.tdm.overall_macro",
        "metrics.nuf.overall.hypervolume",
        "metrics.nuf.multi_turn.legacy_frontier_auc",
        "metrics.aggregate.overall",
    )
    schema = report_schema()
    for path in paths:
        part = schema
        for key in path.split("."):
            if "$ref" in part:
                part = schema["$defs"][part["$ref"].split("/")[-1]]
            assert key in part["properties"], path
            part = part["properties"][key]


def test_a_report_survives_its_own_file(report):
    assert Report.model_validate(report).model_dump(mode="json", by_alias=True) == report
