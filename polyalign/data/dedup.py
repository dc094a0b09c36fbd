"""Remove duplicates across corpora and splits, so that nothing evaluated was trained on.

Definitions: docs/method.md, Deduplication. Two passes: `find_duplicates` reads every file once and says which rows
go and why (the search itself is in `duplicate_search.py`); `drop_duplicates` copies a corpus without them.
`dedup_tree.py` does both for a folder of JSONL files.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyalign.data.duplicate_search import (
    GROUP_FIELDS,
    PRIORITY,
    Files,
    Found,
    search,
)
from polyalign.files import StrPath, TableWriter, atomic_path, open_text, read_lines
from polyalign.records import RECORD_SCHEMA, read_record_batches

POLICY = {
    "exact_example_dedup": True,
    "group_aware_split_protection": True,
    "evaluation_safe_priority": list(PRIORITY),
    "group_datasets": list(GROUP_FIELDS),
}
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
NO_ROWS = np.zeros(0, dtype=np.int64)


def find_duplicates(files: Files, processes: int = 1) -> tuple[pa.Table, dict[str, Any]]:
    """Find the rows to remove from a set of record files. docs/method.md, Deduplication.

    Args:
        files: {dataset: {split: Parquet or JSONL file of records}}.
        processes: files are read in so many processes at a time.

    Returns:
        A table of `REMOVED_SCHEMA` in file order, and the report: policy, counts in all and per dataset:split
        before and after (`dataset:split`, empty ones left out), and removed rows by cause.

    Raises:
        BadInput: a file is missing, or a row is not a record.
    """
    found = search(files, processes)
    table, causes = removed_table(found)
    gone = np.bincount(found.file, minlength=len(found.files))
    before = {f"{file.dataset}:{file.split}": int(found.sizes[file.number]) for file in found.files}
    after = {name: count - int(gone[number]) for number, (name, count) in enumerate(before.items())}
    return table, _with_counts(before, after, causes)


def removed_table(found: Found) -> tuple[pa.Table, Counter[str]]:
    """The table of removed rows and how many went for each cause."""
    # One entry more for a record that has no other in its place.
    datasets = np.array([*(file.dataset for file in found.files), None], dtype=object)
    splits = np.array([*(file.split for file in found.files), None], dtype=object)
    conflict = found.kept_file < 0
    same_split = splits[found.kept_file] == splits[found.file]
    cause = np.where(conflict, "group_conflict", np.where(same_split, "same_split", "cross_split"))
    columns = {
        "id": found.ids,
        "dataset": datasets[found.file],
        "split": splits[found.file],
        "row": found.row,
        "cause": cause.astype(object),
        "kept_dataset": datasets[found.kept_file],
        "kept_split": splits[found.kept_file],
        "kept_row": pa.array(found.kept_row, pa.int64(), mask=conflict),
    }
    arrays = [
        column
        if isinstance(column, pa.Array | pa.ChunkedArray)
        else pa.array(column, REMOVED_SCHEMA.field(name).type)
        for name, column in columns.items()
    ]
    causes = Counter(cause.tolist())
    causes["cross_dataset"] = int((~conflict & (datasets[found.kept_file] != datasets[found.file])).sum())
    return pa.table(arrays, schema=REMOVED_SCHEMA), causes


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


def rows_to_remove(removed: pa.Table, dataset: str) -> dict[str, np.ndarray]:
    """{split: sorted rows} of one dataset, from a table of `REMOVED_SCHEMA`."""
    ours = removed.select(["split", "row"]).filter(pc.equal(removed.column("dataset"), dataset))
    splits = ours.column("split").unique().to_pylist()
    return {
        split: np.sort(ours.filter(pc.equal(ours.column("split"), split)).column("row").to_numpy())
        for split in splits
    }


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
        before[split], after[split] = copy(source, outputs[split], gone.get(split, NO_ROWS))
    return {
        "original_split_counts": {split: count for split, count in before.items() if count},
        "split_counts": {split: count for split, count in after.items() if count},
        "removed_count": sum(before.values()) - sum(after.values()),
    }


def _copy_table(source: StrPath, target: StrPath, gone: np.ndarray) -> tuple[int, int]:
    """Copy a Parquet file without some rows; returns rows before and after."""
    start = 0
    with TableWriter(target, RECORD_SCHEMA) as writer:
        for batch in read_record_batches(source):
            here = _within(gone, start, batch.num_rows)
            if len(here):
                keep = np.ones(batch.num_rows, dtype=bool)
                keep[here] = False
                writer.write(batch.filter(pa.array(keep)))
            else:
                writer.write(batch)
            start += batch.num_rows
    return start, writer.rows


def _within(gone: np.ndarray, start: int, count: int) -> np.ndarray:
    """The rows gone of a batch, counted from its start."""
    first, last = np.searchsorted(gone, (start, start + count))
    return gone[first:last] - start


def _copy_lines(source: StrPath, target: StrPath, gone: np.ndarray) -> tuple[int, int]:
    """Copy a JSONL file without some records, every other line as it is; returns rows before and after."""
    before = after = 0
    waiting = iter(gone.tolist())
    next_gone = next(waiting, None)
    with atomic_path(target) as temporary, open_text(temporary, "w") as handle:
        for row, (_, line) in enumerate(read_lines(source)):
            before += 1
            if row == next_gone:
                next_gone = next(waiting, None)
            else:
                handle.write(line if line.endswith("\n") else line + "\n")
                after += 1
    return before, after
