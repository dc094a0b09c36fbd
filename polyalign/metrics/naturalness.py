"""BNG, HCR and their variants for the rows of an evaluation, as estimates and as bootstrap replicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polyalign.metrics import bng, hcr
from polyalign.metrics.bootstrap import (
    Draws,
    deviation_replicates,
    distance_replicates,
    ratio,
    weighted_sums,
)
from polyalign.metrics.feature_inputs import RowFeatures
from polyalign.metrics.inputs import Rows

CALIBRATED = "calibrated_q10_q90"


@dataclass(frozen=True)
class Bucket:
    """Rows of one bucket with enough predictions.

    Attributes:
        name: bucket id.
        rows: int array (m,), numbers of its rows.
        human: float64 (m, f).
        all_generated: float64 (m, f), NaN rows where a row was not answered.
        names: f feature names.
        supports: ranges of the references by region; empty where they have no such bucket.
    """

    name: str
    rows: np.ndarray
    human: np.ndarray
    all_generated: np.ndarray
    names: list[str]
    supports: dict[str, hcr.Support]

    @cached_property
    def answered(self) -> np.ndarray:
        """Bool (m,): rows with a prediction."""
        return ~np.isnan(self.all_generated).any(axis=1)

    @property
    def generated(self) -> np.ndarray:
        return self.all_generated[self.answered]

    @cached_property
    def kept(self) -> np.ndarray:
        """Bool (f,): features of the robust variants."""
        return bng.robust_mask(self.human, self.names)

    @cached_property
    def threshold(self) -> float:
        """Support distance that 90% of the human answers do not exceed, over the robust features."""
        return hcr.calibrated_threshold(self._distance(self.human))

    def _distance(self, values: np.ndarray) -> np.ndarray:
        support = self.supports[hcr.SUPPORTS[0]]
        kept = hcr.Support(support.low[self.kept], support.high[self.kept], support.std[self.kept])
        return hcr.support_distance(values[:, self.kept], kept)

    @cached_property
    def calibrated(self) -> np.ndarray:
        """Whether each answered row is as near to the support as 90% of the human answers, bool (answered,)."""
        return self._distance(self.generated) <= self.threshold


def large_buckets(rows: Rows, features: RowFeatures, min_bucket_size: int) -> list[Bucket]:
    """Buckets with at least `min_bucket_size` predictions, by name."""
    found = []
    for name in np.unique(rows.buckets):
        here = np.flatnonzero(rows.buckets == name)
        supports = features.supports.get(str(name), {})
        bucket = Bucket(
            str(name), here, features.human[here], features.generated[here], features.names, supports
        )
        if bucket.answered.sum() >= min_bucket_size:
            found.append(bucket)
    return found


def measure(buckets: Sequence[Bucket], names: Sequence[str], min_bucket_size: int) -> dict[str, dict]:
    """`bng`, `bng_robust`, `hcr`, `hcr_q25_q75`, `hcr_calibrated` and `hcr_of_human_rows` of the report."""
    if not buckets:
        return null_measures(f"no bucket has {min_bucket_size} predictions")
    plain = {bucket.name: bng.bucket_gaps(bucket.generated, bucket.human) for bucket in buckets}
    robust = {bucket.name: bng.robust_gaps(bucket.generated, bucket.human, names) for bucket in buckets}
    response = np.array([bng.is_response_feature(name) for name in names], dtype=bool)
    degenerate = {
        bucket.name: [name for name, left_out in zip(names, response & ~bucket.kept, strict=True) if left_out]
        for bucket in buckets
    }
    measures = {
        "bng": {**bng.summarize(plain), "contributions": bng.contributions(plain, names)},
        "bng_robust": {
            **bng.summarize(robust),
            "contributions": bng.contributions(robust, names),
            "degenerate_features": {name: left_out for name, left_out in degenerate.items() if left_out},
            "not_response_features": [n for n, kept in zip(names, response, strict=True) if not kept],
        },
    }
    return measures | _coverage_rates([bucket for bucket in buckets if bucket.supports])


def _coverage_rates(buckets: Sequence[Bucket]) -> dict[str, dict]:
    reason = None if buckets else "no bucket of these rows is in the references"
    rates: dict[str, dict] = {}
    for key, region in zip(("hcr", "hcr_q25_q75"), hcr.SUPPORTS, strict=True):
        rows = [hcr.bucket_row(b.name, hcr.inside(b.generated, b.supports[region])) for b in buckets]
        rates[key] = {**hcr.summarize(region, rows), "reason": reason}
    rates["hcr_of_human_rows"] = {
        region: {
            **hcr.summarize(
                region, [hcr.bucket_row(b.name, hcr.inside(b.human, b.supports[region])) for b in buckets]
            ),
            "reason": reason,
        }
        for region in hcr.SUPPORTS
    }
    calibrated = [
        {
            "bucket_id": b.name,
            "n_examples": len(b.generated),
            "n_features": int(b.kept.sum()),
            "hcr": float(b.calibrated.mean()),
            "threshold": b.threshold,
        }
        for b in buckets
        if b.kept.any()
    ]
    rates["hcr_calibrated"] = {**hcr.summarize(CALIBRATED, calibrated), "reason": reason}
    return rates


def null_measures(reason: str) -> dict[str, dict]:
    """The measures where there are no features or no large bucket."""
    rate = {
        key: {**hcr.summarize(region, []), "reason": reason}
        for key, region in zip(("hcr", "hcr_q25_q75"), hcr.SUPPORTS, strict=True)
    }
    return {
        "bng": {"reason": reason},
        "bng_robust": {"reason": reason},
        **rate,
        "hcr_calibrated": {**hcr.summarize(CALIBRATED, []), "reason": reason},
        "hcr_of_human_rows": {
            region: {**hcr.summarize(region, []), "reason": reason} for region in hcr.SUPPORTS
        },
    }


def replicates(
    buckets: Sequence[Bucket], names: Sequence[str], draws: Draws, threads: int = 1
) -> dict[str, dict[str, np.ndarray]]:
    """Replicates (B,) of BNG, HCR, their variants and the inside rate by bucket; macro values are their means."""
    gathered: dict[str, dict[str, np.ndarray]] = {}
    for bucket in buckets:
        weights = draws[bucket.name][1]
        found = _gap_replicates(bucket, names, weights, threads)
        if bucket.supports:
            inside = hcr.inside(bucket.generated, bucket.supports[hcr.SUPPORTS[0]])
            per_row = {"hcr": inside.all(axis=1), "inside_rate": inside.mean(axis=1)}
            if bucket.kept.any():
                per_row["hcr_calibrated"] = bucket.calibrated
            columns = np.column_stack([*per_row.values(), np.ones(len(inside))])
            sums = weighted_sums(weights[:, bucket.answered], columns)
            for place, name in enumerate(per_row):
                found[name] = ratio(sums[:, place], sums[:, -1])
        for name, values in found.items():
            gathered.setdefault(name, {})[bucket.name] = values
    return gathered


def _gap_replicates(
    bucket: Bucket, names: Sequence[str], weights: np.ndarray, threads: int
) -> dict[str, np.ndarray]:
    """BNG and robust BNG of one bucket under each draw; which features the robust one takes stays fixed."""
    everything = np.arange(len(names))
    gaps = _scaled_replicates(weights, bucket.all_generated, bucket.human, everything, threads)
    values = {"bng": gaps.mean(axis=1)}
    if not bucket.kept.any():
        return values
    heavy = np.flatnonzero([bng.is_heavy_tailed(name) for name in names] & bucket.kept)
    if len(heavy):
        human = bng.robust_values(bucket.human, names)
        generated = bng.robust_values(bucket.all_generated, names)
        gaps[:, heavy] = _scaled_replicates(weights, generated, human, heavy, threads)
    values["bng_robust"] = gaps[:, bucket.kept].mean(axis=1)
    return values


def _scaled_replicates(
    weights: np.ndarray, generated: np.ndarray, human: np.ndarray, columns: np.ndarray, threads: int
) -> np.ndarray:
    """Distances of some features over the human deviation under each draw, (B, len(columns))."""
    distances = distance_replicates(weights, generated, human, columns, threads)
    deviation = human[:, columns].std(axis=0)
    scale = np.where(deviation <= bng.STD_FLOOR, 1.0, deviation)
    return distances / (scale * deviation_replicates(weights, human[:, columns]))
