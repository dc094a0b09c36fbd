"""Every corpus formatted from real raw files equals the published records, byte for byte of every field."""

import json
from pathlib import Path

import pytest

from polyalign.corpora.catalogue import CORPORA
from polyalign.corpora.formatting import format_corpus
from polyalign.files import read_jsonl
from polyalign.records import SPLITS, read_records


def raw_folder(shared: Path, dataset: str) -> Path:
    """Folder of a corpus' raw files; two corpora could only be rebuilt and stand apart."""
    for root in ("raw", "raw_derived"):
        if (shared / "data" / root / dataset).is_dir():
            return shared / "data" / root / dataset
    raise AssertionError(f"no raw files of {dataset}")


def lines_of(folder: Path, split: str) -> list[str] | None:
    """The records of a split as JSON text, so that types and key order count; None where there is no file."""
    for name in (f"{split}.jsonl", f"{split}.jsonl.gz", f"{split}.parquet"):
        if (folder / name).is_file():
            rows = (
                read_records(folder / name)
                if name.endswith(".parquet")
                else (r for _, r in read_jsonl(folder / name))
            )
            return [json.dumps(row, ensure_ascii=False) for row in rows]
    return None


@pytest.mark.parametrize("dataset", CORPORA)
@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_records_of_real_files_equal_the_published_ones(
    shared: Path, tmp_path: Path, dataset: str, suffix: str
) -> None:
    counts = format_corpus(dataset, raw_folder(shared, dataset), tmp_path, suffix=suffix)
    expected_folder = shared / "data" / "formatted" / "formatted" / dataset
    for split in SPLITS:
        expected = lines_of(expected_folder, split)
        assert lines_of(tmp_path, split) == (expected if suffix == ".jsonl" or expected else [])
    manifest = json.loads((expected_folder / "manifest.json").read_text())
    for key in ("dataset", "source", "language", "seed", "split_counts"):
        assert counts[key] == manifest[key]


@pytest.mark.parametrize("dataset", CORPORA)
def test_records_of_edge_cases_equal_the_published_ones(shared: Path, tmp_path: Path, dataset: str) -> None:
    edge = shared / "data" / "formatted_edge"
    format_corpus(dataset, edge / "raw" / dataset, tmp_path, published_quirks=True, suffix=".jsonl")
    for split in SPLITS:
        assert lines_of(tmp_path, split) == lines_of(edge / "formatted" / dataset, split)


def test_only_the_utterance_marks_differ_from_the_published_records(shared: Path, tmp_path: Path) -> None:
    """Without the published quirks every corpus but DailyDialog keeps its records on the edge cases too."""
    edge = shared / "data" / "formatted_edge"
    different = set()
    for dataset in CORPORA:
        format_corpus(dataset, edge / "raw" / dataset, tmp_path / dataset, suffix=".jsonl")
        for split in SPLITS:
            if lines_of(tmp_path / dataset, split) != lines_of(edge / "formatted" / dataset, split):
                different.add(dataset)
    assert different == {"dailydialog"}
    questions = [json.loads(line)["question"] for line in lines_of(tmp_path / "dailydialog", "train")]
    assert questions[0] == "oh , hello there ."
