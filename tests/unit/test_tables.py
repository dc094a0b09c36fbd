"""Tables: what they say, what is bold, and what they refuse to compare."""

import csv
import io
import re

import pytest
from metrics_world import World, predict

from polyalign.errors import PolyAlignError
from polyalign.files import read_json, write_json
from polyalign.tables.build import FIGURES, PAGES, build_all, build_tables, in_order
from polyalign.tables.comparisons import difference
from polyalign.tables.entries import read_entry
from polyalign.tables.formats import to_csv, to_latex, to_markdown
from polyalign.tables.guards import check_comparable
from polyalign.tables.html import to_html
from polyalign.tables.main import main_page
from polyalign.tables.model import Page


def page_of(files, language: str = "en", models=()) -> Page:
    """The main page of some reports."""
    entries = in_order([read_entry(path) for path in files], models)
    check_comparable(entries)
    return main_page(entries, language)


def bold(page: Page, key: str) -> set[str]:
    """Methods that are bold in a column of the first table."""
    return {row.method for row in page.tables[0].rows if row.values[key].bold}


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


@pytest.fixture(scope="module")
def built(reports, tmp_path_factory):
    """(folder of every page and figure, details)."""
    folder = tmp_path_factory.mktemp("built")
    return folder, build_tables(reports, folder)


def test_every_page_and_figure_is_written_in_every_format(built):
    folder, details = built
    expected = [f"{page}_en.{kind}" for page in PAGES for kind in ("csv", "html", "md", "tex")]
    expected += [f"{figure}_en.{kind}" for figure in FIGURES for kind in ("pdf", "png")]
    assert sorted(path.name for path in folder.iterdir()) == sorted(expected)
    assert sorted(details["files"]) == sorted(str(folder / name) for name in expected)
    assert details["cells"][0] == "en_base_tiny"


def test_html_pages_load_nothing(built):
    for page in PAGES:
        text = (built[0] / f"{page}_en.html").read_text()
        assert not re.search(r"(src|href)=['\"](?!data:|#)", text)
        assert "url(" not in text
    assert (built[0] / "main_en.html").read_text().count("data:image/png;base64,") == 2


def test_the_same_reports_give_the_same_files(built, reports, tmp_path):
    build_tables(reports, tmp_path)
    for path in built[0].iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_bold_is_the_best_only_where_it_beats_every_other(reports):
    assert bold(page_of(reports), "qa_f1") == set()
    one_best = page_of(reports[:4])
    assert bold(one_best, "qa_f1") == {"dpo"}
    assert bold(one_best, "mean_tokens") == set()


def test_sft_beats_base_by_more_than_noise(reports):
    base, sft, dpo, hdpo = (read_entry(reports[place]) for place in (0, 1, 3, 4))
    assert difference(sft, base, "qa_f1").beyond_noise
    assert difference(sft, base, "qa_f1").estimate > 0
    assert not difference(dpo, hdpo, "qa_f1").beyond_noise


def test_differences_say_better_or_noise_after_correction(reports):
    rows = {row.label: row.values for row in page_of(reports).tables[1].rows}
    assert rows["DPO − Base"]["qa_f1"].text == "better"
    value = rows["SFT − Base"]["qa_f1"]
    assert value.p_holm > value.p_value
    # An answer is not better for being longer.
    assert {values["mean_tokens"].text for values in rows.values()} <= {"differs", "noise"}


def test_without_replicates_nothing_is_tested_and_the_notes_say_so(reports, tmp_path):
    page = page_of([changed(path, tmp_path, path.name) for path in reports[:3]])
    assert [table.key for table in page.tables] == ["methods"]
    assert not any(value.bold for row in page.tables[0].rows for value in row.values.values())
    assert any("without replicates" in note for note in page.notes)


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
        (
            {"features__scorer_digest": "d" * 64},
            "scorer differs from the other rows of the table: tiny (dddd",
        ),
        ({"features__backends": {"tags": "x 2"}}, "tools of the features differs"),
        ({"parameters__seed": 7}, "parameters differs"),
        ({"cell__method": "base"}, "cell en_base_tiny stands in"),
    ],
)
def test_reports_that_cannot_be_compared_are_refused(reports, tmp_path, changes, said):
    odd = changed(reports[1], tmp_path, **changes)
    with pytest.raises(PolyAlignError) as error:
        build_tables([reports[0], odd, reports[2]], tmp_path / "out")
    assert said in str(error.value)
    assert "changed.json" in str(error.value)
    assert "fix:" in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_models_may_have_scorers_of_their_own(world, reports, tmp_path):
    other = World(tmp_path / "other", scorer="qwen3b")
    more = [other.report(method, share, model="qwen3b") for method, share in (("base", 0.1), ("sft", 0.5))]
    page = page_of([*reports[:2], *more], models=["qwen3b", "tiny"])
    assert page.tables[0].models == ["qwen3b", "tiny"]
    assert any("within a model only" in note for note in page.notes)
    assert {row.model for row in page.tables[1].rows} == {"tiny", "qwen3b"}


