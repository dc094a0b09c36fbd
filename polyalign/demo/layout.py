"""What the demo corpora share: sizes of splits, planted repetitions, and Parquet written as a stream."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from polyalign.files import TableWriter

REPEAT_EVERY = 50
"""One item in so many is an exact repetition of an earlier one, so that deduplication has work to do."""
BATCH_ROWS = 2000


def text_source(index: int, start: int = 0) -> int:
    """The item whose text item `index` carries: itself, or an earlier one that it repeats.

    The first item of a later split (`start` > 0) repeats one of an earlier split, the others a neighbour.
    """
    if start and index == start:
        return start // 2
    if index % REPEAT_EVERY == REPEAT_EVERY - 1:
        return index - REPEAT_EVERY // 2
    return index


def split_counts(items: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Items of each split, at least one each; the first split takes what rounding leaves."""
    counts = {split: max(1, round(items * share)) for split, share in shares.items()}
    first = next(iter(shares))
    counts[first] = max(1, items - sum(count for split, count in counts.items() if split != first))
    return counts


def spread(counts: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """(split, index of its first item, items) with the splits one after another."""
    start = 0
    for split, count in counts.items():
        yield split, start, count
        start += count


def json_items(items: Iterator[str], brackets: str) -> Iterator[str]:
    """The pieces of a JSON array or object, so that none of it stands in memory whole."""
    yield brackets[0]
    for number, item in enumerate(items):
        yield (",\n" if number else "\n") + item
    yield "\n" + brackets[1] + "\n"


def write_parquet(path: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> None:
    """Write row dicts as a Parquet table, a batch at a time."""
    with TableWriter(path, schema) as writer:
        remaining = iter(rows)
        while batch := list(islice(remaining, BATCH_ROWS)):
            writer.write(pa.Table.from_pylist(batch, schema=schema))
