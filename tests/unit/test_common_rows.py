"""Tables of cells that answered different rows, made comparable on the rows they have in common."""

import pytest
from metrics_world import World, predict
from typer.testing import CliRunner

from polyalign.cli import app
from polyalign.errors import PolyAlignError
from polyalign.files import read_json, write_jsonl
from polyalign.metrics.report import read_report
from polyalign.tables.build import build_tables
from polyalign.tables.common_rows import evaluate_on_common_rows


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


@pytest.fixture
def reports(world) -> list:
    """Base answered all rows, SFT the first 80, DPO the last 80."""
    parts = {"base": slice(0, 90), "sft": slice(0, 80), "dpo": slice(10, 90)}
    return [
        world.report(method, 0.0, rows=predict(world.records, copied)[parts[method]])
        for method, copied in (("base", 0.0), ("sft", 0.5), ("dpo", 0.8))
    ]


def test_a_table_of_different_rows_is_refused_and_says_how_to_compare_them(reports, tmp_path):
    with pytest.raises(PolyAlignError) as error:
        build_tables(reports, tmp_path / "out")
    assert "80 of 90 rows answered" in str(error.value)
    assert "add --common-rows" in str(error.value)


def test_common_rows_make_a_table(reports, tmp_path):
    new = evaluate_on_common_rows(reports, tmp_path / "common")
    assert [path.name for path in new] == [path.name for path in reports]
    digests = set()
    for path, old in zip(new, reports, strict=True):
        report, before = read_report(path), read_report(old)
        assert report.coverage.answered == report.coverage.rows_expected == 70
        assert report.coverage.records == 90
        assert len(report.coverage.common_with) == 2
        assert report.parameters == before.parameters
        assert report.cell == before.cell
        digests.add(report.intervals.draws_digest)
    assert len(digests) == 1
    details = build_tables(new, tmp_path / "out")
    assert "qa_f1" in {best["metric"] for best in details["best"]}


def test_a_file_that_has_changed_is_named(world, reports, tmp_path):
    changed = read_report(reports[1]).inputs["predictions"].path
    write_jsonl(world.folder / changed, predict(world.records, 0.1)[:80])
    with pytest.raises(PolyAlignError) as error:
        evaluate_on_common_rows(reports, tmp_path / "common")
    assert f"{changed}, its predictions, is another file now" in str(error.value)
    assert not (tmp_path / "common").exists()
    (world.folder / changed).unlink()
    with pytest.raises(PolyAlignError, match="is not to be found"):
        evaluate_on_common_rows(reports, tmp_path / "common")


def test_other_references_within_a_model_are_refused(world, tmp_path):
    first = world.report("base", 0.1)
    world.references.write_text(world.references.read_text() + " ")
    second = world.report("sft", 0.5)
    with pytest.raises(PolyAlignError, match="references differs from the other rows"):
        build_tables([first, second], tmp_path / "out")


def test_the_commands(world, reports, tmp_path):
    run = CliRunner().invoke
    metrics = [part for path in reports for part in ("--metrics", str(path))]
    done = run(app, ["tables", *metrics, "--out", str(tmp_path / "out"), "--common-rows"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "main_en.md").is_file()
    assert (tmp_path / "out" / "common_rows" / "en_sft_tiny.json").is_file()
    predictions = [world.folder / read_report(path).inputs["predictions"].path for path in reports]
    done = run(
        app,
        [
            "evaluate",
            *("--records", str(world.records_file), "--predictions", str(predictions[0])),
            *("--references", str(world.references), "--out", str(tmp_path / "mine.json")),
            *("--common-rows", str(predictions[1]), "--common-rows", str(predictions[2])),
            *("--bootstrap", "20", "--no-mauve", "--seed", "7"),
        ],
    )
    assert done.exit_code == 0, done.output
    report = read_json(tmp_path / "mine.json")
    assert report["coverage"]["answered"] == 70
    assert report["seed"] == 7
