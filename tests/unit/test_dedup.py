"""Deduplication on small planted cases: who stays, who goes and why, whatever the file kind."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from polyalign.data import duplicate_search
from polyalign.data.dedup import combine_reports, drop_duplicates, find_duplicates
from polyalign.data.dedup_tree import dedup_tree
from polyalign.data.example_keys import example_key
from polyalign.data.record_trees import group_by_corpus, record_files
from polyalign.errors import BadInput
from polyalign.files import read_json, read_jsonl
from polyalign.records import RecordWriter, make_record, read_records


def record(identifier: str, question: str = "q", group: str | None = None, **changes: Any) -> dict:
    row = make_record(
        id=identifier,
        dataset="dolly",
        split="train",
        language="en",
        track="single",
        family="qa",
        style_bucket="qa_search",
        question=question,
        human_answer="Same  answer.",
        meta={"conversation_id": group} if group else {},
    )
    return {**row, **changes}


def write_tree(root: Path, tree: dict[str, list[dict]], suffix: str = ".jsonl") -> dict[str, dict[str, Path]]:
    for name, rows in tree.items():
        with RecordWriter(root / f"{name}{suffix}") as writer:
            for row in rows:
                writer.write(row)
    return record_files(root)


def causes(files: dict[str, dict[str, Path]]) -> dict[str, str]:
    removed, report = find_duplicates(files)
    assert report["counts"]["removed_total"] == removed.num_rows
    return {row["id"]: row["cause"] for row in removed.to_pylist()}


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
def test_the_best_protected_copy_stays(tmp_path: Path, suffix: str) -> None:
    tree = {
        "a/train": [record("a0"), record("a1", "other"), record("a2", "OTHER")],
        "a/dev": [record("a3")],
        "b/test": [record("b0"), record("b1")],
        "b/validation2": [record("b2")],
        "b/extra": [record("b3"), record("b4", "only here")],
    }
    files = write_tree(tmp_path, tree, suffix)
    assert causes(files) == {
        "a0": "cross_split",
        "a2": "same_split",
        "a3": "cross_split",
        "b1": "same_split",
        "b2": "cross_split",
        "b3": "cross_split",
    }
    removed, report = find_duplicates(files)
    winners = {(row["kept_dataset"], row["kept_split"], row["kept_row"]) for row in removed.to_pylist()}
    assert winners == {("b", "test", 0), ("a", "train", 1)}
    assert report["removed_by_cause"] == {
        "group_conflict": 0,
        "same_split": 2,
        "cross_split": 4,
        "cross_dataset": 2,
    }


def test_a_group_stays_in_its_best_split_and_its_other_rows_shield_nobody(tmp_path: Path) -> None:
    tree = {
        "coqa/train": [record("t0", "one", "g"), record("t1", "two", "h"), record("t2", "three")],
        "coqa/test": [record("e0", "four", "g")],
        "coqa/dev": [record("d0", "one", "g")],
        "dolly/train": [record("x0", "one", "g")],
        "dolly/test": [record("x1", "five", "g")],
    }
    # t0 and d0 leave for their group, so x0 keeps the question; dolly has no groups.
    assert causes(write_tree(tmp_path, tree)) == {"t0": "group_conflict", "d0": "group_conflict"}


def test_what_makes_two_examples_the_same() -> None:
    base = record("a", "What is it?", dialogue_history=[{"role": "user", "text": "Hi  there"}])
    for same in (
        {"question": " what  IS it? "},
        {"human_answer": "same answer."},
        {"dialogue_history": [{"role": "USER", "text": "hi there"}, {"role": "assistant", "text": " "}]},
        {"style_bucket": "open_chat", "id": "b", "meta": {"x": 1}},
    ):
        assert example_key({**base, **same}) == example_key(base)
    for other in (
        {"question": "What is it"},
        {"context": "c"},
        {"family": "dialogue"},
        {"track": "multi"},
        {"language": "zh"},
        {"dialogue_history": []},
        {"dialogue_history": [{"role": "assistant", "text": "Hi there"}]},
    ):
        assert example_key({**base, **other}) != example_key(base)


def test_kept_rows_are_copied_as_they_are(tmp_path: Path) -> None:
    rows = [record(str(n), f"q{n // 2}", meta={"note": "é\u2028中"}) for n in range(10)]
    files = write_tree(tmp_path / "in", {"a/train": rows, "a/dev": []}, ".parquet")
    removed, _ = find_duplicates(files)
    outputs = {split: tmp_path / "out" / f"{split}.parquet" for split in ("train", "dev")}
    counts = drop_duplicates("a", files["a"], removed, outputs)
    assert list(read_records(outputs["train"])) == rows[::2]
    assert list(read_records(outputs["dev"])) == []
    assert counts == {
        "original_split_counts": {"train": 10},
        "split_counts": {"train": 5},
        "removed_count": 5,
    }


def test_tree_keeps_manifests_and_lines(tmp_path: Path) -> None:
    source = tmp_path / "in" / "a"
    source.mkdir(parents=True)
    odd = json.dumps(record("0"), indent=None, separators=(",", ":"))
    # Another spelling of the same JSON, a blank line, and no line end at the end of the file.
    (source / "train.jsonl").write_text(f"{odd}\n\n{json.dumps(record('1'))}\n{json.dumps(record('2', 'z'))}")
    (source / "manifest.json").write_text('{"seed": 42}')
    (tmp_path / "in" / "stray.jsonl").write_text("not records")
    report = dedup_tree(tmp_path / "in", tmp_path / "out", tmp_path / "report.json")
    lines = (tmp_path / "out" / "a" / "train.jsonl").read_text().splitlines()
    assert lines == [odd, json.dumps(record("2", "z"))]
    manifest = read_json(tmp_path / "out" / "a" / "manifest.json")
    assert (manifest["seed"], manifest["removed_count"], manifest["dedup_applied"]) == (42, 1, True)
    assert read_json(tmp_path / "report.json") == report


@pytest.mark.parametrize(
    "change, expected",
    [
        ({"question": None}, "row 2, id x, field 'question'"),
        ({"id": 3}, "row 2, id 3, field 'id'"),
        ({"dialogue_history": "none"}, "field 'dialogue_history'"),
        ({"dialogue_history": [{"role": 1, "text": "t"}]}, "field 'dialogue_history'"),
    ],
)
def test_a_broken_record_is_named_and_nothing_is_written(tmp_path: Path, change: dict, expected: str) -> None:
    files = write_tree(tmp_path / "in", {"a/train": [record("ok"), {**record("x"), **change}]})
    with pytest.raises(BadInput, match=expected):
        dedup_tree(tmp_path / "in", tmp_path / "out", tmp_path / "report.json")
    assert files
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "report.json").exists()


def test_trees_that_cannot_be_deduplicated(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no records found"):
        dedup_tree(tmp_path, tmp_path / "out", tmp_path / "r.json")
    write_tree(tmp_path, {"a/train": [record("x")]})
    with pytest.raises(BadInput, match="same folder"):
        dedup_tree(tmp_path, tmp_path / "a" / "..", tmp_path / "r.json")
    (tmp_path / "a" / "train.jsonl.gz").write_bytes(b"")
    with pytest.raises(BadInput, match="stands here twice"):
        record_files(tmp_path)


def test_empty_files_and_combined_reports(tmp_path: Path) -> None:
    one = write_tree(tmp_path / "one", {"a/train": [], "a/test": []}, ".parquet")
    removed, empty = find_duplicates(one)
    assert removed.num_rows == 0
    assert empty["counts"]["duplicate_rate"] == 0.0
    two = write_tree(tmp_path / "two", {"b/train": [record("0"), record("1")]})
    _, other = find_duplicates(two)
    both = combine_reports([empty, other, other])
    assert both["counts"]["original_total"] == 4
    assert both["counts"]["same_split_duplicates_removed"] == 2
    assert both["final_dataset_split_counts"] == {"b:train": 2}


def test_groups_of_paths(tmp_path: Path) -> None:
    paths = [tmp_path / "b" / "train.parquet", tmp_path / "a" / "dev.parquet", tmp_path / "b" / "dev.parquet"]
    assert group_by_corpus(map(str, paths)) == {
        "b": {"train": paths[0], "dev": paths[2]},
        "a": {"dev": paths[1]},
    }


def test_jsonl_and_parquet_give_one_key(tmp_path: Path) -> None:
    """A batch that is a slice of a longer column must not see its neighbours' turns."""
    rows = [
        record(str(n), f"q{n}", dialogue_history=[{"role": "user", "text": f"t{k}"} for k in range(n % 4)])
        for n in range(5000)
    ]
    for suffix in (".jsonl", ".parquet"):
        files = write_tree(tmp_path / suffix[1:], {"a/train": rows, "b/test": rows[4990:]}, suffix)
        assert causes(files) == {str(n): "cross_split" for n in range(4990, 5000)}
    kept = tmp_path / "kept"
    dedup_tree(tmp_path / "jsonl", kept, tmp_path / "r.json")
    assert len([row for _, row in read_jsonl(kept / "a" / "train.jsonl")]) == 4990


