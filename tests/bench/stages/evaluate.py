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
SIZES = {"2k": 2000, "20k": 20_000, "51k": 51_480}
"""The last is the published English test set."""


def _prepare(size: str, space: Space) -> None:
    write_repeated_kit(space.data / f"kit_{size}", SIZES[size])


def _start(size: str, bootstrap: int, space: Space) -> Callable[[], int]:
    folder = space.data / f"kit_{size}"
    names = ("records.jsonl", "predictions.jsonl", "references.json", "human.parquet", "generated.parquet")

    def run() -> int:
        report = evaluate(*(folder / name for name in names), settings={"bootstrap": bootstrap}, threads=2)
        report.save(space.scratch / "report.json")
        return report.coverage.answered

    return run


CASES = tuple(
    Case(
        f"{name}, {size}",
        partial(_start, size, bootstrap),
        partial(_prepare, size),
        published="evaluate_51k" if size == "51k" else None,
        target=10.0 if size == "51k" else None,
        memory_mb=3000,
        note=f"134 features, {bootstrap:,} replicates; the published one has none",
    )
    for name, bootstrap in (("no bootstrap", 0), ("bootstrap", 1000))
    for size in SIZES
)
