"""Bootstrap intervals and paired tests.

Rows are resampled within each bucket. The draws depend on the seed, the buckets and their rows alone, so two cells that
were scored on the same rows are resampled together and their difference is paired. Definitions: docs/method.md,
Metrics beyond the paper; what is resampled and what stays fixed: docs/metrics.md, Intervals.
"""

import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import ndtr

from polyalign.metrics.diversity import NgramTable

Draws = dict[str, tuple[np.ndarray, np.ndarray]]
"""By bucket: numbers of its rows (m,), and how often each is drawn, uint8 (B, m)."""

_BLOCK = 2_000_000
"""Most elements of a work array, in values."""
_GRID = 2048
"""Distances between samples of more different values than this are taken on so many of their quantiles."""


@dataclass(frozen=True)
class Interval:
    """An interval of an estimate; `method` is `percentile` or `percentile_recentred`."""

    estimate: float
    low: float
    high: float
    method: str


def ends(found: Interval | None) -> tuple[float, float] | tuple[None, None]:
    """Lower and upper end of an interval, if there is one."""
    return (None, None) if found is None else (found.low, found.high)


def draw_weights(buckets: np.ndarray, replicates: int, seed: int) -> Draws:
    """How often each row is drawn, by bucket; each replicate draws as many rows of a bucket as it has.

    Args:
        buckets: bucket of each row, (n,), in source_index order.
        replicates: B.
    """
    drawn = {}
    for bucket in np.unique(buckets):
        rows = np.flatnonzero(buckets == bucket)
        generator = np.random.default_rng([seed, zlib.crc32(str(bucket).encode())])
        weights = np.empty((replicates, len(rows)), dtype=np.uint8)
        for replicate in range(replicates):
            # No row is drawn 256 times: of m rows, each has one expected draw.
            picked = generator.integers(len(rows), size=len(rows), dtype=np.uint32)
            weights[replicate] = np.bincount(picked, minlength=len(rows))
        drawn[str(bucket)] = rows, weights
    return drawn


