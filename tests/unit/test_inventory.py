"""The inventory: what is counted, and how it compares with what was published."""

import csv
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from polyalign.corpora.formatting import format_corpus
from polyalign.data.dedup import REMOVED_SCHEMA
from polyalign.data.inventory import (
    CorpusInventory,
    PublishedCounts,
    SplitCounts,
    count_split,
    published_inventory,
    take_inventories,
)
from polyalign.data.registry import load_registry
from polyalign.errors import BadInput
from polyalign.files import write_table
from polyalign.manifest import write_manifest
from polyalign.published import TEST_ROWS
from polyalign.records import SPLITS, RecordWriter, make_record, read_records
from polyalign.tables.inventory import build_inventory, count_verdict

FORMATS = ("md", "html", "tex", "csv", "png", "pdf")
PUBLISHED = PublishedCounts("dolly", "en", {"train": 1000, "val": 100, "test": None})


def record(number: int, answer: str, split: str = "train") -> dict:
    return make_record(
        id=f"dolly-{number}",
        dataset="dolly",
        split=split,
        language="en",
        track="single",
        family="assistant",
        style_bucket="assistant_like",
        question=f"q {number}",
        context="",
        dialogue_history=[],
        human_answer=answer,
        meta={"source_dataset": "d", "source_split": "train", "source_id": str(number)},
    )


def write_records(path: Path, records: list[dict]) -> Path:
    with RecordWriter(path) as writer:
        for row in records:
            writer.write(row)
    return path


def inventory(splits: Mapping[str, int], obtained: str = "mirror", **more: object) -> CorpusInventory:
    values = {
        "dataset": "dolly",
        "language": "en",
        "obtained": obtained,
        "formatted": sum(splits.values()),
        "splits": {
            split: SplitCounts(count, 10 * count, {"en|single|assistant|short": count})
            for split, count in {"train": 0, "val": 0, "test": 0, "validation2": 0, **splits}.items()
        },
        "dropped": {},
        "duplicates": {},
    }
    return CorpusInventory(**{**values, **more})


def test_records_and_tokens_by_bucket(tmp_path: Path) -> None:
    rows = [record(n, "word " * length) for n, length in enumerate([3, 5, 41, 200])]
    counts = count_split(write_records(tmp_path / "a.parquet", rows))
    assert (counts.records, counts.tokens) == (4, 249)
    assert counts.buckets == {
        "en|single|assistant|short": 2,
        "en|single|assistant|medium": 1,
        "en|single|assistant|long": 1,
    }
    assert counts.bucket_tokens["en|single|assistant|short"] == 8
    assert count_split(write_records(tmp_path / "none.parquet", [])) == SplitCounts()


def test_a_record_without_its_token_count_is_named(tmp_path: Path) -> None:
    rows = [record(0, "a"), record(1, "b")]
    del rows[1]["meta"]["length_tokens"]
    path = write_records(tmp_path / "a.parquet", rows)
    with pytest.raises(BadInput, match=r"a\.parquet, row 2, field 'meta\.length_tokens'"):
        count_split(path)


@pytest.mark.parametrize("dataset", ["coqa", "drcd", "eli5_category"])
def test_counts_of_real_corpora(shared: Path, tmp_path: Path, dataset: str) -> None:
    details = format_corpus(dataset, shared / "data/raw" / dataset, tmp_path)
    for split in SPLITS:
        counts = count_split(tmp_path / f"{split}.parquet")
        assert counts.records == details["split_counts"].get(split, 0)
        assert counts.tokens == sum(
            row["meta"]["length_tokens"] for row in read_records(tmp_path / f"{split}.parquet")
        )


@pytest.mark.parametrize(
    "splits, obtained, expected",
    [
        ({"train": 1000, "val": 100}, "mirror", "equal"),
        ({"train": 1000, "val": 100, "test": 9}, "download", "equal"),
        ({"train": 1010, "val": 95}, "download", "close"),
        ({"train": 1011, "val": 100}, "download", "differs"),
        ({"train": 1000, "val": 94}, "download", "differs"),
        ({"train": 30, "val": 100}, "mirror", "part of it"),
        ({"train": 30, "val": 101}, "mirror", "differs"),
        ({"train": 1000, "val": 100}, "generated", "generated text"),
    ],
)
def test_verdicts(splits: dict[str, int], obtained: str, expected: str) -> None:
    assert count_verdict(inventory(splits, obtained), PUBLISHED) == expected


def test_a_corpus_that_was_not_published() -> None:
    assert count_verdict(inventory({"train": 1}), None) == "not published"


