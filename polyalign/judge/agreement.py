"""How far judges agree with each other on the rows that all of them scored.

    agreement({"a": {"en_sft_tiny": rows}, "b": {"en_sft_tiny": rows}}, rubric, replicates=1000, ...)

Scores are compared by Krippendorff's alpha for ordinal values, composites of two judges by Pearson's correlation.
What they mean: docs/judge.md, Agreement.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import krippendorff
import numpy as np

from polyalign.judge.rubric import HIGHEST, LOWEST, Rubric
from polyalign.metrics.bootstrap import ends, interval, row_weights, weighted_sums

Rows = Mapping[int, Mapping[str, Any]]
ALIKE = "every score is the same"


def alpha(scores: np.ndarray) -> dict[str, Any]:
    """{estimate, reason} of Krippendorff's alpha.

    Args:
        scores: from `LOWEST` to `HIGHEST`, int (n, judges) with at least two judges.
    """
    domain = list(range(LOWEST, HIGHEST + 1))
    counted = np.stack([(scores == value).sum(axis=1) for value in domain], axis=1)
    if np.count_nonzero(counted.sum(axis=0)) < 2:
        return {"estimate": None, "reason": ALIKE}
    found = krippendorff.alpha(value_counts=counted, value_domain=domain, level_of_measurement="ordinal")
    return {"estimate": float(found), "reason": None}


def pearson(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Correlation of two columns (n,) as they are, (1,), or under each row of `weights` (B, n), (B,).

    NaN where one of the columns has no variation.
    """
    if weights is None:
        weights = np.ones((1, len(x)))
    # Around the mean, so that sums of squares in single precision keep their digits.
    x, y = x - x.mean(), y - y.mean()
    sums = weighted_sums(weights, np.column_stack([np.ones(len(x)), x, y, x * x, y * y, x * y]))
    count = np.maximum(sums[:, 0], 1)
    mean_x, mean_y, xx, yy, xy = (sums[:, column] / count for column in range(1, 6))
    spread = (xx - mean_x**2) * (yy - mean_y**2)
    # Anything smaller is what rounding leaves of zero.
    fine = spread > 1e-9
    return np.where(fine, (xy - mean_x * mean_y) / np.sqrt(np.where(fine, spread, 1.0)), np.nan)


def agreement(
    judged: Mapping[str, Mapping[str, Rows]],
    rubric: Rubric,
    *,
    replicates: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Agreement of the judges over all cells together; empty of figures where there are fewer than two.

    Args:
        judged: {judge: {cell: {source_index: row}}}; the cells are the same for all.
        replicates: of Pearson's correlation; all cells of a row are drawn together.
    """
    judges = list(judged)
    nothing = {"judges": judges, "rows": 0, "alpha": {}, "pearson": []}
    if len(judges) < 2:
        return nothing
    shared = [
        (cell, index)
        for cell in judged[judges[0]]
        for index in sorted(set.intersection(*(scored(judged[judge][cell]) for judge in judges)))
    ]
    if not shared:
        return nothing
    rows = {judge: [judged[judge][cell][index] for cell, index in shared] for judge in judges}

    def column(judge: str, kind: str, name: str) -> np.ndarray:
        return np.array([row[kind][name] for row in rows[judge]], dtype=float)

    alphas = {
        name: alpha(np.column_stack([column(judge, "scores", name) for judge in judges]).astype(int))
        for name in rubric.dimensions
    }
    weights = weights_of_rows([index for _, index in shared], replicates, seed)
    pairs = []
    for first, second in combinations(judges, 2):
        found = {}
        for name in rubric.composites:
            x, y = column(first, "composites", name), column(second, "composites", name)
            found[name] = _with_interval(pearson(x, y)[0], pearson(x, y, weights), confidence)
        pairs.append({"judges": [first, second], "composites": found})
    return {"judges": judges, "rows": len(shared), "alpha": alphas, "pearson": pairs}


def scored(rows: Rows) -> set[int]:
    """The source_index of rows that have a score."""
    return {index for index, row in rows.items() if row["error"] is None}


def weights_of_rows(indices: Sequence[int], replicates: int, seed: int) -> np.ndarray:
    """How often each judged answer is drawn, (B, n): the answers of all cells to a row go together."""
    known, place = np.unique(indices, return_inverse=True)
    return row_weights(np.zeros(len(known), dtype=np.int8), replicates, seed)[:, place]


def _with_interval(estimate: float, replicates: np.ndarray, confidence: float) -> dict[str, float | None]:
    if not np.isfinite(estimate):
        return {"estimate": None, "low": None, "high": None}
    found = interval(replicates, float(estimate), confidence, recentre=False, bounds=(-1.0, 1.0))
    low, high = ends(found)
    return {"estimate": float(estimate), "low": low, "high": high}
