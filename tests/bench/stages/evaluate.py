"""A whole evaluation without language-model features and MAUVE, from files to the report."""

from collections.abc import Callable
from functools import partial

from polyalign.metrics.evaluate import evaluate
from tests.bench.harness import Case, Space
from tests.bench.kit import write_repeated_kit

TITLE = "Evaluation"
BOUND = (
    "Without bootstrap, reading and counting tokens and n-grams: linear in rows. With it, sums over rows for each "
    "feature and replicate, on two threads."
)
ROWS = 51_480
"""Rows of the published English test set."""


def _prepare(space: Space) -> None:
    write_repeated_kit(space.data / "kit_51k", ROWS)


def _start(bootstrap: int, space: Space) -> Callable[[], int]:
    folder = space.data / "kit_51k"
    names = ("records.jsonl", "predictions.jsonl", "references.json", "human.parquet", "generated.parquet")

    def run() -> int:
        report = evaluate(*(folder / name for name in names), settings={"bootstrap": bootstrap}, threads=2)
        report.save(space.scratch / "report.json")
        return report.coverage.answered

    return run


CASES = tuple(
    Case(
        name,
        partial(_start, bootstrap),
        _prepare,
        published="evaluate_51k",
        target=10.0,
        memory_mb=3000,
        note=f"51,480 rows, 134 features, {bootstrap:,} replicates; the published one has no bootstrap",
    )
    for name, bootstrap in (("no bootstrap", 0), ("bootstrap", 1000))
)
