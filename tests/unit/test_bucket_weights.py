"""Bucket weights give every bucket the same mass."""

from collections import Counter

import pytest

from polyalign.bucket_weights import bucket_weights


def test_every_bucket_has_the_same_mass_and_the_mean_weight_is_one():
    buckets = ["a"] * 97 + ["b"] * 2 + ["c"]
    weights = bucket_weights(buckets)
    masses = {bucket: count * weights[bucket] for bucket, count in Counter(buckets).items()}
    assert masses == pytest.approx(dict.fromkeys("abc", 100 / 3))
    assert sum(weights[bucket] for bucket in buckets) / len(buckets) == pytest.approx(1)


def test_order_does_not_count():
    assert bucket_weights(["a", "b", "b"]) == bucket_weights(["b", "a", "b"])


def test_one_bucket_and_none():
    assert bucket_weights(["a", "a"]) == {"a": 1.0}
    assert bucket_weights([]) == {}