def row_weights(strata: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """How often each row is drawn, uint8 (B, n); rows are resampled within the strata (n,) that they belong to.

    The draws of `draw_weights`, side by side; none without replicates.
    """
    weights = np.zeros((replicates, len(strata)), dtype=np.uint8)
    if replicates:
        for rows, drawn in draw_weights(strata, replicates, seed).values():
            weights[:, rows] = drawn
    return weights


def weighted_sums(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sums of the columns of `values` (m, k) under each row of `weights` (B, m) -> (B, k)."""
    if not len(weights):
        return np.empty((0, values.shape[1]))
    step = max(1, _BLOCK // max(1, len(values)))
    columns = values.astype(np.float32)
    parts = [
        weights[start : start + step].astype(np.float32) @ columns for start in range(0, len(weights), step)
    ]
    return np.concatenate(parts).astype(np.float64)


def weighted_means(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of `values` (m,) under each row of `weights` (B, m) over the rows that are not NaN -> (B,)."""
    there = ~np.isnan(values)
    total, count = weighted_sums(weights, np.column_stack([np.where(there, values, 0.0), there])).T
    return ratio(total, count)


def deviation_replicates(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Standard deviation of each column of `values` (m, k) under each draw, over that of all rows -> (B, k).

    1 where a draw happens to have no variation, or where there is none at all: the deviation of all rows then stands.
    """
    deviation = values.std(axis=0)
    unit = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    count = weights.sum(axis=1, dtype=np.float64)[:, None]
    sums = weighted_sums(weights, np.hstack([unit, unit**2])) / np.maximum(count, 1)
    means, squares = np.split(sums, 2, axis=1)
    variance = squares - means**2
    # Anything smaller is what rounding leaves of zero.
    return np.sqrt(np.where(variance > 1e-5, variance, 1.0))


def ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """total / count; NaN where nothing was counted."""
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
        values, place = _on_grid(values, place)
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


def _on_grid(values: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(values, place of each row among them), at most `_GRID` values: neighbours of equal mass become their mean.

    The distance changes by what is moved within a cell of the grid, on average less than a thousandth of the range
    that the data mostly lie in; replicates are centred on the exact estimate in any case.
    """
    if len(values) <= _GRID:
        return values, place
    counts = np.bincount(place, minlength=len(values))
    cell = np.minimum((np.cumsum(counts) - 1) * _GRID // len(place), _GRID - 1)
    used, cell = np.unique(cell, return_inverse=True)
    means = np.bincount(cell, counts * values, len(used)) / np.bincount(cell, counts, len(used))
    return means, cell[place]


def distance_replicates(
    weights: np.ndarray,
    generated: np.ndarray,
    human: np.ndarray,
    columns: Sequence[int] | np.ndarray,
    threads: int = 1,
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

    def fill(place: int) -> None:
        steps = _Steps(generated[:, columns[place]], human[:, columns[place]])
        for start, block in zip(starts, blocks, strict=True):
            distances[start : start + step, place] = steps.distances(block)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fill, range(len(columns))))
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
    replicates = len(next(iter(weights.values()))[1])
    # A bit a replicate says whether a text was drawn, so that "any of these texts" is one OR for 64 replicates.
    drawn = np.empty((len(rows), -(-replicates // 64)), dtype=np.uint64)
    for own, of_bucket in weights.values():
        bits = np.zeros((len(own), drawn.shape[1] * 8), dtype=np.uint8)
        packed = np.packbits(of_bucket.T > 0, axis=1)
        bits[:, : packed.shape[1]] = packed
        drawn[own] = bits.view(np.uint64)
    totals = np.zeros((replicates, len(orders)))
    for own, of_bucket in weights.values():
        totals += weighted_sums(of_bucket, np.column_stack([table.counts(order)[own] for order in orders]))
    everyone = np.arange(len(rows))
    result = {}
    for place, order in enumerate(orders):
        texts, grams = table.occurrences(order, everyone)
        # Sorted by hand: np.unique hashes integers, which takes ten times as long.
        pairs = np.sort(grams.astype(np.int64) * len(rows) + texts)
        pairs = pairs[np.flatnonzero(np.diff(pairs, prepend=-1))]
        grams, owners = np.divmod(pairs, len(rows))
        firsts = np.flatnonzero(np.diff(grams, prepend=-1))
        spread = np.diff(firsts, append=len(pairs))
        # An n-gram of one text alone is there when the text is.
        alone = np.bincount(owners[firsts[spread == 1]], minlength=len(rows))
        seen = _count_bits(drawn, alone, replicates)
        seen += _count_any(drawn, owners[np.repeat(spread > 1, spread)], spread[spread > 1], replicates)
        result[order] = ratio(seen, totals[:, place])
    return result


def _unpacked(bits: np.ndarray, replicates: int) -> np.ndarray:
    return np.unpackbits(np.ascontiguousarray(bits).view(np.uint8), axis=1, count=replicates)


def _count_bits(drawn: np.ndarray, times: np.ndarray, replicates: int) -> np.ndarray:
    """Sum of `times` (n,) over the rows that each replicate drew, (B,)."""
    seen = np.zeros(replicates)
    step = max(1, _BLOCK // replicates)
    for start in range(0, len(drawn), step):
        there = _unpacked(drawn[start : start + step], replicates)
        seen += times[start : start + step].astype(np.float32) @ there.astype(np.float32)
    return seen


def _count_any(drawn: np.ndarray, owners: np.ndarray, spread: np.ndarray, replicates: int) -> np.ndarray:
    """How many groups of rows have a row that each replicate drew, (B,).

    Args:
        owners: rows of all groups, one group after the other.
        spread: rows a group.
    """
    seen = np.zeros(replicates)
    ends = np.cumsum(spread)
    group = 0
    while group < len(spread):
        first = ends[group] - spread[group]
        stop = max(group + 1, int(np.searchsorted(ends, first + _BLOCK // drawn.shape[1])))
        of_rows = drawn[owners[first : ends[stop - 1]]]
        anyone = np.bitwise_or.reduceat(of_rows, ends[group:stop] - spread[group:stop] - first, axis=0)
        for start in range(0, len(anyone), 255):
            # Up to 255 bits add up within a byte.
            seen += _unpacked(anyone[start : start + 255], replicates).sum(axis=0, dtype=np.uint8)
        group = stop
    return seen


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
    """A paired difference `a - b`: estimate, interval and two-sided p-value."""

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
    both cells alike. The p-value counts the replicates beyond zero; where there are none, their normal
    tail goes on below what their number can resolve, so that a correction for many tests has something to work on.
    """
    both = np.isfinite(a) & np.isfinite(b)
    if not both.any():
        return None
    estimate = estimate_a - estimate_b
    draws = a[both] - b[both]
    draws = draws - draws.mean() + estimate
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    # One is added to each count, so that no finite number of replicates gives a p-value of zero by itself.
    fewest = min((draws <= 0).sum(), (draws >= 0).sum())
    p_value = min(1.0, 2 * (fewest + 1) / (len(draws) + 1))
    if not fewest and draws.std() > 0:
        p_value = min(p_value, 2 * ndtr(-abs(estimate) / draws.std(ddof=1)))
    return Difference(estimate, float(low), float(high), float(p_value))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for being several (Holm): the chance of any false rejection stays below the level.

    The k-th smallest of n is multiplied by n - k + 1, and none becomes smaller than one before it; at most 1.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return corrected.tolist()
