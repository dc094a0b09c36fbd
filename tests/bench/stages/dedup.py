"""Deduplication: formatted records to records without duplicates, from file to file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from polyalign.data.dedup import drop_duplicates, find_duplicates
from polyalign.data.record_trees import record_files
from polyalign.throughput import over_processes, usable_cores
from tests.bench.harness import Case, Space
from tests.bench.stages.format import format_mixture, mixture_folder
from tests.bench.synthetic import CHINESE, make_mixture

TITLE = "Deduplication"
BOUND = (
    "The search reads every record once, for the SHA-1 of its normalized text, over all cores; the database that "
    "groups the keys adds a few percent and holds at most 512 MB, beyond which it spills to disk. Time grows with "
    "the text."
)


def formatted_folder(space: Space, records: int) -> Path:
    """Where the formatted records of a mixture of that size are."""
    return space.data / f"formatted_{records}"


def prepare_formatted(records: int, space: Space) -> None:
    """Format a mixture, once."""
    raw, target = mixture_folder(space, records), formatted_folder(space, records)
    make_mixture(raw, records)
    if not target.is_dir():
        aside = target.with_suffix(".partial")
        format_mixture(raw, aside, records)
        aside.rename(target)


def _drop(task: tuple) -> int:
    dataset, inputs, removed, out = task
    counts = drop_duplicates(
        dataset, inputs, removed, {split: out / dataset / f"{split}.parquet" for split in inputs}
    )
    return sum(counts["original_split_counts"].values())


def deduplicate(formatted: Path, out: Path) -> int:
    """Both languages as the workflow does it: one search each, then a copy of each corpus; returns the records."""
    files, cores = record_files(formatted), usable_cores()
    total = 0
    for chinese in (False, True):
        ours = {name: splits for name, splits in files.items() if (name in CHINESE) == chinese}
        removed, report = find_duplicates(ours, cores)
        tasks = [(name, splits, removed, out) for name, splits in ours.items()]
        copied = sum(over_processes(_drop, tasks, cores))
        if copied != report["counts"]["original_total"]:
            raise RuntimeError("records were lost")
        total += copied
    return total


def _start(records: int, space: Space) -> Callable[[], int]:
    return lambda: deduplicate(formatted_folder(space, records), space.scratch)


CASES = tuple(
    Case(
        name,
        partial(_start, records),
        partial(prepare_formatted, records),
        published="deduplicate",
        target=3.0 if records > 10_000 else None,
        memory_mb=2000,
    )
    for name, records in (("10k", 10_000), ("100k", 100_000), ("1M", 1_000_000))
)
