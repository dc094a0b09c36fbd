"""Merging corpora into the splits of a language."""

from pathlib import Path

import pyarrow as pa
import pytest

from polyalign.data.splits import merge_splits
from polyalign.errors import BadInput
from polyalign.files import read_table, write_table
from polyalign.records import RecordWriter, make_record, read_records


def write(path: Path, identifiers: list[str], language: str = "en") -> Path:
    with RecordWriter(path) as writer:
        for identifier in identifiers:
            writer.write(
                make_record(
                    id=identifier,
                    dataset=path.parent.name,
                    split=path.name.split(".")[0],
                    language=language,
                    track="single",
                    family="qa",
                    style_bucket="qa_search",
                    question="q",
                    human_answer="a",
                    meta={"n": identifier},
                )
            )
    return path


def ids(path: Path) -> list[str]:
    return [row["id"] for row in read_records(path)]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_corpora_follow_each_other_in_the_order_given(tmp_path: Path, suffix: str) -> None:
    inputs = {
        "b": {
            s: write(tmp_path / f"b/{s}{suffix}", [f"b-{s}-{n}" for n in range(3)]) for s in ("train", "dev")
        },
        "a": {s: write(tmp_path / f"a/{s}{suffix}", [f"a-{s}"]) for s in ("train", "test", "validation2")},
    }
    outputs = {split: tmp_path / "out" / f"{split}.parquet" for split in ("train", "val", "test")}
    details = merge_splits(inputs, outputs, "en")
    assert ids(outputs["train"]) == ["b-train-0", "b-train-1", "b-train-2", "a-train"]
    assert ids(outputs["val"]) == ["b-dev-0", "b-dev-1", "b-dev-2"]
    assert ids(outputs["test"]) == ["a-test"]
    assert details["records"] == {"train": 4, "val": 3, "test": 1}
    assert details["datasets"]["train"] == {"b": 3, "a": 1}
    # Records keep the corpora's own name of the split.
    assert next(iter(read_records(outputs["val"])))["split"] == "dev"


def test_auxiliary_split_only_when_asked_for(tmp_path: Path) -> None:
    inputs = {"a": {"validation2": write(tmp_path / "a/validation2.parquet", ["x"])}}
    outputs = {"validation2": tmp_path / "v.parquet", "train": tmp_path / "t.parquet"}
    merge_splits(inputs, outputs, "en")
    assert ids(outputs["validation2"]) == ["x"]
    assert ids(outputs["train"]) == []


def test_another_language_is_refused_or_left_out(tmp_path: Path) -> None:
    inputs = {
        "a": {"train": write(tmp_path / "a/train.parquet", ["en0"])},
        "b": {"train": write(tmp_path / "b/train.parquet", ["zh0"], language="zh")},
    }
    outputs = {"train": tmp_path / "out" / "train.parquet"}
    with pytest.raises(BadInput, match="id zh0, field 'language'"):
        merge_splits(inputs, outputs, "en")
    assert not outputs["train"].exists()
    details = merge_splits(inputs, outputs, "zh", skip_other_languages=True)
    assert ids(outputs["train"]) == ["zh0"]
    assert details["skipped_other_language"] == 1


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.parquet"):
        merge_splits({"a": {"train": tmp_path / "gone.parquet"}}, {"train": tmp_path / "t.parquet"}, "en")


@pytest.mark.parametrize("field", ["question", "dialogue_history"])
def test_a_null_in_a_table_is_named(tmp_path: Path, field: str) -> None:
    table = read_table(write(tmp_path / "a/train.parquet", ["0", "1"]))
    place = table.schema.get_field_index(field)
    column = pa.array([table.column(field)[0].as_py(), None], table.schema.field(field).type)
    write_table(tmp_path / "a/train.parquet", table.set_column(place, field, column))
    with pytest.raises(BadInput, match=rf"train\.parquet, row 2, field '{field}': missing or null"):
        merge_splits(
            {"a": {"train": tmp_path / "a/train.parquet"}}, {"train": tmp_path / "out/train.parquet"}, "en"
        )
    assert not (tmp_path / "out").exists()