def test_the_notes_say_when_decoding_differs(reports, tmp_path):
    decoded = [
        changed(path, tmp_path, path.name, decoding={"temperature": heat})
        for path, heat in zip(reports[:2], (0.1, 0.7), strict=True)
    ]
    assert any("decoded differently" in note for note in page_of(decoded).notes)


def test_the_notes_name_rows_that_others_released(reports, tmp_path):
    def released(path, kind: str, hub: str | None):
        return changed(path, tmp_path, path.name, source={"kind": kind, "hub": hub})

    files = [
        released(reports[0], "train", None),
        released(reports[1], "predictions", "owner/data"),
        released(reports[2], "predictions", "owner/data"),
        released(reports[3], "checkpoint", None),
    ]
    notes = page_of(files).notes
    assert "Released predictions, not made here: tiny: SFT, Bucket-SFT (from owner/data)." in notes
    assert "Answers of released models: tiny: DPO (from local files)." in notes
    assert "Released predictions, not made here: all rows (from owner/data)." in page_of(files[1:3]).notes
    assert not any("eleased" in note for note in page_of(reports).notes)


def test_an_aggregate_of_other_components_is_left_out(reports, tmp_path):
    report = read_json(reports[1])
    report["metrics"]["aggregate"]["components"]["mauve_global"] = 0.5
    write_json(tmp_path / "sft.json", report)
    table = page_of([reports[0], tmp_path / "sft.json"]).tables[0]
    assert "aggregate" not in {column.key for column in table.columns}
    assert any("aggregate is left out" in note for note in table.notes)


def test_markup_in_names_is_escaped(reports, tmp_path):
    named = changed(reports[0], tmp_path, cell__model="<b>a_b&c|d</b>")
    page = page_of([named])
    assert "<b>a_b" not in to_html(page)
    assert r"a\_b\&c" in to_latex(page)
    assert r"a_b&c\|d" in to_markdown(page)


def test_csv_holds_full_precision_and_differences(reports):
    entries = [read_entry(path) for path in reports[:2]]
    rows = list(csv.DictReader(io.StringIO(to_csv(main_page(entries, "en")))))
    found = {(row["table"], row["method"], row["metric"]): row for row in rows}
    sft = found["methods", "sft", "qa_f1"]
    assert float(sft["estimate"]) == entries[1].estimates["qa_f1"]
    against = found["differences", "sft", "qa_f1"]
    assert float(against["estimate"]) == pytest.approx(
        entries[1].estimates["qa_f1"] - entries[0].estimates["qa_f1"]
    )
    assert against["baseline"] == "base"
    assert 0 <= float(against["p_value"]) <= float(against["p_holm"]) <= 1


def test_latex_rows_have_as_many_cells_as_columns(built):
    for page in PAGES:
        for tabular in (built[0] / f"{page}_en.tex").read_text().split(r"\begin{tabular}")[1:]:
            columns = len(re.match(r"\{(l[lr]+)\}", tabular)[1])
            lines = [line for line in tabular.split(r"\bottomrule")[0].splitlines() if " & " in line]
            assert lines
            assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {columns}, page


def test_a_report_from_outside_the_workflow_is_named_after_its_cell(reports, tmp_path):
    named = changed(reports[0], tmp_path, "en_base_mine.json", cell=None)
    assert read_entry(named).model == "mine"
    other = changed(reports[0], tmp_path, "zh_base_mine.json", cell=None)
    with pytest.raises(PolyAlignError, match="records of zh_base_mine are in en"):
        read_entry(other)
    other = changed(reports[0], tmp_path, "mine.json", cell=None)
    with pytest.raises(PolyAlignError, match="names no cell"):
        read_entry(other)


def test_languages_get_pages_each(reports, tmp_path):
    chinese = changed(reports[1], tmp_path, "zh.json", cell__language="zh", languages=["zh"])
    with pytest.raises(PolyAlignError, match="2 languages"):
        build_tables([reports[0], chinese], tmp_path)
    details = build_all([reports[0], chinese], tmp_path / "out")
    assert [part["language"] for part in details] == ["en", "zh"]
    heads = {lang: (tmp_path / f"out/main_{lang}.md").read_text() for lang in ("en", "zh")}
    assert "F1 (characters)" in heads["zh"]
    assert "F1 (characters)" not in heads["en"]
    with pytest.raises(PolyAlignError, match="no reports"):
        build_all([], tmp_path)
