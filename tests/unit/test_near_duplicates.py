"""Near-duplicates: planted ones are found, what is reported is exactly similar, evaluation splits are protected."""

import json
import random
from itertools import combinations
from pathlib import Path

import pytest

from polyalign.data.dedup import find_duplicates
from polyalign.data.dedup_tree import dedup_tree
from polyalign.data.near_duplicates import find_near_duplicates
from polyalign.data.record_trees import record_files
from polyalign.data.shingles import NearDuplicates, banding, jaccard, shingles
from polyalign.files import read_json, read_jsonl
from polyalign.records import RecordWriter, make_record

REPORT = NearDuplicates(mode="report")
SENTENCE = (
    "the old lighthouse keeper walked down to the harbour every morning to count the fishing boats that had come "
    "home during the night and wrote their number into a large book which nobody but his daughter ever read"
)


def record(identifier: str, question: str, answer: str, language: str = "en", **changes: str) -> dict:
    return make_record(
        id=identifier,
        dataset="dolly",
        split="train",
        language=language,
        track="single",
        family="qa",
        style_bucket="qa_search",
        question=question,
        human_answer=answer,
        meta={},
        **changes,
    )


def write_tree(
    root: Path, tree: dict[str, list[dict]], suffix: str = ".parquet"
) -> dict[str, dict[str, Path]]:
    for name, rows in tree.items():
        with RecordWriter(root / f"{name}{suffix}") as writer:
            for row in rows:
                writer.write(row)
    return record_files(root)


def invented(rng: random.Random, language: str, length: int) -> list[str]:
    if language == "zh":
        return [chr(rng.randrange(0x4E00, 0x5200)) for _ in range(length)]
    return [f"w{rng.randrange(1500)}" for _ in range(length)]


def planted(language: str, seed: int = 3) -> list[dict]:
    """120 records, each followed by none to three variants with some words changed, in random order."""
    rng = random.Random(seed)
    joiner = "" if language == "zh" else " "
    rows = []
    for number in range(120):
        question, answer = invented(rng, language, 20), invented(rng, language, rng.randint(40, 90))
        for variant in range(rng.randint(1, 4)):
            changed = list(answer)
            for _ in range(rng.randint(0, 4) if variant else 0):
                changed[rng.randrange(len(changed))] = invented(rng, language, 1)[0]
            rows.append(record(f"{number}-{variant}", joiner.join(question), joiner.join(changed), language))
    rng.shuffle(rows)
    return rows


@pytest.mark.parametrize("language, size", [("en", 3), ("zh", 5)])
def test_planted_near_duplicates_are_found_and_nothing_else(tmp_path: Path, language: str, size: int) -> None:
    """Against all pairs compared exactly: nearly every true pair is found, no other is reported."""
    rows = planted(language)
    files = write_tree(tmp_path, {"dolly/train": rows})
    gone, _ = find_duplicates(files)
    exact = set(gone.column("id").to_pylist())
    table, report = find_near_duplicates(files, REPORT, gone=gone)

    left = [row for row in rows if row["id"] not in exact]
    sets = {row["id"]: shingles(f"{row['question']}\n{row['human_answer']}", size) for row in left}
    words = {row["id"]: shingles(row["human_answer"], 1) for row in left}
    true = {
        (one["id"], other["id"])
        for one, other in combinations(left, 2)
        if jaccard(sets[one["id"]], sets[other["id"]]) >= 0.8
        and jaccard(words[one["id"]], words[other["id"]]) >= 0.8
    }
    assert len(true) > 40
    counts = report["counts"]
    assert 0.97 * len(true) <= counts["confirmed_pairs"] <= len(true)
    assert counts["alike_pairs"] / counts["candidate_pairs"] == pytest.approx(
        report["candidate_precision"], abs=1e-6
    )
    assert sum(report["candidate_similarity"].values()) == counts["candidate_pairs"]
    expected: set[str] = set()
    for row in left:
        if any((one, row["id"]) in true for one in sets if one not in expected):
            expected.add(row["id"])
    found = set(table.column("id").to_pylist())
    assert len(found & expected) >= 0.97 * len(expected)
    for row in table.to_pylist():
        kept = rows[row["kept_row"]]["id"]
        assert (kept, row["id"]) in true
        assert row["similarity"] == pytest.approx(jaccard(sets[kept], sets[row["id"]]))
    assert not found & exact


