"""Tables: what they say, what is bold, and what they refuse to compare."""

import csv
import io

import pytest
from metrics_world import World, predict

from polyalign.errors import PolyAlignError
from polyalign.files import read_json, write_json
from polyalign.table_data import assemble, difference, read_entry
from polyalign.table_formats import to_csv, to_html, to_latex, to_markdown
from polyalign.tables import build_table, build_tables


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def reports(world) -> list:
    """A cell that copies more and more of the human answers; DPO and HDPO are the same."""
    shares = {"base": 0.0, "sft": 0.3, "bucketsft": 0.6, "dpo": 0.9, "hdpo": 0.9}
    return [world.report(method, share) for method, share in shares.items()]


def changed(path, tmp_path, name: str = "changed.json", **changes):
    """A report with some values replaced, by dotted key."""
    report = read_json(path)
    for key, value in changes.items():
        part = report
        *parents, last = key.split("__")
        for parent in parents:
            part = part[parent]
        part[last] = value
    write_json(tmp_path / name, report)
    return tmp_path / name


def test_a_table_is_written_in_every_format(reports, tmp_path):
    details = build_table(reports, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"main_en.{kind}" for kind in ("csv", "html", "md", "pdf", "png", "tex")
    ]
    assert details["cells"][0] == "en_base_tiny"
    assert (tmp_path / "main_en.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "main_en.pdf").stat().st_size > 5000
    html = (tmp_path / "main_en.html").read_text()
    assert "http" not in html
    assert "data:image/png;base64," in html


def test_the_same_reports_give_the_same_files(reports, tmp_path):
    for folder in ("one", "two"):
        build_table(reports, tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_bold_is_the_best_only_where_it_beats_every_other(reports):
    two_best = assemble([read_entry(path) for path in reports], "en")
    assert not any(row.values["qa_f1"].bold for row in two_best.rows)
    one_best = assemble([read_entry(path) for path in reports[:4]], "en")
    bold = {row.method for row in one_best.rows if row.values["qa_f1"].bold}
    assert bold == {"dpo"}
    assert not any(row.values["mean_tokens"].bold for row in one_best.rows)


def test_sft_beats_base_by_more_than_noise(reports):
    base, sft, dpo, hdpo = (read_entry(reports[place]) for place in (0, 1, 3, 4))
    assert difference(sft, base, "qa_f1").beyond_noise
    assert difference(sft, base, "qa_f1").estimate > 0
    assert not difference(dpo, hdpo, "qa_f1").beyond_noise


def test_without_replicates_nothing_is_tested_and_the_caption_says_so(reports, tmp_path):
    alone = [changed(path, tmp_path, path.name) for path in reports[:3]]
    table = assemble([read_entry(path) for path in alone], "en")
    assert not table.comparisons
    assert not any(value.bold for row in table.rows for value in row.values.values())
    assert any("without replicates" in note for note in table.notes)


def test_replicates_of_another_run_are_refused(world, reports, tmp_path):
    copy = tmp_path / reports[0].name
    copy.write_bytes(reports[0].read_bytes())
    other = world.folder / "other.parquet"
    world.evaluate(
        predict(world.records, 0.2), "other", settings={"bootstrap": 50, "seed": 1}, replicates_path=other
    )
    (tmp_path / f"{copy.stem}_bootstrap.parquet").write_bytes(other.read_bytes())
    with pytest.raises(PolyAlignError, match="replicates of another evaluation"):
        read_entry(copy)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"oracle": True}, "a prompt that shows the reference answer"),
        ({"cell__method": "hdporef"}, "a prompt that shows the reference answer"),
        ({"prompt_mode": "profile"}, "predicted with prompt mode profile"),
        ({"split": "val"}, "split differs"),
        ({"coverage__answered": 80, "coverage__source_index_digest": "f" * 64}, "80 of 90 rows answered"),
        ({"features__scorer": "qwen3b"}, "scorer differs from the other rows of the table: qwen3b"),
        ({"features__feature_set": "paper-v1"}, "feature set differs"),
        ({"parameters__seed": 7}, "parameters differs"),
        ({"cell__method": "base"}, "cell en_base_tiny stands in"),
    ],
)
def test_reports_that_cannot_be_compared_are_refused(reports, tmp_path, changes, said):
    odd = changed(reports[1], tmp_path, **changes)
    with pytest.raises(PolyAlignError) as error:
        build_table([reports[0], odd, reports[2]], tmp_path / "out")
    assert said in str(error.value)
    assert "changed.json" in str(error.value)
    assert "fix:" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_models_may_have_scorers_of_their_own(world, reports, tmp_path):
    other = World(tmp_path / "other", scorer="qwen3b")
    more = [other.report(method, share, model="qwen3b") for method, share in (("base", 0.1), ("sft", 0.5))]
    table = assemble([read_entry(path) for path in [*reports[:2], *more]], "en", models=["qwen3b", "tiny"])
    assert table.models == ["qwen3b", "tiny"]
    assert any("within a model only" in note for note in table.notes)
    assert {comparison.model for comparison in table.comparisons} == {"tiny", "qwen3b"}


