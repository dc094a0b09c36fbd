"""Remove duplicates across corpora and splits, so that nothing evaluated was trained on.

Definitions: docs/method.md, Deduplication. Two passes: `find_duplicates` reads every file once and keeps some
100 bytes a record, its key, group and id; it says which rows go and why.
`drop_duplicates` copies a corpus without them. `dedup_tree` does both for a folder of JSONL files.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from polyalign.errors import BadInput
from polyalign.example_keys import KEY_BYTES, keyed_batches
from polyalign.files import StrPath, TableWriter, atomic_path, open_text, read_json, read_lines, write_json
from polyalign.record_trees import record_files
from polyalign.records import RECORD_SCHEMA, read_record_batches

PRIORITY = ("test", "validation2", "dev", "train")
"""Splits from the best protected to the least; any other split comes after them."""
GROUP_FIELDS = {
    "coqa": "conversation_id",
    "dailydialog": "dialogue_id",
    "multiwoz": "dialogue_id",
    "oasst2_zh": "message_tree_id",
}
"""Corpora whose records form groups that must not be spread over splits, and the meta key of the group."""
POLICY = {
    "exact_example_dedup": True,
    "group_aware_split_protection": True,
    "evaluation_safe_priority": list(PRIORITY),
    "group_datasets": list(GROUP_FIELDS),
}
POLICY_IN_WORDS = "exact example dedup + group-aware split protection + evaluation-safe split priority"
REMOVED_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("dataset", pa.string()),
        ("split", pa.string()),
        ("row", pa.int64()),  # 0-based position in the split's file
        ("cause", pa.string()),  # group_conflict, same_split or cross_split
        # The record that stayed in its place; null for a group conflict.
        ("kept_dataset", pa.string()),
        ("kept_split", pa.string()),
        ("kept_row", pa.int64()),
    ]
)
Files = Mapping[str, Mapping[str, StrPath]]
"""{dataset: {split: file}}"""

_GROUP_BYTES = 16


@dataclass
class _Scan:
    """One file: its place in the order, and per row key, group and id."""

    dataset: str
    split: str
    keys: np.ndarray  # S20, one a row
    groups: np.ndarray  # S16, one a row, empty bytes where the row has no group
    ids: pa.ChunkedArray


def _group(meta: Any, field: str, dataset: str) -> bytes:
    """Digest of the group of a record, or empty bytes where it has none."""
    if isinstance(meta, str):
        meta = json.loads(meta)
    group = meta.get(field) if isinstance(meta, dict) else None
    if group is None or group == "":
        return b""
    return hashlib.blake2b(f"{dataset}\0{group}".encode(), digest_size=_GROUP_BYTES).digest()


def _scan(dataset: str, split: str, path: StrPath) -> _Scan:
    """Read one file and keep what deduplication needs of it."""
    field = GROUP_FIELDS.get(dataset)
    keys, groups, ids = bytearray(), bytearray(), []
    pending: list[str] = []
    for batch_ids, batch_keys, metas in keyed_batches(path):
        keys += b"".join(batch_keys)
        if field:
            groups += b"".join(_group(meta, field, dataset).ljust(_GROUP_BYTES, b"\0") for meta in metas)
        pending += batch_ids
        if len(pending) >= 65536:
            ids.append(pa.array(pending, pa.string()))
            pending = []
    ids.append(pa.array(pending, pa.string()))
    rows = len(keys) // KEY_BYTES
    return _Scan(
        dataset,
        split,
        np.frombuffer(bytes(keys), dtype=f"S{KEY_BYTES}"),
        np.frombuffer(bytes(groups), dtype=f"S{_GROUP_BYTES}")
        if field
        else np.zeros(rows, f"S{_GROUP_BYTES}"),
        pa.chunked_array(ids, pa.string()),
    )


def _rank(split: str) -> tuple[int, str]:
    """Sort key of a split: test first, unknown splits last."""
    return (PRIORITY.index(split), "") if split in PRIORITY else (len(PRIORITY), split)


def find_duplicates(files: Files) -> tuple[pa.Table, dict[str, Any]]:
    """Find the rows to remove from a set of record files. docs/method.md, Deduplication.

    Args:
        files: {dataset: {split: Parquet or JSONL file of records}}.

    Returns:
        A table of `REMOVED_SCHEMA` in file order, and the report: policy, counts in all and per dataset:split
        before and after (`dataset:split`, empty ones left out), and removed rows by cause.

    Raises:
        BadInput: a file is missing, or a row is not a record.
    """
    scans = [
        _scan(dataset, split, path)
        for dataset, splits in sorted(files.items())
        for split, path in sorted(splits.items(), key=lambda item: _rank(item[0]))
    ]
    # Records in the order of their claim to stay: by split priority, then corpus, then file order.
    scans.sort(key=lambda scan: (_rank(scan.split), scan.dataset))
    sizes = np.array([len(scan.keys) for scan in scans], dtype=np.int64)
    file_of = np.repeat(np.arange(len(scans)), sizes)
    first_row = np.concatenate([[0], np.cumsum(sizes)])[:-1] if len(scans) else np.zeros(0, np.int64)
    if not sizes.sum():
        return REMOVED_SCHEMA.empty_table(), _report(scans, Counter(), np.zeros(len(scans), np.int64))
    conflict = _group_conflicts(scans, file_of)
    kept_of = _first_occurrences(scans, ~conflict)
    removed = np.flatnonzero(conflict | (kept_of >= 0))
    table, causes = _removed_table(scans, removed, kept_of, file_of, first_row)
    gone = np.bincount(file_of[removed], minlength=len(scans))
    return table, _report(scans, causes, gone)


def _group_conflicts(scans: list[_Scan], file_of: np.ndarray) -> np.ndarray:
    """True for rows whose group also stands in a split of higher priority. Shape (rows,), bool."""
    groups = np.concatenate([scan.groups for scan in scans])
    grouped = np.flatnonzero(groups != b"")
    conflict = np.zeros(len(groups), dtype=bool)
    if len(grouped):
        ranks = sorted({_rank(scan.split) for scan in scans})
        rank_of_file = np.array([ranks.index(_rank(scan.split)) for scan in scans])
        rank = rank_of_file[file_of[grouped]]
        _, number = np.unique(groups[grouped], return_inverse=True)
        best = np.full(number.max() + 1, len(ranks))
        np.minimum.at(best, number, rank)
        conflict[grouped] = rank > best[number]
    return conflict


def _first_occurrences(scans: list[_Scan], alive: np.ndarray) -> np.ndarray:
    """Per row the position of the earlier row with the same key that stays, or -1. Shape (rows,), int64."""
    keys = np.concatenate([scan.keys for scan in scans])
    rows = np.flatnonzero(alive)
    kept_of = np.full(len(keys), -1, dtype=np.int64)
    if len(rows):
        _, first, number = np.unique(keys[rows], return_index=True, return_inverse=True)
        kept = first[number]
        duplicate = kept != np.arange(len(rows))
        kept_of[rows[duplicate]] = rows[kept[duplicate]]
    return kept_of


def _removed_table(
    scans: list[_Scan], removed: np.ndarray, kept_of: np.ndarray, file_of: np.ndarray, first_row: np.ndarray
) -> tuple[pa.Table, Counter[str]]:
    """The table of removed rows, by dataset, split and row, and how many went for each cause."""
    causes: Counter[str] = Counter()
    rows = []
    for position in removed.tolist():
        scan = scans[file_of[position]]
        row = int(position - first_row[file_of[position]])
        entry = {"id": scan.ids[row].as_py(), "dataset": scan.dataset, "split": scan.split, "row": row}
        kept = int(kept_of[position])
        if kept < 0:
            entry["cause"] = "group_conflict"
        else:
            winner = scans[file_of[kept]]
            entry["cause"] = "same_split" if winner.split == scan.split else "cross_split"
            entry |= {"kept_dataset": winner.dataset, "kept_split": winner.split}
            entry["kept_row"] = int(kept - first_row[file_of[kept]])
            causes["cross_dataset"] += winner.dataset != scan.dataset
        causes[entry["cause"]] += 1
        rows.append(entry)
    rows.sort(key=lambda entry: (entry["dataset"], _rank(entry["split"]), entry["row"]))
    return pa.Table.from_pylist(rows, schema=REMOVED_SCHEMA), causes


def _report(scans: list[_Scan], causes: Counter[str], gone: np.ndarray) -> dict[str, Any]:
    """The report of one run, with the published names."""
    before = {f"{scan.dataset}:{scan.split}": len(scan.keys) for scan in scans}
    after = {
        f"{scan.dataset}:{scan.split}": len(scan.keys) - int(count)
        for scan, count in zip(scans, gone, strict=True)
    }
    return _with_counts(before, after, causes)


def _with_counts(before: dict[str, int], after: dict[str, int], causes: Mapping[str, int]) -> dict[str, Any]:
    """Totals and rates from counts per dataset and split; zero counters are left out, as published."""
    original, final = sum(before.values()), sum(after.values())
    counters = {
        "exact_duplicates_removed": causes.get("same_split", 0) + causes.get("cross_split", 0),
        "same_split_duplicates_removed": causes.get("same_split", 0),
        "cross_split_duplicates_removed": causes.get("cross_split", 0),
        "cross_dataset_duplicates_removed": causes.get("cross_dataset", 0),
        "group_split_conflicts_removed": causes.get("group_conflict", 0),
    }
    return {
        "policy": POLICY,
        "counts": {
            "original_total": original,
            "final_total": final,
            "removed_total": original - final,
            "duplicate_rate": round((original - final) / original, 6) if original else 0.0,
            **{name: count for name, count in counters.items() if count},
        },
        "original_dataset_split_counts": {name: n for name, n in sorted(before.items()) if n},
        "final_dataset_split_counts": {name: n for name, n in sorted(after.items()) if n},
        "removed_by_cause": {
            name: causes.get(name, 0)
            for name in ("group_conflict", "same_split", "cross_split", "cross_dataset")
        },
    }


def combine_reports(reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """One report over several runs on separate corpora, such as the languages of a grid."""
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    for report in reports:
        before.update(report["original_dataset_split_counts"])
        after.update(report["final_dataset_split_counts"])
        causes.update(report["removed_by_cause"])
    return _with_counts(dict(before), dict(after), causes)


def rows_to_remove(removed: pa.Table, dataset: str) -> dict[str, set[int]]:
    """{split: rows} of one dataset, from a table of `REMOVED_SCHEMA`."""
    rows: dict[str, set[int]] = {}
    for name, split, row in zip(
        *(removed.column(c).to_pylist() for c in ("dataset", "split", "row")), strict=True
    ):
        if name == dataset:
            rows.setdefault(split, set()).add(row)
    return rows


def drop_duplicates(
    dataset: str, inputs: Mapping[str, StrPath], removed: pa.Table, outputs: Mapping[str, StrPath]
) -> dict[str, Any]:
    """Copy the split files of one corpus without the rows found; files keep their kind, by suffix.

    Returns:
        original_split_counts and split_counts (empty splits left out) and removed_count.
    """
    gone = rows_to_remove(removed, dataset)
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    for split, source in sorted(inputs.items()):
        copy = _copy_table if str(source).endswith(".parquet") else _copy_lines
        before[split], after[split] = copy(source, outputs[split], gone.get(split, set()))
    return {
        "original_split_counts": {split: count for split, count in before.items() if count},
        "split_counts": {split: count for split, count in after.items() if count},
        "removed_count": sum(before.values()) - sum(after.values()),
    }


def _copy_table(source: StrPath, target: StrPath, gone: set[int]) -> tuple[int, int]:
    """Copy a Parquet file without some rows; returns rows before and after."""
    start = 0
    with TableWriter(target, RECORD_SCHEMA) as writer:
        for batch in read_record_batches(source):
            here = [row - start for row in gone if start <= row < start + batch.num_rows]
            if here:
                keep = np.ones(batch.num_rows, dtype=bool)
                keep[here] = False
                writer.write(batch.filter(pa.array(keep)))
            else:
                writer.write(batch)
            start += batch.num_rows
    return start, writer.rows


def _copy_lines(source: StrPath, target: StrPath, gone: set[int]) -> tuple[int, int]:
    """Copy a JSONL file without some records, every other line as it is; returns rows before and after."""
    before = after = 0
    with atomic_path(target) as temporary, open_text(temporary, "w") as handle:
        for row, (_, line) in enumerate(read_lines(source)):
            before += 1
            if row not in gone:
                handle.write(line if line.endswith("\n") else line + "\n")
                after += 1
    return before, after


def dedup_tree(in_dir: StrPath, out_dir: StrPath, report_path: StrPath) -> dict[str, Any]:
    """Deduplicate `in_dir/{dataset}/{split}.jsonl` into the same layout below `out_dir`; returns the report.

    Every corpus also gets its manifest.json, carried over and extended by what was removed.

    Raises:
        BadInput: the tree is empty or `out_dir` itself, or a row is not a record; nothing is written then.
    """
    source, target = Path(in_dir), Path(out_dir)
    if source.resolve() == target.resolve():
        raise BadInput("input and output are the same folder", file=target, fix="give another --out")
    files = record_files(source)
    manifests = {}
    for dataset in files:
        path = source / dataset / "manifest.json"
        manifests[dataset] = read_json(path) if path.is_file() else {}
        if not isinstance(manifests[dataset], dict):
            raise BadInput("not a manifest", file=path, expected="an object")
    removed, found = find_duplicates(files)
    for dataset, splits in files.items():
        counts = drop_duplicates(
            dataset, splits, removed, {split: target / dataset / path.name for split, path in splits.items()}
        )
        manifest = {
            **manifests[dataset],
            "source_root": str(in_dir),
            "dedup_applied": True,
            "dedup_policy": POLICY_IN_WORDS,
            **counts,
        }
        write_json(target / dataset / "manifest.json", manifest)
    report = {"input_root": str(in_dir), "output_root": str(out_dir), **found}
    write_json(report_path, report)
    return report
