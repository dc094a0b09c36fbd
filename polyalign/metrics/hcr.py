"""Human coverage rate: the share of predictions that lie where human answers lie.

Definitions: docs/method.md, Metrics for HCR; Metrics beyond the paper for `hcr_calibrated`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyalign.references import SUPPORTS as REFERENCE_SUPPORTS
from polyalign.support import feature_distances

SUPPORTS = tuple(REFERENCE_SUPPORTS)
HUMAN_SHARE = 0.9
"""Share of human answers that `hcr_calibrated` counts as covered, by construction."""


@dataclass(frozen=True)
class Support:
    """Reference ranges of one bucket: low, high and standard deviation per feature, float arrays (features,)."""

    low: np.ndarray
    high: np.ndarray
    std: np.ndarray


def inside(values: np.ndarray, support: Support) -> np.ndarray:
    """Which features of which rows lie inside the support, bounds included: bool (n, f)."""
    return (values >= support.low) & (values <= support.high)


def support_distance(values: np.ndarray, support: Support) -> np.ndarray:
    """Mean over features of the distance to the support in units of its scale, (n, f) -> (n,)."""
    return feature_distances(values, support.low, support.high, support.std).mean(axis=1)


def calibrated_threshold(human_distances: np.ndarray) -> float:
    """The smallest distance that at least 90% of the human answers (m,) do not exceed."""
    return float(np.quantile(human_distances, HUMAN_SHARE, method="inverted_cdf"))


def summarize(region: str, rows: Sequence[dict]) -> dict:
    """`support_region, overall_macro, overall_weighted, by_bucket` from per-bucket rows with `hcr`, `n_examples`.

    `mean_feature_inside_rate` is the mean over buckets of theirs, where they have one.
    """
    values, counts = [row["hcr"] for row in rows], [row["n_examples"] for row in rows]
    rates = [row["mean_feature_inside_rate"] for row in rows if "mean_feature_inside_rate" in row]
    return {
        "support_region": region,
        "overall_macro": float(np.mean(values)) if rows else None,
        "overall_weighted": float(np.average(values, weights=counts)) if rows else None,
        "mean_feature_inside_rate": float(np.mean(rates)) if rates else None,
        "by_bucket": list(rows),
    }


def bucket_row(bucket: str, covered: np.ndarray) -> dict:
    """Row of one bucket from the bool array (n, f) of `inside`."""
    return {
        "bucket_id": bucket,
        "n_examples": len(covered),
        "n_features": covered.shape[1],
        "hcr": float(covered.all(axis=1).mean()),
        "mean_feature_inside_rate": float(covered.mean(axis=1).mean()),
    }
