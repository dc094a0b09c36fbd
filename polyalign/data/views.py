"""Views of the merged splits for people and other tools: published JSONL, LLaMA-Factory, Bucket-SFT.

Definitions: docs/method.md, Views. Everything is streamed, batch by batch: memory does not grow with the corpus.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polyalign.bucket_weights import weights_of_counts
from polyalign.data.llamafactory import CHECKED_ITEMS, INFO_FILE, check_views
from polyalign.data.record_trees import record_files
from polyalign.data.splits import merge_splits
from polyalign.data.view_items import columns_of, view_texts
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_path, made_folder, write_json
from polyalign.records import LANGUAGES, VIEW_SPLITS, read_record_batches
from polyalign.throughput import collector_paused, over_threads

VIEWS = ("current", "llamafactory", "dist_sft")


def view_paths(out_dir: StrPath, split: str) -> dict[str, Path]:
    """Files of the three views of a split: `current`, `llamafactory` and `dist_sft`."""
    root = Path(out_dir)
    return {
        "current": root / "current" / f"{split}.jsonl",
        "llamafactory": root / "llamafactory" / f"{split}.json",
        "dist_sft": root / f"dist_sft_{split}.json",
    }


def export_views(
    splits: Mapping[str, StrPath], out_dir: StrPath, language: str, threads: int = 1
) -> dict[str, Any]:
    """Write the views of merged splits below `out_dir` and the dataset_info.json that names them.

    Args:
        splits: {merged split: Parquet file of records}.
        threads: so many batches of records are worked on at a time.

    Returns:
        splits {split: {records, buckets}} and data_sets, the names that dataset_info.json gives them.

    Raises:
        BadInputs: the first items are not as LLaMA-Factory documents them.
    """
    details, with_history = write_views(splits, out_dir, threads)
    write_json(Path(out_dir) / INFO_FILE, dataset_info(with_history, language))
    checked = check_views(out_dir, CHECKED_ITEMS)
    return {"splits": details, "data_sets": list(checked)}


def write_views(
    splits: Mapping[str, StrPath], out_dir: StrPath, threads: int = 1, views: Sequence[str] = VIEWS
) -> tuple[dict[str, dict[str, int]], dict[str, bool]]:
    """Write some views of merged splits.

    Returns:
        {split: {records, buckets}}, and {split with records: whether any item has a history}.
    """
    details, with_history = {}, {}
    for split, source in splits.items():
        counts = _bucket_counts(source)
        paths = {view: view_paths(out_dir, split)[view] for view in views}
        has_history = _write_split(source, paths, weights_of_counts(counts), threads)
        details[split] = {"records": sum(counts.values()), "buckets": len(counts)}
        if counts:
            with_history[split] = has_history
    return details, with_history


def _write_split(
    source: StrPath, paths: Mapping[str, Path], weights: Mapping[str, float], threads: int
) -> bool:
    """Write the views of one split side by side; returns whether any item has a history."""
    has_history, empty = False, True
    texts_of = partial(view_texts, views=tuple(paths), weights=weights)
    with ExitStack() as stack:
        stack.enter_context(collector_paused())
        files = {
            view: stack.enter_context(open(stack.enter_context(atomic_path(path)), "wb"))
            for view, path in paths.items()
        }
        batches = read_record_batches(source, list(columns_of(tuple(paths))))
        for texts, some in over_threads(texts_of, batches, threads):
            has_history = has_history or some
            for view, text in texts.items():
                if empty and view != "current":
                    # A bracket stands where later items have a comma.
                    files[view].write(b"[")
                    text = text[1:]
                files[view].write(text)
            empty = False
        for view in files.keys() - {"current"}:
            files[view].write(b"[]\n" if empty else b"\n]\n")
    return has_history


def _bucket_counts(source: StrPath) -> Counter[str]:
    """Records of each bucket of a split."""
    counts: Counter[str] = Counter()
    for batch in read_record_batches(source, ["bucket_id"]):
        for found in batch.column("bucket_id").value_counts().to_pylist():
            counts[found["values"]] += found["counts"]
    return counts


def export_tree_views(
    in_dir: StrPath,
    out_dir: StrPath,
    language: str,
    *,
    include_validation2: bool = False,
    threads: int = 1,
) -> dict[str, Any]:
    """Merge the corpora of a folder `in_dir/{dataset}/{split}.jsonl` and write their views.

    Returns:
        What `merge_splits` and `export_views` found.

    Raises:
        BadInput: the folder holds no records of this language, or a row is not a record.
    """
    if language not in LANGUAGES:
        raise BadInput(f"unknown language {language!r}", expected=f"one of {', '.join(LANGUAGES)}")
    wanted = (*VIEW_SPLITS, "validation2") if include_validation2 else VIEW_SPLITS
    with made_folder(out_dir), TemporaryDirectory(dir=out_dir, prefix=".merged.") as folder:
        merged = {split: Path(folder) / f"{split}.parquet" for split in wanted}
        details = merge_splits(record_files(in_dir), merged, language, skip_other_languages=True)
        if not sum(details["records"].values()):
            raise BadInput(f"no records in language {language}", file=in_dir, fix="give the other --language")
        return {**details, **export_views(merged, out_dir, language, threads)}


def dataset_info(with_history: Mapping[str, bool], language: str) -> dict[str, Any]:
    """The registration of the views with LLaMA-Factory, to be used with `dataset_dir` set to their folder.

    Args:
        with_history: {split that has records: whether any of its items has a history}. LLaMA-Factory reads no
            empty file, and looks every column that is named up in the table.
    """
    entries: dict[str, Any] = {}
    for split, has_history in with_history.items():
        columns = {"prompt": "instruction", "query": "input", "response": "output"}
        if has_history:
            columns["history"] = "history"
        entries[f"polyalign_{language}_sft_{split}"] = {
            "file_name": f"llamafactory/{split}.json",
            "formatting": "alpaca",
            "columns": columns,
        }
        entries[f"polyalign_{language}_dist_sft_{split}"] = {
            "file_name": f"dist_sft_{split}.json",
            "formatting": "alpaca",
            "columns": {**columns, "system": "system"},
        }
    return entries
