"""Formatting: raw corpora in their official layout to normalized records in Parquet."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from polyalign.corpora.catalogue import CORPORA
from polyalign.corpora.formatting import format_corpus
from polyalign.throughput import over_processes, usable_cores
from tests.bench.harness import Case, Space
from tests.bench.synthetic import make_corpus, make_mixture, records_by_corpus

TITLE = "Formatting, raw files to records"
BOUND = (
    "The three sizes hold all 14 corpora in the proportions of the published inventory, formatted side by side on all "
    "cores as the workflow does; each corpus by itself takes one core. Parsing of raw files bounds MultiWOZ (nested "
    "JSON), ELI5 (gzip) and MS MARCO (seven passages of eight are read for nothing); normalizing and counting the "
    "answer's text bounds the others. Time grows with the text, memory not at all but for OASST2, whose messages are "
    "held to follow their ancestry."
)
ONE_CORPUS = 20_000


def mixture_folder(space: Space, records: int) -> Path:
    """Where the raw files of a mixture of that size are."""
    return space.data / f"raw_{records}"


def _one(task: tuple[str, Path, Path]) -> int:
    dataset, source, out = task
    return sum(format_corpus(dataset, source, out / dataset)["split_counts"].values())


def format_mixture(raw: Path, out: Path, records: int) -> int:
    """Format every corpus of a mixture over all cores, the largest first; returns the records."""
    sizes = records_by_corpus(records)
    tasks = [(name, raw / name, out) for name in sorted(sizes, key=sizes.__getitem__, reverse=True)]
    return sum(over_processes(_one, tasks, usable_cores()))


def _prepare_mixture(records: int, space: Space) -> None:
    make_mixture(mixture_folder(space, records), records)


def _start_mixture(records: int, space: Space) -> Callable[[], int]:
    return lambda: format_mixture(mixture_folder(space, records), space.scratch, records)


def _prepare_corpus(dataset: str, space: Space) -> None:
    make_corpus(dataset, space.data / "raw_one", ONE_CORPUS)


def _start_corpus(dataset: str, space: Space) -> Callable[[], int]:
    return lambda: _one((dataset, space.data / "raw_one" / dataset, space.scratch))


CASES = (
    *(
        Case(
            name,
            partial(_start_mixture, records),
            partial(_prepare_mixture, records),
            published="format",
            target=3.0 if records > 10_000 else None,
            memory_mb=2000,
        )
        for name, records in (("10k", 10_000), ("100k", 100_000), ("1M", 1_000_000))
    ),
    *(
        Case(name, partial(_start_corpus, name), partial(_prepare_corpus, name), published="format")
        for name in CORPORA
    ),
)
