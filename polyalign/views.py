"""Views of the merged splits for people and other tools: published JSONL, LLaMA-Factory, Bucket-SFT.

Definitions: docs/method.md, Views. Everything is streamed: memory does not grow with the corpus.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache
from json.encoder import encode_basestring as quote
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

from polyalign.buckets import bucket_weights
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_path, made_folder, open_text, write_json
from polyalign.llamafactory import INFO_FILE, check_views
from polyalign.prompts import history_pairs, profile_system_prompt
from polyalign.record_columns import history_rows
from polyalign.record_trees import record_files
from polyalign.records import LANGUAGES, RECORD_SCHEMA, VIEW_SPLITS, read_record_batches
from polyalign.splits import merge_splits

WEIGHT_DECIMALS = 8
"""Decimals of a written bucket weight, as published."""
CHECKED_ITEMS = 1000
"""Items of each exported file that are read back and held against LLaMA-Factory's layout."""

_TEXT_FIELDS = tuple(name for name in RECORD_SCHEMA.names if name not in ("dialogue_history", "meta"))
_PROFILE_FIELDS = ("bucket_id", "style_bucket", "length_bin", "family", "track")
_ALPACA_FIELDS = ("question", "context", "human_answer")
# Lines are put together from JSON strings: several times as fast as encoding objects, and meta is text already.
_RECORD_LINE = "{" + ", ".join(f'"{name}": %s' for name in RECORD_SCHEMA.names) + "}\n"
_ALPACA = '"instruction": %s, "input": %s, "output": %s'
_TURN = '{"role": %s, "text": %s}'


class _ArrayWriter:
    """A JSON array written piece by piece, an item a line."""

    def __init__(self, handle: TextIO) -> None:
        self._handle = handle
        self._between = "[\n"

    def extend(self, items: Sequence[str]) -> None:
        if items:
            self._handle.write(self._between + ",\n".join(items))
            self._between = ",\n"

    def close(self) -> None:
        self._handle.write("\n]\n" if self._between == ",\n" else "[]\n")


def view_paths(out_dir: StrPath, split: str) -> dict[str, Path]:
    """Files of the three views of a split: `current`, `llamafactory` and `dist_sft`."""
    root = Path(out_dir)
    return {
        "current": root / "current" / f"{split}.jsonl",
        "llamafactory": root / "llamafactory" / f"{split}.json",
        "dist_sft": root / f"dist_sft_{split}.json",
    }


def export_views(splits: Mapping[str, StrPath], out_dir: StrPath, language: str) -> dict[str, Any]:
    """Write the views of merged splits below `out_dir` and the dataset_info.json that names them.

    Args:
        splits: {merged split: Parquet file of records}.

    Returns:
        splits {split: {records, buckets}} and data_sets, the names that dataset_info.json gives them.

    Raises:
        BadInputs: the first items are not as LLaMA-Factory documents them.
    """
    details, with_history = {}, {}
    for split, source in splits.items():
        details[split], has_history = _export_split(source, view_paths(out_dir, split))
        if details[split]["records"]:
            with_history[split] = has_history
    write_json(Path(out_dir) / INFO_FILE, dataset_info(with_history, language))
    checked = check_views(out_dir, CHECKED_ITEMS)
    return {"splits": details, "data_sets": list(checked)}


def export_tree_views(
    in_dir: StrPath, out_dir: StrPath, language: str, *, include_validation2: bool = False
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
        return {**details, **export_views(merged, out_dir, language)}


def _export_split(source: StrPath, paths: Mapping[str, Path]) -> tuple[dict[str, int], bool]:
    """Write the three views of one split side by side; returns its counts and whether any item has a history."""
    buckets = [
        bucket
        for batch in read_record_batches(source, ["bucket_id"])
        for bucket in batch.column("bucket_id").to_pylist()
    ]
    weights = bucket_weights(buckets)
    has_history = False

    @cache
    def profile(quoted: tuple[str, ...]) -> str:
        labels = dict(zip(_PROFILE_FIELDS, map(json.loads, quoted), strict=True))
        return _profile_fields(labels, weights[labels["bucket_id"]])

    with ExitStack() as stack:
        handles = {
            view: stack.enter_context(open_text(stack.enter_context(atomic_path(path)), "w"))
            for view, path in paths.items()
        }
        arrays = {view: _ArrayWriter(handles[view]) for view in ("llamafactory", "dist_sft")}
        for batch in read_record_batches(source):
            quoted = {name: _quoted(batch.column(name).to_pylist()) for name in _TEXT_FIELDS}
            histories = history_rows(batch.column("dialogue_history"))
            handles["current"].writelines(_record_lines(quoted, histories, batch.column("meta").to_pylist()))
            alpaca = [_ALPACA % item for item in _zipped(quoted, _ALPACA_FIELDS)]
            pairs = list(map(_pairs_field, histories, batch.column("question").to_pylist()))
            has_history = has_history or any(pairs)
            profiles = [profile(item) for item in _zipped(quoted, _PROFILE_FIELDS)]
            arrays["llamafactory"].extend([f"{{{a}{h}}}" for a, h in zip(alpaca, pairs, strict=True)])
            arrays["dist_sft"].extend(
                [f"{{{a}, {p}{h}}}" for a, p, h in zip(alpaca, profiles, pairs, strict=True)]
            )
        for array in arrays.values():
            array.close()
    return {"records": len(buckets), "buckets": len(weights)}, has_history


def _zipped(columns: Mapping[str, list[str]], names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Rows of some columns."""
    return zip(*(columns[name] for name in names), strict=True)


def _quoted(column: list[str]) -> list[str]:
    """JSON strings of a column; runs of one value, such as contexts and labels, are quoted once."""
    texts, last, quoted = [], None, ""
    for text in column:
        if text != last:
            last, quoted = text, quote(text)
        texts.append(quoted)
    return texts


def _record_lines(
    quoted: Mapping[str, list[str]], histories: list[list[tuple[str, str]]], metas: list[str]
) -> Iterator[str]:
    """Records as lines of the published layout."""
    turns = [
        ", ".join([_TURN % (quote(role), quote(text)) for role, text in history]) for history in histories
    ]
    columns = {**quoted, "dialogue_history": [f"[{text}]" for text in turns], "meta": metas}
    return map(_RECORD_LINE.__mod__, _zipped(columns, RECORD_SCHEMA.names))


def _pairs_field(history: list[tuple[str, str]], question: str) -> str:
    """The history key of an alpaca item with the comma before it, or nothing where no pair came before."""
    if not history:
        return ""
    pairs = history_pairs([{"role": role, "text": text} for role, text in history], question)
    if not pairs:
        return ""
    return ', "history": [' + ", ".join([f"[{quote(user)}, {quote(answer)}]" for user, answer in pairs]) + "]"


def _profile_fields(labels: Mapping[str, str], weight: float) -> str:
    """System prompt, weight and bucket fields of a Bucket-SFT item."""
    buckets = ", ".join(f'"{name}": {quote(labels[name])}' for name in _PROFILE_FIELDS)
    return (
        f'"system": {quote(profile_system_prompt(labels))}, '
        f'"dist_sft_weight": {round(weight, WEIGHT_DECIMALS)!r}, {buckets}'
    )


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
