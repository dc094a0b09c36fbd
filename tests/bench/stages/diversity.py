"""Diversity: distinct-1/2/3 and Self-BLEU-4, human and generated, overall and by bucket."""

from collections.abc import Callable

import numpy as np

from polyalign.metrics.diversity import NgramTable, diversity
from polyalign.metrics.tokens import tokenize
from tests.bench.harness import Case, Space
from tests.bench.kit import kit_rows

TITLE = "Diversity"
BOUND = "Self-BLEU is taken on at most 500 texts a group, so it grows with buckets; distinct-n with tokens."


def _start(space: Space) -> Callable[[], int]:
    records = kit_rows("current.jsonl")
    buckets = np.array([record["bucket_id"] for record in records])
    sides = (
        [record["human_answer"] for record in records],
        [row["prediction"] for row in kit_rows("predictions.jsonl")],
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
    Case("en kit", _start, published="diversity", target=15.0, note="2,000 rows, 12 buckets, both sides"),
)
