"""Views: strict JSON in the published shapes, equal mass a bucket, registration with LLaMA-Factory."""

from collections import defaultdict
from pathlib import Path

import pytest

from polyalign import records
from polyalign.data.views import dataset_info, export_tree_views, export_views, view_paths
from polyalign.errors import BadInput
from polyalign.files import TableWriter, read_json, read_jsonl
from polyalign.records import RECORD_SCHEMA, RecordWriter, make_record, records_to_table

NASTY = 'quote " back\\slash tab\there \u2028 line\u0000nul 中文 é 😀 \x7f'


def record(
    identifier: str, answer: str = "a", history: tuple[tuple[str, str], ...] = (), **changes: str
) -> dict:
    fields = {"language": "en", "track": "single", "family": "qa", "style_bucket": "qa_search", **changes}
    return make_record(
        id=identifier,
        dataset="dolly",
        split="train",
        question=fields.pop("question", "q"),
        context=fields.pop("context", ""),
        human_answer=answer,
        dialogue_history=history,
        meta={"category": NASTY, "score": 0.5, "none": None},
        **fields,
    )


def write(path: Path, rows: list[dict]) -> Path:
    with RecordWriter(path) as writer:
        for row in rows:
            writer.write(row)
    return path


def test_every_character_survives(tmp_path: Path) -> None:
    rows = [
        record(NASTY, NASTY, (("user", NASTY), ("assistant", NASTY)), question=NASTY + "?", context=NASTY)
    ]
    export_views({"train": write(tmp_path / "t.parquet", rows)}, tmp_path, "en")
    paths = view_paths(tmp_path, "train")
    assert [row for _, row in read_jsonl(paths["current"])] == rows
    assert len(paths["current"].read_bytes().split(b"\n")) == 2
    (item,) = read_json(paths["llamafactory"])
    turns = rows[0]["dialogue_history"]
    assert item == {
        "instruction": rows[0]["question"],
        "input": rows[0]["context"],
        "output": rows[0]["human_answer"],
        "history": [[turns[0]["text"], turns[1]["text"]]],
    }
    assert list(read_json(paths["dist_sft"])[0])[:4] == ["instruction", "input", "output", "system"]


def test_every_bucket_has_the_same_mass_in_each_split(tmp_path: Path) -> None:
    rows = [record(str(n), "word " * (200 if n % 5 == 0 else 2)) for n in range(20)]
    rows += [record("z", language="en", family="dialogue", track="multi")]
    details = export_views({"train": write(tmp_path / "t.parquet", rows)}, tmp_path, "en")
    assert details["splits"] == {"train": {"records": 21, "buckets": 3}}
    mass: dict[str, float] = defaultdict(float)
    for item in read_json(view_paths(tmp_path, "train")["dist_sft"]):
        mass[item["bucket_id"]] += item["dist_sft_weight"]
    assert list(mass.values()) == pytest.approx([7.0, 7.0, 7.0], abs=1e-6)


def test_empty_split_is_an_empty_array(tmp_path: Path) -> None:
    export_views({"test": write(tmp_path / "t.parquet", [])}, tmp_path, "zh")
    paths = view_paths(tmp_path, "test")
    assert read_json(paths["dist_sft"]) == read_json(paths["llamafactory"]) == []
    assert paths["current"].read_text() == ""


def test_history_without_pairs_is_left_out(tmp_path: Path) -> None:
    rows = [record("0", history=(("assistant", "welcome"), ("user", "q")))]
    export_views({"train": write(tmp_path / "t.parquet", rows)}, tmp_path, "en")
    assert "history" not in read_json(view_paths(tmp_path, "train")["llamafactory"])[0]


def test_dataset_info_names_files_that_exist(tmp_path: Path) -> None:
    export_views({"val": write(tmp_path / "t.parquet", [record("0")])}, tmp_path, "en")
    info = read_json(tmp_path / "dataset_info.json")
    assert info == dataset_info({"val": False}, "en")
    assert set(info) == {"polyalign_en_sft_val", "polyalign_en_dist_sft_val"}
    for entry in info.values():
        items = read_json(tmp_path / entry["file_name"])
        assert entry["formatting"] == "alpaca"
        assert {entry["columns"][key] for key in ("prompt", "query", "response")} <= set(items[0])
    assert info["polyalign_en_dist_sft_val"]["columns"]["system"] == "system"


def test_tree_of_both_languages(tmp_path: Path) -> None:
    write(tmp_path / "in/a/train.jsonl", [record("en0"), record("en1")])
    write(tmp_path / "in/a/validation2.jsonl", [record("v")])
    write(tmp_path / "in/b/dev.jsonl", [record("zh0", language="zh")])
    details = export_tree_views(tmp_path / "in", tmp_path / "en", "en")
    assert details["records"] == {"train": 2, "val": 0, "test": 0}
    assert not view_paths(tmp_path / "en", "validation2")["current"].exists()
    export_tree_views(tmp_path / "in", tmp_path / "more", "en", include_validation2=True)
    assert [row["id"] for _, row in read_jsonl(view_paths(tmp_path / "more", "validation2")["current"])] == [
        "v"
    ]
    with pytest.raises(BadInput, match="unknown language"):
        export_tree_views(tmp_path / "in", tmp_path / "out", "de")
    write(tmp_path / "zh/b/dev.jsonl", [record("zh0", language="zh")])
    with pytest.raises(BadInput, match="no records in language en"):
        export_tree_views(tmp_path / "zh", tmp_path / "none", "en")
    assert not list(tmp_path.glob("none/*"))


def test_a_row_that_is_no_record_is_named(tmp_path: Path) -> None:
    write(tmp_path / "in/a/train.jsonl", [record("ok"), {**record("bad"), "length_bin": "huge"}])
    with pytest.raises(BadInput, match=r"train\.jsonl, row 2, id bad, field 'length_bin'"):
        export_tree_views(tmp_path / "in", tmp_path / "out", "en")
    assert not list((tmp_path / "out").rglob("*.json*"))


def test_batches_and_threads_make_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the row groups, batches and threads, the files are byte for byte those of one batch."""
    rows = [
        record(str(n), "word " * (n % 50) + NASTY * (n % 2), (("user", "u"), ("assistant", NASTY)) * (n % 3))
        for n in range(23)
    ]
    with TableWriter(tmp_path / "many.parquet", RECORD_SCHEMA) as writer:
        for start in range(0, len(rows), 4):
            writer.write(records_to_table(rows[start : start + 4]))
            writer.write(RECORD_SCHEMA.empty_table())
    whole = write(tmp_path / "one.parquet", rows)
    expected = export_views({"train": whole, "val": whole}, tmp_path / "one", "en")
    monkeypatch.setattr(records, "BATCH_ROWS", 3)
    splits = {"train": tmp_path / "many.parquet", "val": tmp_path / "many.parquet"}
    assert export_views(splits, tmp_path / "many", "en", threads=2) == expected
    for split in splits:
        for view, path in view_paths(tmp_path / "one", split).items():
            assert view_paths(tmp_path / "many", split)[view].read_bytes() == path.read_bytes(), view
