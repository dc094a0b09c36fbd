"""The benchmark harness: stages load, cases are compared with figures that exist, the page follows the results."""

import statistics
from functools import partial

import pytest

from polyalign.corpora.formatting import format_corpus
from polyalign.data.dedup import find_duplicates
from polyalign.records import SPLITS, read_records
from tests.bench import report
from tests.bench.harness import (
    Case,
    Stage,
    load_stage,
    published_figures,
    ratio_to_published,
    run_timed,
    stage_names,
)
from tests.bench.kit import varied
from tests.bench.synthetic import CHINESE, LENGTHS, PUBLISHED_SHARES, make_corpus


@pytest.mark.parametrize("name", stage_names())
def test_every_stage_loads_and_names_a_published_figure_that_exists(name):
    stage, figures = load_stage(name), published_figures()
    assert stage.cases
    assert stage.bound.endswith(".")
    for case in stage.cases:
        assert case.published is None or case.published in figures, case.name
        assert case.target is None or case.published, f"{case.name}: a target of what?"


def test_the_page_follows_the_stored_results():
    assert report.PAGE.read_text(encoding="utf-8") == report.page(), "run `python -m tests.bench --page`"


def test_a_ratio_is_by_rate_or_by_seconds():
    result = {"rows_per_s": 300.0, "seconds": 2.0}
    assert ratio_to_published(result, {"rows_per_s": 100.0, "seconds": None}) == 3.0
    assert ratio_to_published(result, {"rows_per_s": None, "seconds": 5.0}) == 2.5
    assert ratio_to_published(result, None) is None


def test_a_missed_target_and_a_missed_memory_limit_are_named():
    figures = {"x": {"rows_per_s": 100.0, "seconds": None}}
    case = Case("10k", partial(int), published="x", target=3.0, memory_mb=100)
    slow = {"rows_per_s": 250.0, "seconds": 1.0, "peak_mb": 101}
    assert len(report.missed(case, slow, figures)) == 2
    assert report.missed(case, {**slow, "rows_per_s": 301.0, "peak_mb": 100}, figures) == []


def test_more_time_than_stored_is_told_whatever_the_machine():
    stored = {"cpu_seconds": 10.0, "yardstick": 0.02}
    same_on_a_slow_machine = {"cpu_seconds": 20.0, "yardstick": 0.04}
    assert report.slower(same_on_a_slow_machine, stored) == []
    assert report.slower({"cpu_seconds": 16.0, "yardstick": 0.02}, stored) == [
        "1.6 times the stored processor time"
    ]
    assert report.slower(same_on_a_slow_machine, None) == []
    assert report.slower(same_on_a_slow_machine, {"cpu_seconds": 1.0}) == []


def test_growth_is_read_off_cases_of_one_family():
    cases = tuple(Case(name, partial(int)) for name in ("kit", "kit, 20k", "10k", "100k", "other"))
    results = {
        "kit": {"rows": 2000, "seconds": 1.0},
        "kit, 20k": {"rows": 20_000, "seconds": 10.0},
        "100k": {"rows": 100_000, "seconds": 400.0},
        "10k": {"rows": 10_000, "seconds": 4.0},
        "other": {"rows": 5, "seconds": 1.0},
    }
    found = report.growths(Stage("some", "Some", "Nothing.", cases), results)
    assert found == {"kit": [(2000, 1.0), (20_000, 10.0)], "": [(10_000, 4.0), (100_000, 400.0)]}
    assert [report.exponent(points) for points in found.values()] == pytest.approx([1.0, 2.0])


def test_varied_texts_keep_their_shape_and_hardly_repeat():
    kit = [
        "The quick brown fox jumps over the lazy dog.",
        "Nobody knows what became of the seven travellers.",
    ]
    texts = varied(kit, 60)
    assert texts[:2] == kit
    assert [len(text.split()) for text in texts[:4]] == [9, 8, 9, 8]
    assert len(set(texts)) > 30
    assert texts == varied(kit, 60)


def test_memory_of_children_counts():
    """A child holding 200 MB shows, although the process itself holds little."""
    import subprocess
    import sys

    code = "import time; x = bytearray(200_000_000); x[::4096] = bytes([1]) * len(x[::4096]); time.sleep(0.5)"

    def work() -> int:
        subprocess.run([sys.executable, "-c", code], check=True)
        return 1

    result = run_timed(work)
    assert result["peak_mb"] > 200
    assert result["rows"] == 1


@pytest.mark.parametrize("dataset", sorted(PUBLISHED_SHARES))
def test_a_synthetic_corpus_is_read_like_the_real_one(tmp_path, dataset):
    """Every layout gives about the records asked for, all usable, with the lengths of the real corpus."""
    raw = make_corpus(dataset, tmp_path / "raw", 300)
    counts = format_corpus(dataset, raw, tmp_path / "out")
    records = [row for split in SPLITS for row in read_records(tmp_path / "out" / f"{split}.parquet")]
    assert 270 <= len(records) <= 330
    assert counts["dropped"] == {}
    median, _ = LENGTHS[dataset].answer
    assert 0.5 * median <= statistics.median(len(row["human_answer"]) for row in records) <= 2 * median
    assert all(row["language"] == ("zh" if dataset in CHINESE else "en") for row in records)


def test_synthetic_corpora_repeat_themselves_and_come_out_the_same_again(tmp_path):
    files = {}
    for run in ("one", "two"):
        raw = make_corpus("ms_marco", tmp_path / run, 2000)
        files[run] = (raw / "train-00000-of-00001.parquet").read_bytes()
    assert files["one"] == files["two"]
    format_corpus("ms_marco", raw, tmp_path / "out")
    paths = {"ms_marco": {split: tmp_path / "out" / f"{split}.parquet" for split in SPLITS}}
    _, report = find_duplicates(paths)
    assert 0.003 < report["counts"]["duplicate_rate"] < 0.03
    assert report["removed_by_cause"]["cross_split"] > 0
