"""Deduplication equals the published one: example keys, planted duplicates, real corpora, every cause."""

import gzip
import json
from pathlib import Path

import pytest

from polyalign.data.dedup import combine_reports, drop_duplicates, find_duplicates
from polyalign.data.dedup_tree import dedup_tree
from polyalign.data.example_keys import example_key
from polyalign.data.record_trees import record_files
from polyalign.files import read_json, read_jsonl
from polyalign.records import RecordWriter, read_records

MANIFEST_KEYS = ("dedup_applied", "dedup_policy", "original_split_counts", "split_counts", "removed_count")


def rows(path: Path) -> list[dict]:
    return [row for _, row in read_jsonl(path)]


def assert_same_report(report: dict, expected: dict) -> None:
    for key, value in expected.items():
        if key not in ("input_root", "output_root"):
            assert report[key] == value, key


@pytest.mark.parametrize("language", ["en", "zh"])
def test_example_keys(shared: Path, language: str) -> None:
    kit = shared / "data" / "parity" / language
    records, expected = rows(kit / "current.jsonl.gz"), rows(kit / "expected_rows.jsonl.gz")
    assert len(records) == len(expected) > 0
    assert [example_key(record) for record in records] == [row["example_key"] for row in expected]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_planted_duplicates(shared: Path, tmp_path: Path, language: str) -> None:
    kit = shared / "data" / "parity" / language
    expected = read_json(kit / "expected_dedup.json")
    report = dedup_tree(kit / "dedup_tree", tmp_path / "out", tmp_path / "report.json")
    assert_same_report(report, expected["report"])
    assert read_json(tmp_path / "report.json") == report
    for name, ids in expected["kept_ids"].items():
        assert [row["id"] for row in rows(tmp_path / "out" / name)] == ids, name
    for dataset, manifest in expected["manifests"].items():
        written = read_json(tmp_path / "out" / dataset / "manifest.json")
        assert {key: written.get(key) for key in manifest} == manifest


def test_every_cause_of_the_edge_kit(shared: Path, tmp_path: Path) -> None:
    edge = shared / "data" / "formatted_edge"
    report = dedup_tree(edge / "dedup_in", tmp_path / "out", tmp_path / "report.json")
    assert_same_report(report, read_json(edge / "dedup_report.json"))
    for dataset, splits in record_files(edge / "dedup_out").items():
        for path in splits.values():
            assert (tmp_path / "out" / dataset / path.name).read_text() == path.read_text(), path
        expected = read_json(edge / "dedup_out" / dataset / "manifest.json")
        written = read_json(tmp_path / "out" / dataset / "manifest.json")
        assert {key: written[key] for key in MANIFEST_KEYS} == {key: expected[key] for key in MANIFEST_KEYS}


def test_real_corpora_from_parquet(shared: Path, tmp_path: Path) -> None:
    """The workflow's own way: Parquet in, one search a language, one copy a corpus."""
    formatted = record_files(shared / "data" / "formatted" / "formatted")
    files: dict[str, dict[str, Path]] = {}
    for dataset, splits in formatted.items():
        for split, path in splits.items():
            target = tmp_path / "in" / dataset / f"{split}.parquet"
            with RecordWriter(target) as writer:
                for record in read_records(path):
                    writer.write(record)
            files.setdefault(dataset, {})[split] = target
    zh = {"cmrc2018", "coig_cqia", "drcd", "dureader", "hc3_chinese", "oasst2_zh"}
    reports = {}
    for language in ("en", "zh"):
        ours = {name: splits for name, splits in files.items() if (name in zh) == (language == "zh")}
        removed, reports[language] = find_duplicates(ours)
        expected = read_json(shared / "data" / "formatted" / f"dedup_report_{language}.json")
        assert_same_report(reports[language], expected)
        for dataset, splits in ours.items():
            outputs = {split: tmp_path / "out" / dataset / f"{split}.parquet" for split in splits}
            drop_duplicates(dataset, splits, removed, outputs)
            for split, path in record_files(shared / "data" / "formatted" / "deduped")[dataset].items():
                kept = [json.dumps(row, ensure_ascii=False) for row in read_records(outputs[split])]
                opener = gzip.open if path.suffix == ".gz" else open
                with opener(path, "rt", encoding="utf-8") as handle:
                    assert kept == [line.rstrip("\n") for line in handle]
    assert_same_report(
        combine_reports(reports.values()), read_json(shared / "data" / "formatted" / "dedup_report.json")
    )
