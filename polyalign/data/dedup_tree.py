"""Deduplicate a folder of record files, as `python -m polyalign dedup` does. docs/method.md, Deduplication."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from polyalign.data.dedup import drop_duplicates, find_duplicates
from polyalign.data.duplicate_search import claim_order, processes_for
from polyalign.data.near_duplicates import find_near_duplicates
from polyalign.data.record_trees import record_files
from polyalign.data.shingles import NearDuplicates
from polyalign.errors import BadInput
from polyalign.files import StrPath, read_json, write_json
from polyalign.throughput import over_processes

POLICY_IN_WORDS = "exact example dedup + group-aware split protection + evaluation-safe split priority"


def dedup_tree(
    in_dir: StrPath,
    out_dir: StrPath,
    report_path: StrPath,
    *,
    near: NearDuplicates | None = None,
    near_report_path: StrPath | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """Deduplicate `in_dir/{dataset}/{split}.jsonl` into the same layout below `out_dir`; returns the report.

    Every corpus also gets its manifest.json, carried over and extended by what was removed.

    Args:
        near: settings of the pass for near-duplicates, which is reported apart; none: exact duplicates only.
        near_report_path: where its report goes; by default beside the report, with `_near` in its name.
        processes: files are read and copied in so many processes at a time.

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
    removed, found = find_duplicates(files, processes)
    near_report = None
    if near is not None and near.mode != "none":
        alike, near_report = find_near_duplicates(files, near, gone=removed, processes=processes)
        if near.mode == "remove":
            removed = pa.concat_tables([removed, alike.select(removed.schema.names)])
    tasks = [
        (dataset, splits, removed, {split: target / dataset / path.name for split, path in splits.items()})
        for dataset, splits in files.items()
    ]
    workers = processes_for(claim_order(files), processes)
    for dataset, counts in zip(files, over_processes(_drop_task, tasks, workers), strict=True):
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
    if near_report is not None:
        beside = Path(report_path)
        write_json(near_report_path or beside.with_name(f"{beside.stem}_near.json"), near_report)
    return report


def _drop_task(task: tuple[Any, ...]) -> dict[str, Any]:
    return drop_duplicates(*task)
