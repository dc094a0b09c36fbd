"""Classifier two-sample test: can a classifier tell a system's answers from the human ones by their vectors?

Lopez-Paz and Oquab 2017, with the area under the curve in place of accuracy. Definitions: docs/method.md, Embeddings.
"""

from dataclasses import dataclass

import numpy as np

_BLOCK = 4_000_000
"""Most elements of a block of comparisons."""
_STRENGTH = 1.0
"""Inverse strength of the classifier's penalty."""
_STEPS = 1000


@dataclass(frozen=True)
class TwoSample:
    """AUC of the cross-validated classifier, and the same of resampled rows, (B,)."""

    auc: float
    replicates: np.ndarray


def fold_of_rows(rows: int, folds: int, seed: int) -> np.ndarray:
    """Fold of each of n rows: a seeded draw of folds that differ by one row at most."""
    return np.random.default_rng(seed).permutation(rows) % folds


def _features(vectors: np.ndarray) -> np.ndarray:
    """Vectors with their squares: a linear classifier then sees a difference in spread, too."""
    return np.hstack([vectors, vectors**2])


def held_out_scores(human: np.ndarray, other: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n,) of human answers and of a system's, each by a classifier that saw other rows; higher: the system.

    Both answers of a row are in one fold: else a classifier would know the question from the other answer to it.

    Args:
        human, other: (n, k).
        fold: (n,).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    sides = _features(human), _features(other)
    scores = np.empty((2, len(human)))
    for number in np.unique(fold):
        mine = fold == number
        train = np.concatenate([side[~mine] for side in sides])
        labels = np.repeat([0, 1], (~mine).sum())
        model = make_pipeline(StandardScaler(), LogisticRegression(C=_STRENGTH, max_iter=_STEPS))
        model.fit(train, labels)
        for place, side in enumerate(sides):
            scores[place, mine] = model.decision_function(side[mine])
    return scores[0], scores[1]


def fold_auc(human: np.ndarray, other: np.ndarray, fold: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the curve (B,) within folds, over all of them; ties count half.

    Scores of two folds come from two classifiers and are never compared.

    Args:
        human, other: scores (n,).
        fold: (n,).
        weights: how often each row is drawn, with both its answers, (B, n).
    """
    wins, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for number in np.unique(fold):
        mine = np.flatnonzero(fold == number)
        drawn = weights[:, mine].astype(np.float64)
        step = max(1, _BLOCK // len(mine))
        for start in range(0, len(mine), step):
            some = mine[start : start + step]
            gap = other[mine][None, :] - human[some][:, None]
            won = (gap > 0) + 0.5 * (gap == 0)
            wins += (drawn[:, start : start + step] * (drawn @ won.T)).sum(axis=1)
        pairs += drawn.sum(axis=1) ** 2
    return wins / np.maximum(pairs, 1.0)


def two_sample_test(
    human: np.ndarray,
    other: np.ndarray,
    *,
    folds: int,
    seed: int,
    weights: np.ndarray | None = None,
) -> TwoSample:
    """AUC of telling two paired clouds (n, k) apart: 0.5 where they cannot be told apart, 1 where always.

    Args:
        weights: how often each row is drawn, (B, n); None: no replicates.
    """
    fold = fold_of_rows(len(human), folds, seed)
    scores = held_out_scores(human, other, fold)
    drawn = np.ones((1, len(human)))
    if weights is not None:
        drawn = np.concatenate([drawn, weights])
    found = fold_auc(*scores, fold, drawn)
    return TwoSample(float(found[0]), found[1:])
