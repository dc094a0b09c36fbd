"""Support distance: how far an answer lies outside the human support of its bucket, the critic's target.

    target = mean over features of max(low - x, x - high, 0) / scale,    scale = max(high - low, std, 1e-6)

Definitions: docs/method.md, Critic and HDPO; docs/references.md shows both forms. 0 is inside the support everywhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polyalign.errors import BadInput
from polyalign.features.origin import refuse_different
from polyalign.features.table import FeatureTable
from polyalign.references import SUPPORTS as REFERENCE_SUPPORTS
from polyalign.references import references_origin

FORMS = ("published", "corrected")
SUPPORTS = tuple(key.removeprefix("support_") for key in REFERENCE_SUPPORTS)
"""Names of the supports, in settings."""
SCALE_FLOOR = 1e-6
NEAR_ZERO_SPREAD = 1e-6
"""Corrected form: a feature whose deviation is at most this share of its largest absolute value is left out."""
CLIP = 10.0
"""Corrected form: the largest distance of one feature, in widths of its support."""


def _ranges(
    reference: Mapping[str, Any], names: Sequence[str], support: str, bucket: str
) -> dict[str, np.ndarray]:
    """low, high, std and size (largest absolute value) of the features in `names`, each [features]."""
    bounds, stats = reference[f"support_{support}"], reference["feature_stats"]
    missing = [name for name in names if name not in bounds]
    if missing:
        raise BadInput(
            f"no reference for feature {missing[0]} in bucket {bucket}",
            expected="references of the features that the answers have",
            fix="build the references again from the same feature set and scorer",
        )
    columns = {
        "low": [bounds[name]["low"] for name in names],
        "high": [bounds[name]["high"] for name in names],
        "std": [stats[name]["std"] for name in names],
        "size": [max(abs(stats[name]["min"]), abs(stats[name]["max"])) for name in names],
    }
    return {key: np.array(values, dtype=np.float64) for key, values in columns.items()}


def feature_distances(values: np.ndarray, low: np.ndarray, high: np.ndarray, std: np.ndarray) -> np.ndarray:
    """[rows, features] distance of each value to [low, high], in units of the feature's scale."""
    scale = np.maximum(np.maximum(high - low, std), SCALE_FLOOR)
    return np.maximum(np.maximum(low - values, values - high), 0.0) / scale


def support_distances(
    features: np.ndarray,
    bucket_ids: Sequence[str],
    references: Mapping[str, Mapping[str, Any]],
    *,
    names: Sequence[str],
    support: str = "q10_q90",
    form: str = "published",
) -> np.ndarray:
    """Support distances of answers.

    Args:
        features: [rows, features].
        bucket_ids: [rows] bucket of each answer.
        references: {bucket: reference} as `polyalign.references` builds them.
        names: [features] column names.
        support: `q10_q90` or `q25_q75`.
        form: `published`, or `corrected`: features of near-zero human spread are left out (the floor of 1e-6 would let
            one of them reach 3e5) and the distance of each feature is clipped at `CLIP`.

    Returns:
        [rows] distances, NaN where the bucket has no reference.

    Raises:
        BadInput: an unknown support or form, or a reference that lacks a feature.
    """
    for value, allowed, what in ((support, SUPPORTS, "support"), (form, FORMS, "form")):
        if value not in allowed:
            raise BadInput(f"unknown {what} {value!r}", expected=f"one of {', '.join(allowed)}")
    result = np.full(len(features), np.nan)
    buckets = np.array(bucket_ids, dtype=object)
    for bucket in dict.fromkeys(bucket_ids):
        if bucket not in references:
            continue
        rows = np.flatnonzero(buckets == bucket)
        ranges = _ranges(references[bucket], names, support, bucket)
        distances = feature_distances(features[rows], ranges["low"], ranges["high"], ranges["std"])
        if form == "corrected":
            varied = ranges["std"] > NEAR_ZERO_SPREAD * np.where(ranges["size"] > 0, ranges["size"], 1.0)
            distances = np.minimum(distances[:, varied], CLIP)
        result[rows] = distances.mean(axis=1) if distances.shape[1] else 0.0
    return result


def table_distances(
    table: FeatureTable,
    references: Mapping[str, Mapping[str, Any]],
    *,
    file: str,
    support: str = "q10_q90",
    form: str = "published",
    bucket_ids: Sequence[str] | None = None,
) -> np.ndarray:
    """[rows] support distances of a feature table, see `support_distances`.

    Args:
        file: the table's file, for messages.
        bucket_ids: buckets of the rows where the table does not say (a published file).

    Raises:
        BadInput: references of another feature set, tools or scorer.
    """
    refuse_different(table.made_by, file, references_origin(references), "the references")
    buckets = table.bucket_ids if bucket_ids is None else bucket_ids
    return support_distances(table.values, buckets, references, names=table.names, support=support, form=form)
