"""Diversity: distinct-1/2/3 and Self-BLEU-4, human and generated, overall and by bucket."""

from collections.abc import Callable
from functools import partial

import numpy as np

from polyalign.metrics.diversity import NgramTable, diversity
from polyalign.metrics.tokens import tokenize
from tests.bench.harness import Case, Space
from tests.bench.kit import kit_rows, varied

TITLE = "Diversity"
BOUND = "Self-BLEU is taken on at most 500 texts a group, so it grows with buckets; distinct-n with tokens."


def _start(rows: int, space: Space) -> Callable[[], int]:
    records = kit_rows("current.jsonl")
    buckets = np.resize([record["bucket_id"] for record in records], rows)
    sides = (
        varied([record["human_answer"] for record in records], rows),
        varied([row["prediction"] for row in kit_rows("predictions.jsonl")], rows),
    )

    def run() -> int:
        groups = [np.arange(len(buckets)), *(np.flatnonzero(buckets == name) for name in np.unique(buckets))]
        for texts in sides:
            table = NgramTable(tokenize(texts))
            for group in groups:
                diversity(table, group)
        return len(buckets)

    return run


CASES = (
    Case(
        "en kit",
        partial(_start, 2000),
        published="diversity",
        target=15.0,
        note="2,000 rows, 12 buckets, both sides",
    ),
    *(
        Case(
            f"en kit, {size}", partial(_start, rows), note="in further copies with one word of eight another"
        )
        for size, rows in (("20k", 20_000), ("51k", 51_480))
    ),
)
