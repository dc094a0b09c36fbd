"""Pages beyond the main one: groups, published against corrected, and verdicts on published figures."""

import re

import pytest
from metrics_world import World, predict

from polyalign.errors import PolyAlignError
from polyalign.files import write_jsonl
from polyalign.metrics.evaluate import evaluate
from polyalign.published import published_metrics, published_reports
from polyalign.tables.ablation import ablation_page
from polyalign.tables.build import build_tables
from polyalign.tables.entries import Entry, read_entry
from polyalign.tables.groups import bucket_page, dataset_page
from polyalign.tables.published import DIFFERS, NOT_COMPARABLE, REPRODUCED, published_page, verdict_on


@pytest.fixture(scope="module")
def entries(tmp_path_factory) -> list[Entry]:
    world = World(tmp_path_factory.mktemp("pages"))
    return [read_entry(world.report(method, share)) for method, share in (("base", 0.0), ("sft", 0.8))]


def table(page, key: str):
    return next(table for table in page.tables if table.key == key)


def test_every_bucket_has_its_values_from_the_report(entries):
    page = bucket_page(entries, "en")
    bng = table(page, "bng")
    rows = {row.method: row for row in bng.rows}
    for part in entries[1].report.metrics.bng.by_bucket:
        value = rows["sft"].values[f"bng/{part.bucket_id}"]
        assert value.estimate == part.bng
        assert value.low <= value.estimate <= value.high
    assert [column.header for column in bng.columns] == [
        "multi dialogue short",
        "single assistant medium",
        "single qa short",
    ]
    assert {column.detail for column in bng.columns} == {"30 rows"}
    # Turn dynamics exist in conversations alone.
    assert [column.header for column in table(page, "tdm").columns] == ["multi dialogue short"]


def test_lengths_by_bucket_stand_beside_those_of_humans(entries):
    rows = {row.method: row for row in table(bucket_page(entries, "en"), "mean_tokens").rows}
    lengths = {row.bucket_id: row for row in entries[0].report.metrics.mean_tokens.by_bucket}
    long = "en|single|assistant|medium"
    assert rows["human"].values[f"mean_tokens/{long}"].estimate == lengths[long].human > 45
    assert rows["base"].values[f"mean_tokens/{long}"].estimate == lengths[long].generated < 25


def test_a_method_better_in_every_dataset_is_bold_in_each(entries):
    f1 = table(dataset_page(entries, "en"), "qa_f1")
    assert {column.header for column in f1.columns} == {
        "qa_search_set",
        "assistant_like_set",
        "open_chat_set",
    }
    bold = {row.method: [value.bold for value in row.values.values()] for row in f1.rows}
    assert bold == {"base": [False] * 3, "sft": [True] * 3}


def test_groups_of_few_rows_have_no_interval_and_no_test(tmp_path):
    world = World(tmp_path, rows=63)  # 21 rows a bucket
    for least, resampled in ((20, True), (22, False)):
        settings = {"bootstrap": 50, "min_bucket_size": least}
        files = [
            world.report(method, share, settings=settings) for method, share in (("base", 0.0), ("sft", 1.0))
        ]
        rows = table(bucket_page([read_entry(path) for path in files], "en"), "qa_f1").rows
        values = [value for row in rows for value in row.values.values()]
        assert all((value.low is not None) == resampled for value in values)
        assert any(value.bold for value in values) == resampled


def test_parts_of_bng_add_up_and_name_the_constant(entries):
    parts = table(ablation_page(entries, "en"), "bng_parts")
    for row, entry in zip(parts.rows, entries, strict=True):
        values = row.values
        total = sum(values[key].estimate for key in ("outside", "constant", "rest"))
        assert total == pytest.approx(entry.report.metrics.bng.overall_macro)
        largest = max(entry.report.metrics.bng.contributions, key=lambda part: part.share)
        assert values["largest"].text.startswith(largest.feature)


def test_a_run_constant_counts_as_outside_the_response(entries):
    metrics = entries[0].report.metrics
    parts = [part.model_copy(update={"share": 0.0}) for part in metrics.bng.contributions]
    place = next(i for i, part in enumerate(parts) if part.feature == "lm_max_seq_length")
    parts[place] = parts[place].model_copy(update={"share": 1.0})
    entry = with_metrics(entries[0], bng=metrics.bng.model_copy(update={"contributions": parts}))
    values = table(ablation_page([entry], "en"), "bng_parts").rows[0].values
    assert values["outside"].text == "100%"
    assert values["largest"].text == "lm_max_seq_length, 100%"


def test_ranks_under_both_definitions_and_whether_they_agree(entries):
    definitions = table(ablation_page(entries, "en"), "definitions")
    ranks = {row.method: row.values["bng"].text for row in definitions.rows}
    assert ranks == {"base": "rank 2", "sft": "rank 1"}
    assert any("BNG and robust BNG order the methods alike" in note for note in definitions.notes)


