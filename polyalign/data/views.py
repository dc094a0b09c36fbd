"""Views of the merged splits for people and other tools: published JSONL, LLaMA-Factory, Bucket-SFT.

Definitions: docs/method.md, Views. Everything is streamed, in parts that processes write side by side: memory
does not grow with the corpus.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, lru_cache
from itertools import islice
from json.encoder import encode_basestring as quote
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from polyalign.buckets import weights_of_counts
from polyalign.data.llamafactory import INFO_FILE, check_views
from polyalign.data.record_columns import history_rows
from polyalign.data.record_trees import record_files
from polyalign.data.splits import merge_splits
from polyalign.errors import BadInput
from polyalign.files import StrPath, atomic_path, made_folder, open_parquet, write_json
from polyalign.prompts import profile_system_prompt, turn_pairs
from polyalign.records import LANGUAGES, RECORD_SCHEMA, VIEW_SPLITS, read_record_batches
from polyalign.throughput import collector_paused, over_processes

VIEWS = ("current", "llamafactory", "dist_sft")
WEIGHT_DECIMALS = 8
"""Decimals of a written bucket weight, as published."""
CHECKED_ITEMS = 1000
"""Items of each exported file that are read back and held against LLaMA-Factory's layout."""

_CHUNK_ROWS = 16384
_BLOCK = 1 << 20
_TEXT_FIELDS = tuple(name for name in RECORD_SCHEMA.names if name not in ("dialogue_history", "meta"))
_PROFILE_FIELDS = ("bucket_id", "style_bucket", "length_bin", "family", "track")
_ALPACA_FIELDS = ("question", "context", "human_answer")
# Lines are put together from JSON strings: several times as fast as encoding objects, and meta is text already.
_RECORD_LINE = "{" + ", ".join(f'"{name}": %s' for name in RECORD_SCHEMA.names) + "}\n"
_ALPACA = '"instruction": %s, "input": %s, "output": %s'


class _Chunk(NamedTuple):
    """A run of row groups of one split's table, written to files of its own: what one process does at a time."""

    source: str
    row_groups: list[int]
    weights: dict[str, float]
    parts: dict[str, Path]


def view_paths(out_dir: StrPath, split: str) -> dict[str, Path]:
    """Files of the three views of a split: `current`, `llamafactory` and `dist_sft`."""
    root = Path(out_dir)
    return {
        "current": root / "current" / f"{split}.jsonl",
        "llamafactory": root / "llamafactory" / f"{split}.json",
        "dist_sft": root / f"dist_sft_{split}.json",
    }


def export_views(
    splits: Mapping[str, StrPath], out_dir: StrPath, language: str, processes: int = 1
) -> dict[str, Any]:
    """Write the views of merged splits below `out_dir` and the dataset_info.json that names them.

    Args:
        splits: {merged split: Parquet file of records}.
        processes: parts of the splits are written by so many processes at a time.

    Returns:
        splits {split: {records, buckets}} and data_sets, the names that dataset_info.json gives them.

    Raises:
        BadInputs: the first items are not as LLaMA-Factory documents them.
    """
    details, with_history = write_views(splits, out_dir, processes)
    write_json(Path(out_dir) / INFO_FILE, dataset_info(with_history, language))
    checked = check_views(out_dir, CHECKED_ITEMS)
    return {"splits": details, "data_sets": list(checked)}


def write_views(
    splits: Mapping[str, StrPath], out_dir: StrPath, processes: int = 1, views: Sequence[str] = VIEWS
) -> tuple[dict[str, dict[str, int]], dict[str, bool]]:
    """Write some views of merged splits.

    Returns:
        {split: {records, buckets}}, and {split with records: whether any item has a history}.
    """
    counts = {split: _bucket_counts(source) for split, source in splits.items()}
    details = {
        split: {"records": sum(buckets.values()), "buckets": len(buckets)}
        for split, buckets in counts.items()
    }
    with_history = {split: False for split in splits if details[split]["records"]}
    with made_folder(out_dir), TemporaryDirectory(dir=out_dir, prefix=".parts.") as folder:
        chunks = {
            split: _chunks(source, weights_of_counts(counts[split]), Path(folder) / split, views)
            for split, source in splits.items()
        }
        everything = [chunk for split in splits for chunk in chunks[split]]
        written = zip(everything, over_processes(_write_chunk, everything, processes), strict=True)
        for split in splits:
            with ExitStack() as stack:
                outputs = {
                    view: stack.enter_context(
                        open(stack.enter_context(atomic_path(view_paths(out_dir, split)[view])), "wb")
                    )
                    for view in views
                }
                for number, (chunk, has_history) in enumerate(islice(written, len(chunks[split]))):
                    with_history[split] = with_history[split] or has_history
                    for view, part in chunk.parts.items():
                        if view != "current":
                            outputs[view].write(b",\n" if number else b"[\n")
                        with open(part, "rb") as handle:
                            shutil.copyfileobj(handle, outputs[view], _BLOCK)
                        part.unlink()
                for view in outputs.keys() - {"current"}:
                    outputs[view].write(b"\n]\n" if chunks[split] else b"[]\n")
    return details, with_history