@pytest.mark.parametrize("seed", range(4))
def test_any_number_of_processes_and_batches_finds_what_a_plain_walk_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Random corpora, scanned in tiny batches by two processes, against the definition written out plainly."""
    monkeypatch.setattr(duplicate_search, "_SCAN_ROWS", 3)
    monkeypatch.setattr(duplicate_search, "_SMALL_BYTES", 0)
    rng = random.Random(seed)
    tree: dict[str, list[dict]] = {}
    for dataset in ("coqa", "dolly", "squad_v2"):
        for split in ("train", "dev", "test"):
            rows = []
            for number in range(rng.randint(0, 25)):
                group = f"g{rng.randint(0, 6)}" if rng.random() < 0.8 else None
                rows.append(record(f"{dataset}-{split}-{number}", f"q{rng.randint(0, 30)}", group))
            tree[f"{dataset}/{split}"] = rows
    files = write_tree(tmp_path, tree)
    removed, report = find_duplicates(files, processes=2)

    ranked = sorted(tree, key=lambda name: (("test", "dev", "train").index(name.split("/")[1]), name))
    best: dict[str, str] = {}
    for name in ranked:
        for row in tree[name]:
            group = row["meta"].get("conversation_id")
            if name.startswith("coqa/") and group:
                best.setdefault(group, name)
    seen: dict[str, str] = {}
    expected: dict[str, tuple[str, str | None]] = {}
    for name in ranked:
        for row in tree[name]:
            group = row["meta"].get("conversation_id")
            if name.startswith("coqa/") and group and best[group] != name:
                expected[row["id"]] = ("group_conflict", None)
            elif (key := example_key(row)) in seen:
                same = seen[key].split("-")[1] == name.split("/")[1]
                expected[row["id"]] = ("same_split" if same else "cross_split", seen[key])
            else:
                seen[key] = row["id"]
    found = {}
    for row in removed.to_pylist():
        kept = row["kept_row"]
        stays = None if kept is None else tree[f"{row['kept_dataset']}/{row['kept_split']}"][kept]["id"]
        assert tree[f"{row['dataset']}/{row['split']}"][row["row"]]["id"] == row["id"]
        found[row["id"]] = (row["cause"], stays)
    assert found == expected
    assert report["counts"]["removed_total"] == len(expected) > 0
    order = [
        (row["dataset"], ("test", "dev", "train").index(row["split"]), row["row"])
        for row in removed.to_pylist()
    ]
    assert order == sorted(order)