def test_published_counts_are_of_the_corpora_in_scope() -> None:
    published, entries = published_inventory(), load_registry().corpora
    assert {name: counts.language for name, counts in published.items()} == {
        name: entry.language for name, entry in entries.items()
    }
    for name, counts in published.items():
        # A split without a published count is one that the scope gives no role.
        assert (counts.splits["test"] is None) == (entries[name].scope.evaluation == [])
    tests = [counts.splits["test"] or 0 for counts in published.values() if counts.language == "zh"]
    assert sum(tests) == TEST_ROWS["zh"]


def taken(folder: Path, formatted: int = 4) -> CorpusInventory:
    """The inventory of a corpus of three records, and of a duplicate that was formatted, too."""
    write_manifest(folder / "raw/dolly/manifest.json", step="mirror_source", details={"obtained": "mirror"})
    write_manifest(
        folder / "formatted/dolly/manifest.json",
        step="format_corpus",
        details={
            "split_counts": {"train": formatted - 2, "dev": 1, "test": 1},
            "dropped": {"empty answer": 4},
        },
    )
    rows = {
        "train": [record(0, "yes | no")],
        "dev": [record(1, "b", "dev")],
        "test": [record(2, "c " * 50, "test")],
    }
    for split in SPLITS:
        write_records(folder / f"deduped/dolly/{split}.parquet", rows.get(split, []))
    removed = [
        {"id": "x", "dataset": "dolly", "split": "train", "row": 1, "cause": "cross_split"},
        {"id": "y", "dataset": "coqa", "split": "train", "row": 1, "cause": "same_split"},
    ]
    write_table(folder / "en_removed.parquet", pa.Table.from_pylist(removed, schema=REMOVED_SCHEMA))
    (corpus,) = take_inventories(
        {"en": ["dolly"]},
        [folder / "raw/dolly/manifest.json"],
        [folder / "formatted/dolly/manifest.json"],
        [folder / f"deduped/dolly/{split}.parquet" for split in SPLITS],
        [folder / "en_removed.parquet"],
    )
    return corpus


def test_the_inventory_of_a_run_in_every_format(tmp_path: Path) -> None:
    corpus = taken(tmp_path)
    assert corpus.duplicates == {"cross_split": 1}
    assert corpus.dropped == {"empty answer": 4}
    assert [corpus.records(split) for split in ("train", "val", "test")] == [1, 1, 1]
    out = tmp_path / "tables"
    details = build_inventory(
        [corpus],
        out,
        licences={"dolly": "CC-BY-SA-3.0"},
        reasons={"dolly": {"empty answer": "there is no answer"}},
        scope="Scope version 1",
    )
    assert details["corpora"]["dolly"]["verdict"] == "part of it"
    assert sorted(path.name for path in out.iterdir()) == sorted(f"inventory.{kind}" for kind in FORMATS)
    markdown = (out / "inventory.md").read_text()
    for line in (
        "| English | dolly | 4 | 1 | 1 | 1 | – | 3 | 54 | 18.0 | CC-BY-SA-3.0 |",
        "| English | dolly | formatting | empty answer | 4 | there is no answer |",
        "| English | dolly | deduplication | cross split | 1 | an equal record stands in a better protected split |",
        "| English | single assistant medium | 0 | 0 | 1 | 1 | 33.33 | 50.0 | dolly |",
    ):
        assert line in markdown
    with open(out / "inventory.csv", newline="") as handle:
        cells = {(row["table"], row["method"], row["metric"]): row for row in csv.DictReader(handle)}
    assert float(cells["published", "dolly", "difference_train"]["estimate"]) == 1 - 13525
    assert cells["published", "dolly", "verdict"]["text"] == "part of it"
    assert (out / "inventory.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "inventory.pdf").read_bytes().startswith(b"%PDF")
    assert "data:image/png;base64" in (out / "inventory.html").read_text()


def test_what_the_exact_pass_does_not_list_are_near_duplicates(tmp_path: Path) -> None:
    corpus = taken(tmp_path, formatted=6)
    assert corpus.duplicates == {"cross_split": 1, "near_duplicate": 2}
    build_inventory([corpus], tmp_path / "tables", licences={}, reasons={}, scope="")
    line = "| English | dolly | deduplication | near duplicate | 2 | a record that differs from it in a few words"
    assert line in (tmp_path / "tables/inventory.md").read_text()


def test_equal_runs_give_equal_files(tmp_path: Path) -> None:
    corpora = [inventory({"train": 20, "val": 3, "test": 4}), inventory({}, dataset="coqa", language="zh")]
    for name in ("a", "b"):
        build_inventory(corpora, tmp_path / name, licences={}, reasons={}, scope="")
    for kind in FORMATS:
        assert (tmp_path / f"a/inventory.{kind}").read_bytes() == (
            tmp_path / f"b/inventory.{kind}"
        ).read_bytes(), kind
