"""Bucket naturalness gap: how far the feature distributions of predictions are from those of human answers.

Definitions: docs/method.md, Metrics for BNG; Metrics beyond the paper for the robust variant and the contributions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from polyalign.features.names import FEATURES

STD_FLOOR = 1e-12
"""A human standard deviation up to this counts as 1 (`paper`)."""
DEGENERATE = 1e-6
"""Robust variant: a human feature whose deviation is below this share of its largest value says nothing."""


def is_response_feature(name: str) -> bool:
    """Whether a feature describes the response: no run constant, availability flag or prompt-side count."""
    return name not in FEATURES or FEATURES[name].role == "response"


def is_heavy_tailed(name: str) -> bool:
    """Whether the robust variant takes the feature in log space (log of 1 + value)."""
    return name in FEATURES and FEATURES[name].log_space


@dataclass(frozen=True)
class BucketGaps:
    """Gaps of one bucket.

    Attributes:
        count: predictions of the bucket.
        gaps: float array (features,), Wasserstein distance over human deviation; NaN for a feature left out.
        zero_variance: bool array (features,), human deviation at most `STD_FLOOR`.
    """

    count: int
    gaps: np.ndarray
    zero_variance: np.ndarray

    @property
    def bng(self) -> float:
        """Mean over the features that were not left out; NaN when none is left."""
        kept = self.gaps[~np.isnan(self.gaps)]
        return float(kept.mean()) if len(kept) else float("nan")


def wasserstein(generated: np.ndarray, human: np.ndarray) -> np.ndarray:
    """Wasserstein-1 distance per column of two samples, (n, f) and (m, f) -> (f,).

    Both quantile functions are constant between the multiples of 1/n and 1/m, the same for every column.
    """
    n, m = len(generated), len(human)
    edges = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    weights = np.diff(edges, prepend=0) / (n * m)
    x, y = np.sort(generated, axis=0), np.sort(human, axis=0)
    return weights @ np.abs(x[(edges - 1) // m] - y[(edges - 1) // n])


def bucket_gaps(generated: np.ndarray, human: np.ndarray) -> BucketGaps:
    """Gaps per feature (`paper`); generated (n, f), human (m, f)."""
    deviation = human.std(axis=0)
    zero = deviation <= STD_FLOOR
    return BucketGaps(len(generated), wasserstein(generated, human) / np.where(zero, 1.0, deviation), zero)


def robust_mask(human: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Bool array (features,): response features that are not degenerate among these human rows (m, f)."""
    scale = np.abs(human).max(axis=0, initial=0.0)
    degenerate = human.std(axis=0) <= DEGENERATE * np.where(scale > 0, scale, 1.0)
    return np.array([is_response_feature(name) for name in names], dtype=bool) & ~degenerate


def robust_values(values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Feature values with heavy-tailed columns in log space, (n, f)."""
    heavy = np.array([is_heavy_tailed(name) for name in names], dtype=bool)
    if not heavy.any():
        return values
    values = values.copy()
    values[:, heavy] = np.log1p(np.maximum(values[:, heavy], 0.0))
    return values


def robust_gaps(generated: np.ndarray, human: np.ndarray, names: Sequence[str]) -> BucketGaps:
    """Gaps of the robust variant (`ours`): NaN where `robust_mask` leaves a feature out."""
    kept = robust_mask(human, names)
    result = bucket_gaps(robust_values(generated, names), robust_values(human, names))
    return BucketGaps(result.count, np.where(kept, result.gaps, np.nan), result.zero_variance)


def overall(values: Sequence[float], counts: Sequence[int]) -> tuple[float | None, float | None]:
    """(mean over buckets, mean weighted by examples); None without buckets."""
    if not len(values):
        return None, None
    return float(np.mean(values)), float(np.average(values, weights=counts))


def summarize(buckets: Mapping[str, BucketGaps]) -> dict:
    """`overall_macro, overall_weighted, by_bucket` of BNG under the published key names."""
    usable = {bucket: gaps for bucket, gaps in buckets.items() if not np.isnan(gaps.bng)}
    macro, weighted = overall([g.bng for g in usable.values()], [g.count for g in usable.values()])
    rows = [
        {
            "bucket_id": bucket,
            "n_examples": gaps.count,
            "n_features": int((~np.isnan(gaps.gaps)).sum()),
            "bng": gaps.bng,
        }
        for bucket, gaps in usable.items()
    ]
    return {"overall_macro": macro, "overall_weighted": weighted, "by_bucket": rows}


def contributions(buckets: Mapping[str, BucketGaps], names: Sequence[str]) -> list[dict]:
    """What each feature adds to the macro BNG, largest first.

    Returns:
        Rows of feature, mean_gap (mean over the buckets that use it), share (of the macro value; they sum to 1) and
        zero_variance_buckets (where the human answers do not vary at all).
    """
    usable = [gaps for gaps in buckets.values() if not np.isnan(gaps.bng)]
    if not usable:
        return []
    gaps = np.array([bucket.gaps for bucket in usable])
    used = ~np.isnan(gaps)
    filled = np.where(used, gaps, 0.0)
    # A bucket's BNG is the mean over the features it uses, so a gap weighs 1 / (features used x buckets).
    parts = (filled / used.sum(axis=1, keepdims=True)).mean(axis=0)
    zero = np.array([bucket.zero_variance for bucket in usable]).sum(axis=0)
    total = parts.sum()
    rows = [
        {
            "feature": name,
            "mean_gap": float(filled[:, f].sum() / used[:, f].sum()),
            "share": float(parts[f] / total) if total > 0 else 0.0,
            "zero_variance_buckets": int(zero[f]),
        }
        for f, name in enumerate(names)
        if used[:, f].any()
    ]
    return sorted(rows, key=lambda row: (-row["share"], row["feature"]))
