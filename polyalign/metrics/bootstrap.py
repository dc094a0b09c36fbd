"""Bootstrap intervals and paired tests.

Rows are resampled within each bucket. The draws depend on the seed, the buckets and their rows alone, so two cells that
were scored on the same rows are resampled together and their difference is paired. Definitions: docs/method.md,
Metrics beyond the paper; what is resampled and what stays fixed: docs/metrics.md, Intervals.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from polyalign.metrics.diversity import NgramTable

_BLOCK = 2_000_000
"""Most elements of a work array, in values."""


@dataclass(frozen=True)
class Interval:
    """An interval of an estimate; `method` is `percentile` or `percentile_recentred`."""

    estimate: float
    low: float
    high: float
    method: str


def draw_weights(buckets: np.ndarray, replicates: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """How often each row is drawn, by bucket.

    Args:
        buckets: bucket of each row, (n,), in source_index order.
        replicates: B.

    Returns:
        {bucket: (row numbers (m,), weights float32 (B, m))}; each replicate's weights sum to m.
    """
    drawn = {}
    for bucket in np.unique(buckets):
        rows = np.flatnonzero(buckets == bucket)
        generator = np.random.default_rng([seed, zlib.crc32(str(bucket).encode())])
        share = np.full(len(rows), 1 / len(rows))
        drawn[str(bucket)] = rows, generator.multinomial(len(rows), share, size=replicates).astype(np.float32)
    return drawn


def weighted_means(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of `values` (m,) under each row of `weights` (B, m) over the rows that are not NaN -> (B,)."""
    there = ~np.isnan(values)
    if there.all():
        return (weights @ values.astype(weights.dtype)).astype(np.float64) / weights.sum(axis=1)
    return _ratio(weights[:, there] @ values[there], weights[:, there].sum(axis=1, dtype=np.float64))


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, total / np.where(count > 0, count, 1.0), np.nan)


class _Steps:
    """One feature of m rows, made ready for many draws.

    Both empirical distribution functions step at the pooled values, so the distance of a draw is the sum over the gaps
    between neighbouring values of |F - G|. A sparse matrix (values, rows) turns draws into steps, all draws at once.

    Args:
        generated, human: (m,) values; NaN in `generated` where a row has no prediction.
    """

    def __init__(self, generated: np.ndarray, human: np.ndarray) -> None:
        self.answered = np.flatnonzero(~np.isnan(generated))
        values, place = np.unique(np.concatenate([human, generated[self.answered]]), return_inverse=True)
        rows, shape = np.arange(len(human)), (len(values), len(human))
        self.gaps = np.diff(values)
        self.all_answered = len(self.answered) == len(human)
        ones = np.ones(len(human), dtype=np.float32)
        human_step = sparse.csr_matrix((ones, (place[: len(human)], rows)), shape=shape)
        generated_step = sparse.csr_matrix(
            (ones[: len(self.answered)], (place[len(human) :], self.answered)), shape=shape
        )
        self.steps = [generated_step, human_step]
        if self.all_answered:
            # One matrix: a row whose two values are equal moves nothing, and its entries cancel.
            difference = generated_step - human_step
            difference.eliminate_zeros()
            self.steps = [difference]

    def distances(self, draws: np.ndarray) -> np.ndarray:
        """Distances (B,) under draws (m, B); NaN where no predicted row was drawn."""
        drawn = draws[self.answered].sum(axis=0) if not self.all_answered else draws.sum(axis=0)
        difference = np.cumsum(self.steps[0] @ draws, axis=0)[:-1]
        difference /= np.maximum(drawn, 1)
        if not self.all_answered:
            difference -= np.cumsum(self.steps[1] @ draws, axis=0)[:-1] / draws.sum(axis=0)
        return np.where(drawn > 0, self.gaps @ np.abs(difference, out=difference), np.nan)


def wasserstein_replicates(weights: np.ndarray, generated: np.ndarray, human: np.ndarray) -> np.ndarray:
    """Wasserstein-1 distance of two weighted samples under each draw.

    Args:
        weights: (B, m) draws of m rows.
        generated, human: (m,) values of those rows; NaN in `generated` where a row has no prediction.

    Returns:
        (B,) distances; NaN where a replicate drew no predicted row.
    """
    return distance_replicates(weights, generated[:, None], human[:, None], [0])[:, 0]


