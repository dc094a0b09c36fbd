"""Formatting: raw corpora in their official layout to normalized records in Parquet."""

from collections.abc import Callable
from functools import partial

from polyalign.corpora.formatting import format_corpus
from polyalign.demo.sources import WRITERS, write_demo_source
from tests.bench.harness import Case, Space

TITLE = "Formatting, raw files to records"
BOUND = "Parsing of the raw files and normalization of their text; memory does not grow with the corpus."
ROWS = 2000


def _prepare(dataset: str, space: Space) -> None:
    target = space.data / "demo" / dataset
    if not target.is_dir():
        write_demo_source(dataset, target, ROWS, seed=7)


def _start(dataset: str, space: Space) -> Callable[[], int]:
    def run() -> int:
        counts = format_corpus(dataset, space.data / "demo" / dataset, space.scratch)
        return sum(counts["split_counts"].values())

    return run


CASES = tuple(
    Case(name, partial(_start, name), partial(_prepare, name), published="format", target=3.0)
    for name in WRITERS
)