def test_another_run_stands_beside_this_one(entries, tmp_path):
    other = World(tmp_path)
    cell = [read_entry(other.report("sft", 0.2))]
    compared = ablation_page(entries, "en", {"paper": cell}).tables[-1]
    here, there = compared.rows
    assert (here.label, there.label) == ("SFT", "SFT, paper")
    assert here.values["qa_f1"].estimate == entries[1].estimates["qa_f1"]
    gain = entries[1].estimates["qa_f1"] - cell[0].estimates["qa_f1"]
    assert there.values["qa_f1"].text == f"{gain:+.3f} here, better"


def test_another_run_on_other_rows_is_refused(entries, tmp_path):
    cell = [read_entry(World(tmp_path, rows=96).report("sft", 0.2))]
    with pytest.raises(PolyAlignError, match="the set of source_index differs"):
        ablation_page(entries, "en", {"paper": cell})


def with_metrics(entry: Entry, **changes) -> Entry:
    metrics = entry.report.metrics.model_copy(update=changes)
    return Entry(entry.file, entry.report.model_copy(update={"metrics": metrics}), entry.replicates)


def as_published(entry: Entry, cell: str) -> Entry:
    """The entry as if it were a cell of the paper, on the paper's rows and features."""
    language, method, model = cell.split("_")
    report = entry.report
    rows = published_metrics(cell).rows_expected
    features = report.features.model_copy(update={"feature_set": "paper-v1"})
    return Entry(
        entry.file,
        report.model_copy(
            update={
                "cell": report.cell.model_copy(
                    update={"language": language, "method": method, "model": model}
                ),
                "coverage": report.coverage.model_copy(update={"answered": rows, "rows_expected": rows}),
                "features": features,
            }
        ),
    )


def verdict_if(entry: Entry, cell: str, key: str, value: float, interval=(None, None)):
    """The verdict if our cell had this value."""
    ours = as_published(entry, cell)
    ours.estimates[key] = value
    ours.interval = lambda key: interval
    return verdict_on(ours, published_metrics(cell), key)


def test_a_figure_in_our_interval_or_close_by_is_reproduced(entries):
    cell = "en_sft_llama3b"
    published = published_metrics(cell).value("qa_f1")
    assert verdict_if(entries[1], cell, "qa_f1", published * 1.04).word == REPRODUCED
    assert verdict_if(entries[1], cell, "qa_f1", published * 1.2).word == DIFFERS
    wide = (published - 0.01, published * 1.3)
    assert verdict_if(entries[1], cell, "qa_f1", published * 1.2, wide).word == REPRODUCED


def test_flags_forbid_the_metrics_that_they_touch(entries):
    def word(cell, key):
        return verdict_if(entries[1], cell, key, published_metrics(cell).value(key)).word

    assert word("en_hdpo_qwen3b", "qa_f1") == NOT_COMPARABLE
    # Another scorer leaves F1 as it is; a constant in BNG leaves TDM as it is.
    assert word("en_bucketsft_qwen1.5b", "qa_f1") == REPRODUCED
    assert word("en_bucketsft_qwen1.5b", "bng") == NOT_COMPARABLE
    assert word("zh_dpo_llama3b", "bng") == NOT_COMPARABLE
    assert word("zh_dpo_llama3b", "tdm") == REPRODUCED


def test_our_own_rows_and_features_can_forbid_it_too(entries):
    published = published_metrics("en_sft_llama3b")
    assert re.search("90 rows here, 51,480 there", verdict_on(entries[1], published, "qa_f1").why)
    ours = as_published(entries[1], "en_sft_llama3b")
    plain = Entry(ours.file, ours.report.model_copy(update={"features": entries[1].report.features}))
    assert "features core-v1 here" in verdict_on(plain, published, "bng").why
    assert verdict_on(plain, published, "qa_f1").word != NOT_COMPARABLE


def test_the_published_page_counts_verdicts_and_lists_all_figures(entries):
    page = published_page([as_published(entry, f"en_{entry.method}_llama3b") for entry in entries], "en")
    keys = [part.key for part in page.tables]
    assert keys[0] == "verdicts"
    assert keys[-1] == "figures"
    assert {"qa_f1", "bng"} <= set(keys)
    for row in page.tables[0].rows:
        assert sum(int(value.text) for value in row.values.values()) == 2
    main = [report for report in published_reports() if report.main and report.language == "en"]
    assert len(page.tables[-1].rows) == len(main)


def test_a_page_without_published_cells_says_so(entries):
    page = published_page(entries, "en")
    assert "no figures of tiny" in page.lead
    assert [part.key for part in page.tables] == ["figures"]


def test_reports_without_features_still_make_every_page(tmp_path):
    world = World(tmp_path)
    files = []
    for method, share in (("base", 0.0), ("sft", 0.5)):
        write_jsonl(tmp_path / "p.jsonl", predict(world.records, share))
        report = evaluate(world.records_file, tmp_path / "p.jsonl", settings={"bootstrap": 0})
        files.append(tmp_path / f"en_{method}_mine.json")
        report.save(files[-1])
    details = build_tables(files, tmp_path / "out")
    assert "No intervals" in " ".join(details["notes"])
    text = (tmp_path / "out/main_en.md").read_text()
    assert "BNG" not in text.split("| --- |")[0]
    assert (tmp_path / "out/frontier_en.png").stat().st_size > 1000