def test_the_caption_says_when_decoding_differs(reports, tmp_path):
    decoded = [
        changed(path, tmp_path, path.name, decoding={"temperature": heat})
        for path, heat in zip(reports[:2], (0.1, 0.7), strict=True)
    ]
    table = assemble([read_entry(path) for path in decoded], "en")
    assert any("decoded differently" in note for note in table.notes)


def test_an_aggregate_of_other_components_is_left_out(reports, tmp_path):
    report = read_json(reports[1])
    report["metrics"]["aggregate"]["components"]["mauve_global"] = 0.5
    write_json(tmp_path / "sft.json", report)
    table = assemble([read_entry(reports[0]), read_entry(tmp_path / "sft.json")], "en")
    assert "aggregate" not in {column.key for column in table.columns}
    assert any("aggregate is left out" in note for note in table.notes)


def test_markup_in_names_is_escaped(reports, tmp_path):
    named = changed(reports[0], tmp_path, cell__model="<b>a_b&c|d</b>")
    table = assemble([read_entry(named)], "en")
    assert "<b>a_b" not in to_html(table)
    assert r"a\_b\&c" in to_latex(table)
    assert r"a_b&c\|d" in to_markdown(table)


def test_csv_holds_full_precision_and_differences(reports):
    entries = [read_entry(path) for path in reports[:2]]
    rows = list(csv.DictReader(io.StringIO(to_csv(assemble(entries, "en")))))
    sft = next(row for row in rows if (row["method"], row["metric"]) == ("sft", "qa_f1"))
    assert float(sft["estimate"]) == entries[1].estimates["qa_f1"]
    assert float(sft["difference"]) == pytest.approx(
        entries[1].estimates["qa_f1"] - entries[0].estimates["qa_f1"]
    )
    assert sft["baseline"] == "Base"


def test_a_report_from_outside_the_workflow_is_named_after_its_cell(reports, tmp_path):
    named = changed(reports[0], tmp_path, "en_base_mine.json", cell=None)
    assert read_entry(named).model == "mine"
    other = changed(reports[0], tmp_path, "zh_base_mine.json", cell=None)
    with pytest.raises(PolyAlignError, match="records of zh_base_mine are in en"):
        read_entry(other)
    other = changed(reports[0], tmp_path, "mine.json", cell=None)
    with pytest.raises(PolyAlignError, match="names no cell"):
        read_entry(other)


def test_languages_get_a_table_each(reports, tmp_path):
    chinese = changed(reports[1], tmp_path, "zh.json", cell__language="zh", languages=["zh"])
    with pytest.raises(PolyAlignError, match="2 languages"):
        build_table([reports[0], chinese], tmp_path)
    details = build_tables([reports[0], chinese], tmp_path / "out")
    assert [part["language"] for part in details] == ["en", "zh"]
    assert "char_f1" in details[1]["columns"]
    assert "char_f1" not in details[0]["columns"]
    with pytest.raises(PolyAlignError, match="no reports"):
        build_tables([], tmp_path)
