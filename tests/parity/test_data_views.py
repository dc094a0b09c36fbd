"""Merged splits and their views equal the published ones, on real corpora and on the parity kits."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from polyalign.data.record_trees import record_files
from polyalign.data.views import export_tree_views, export_views, view_paths
from polyalign.files import read_json, read_jsonl
from polyalign.records import RecordWriter


def published(path: Path) -> list[dict]:
    """Rows of a published view, which may be gzipped, JSONL or a JSON array."""
    for candidate in (path, path.with_name(path.name + ".gz"), path.with_suffix(".jsonl")):
        if candidate.is_file():
            break
    else:
        candidate = path.with_suffix(".jsonl.gz")
    opener = gzip.open if candidate.suffix == ".gz" else open
    with opener(candidate, "rt", encoding="utf-8") as handle:
        text = handle.read()
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


def as_text(rows: list[dict]) -> list[str]:
    """Rows as JSON text: key order and types count."""
    return [json.dumps(row, ensure_ascii=False) for row in rows]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_views_of_real_corpora(shared: Path, tmp_path: Path, language: str) -> None:
    deduped = shared / "data" / "formatted" / "deduped"
    expected = shared / "data" / "formatted" / "views" / language
    with_validation2 = language == "en"
    details = export_tree_views(deduped, tmp_path, language, include_validation2=with_validation2)
    splits = ["train", "val", "test", *(["validation2"] if with_validation2 else [])]
    summary = read_json(expected / "export_summary.json")
    for split in splits:
        paths = view_paths(tmp_path, split)
        theirs = view_paths(expected, split)
        assert as_text([row for _, row in read_jsonl(paths["current"])]) == as_text(
            published(theirs["current"])
        )
        for view in ("llamafactory", "dist_sft"):
            assert as_text(read_json(paths[view])) == as_text(published(theirs[view])), (view, split)
        counts = summary["dist"]["llamafactory_dist_sft"][split]
        assert details["splits"][split] == {key: counts[key] for key in ("records", "buckets")}
        assert details["records"][split] == summary["merged"]["current"][split]
    assert not list(tmp_path.glob(".merged*"))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_views_of_constructed_records(shared: Path, tmp_path: Path, language: str) -> None:
    """The kit's views hold both languages; only the weights depend on that."""
    edge = shared / "data" / "formatted_edge"
    # As tables, whose values are not looked at: one record has a style that is none.
    for dataset, splits in record_files(edge / "dedup_out").items():
        for split, path in splits.items():
            with RecordWriter(tmp_path / "in" / dataset / f"{split}.parquet") as writer:
                for _, record in read_jsonl(path):
                    writer.write(record)
    export_tree_views(tmp_path / "in", tmp_path, language, include_validation2=True)
    for split in ("train", "val", "test", "validation2"):
        paths, theirs = view_paths(tmp_path, split), view_paths(edge / "views", split)
        records = published(theirs["current"])
        ours = [number for number, record in enumerate(records) if record["language"] == language]
        assert as_text([row for _, row in read_jsonl(paths["current"])]) == as_text(
            [records[number] for number in ours]
        )
        for view in ("llamafactory", "dist_sft"):
            expected = published(theirs[view])
            items = [{**item, "dist_sft_weight": None} for item in read_json(paths[view])]
            assert as_text(items) == as_text([{**expected[n], "dist_sft_weight": None} for n in ours]), view


@pytest.mark.parametrize("language", ["en", "zh"])
def test_items_of_the_parity_kit(shared: Path, tmp_path: Path, language: str) -> None:
    kit = shared / "data" / "parity" / language
    with RecordWriter(tmp_path / "all.parquet") as writer:
        for _, record in read_jsonl(kit / "current.jsonl.gz"):
            writer.write(record)
    export_views({"train": tmp_path / "all.parquet"}, tmp_path / "views", language)
    paths = view_paths(tmp_path / "views", "train")
    with gzip.open(kit / "lf.json.gz", "rt", encoding="utf-8") as handle:
        assert as_text(read_json(paths["llamafactory"])) == as_text(json.load(handle))
    expected = [row for _, row in read_jsonl(kit / "expected_rows.jsonl.gz")]
    items = read_json(paths["dist_sft"])
    for item, row in zip(items, expected, strict=True):
        canonical = json.dumps(item, ensure_ascii=False, sort_keys=True)
        assert hashlib.sha1(canonical.encode()).hexdigest() == row["export_item_sha1"], row["id"]
        assert item["dist_sft_weight"] == row["dist_sft_weight"]
        assert item["system"] == row["system"]
