"""Values of single buckets and datasets: how they are named, where a report has them, and their bootstrap replicates.

A group's value of a metric is named `{metric}/{group}`, such as `bng/en|multi|dialogue|short` or `qa_f1/dolly`; no
metric, bucket or dataset has a slash in its name.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from polyalign.metrics.bootstrap import Draws, ratio, weighted_sums
from polyalign.metrics.utility import SCORES

_BUCKET_VALUES = (
    ("bng", "bng", "bng"),
    ("bng_robust", "bng_robust", "bng"),
    ("hcr", "hcr", "hcr"),
    ("hcr_calibrated", "hcr_calibrated", "hcr"),
    ("mauve", "mauve", "c_mauve"),
    ("tdm", "tdm", "tdm"),
    ("mean_tokens", "mean_tokens", "generated"),
)
"""(metric, part of the report that lists it by bucket, its key there)."""


def group_key(metric: str, group: str) -> str:
    """Name of a metric's value in a bucket or dataset."""
    return f"{metric}/{group}"


def split_key(key: str) -> tuple[str, str | None]:
    """(metric, group or None) of the name of a value."""
    metric, _, group = key.partition("/")
    return metric, group or None


def group_estimates(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Every metric's value in every bucket and dataset of a report's `metrics`, by `group_key`."""
    return dict(_group_values(metrics))


def _group_values(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for part, name in (("by_bucket", "bucket_id"), ("by_dataset", "dataset")):
        for row in metrics["utility"][part]:
            for metric in SCORES:
                yield group_key(metric, row[name]), row[metric]
    for metric, part, key in _BUCKET_VALUES:
        for row in metrics[part].get("by_bucket", []):
            yield group_key(metric, row["bucket_id"]), row[key]


def mean_replicates(
    per_row: Mapping[str, np.ndarray], draws: Draws, datasets: np.ndarray
) -> dict[str, np.ndarray]:
    """Replicates (B,) of the means of scores: overall by metric, in each bucket and dataset by `group_key`.

    Args:
        per_row: score of each row by metric, (n,).
        draws: draws of those rows, by bucket.
        datasets: dataset of each row, (n,).
    """
    columns = np.column_stack([*per_row.values(), np.ones(len(datasets))])
    whole: np.ndarray | float = 0.0
    of_group: dict[str, np.ndarray] = {}
    for bucket, (rows, weights) in draws.items():
        in_bucket: np.ndarray | float = 0.0
        names = np.unique(datasets[rows])
        for name in names:
            there = slice(None) if len(names) == 1 else datasets[rows] == name
            sums = weighted_sums(weights[:, there], columns[rows[there]])
            of_group[str(name)] = of_group.get(str(name), 0.0) + sums
            in_bucket = in_bucket + sums
        of_group[bucket] = in_bucket
        whole = whole + in_bucket
    found = {}
    for place, metric in enumerate(per_row):
        found[metric] = ratio(whole[:, place], whole[:, -1])
        for group, sums in of_group.items():
            found[group_key(metric, group)] = ratio(sums[:, place], sums[:, -1])
    return found
