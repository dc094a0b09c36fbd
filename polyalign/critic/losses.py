"""The critic's loss, and the check that its scores tell answers apart. docs/method.md, Critic and HDPO."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from polyalign.errors import PolyAlignError

TIE_TOLERANCE = 1e-6
"""Scores this close count as tied: the noise of float32 batches must not hide a collapse."""
MIN_DISTINCT_PAIRS = 4
"""Fewer distinct pairs say nothing about a collapse."""


class CriticLoss(NamedTuple):
    """Weighted sum and its two parts, scalars; a part without data is 0."""

    loss: torch.Tensor
    reg: torch.Tensor
    rank: torch.Tensor


def critic_loss(
    pred: torch.Tensor,
    target: torch.Tensor,
    chosen: torch.Tensor | None,
    rejected: torch.Tensor | None,
    *,
    margin: float,
    reg_lambda: float,
    rank_lambda: float,
) -> CriticLoss:
    """reg_lambda * mean|pred - target| + rank_lambda * mean relu(margin - rejected + chosen) (`paper`).

    Args:
        pred, target: scores and support distances [n] of the answers that are regressed.
        chosen, rejected: scores [m] of ranked pairs, or None; a score is a distance, so `rejected` should be
            the higher one.
    """
    reg = (pred - target).abs().mean()
    if chosen is None or rejected is None or not chosen.numel():
        rank = torch.zeros_like(reg)
    else:
        rank = torch.relu(margin - rejected + chosen).mean()
    return CriticLoss(reg_lambda * reg + rank_lambda * rank, reg, rank)


def score_diagnostics(
    chosen_texts: Sequence[str], rejected_texts: Sequence[str], chosen: np.ndarray, rejected: np.ndarray
) -> dict[str, Any]:
    """How well scores [n] of chosen and rejected answers tell the answers apart (published key names).

    `all_scores_tied` says that every pair of different texts got the same score twice, whether or not the
    score differs between pairs: a network that sees only the bucket does that.
    """
    scores = np.concatenate([np.asarray(chosen, np.float64), np.asarray(rejected, np.float64)])
    tied = np.isclose(chosen, rejected, rtol=0.0, atol=TIE_TOLERANCE)
    distinct = np.array([one != other for one, other in zip(chosen_texts, rejected_texts, strict=True)], bool)
    low, high = (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 0.0)
    return {
        "score_min": low,
        "score_max": high,
        "score_range": high - low,
        "score_std": float(scores.std()) if len(scores) else 0.0,
        "equal_score_records": int(tied.sum()),
        "distinct_text_pairs": int(distinct.sum()),
        "distinct_text_equal_score_records": int((tied & distinct).sum()),
        "all_scores_tied": bool(distinct.any() and tied[distinct].all()),
    }


def check_scores(diagnostics: dict[str, Any], *, where: str) -> None:
    """Raise `PolyAlignError` when the scores of at least `MIN_DISTINCT_PAIRS` distinct pairs are all tied."""
    if diagnostics["all_scores_tied"] and diagnostics["distinct_text_pairs"] >= MIN_DISTINCT_PAIRS:
        told = ", ".join(f"{name} {value}" for name, value in diagnostics.items())
        raise PolyAlignError(
            f"{where}: the critic's scores collapsed: chosen and rejected are tied in every pair ({told}); "
            "fix: train the critic with another seed, learning rate or encoder"
        )
