"""Bucket weights: every bucket gets the same mass, whatever its size."""

from collections import Counter
from collections.abc import Mapping, Sequence


def bucket_weights(bucket_ids: Sequence[str]) -> dict[str, float]:
    """Weight N / (B * n_b) of each bucket b, for N rows in B buckets with n_b rows in b.

    Summed over rows, every bucket has mass N / B, and the mean weight is 1.
    Source: the paper; docs/method.md, Views.
    """
    return weights_of_counts(Counter(bucket_ids))


def weights_of_counts(counts: Mapping[str, int]) -> dict[str, float]:
    """The same from the number of rows of each bucket."""
    rows = sum(counts.values())
    return {bucket: rows / (len(counts) * count) for bucket, count in counts.items()}