def test_the_chance_to_find_a_pair_is_what_the_bands_promise() -> None:
    assert banding(0.8, 128, 0.98) == (18, 7)
    for threshold in (0.5, 0.7, 0.9):
        bands, rows = banding(threshold, 128, 0.98)
        assert bands * rows <= 128
        assert 1 - (1 - threshold**rows) ** bands >= 0.98


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_the_better_protected_record_stays(tmp_path: Path, suffix: str) -> None:
    tree = {
        "a/train": [record("train", "What did he do then?", SENTENCE)],
        "a/dev": [record("dev", "What did he do then?", SENTENCE + ", too")],
        "b/test": [record("test", "What did he do then, again?", SENTENCE)],
        "b/train": [
            record("other", "Who is it?", "somebody else whom nobody in the whole long story has met")
        ],
    }
    table, report = find_near_duplicates(write_tree(tmp_path, tree, suffix), REPORT, processes=2)
    found = {row["id"]: (row["cause"], row["kept_split"]) for row in table.to_pylist()}
    assert found == {"train": ("cross_split", "test"), "dev": ("cross_split", "test")}
    assert report["near_duplicates_by_cause"] == {"same_split": 0, "cross_split": 2, "cross_dataset": 2}
    assert report["near_duplicates_by_dataset_split"] == {"a:dev": 1, "a:train": 1}
    assert report["counts"]["removed_total"] == 0


def test_what_is_alike_but_no_near_duplicate_stays(tmp_path: Path) -> None:
    """Another answer to one long question, another passage, another language, and what is too short to tell."""
    story = "a passage about something entirely different from the other one, told at some length"
    rows = [
        record("0", SENTENCE + " and then?", "nothing"),
        record("1", SENTENCE + " and then?", "the harbour burned"),
        record("2", "What is told?", SENTENCE, context=SENTENCE),
        record("3", "What is told?", SENTENCE + ".", context=story),
        record("4", "What is told?", SENTENCE + " again", "zh"),
        record("5", "Why?", "Because."),
        record("6", "Why?", "because"),
    ]
    table, report = find_near_duplicates(write_tree(tmp_path, {"dolly/train": rows}), REPORT)
    assert table.num_rows == 0
    assert report["counts"]["too_short"] == 2
    assert report["counts"]["alike_pairs"] >= 2


def test_many_records_of_one_band_are_paired_with_the_first_and_the_one_before(tmp_path: Path) -> None:
    rows = [record(str(n), "What did he do then?", f"{SENTENCE} {'again ' * (n % 3)}{n}") for n in range(40)]
    files = write_tree(tmp_path, {"dolly/train": rows})
    few = NearDuplicates(mode="report", bucket_pairs=5)
    table, report = find_near_duplicates(files, few)
    whole, all_pairs = find_near_duplicates(files, REPORT)
    assert report["counts"]["candidate_pairs"] < 0.5 * all_pairs["counts"]["candidate_pairs"]
    assert table.column("id").to_pylist() == whole.column("id").to_pylist()


def test_a_tree_is_cleaned_and_both_passes_report_apart(tmp_path: Path) -> None:
    tree = {
        "a/train": [
            record("0", "What did he do then?", SENTENCE),
            record("1", "what did he do then?", SENTENCE),
            record("2", "What did he do then?", SENTENCE + "!"),
            record("3", "Who?", "nobody"),
        ],
        "a/test": [record("4", "And what did he do then?", SENTENCE)],
    }
    write_tree(tmp_path / "in", tree, ".jsonl")
    kept = {}
    for mode in ("report", "remove"):
        out = tmp_path / mode
        near = NearDuplicates(mode=mode)
        report = dedup_tree(tmp_path / "in", out, out / "report.json", near=near)
        assert report["counts"]["removed_total"] == 1
        assert read_json(out / "report_near.json")["counts"]["near_duplicates"] == 2
        kept[mode] = [
            row["id"] for name in ("test", "train") for _, row in read_jsonl(out / "a" / f"{name}.jsonl")
        ]
    assert kept == {"report": ["4", "0", "2", "3"], "remove": ["4", "3"]}
    assert read_json(tmp_path / "remove" / "report_near.json")["counts"]["removed_total"] == 2
    assert json.loads((tmp_path / "remove" / "a" / "manifest.json").read_text())["removed_count"] == 3


def test_nothing_to_compare(tmp_path: Path) -> None:
    table, report = find_near_duplicates(write_tree(tmp_path, {"a/train": [], "a/test": []}), REPORT)
    assert table.num_rows == 0
    assert report["counts"]["compared"] == report["counts"]["candidate_pairs"] == 0
    assert report["candidate_precision"] is None
