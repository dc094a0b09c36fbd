"""How far the answers of a system are from the human ones, as two clouds of vectors.

Row i of both clouds answers one question. Exchanging the two answers of a row leaves everything as it is where both
come from one distribution, which gives p-values, and what a figure comes to by chance. Definitions: docs/method.md,
Embeddings.
"""

from dataclasses import dataclass

import numpy as np

_BLOCK = 4_000_000
"""Most elements of a block of distances."""
_CHANCE_DRAWS = 20
"""Exchanges that the chance level of the Frechet distance is the mean of."""


def gaussian_frechet(
    mean: np.ndarray, covariance: np.ndarray, other_mean: np.ndarray, other_covariance: np.ndarray
) -> float:
    """Squared Frechet distance of two Gaussians: means (k,) and covariances (k, k).

    |m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)), Dowson and Landau 1982.
    """
    values, axes = np.linalg.eigh(covariance)
    root = (axes * np.sqrt(np.maximum(values, 0.0))) @ axes.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other_covariance @ root), 0.0)).sum()
    shift = mean - other_mean
    # Rounding can leave a little less than nothing.
    return max(0.0, float(shift @ shift + np.trace(covariance) + np.trace(other_covariance) - 2 * cross))


def frechet_distance(human: np.ndarray, other: np.ndarray) -> float:
    """Squared Frechet distance of the Gaussians with mean and covariance of two clouds, (n, k) and (m, k)."""
    moments = [(cloud.mean(axis=0), np.atleast_2d(np.cov(cloud, rowvar=False))) for cloud in (human, other)]
    return gaussian_frechet(*moments[0], *moments[1])


def exchanges(rows: int, draws: int, seed: int) -> np.ndarray:
    """Signs (rows, draws): -1 where a draw exchanges the two answers of a row."""
    return np.random.default_rng(seed).integers(0, 2, size=(rows, draws)) * 2.0 - 1.0


def frechet_by_chance(human: np.ndarray, other: np.ndarray, seed: int) -> float:
    """Mean Frechet distance of two clouds (n, k) whose rows are exchanged at random: what n rows come to anyway."""
    found = []
    for signs in exchanges(len(human), _CHANCE_DRAWS, seed).T:
        swapped = (signs < 0)[:, None]
        found.append(frechet_distance(np.where(swapped, other, human), np.where(swapped, human, other)))
    return float(np.mean(found))


def _distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Euclidean distances (a, b) between the rows of (a, k) and (b, k)."""
    squares = (some**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * some @ others.T
    return np.sqrt(np.maximum(squares, 0.0))


@dataclass(frozen=True)
class Energy:
    """An energy distance with what resampling and exchanging the answers make of it.

    Attributes:
        estimate: 2 E|X - Y| - E|X - X'| - E|Y - Y'| without bias, so a little below zero at times.
        replicates: the same of resampled rows, (B,).
        p_value: share of exchanges that reach the estimate, itself counted; None without exchanges.
    """

    estimate: float
    replicates: np.ndarray
    p_value: float | None


def energy_distance(
    human: np.ndarray,
    other: np.ndarray,
    weights: np.ndarray | None = None,
    permutations: int = 0,
    seed: int = 0,
) -> Energy:
    """Energy distance of two paired clouds (n, k), Szekely and Rizzo 2013, over pairs of different rows.

    With D(a, b) = |a - b|, rows i and j add D(x_i, y_j) + D(y_i, x_j) - D(x_i, x_j) - D(y_i, y_j); the estimate is the
    mean over all pairs. Exchanging the answers of row i changes the sign of all its terms, so replicates and exchanges
    are quadratic forms of one matrix, which is never held as a whole.

    Args:
        weights: how often each row is drawn, (B, n); None: no replicates.
        permutations: exchanges behind the p-value.
    """
    rows = len(human)
    drawn = np.zeros((0, rows)) if weights is None else weights
    sides = np.hstack([np.ones((rows, 1)), drawn.T, exchanges(rows, permutations, seed)])
    sums = np.zeros(sides.shape[1])
    step = max(1, _BLOCK // rows)
    for start in range(0, rows, step):
        mine = slice(start, min(start + step, rows))
        terms = _distances(human[mine], other) + _distances(other[mine], human)
        terms -= _distances(human[mine], human) + _distances(other[mine], other)
        # A row is no pair with itself.
        terms[np.arange(terms.shape[0]), np.arange(start, mine.stop)] = 0.0
        sums += (sides[mine] * (terms @ sides)).sum(axis=0)
    everyone = rows * (rows - 1)
    estimate = float(sums[0] / everyone)
    pairs = drawn.sum(axis=1, dtype=np.float64) ** 2 - (drawn.astype(np.float64) ** 2).sum(axis=1)
    replicates = sums[1 : 1 + len(drawn)] / np.maximum(pairs, 1.0)
    chance = sums[1 + len(drawn) :] / everyone
    # Equal within rounding counts as reached.
    reached = int((chance >= estimate - 1e-12).sum())
    return Energy(estimate, replicates, (1 + reached) / (1 + permutations) if permutations else None)


def mean_shift(human: np.ndarray, other: np.ndarray) -> float:
    """Distance of the means of two clouds (n, k)."""
    return float(np.linalg.norm(human.mean(axis=0) - other.mean(axis=0)))


def spread_ratio(human: np.ndarray, other: np.ndarray) -> float | None:
    """Spread of a cloud over that of the human answers; None where these do not vary. Below 1: less varied answers."""
    own = float(np.sqrt(human.var(axis=0).sum()))
    return float(np.sqrt(other.var(axis=0).sum())) / own if own > 0 else None