def _bucket_counts(source: StrPath) -> Counter[str]:
    """Records of each bucket of a split."""
    counts: Counter[str] = Counter()
    for batch in read_record_batches(source, ["bucket_id"]):
        for found in batch.column("bucket_id").value_counts().to_pylist():
            counts[found["values"]] += found["counts"]
    return counts


def _chunks(source: StrPath, weights: dict[str, float], folder: Path, views: Sequence[str]) -> list[_Chunk]:
    """The split in runs of about `_CHUNK_ROWS` records."""
    folder.mkdir()
    runs: list[list[int]] = []
    with open_parquet(source) as parquet:
        rows = 0
        for group in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(group).num_rows
            if not count:
                continue
            if not runs or rows + count > _CHUNK_ROWS:
                runs.append([])
                rows = 0
            runs[-1].append(group)
            rows += count
    return [
        _Chunk(str(source), run, weights, {view: folder / f"{number}.{view}" for view in views})
        for number, run in enumerate(runs)
    ]


def export_tree_views(
    in_dir: StrPath,
    out_dir: StrPath,
    language: str,
    *,
    include_validation2: bool = False,
    processes: int = 1,
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
        return {**details, **export_views(merged, out_dir, language, processes)}


def _write_chunk(chunk: _Chunk) -> bool:
    """Write the views of a run of records side by side; returns whether any of its items has a history."""
    has_history = False

    @cache
    def profile(quoted: tuple[str, ...]) -> str:
        labels = dict(zip(_PROFILE_FIELDS, map(json.loads, quoted), strict=True))
        return _profile_fields(labels, chunk.weights[labels["bucket_id"]])

    with ExitStack() as stack:
        stack.enter_context(collector_paused())
        # Bytes of a whole batch at a time: a text file would encode and write every few lines by themselves.
        handles = {view: stack.enter_context(open(path, "wb")) for view, path in chunk.parts.items()}
        between = ""
        texts = _TEXT_FIELDS if "current" in handles else (*_ALPACA_FIELDS, *_PROFILE_FIELDS)
        columns = [*texts, "dialogue_history", *(["meta"] if "current" in handles else [])]
        for batch in read_record_batches(chunk.source, columns, chunk.row_groups):
            quoted = {name: _quoted(batch.column(name).to_pylist()) for name in texts}
            histories = history_rows(batch.column("dialogue_history"))
            if current := handles.get("current"):
                metas = batch.column("meta").to_pylist()
                current.write("".join(_record_lines(quoted, histories, metas)).encode())
            if len(handles) == ("current" in handles):
                continue
            alpaca = [_ALPACA % item for item in _zipped(quoted, _ALPACA_FIELDS)]
            pairs = list(map(_pairs_field, histories, batch.column("question").to_pylist()))
            has_history = has_history or any(pairs)
            if plain := handles.get("llamafactory"):
                items = [f"{{{a}{h}}}" for a, h in zip(alpaca, pairs, strict=True)]
                plain.write((between + ",\n".join(items)).encode())
            if weighted := handles.get("dist_sft"):
                profiles = [profile(item) for item in _zipped(quoted, _PROFILE_FIELDS)]
                items = [f"{{{a}, {p}{h}}}" for a, p, h in zip(alpaca, profiles, pairs, strict=True)]
                weighted.write((between + ",\n".join(items)).encode())
            between = ",\n"
    return has_history


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


# Records of one conversation follow each other and share their turns.
_quoted_turn = lru_cache(maxsize=4096)(quote)


@lru_cache(maxsize=4096)
def _turn(role: str, text: str) -> str:
    """A turn of a record's dialogue history."""
    return f'{{"role": {quote(role)}, "text": {quote(text)}}}'


def _record_lines(
    quoted: Mapping[str, list[str]], histories: list[list[tuple[str, str]]], metas: list[str]
) -> Iterator[str]:
    """Records as lines of the published layout."""
    turns = [f"[{', '.join([_turn(role, text) for role, text in history])}]" for history in histories]
    columns = {**quoted, "dialogue_history": turns, "meta": metas}
    return map(_RECORD_LINE.__mod__, _zipped(columns, RECORD_SCHEMA.names))


def _pairs_field(history: list[tuple[str, str]], question: str) -> str:
    """The history key of an alpaca item with the comma before it, or nothing where no pair came before."""
    if not history:
        return ""
    pairs = turn_pairs(history, question)
    if not pairs:
        return ""
    return (
        ', "history": ['
        + ", ".join([f"[{_quoted_turn(user)}, {_quoted_turn(answer)}]" for user, answer in pairs])
        + "]"
    )


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