def distance_replicates(
    weights: np.ndarray, generated: np.ndarray, human: np.ndarray, columns: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Wasserstein-1 distances of some features of one bucket under each replicate, (B, len(columns)).

    Args:
        weights: (B, m).
        generated, human: (m, f); NaN rows in `generated` where a row has no prediction.
    """
    step = max(1, _BLOCK // max(1, 2 * len(human)))
    starts = range(0, len(weights), step)
    blocks = [np.ascontiguousarray(weights[start : start + step].T, dtype=np.float32) for start in starts]
    distances = np.empty((len(weights), len(columns)))
    for place, column in enumerate(columns):
        steps = _Steps(generated[:, column], human[:, column])
        for start, block in zip(starts, blocks, strict=True):
            distances[start : start + step, place] = steps.distances(block)
    return distances


def distinct_replicates(
    table: NgramTable, weights: Mapping[str, tuple[np.ndarray, np.ndarray]], orders: Sequence[int] = (1, 2, 3)
) -> dict[int, np.ndarray]:
    """distinct-n of each replicate, {order: (B,)}.

    Args:
        table: n-grams of all rows.
        weights: draws of those rows, by bucket.
    """
    rows = np.concatenate([rows for rows, _ in weights.values()])
    draws = np.concatenate([drawn for _, drawn in weights.values()], axis=1)[:, np.argsort(rows)]
    present = draws > 0
    result = {}
    for order in orders:
        texts, grams = table.texts[order], table.grams[order]
        totals = draws @ np.bincount(texts, minlength=len(rows)).astype(np.float32)
        pairs = np.unique(grams * len(rows) + texts)
        owners, starts = (
            np.divmod(pairs, len(rows))[1],
            np.flatnonzero(np.diff(pairs // len(rows), prepend=-1)),
        )
        spread = np.diff(starts, append=len(pairs))
        # An n-gram of one text alone is there when the text is; only shared ones need a look at several texts.
        alone = np.bincount(owners[starts[spread == 1]], minlength=len(rows)).astype(np.float32)
        seen = present.astype(np.float32) @ alone
        shared = np.repeat(spread > 1, spread)
        if shared.any():
            bounds = np.cumsum(spread[spread > 1]) - spread[spread > 1]
            several = owners[shared]
            seen += [np.logical_or.reduceat(drawn[several], bounds).sum() for drawn in present]
        result[order] = _ratio(seen.astype(np.float64), totals.astype(np.float64))
    return result


def interval(
    replicates: np.ndarray,
    estimate: float,
    confidence: float,
    *,
    recentre: bool,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval | None:
    """Percentile interval of an estimate, cut at the values the metric can take; None without finite replicates.

    Args:
        recentre: shift the replicates to have the estimate as their mean. For distances between distributions and
            for distinct-n, which resampling itself moves: a drawn-twice row adds no new n-gram.
    """
    finite = replicates[np.isfinite(replicates)]
    if not len(finite):
        return None
    if recentre:
        finite = finite - finite.mean() + estimate
    tail = (1 - confidence) / 2
    low, high = np.clip(np.quantile(finite, [tail, 1 - tail]), *bounds)
    return Interval(estimate, float(low), float(high), "percentile_recentred" if recentre else "percentile")


@dataclass(frozen=True)
class Difference:
    """A paired difference `a - b`: estimate, interval and two-sided bootstrap p-value."""

    estimate: float
    low: float
    high: float
    p_value: float

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_difference(
    a: np.ndarray, b: np.ndarray, estimate_a: float, estimate_b: float, confidence: float = 0.95
) -> Difference | None:
    """Difference of two cells from replicates (B,) drawn together; None without finite ones.

    The replicates of the difference are recentred on the estimate, which takes out the shift that resampling gives to
    both cells alike.
    """
    both = np.isfinite(a) & np.isfinite(b)
    if not both.any():
        return None
    estimate = estimate_a - estimate_b
    draws = a[both] - b[both]
    draws = draws - draws.mean() + estimate
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    # One is added to each count, so that no finite number of replicates gives a p-value of zero.
    below, above = ((draws <= 0).sum() + 1) / (len(draws) + 1), ((draws >= 0).sum() + 1) / (len(draws) + 1)
    return Difference(estimate, float(low), float(high), float(min(1.0, 2 * min(below, above))))
