"""Weights of HDPO pairs: rare buckets and languages, and pairs the critic tells apart, count more.

hdpo_weight = clip(1 + a*gap_b + b*max(0, rejected - chosen) + c*lang + d*bias, w_min, w_max), with the
critic's two scores. Source: the paper (arXiv 2606.13227); docs/method.md, Views.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np
from pydantic import Field, model_validator

from polyalign.errors import BadInput, BadInputs
from polyalign.settings import Settings

Key = TypeVar("Key", bound=Hashable)

DECIMALS = 8
"""Published weights are rounded, so ours are too: equal settings give equal files."""


class WeightSettings(Settings):
    """Coefficients of the weight; the defaults are the published ones, but for `missing_score`."""

    bucket_gap: float = Field(0.5, description="a: how much more a pair of the rarest bucket counts")
    score_gap: float = Field(1.0, description="b: factor of the critic's margin max(0, rejected - chosen)")
    language_gap: float = Field(0.25, description="c: how much more a pair of the rarest language counts")
    pair_type: float = Field(0.25, description="d: factor of the bias of the pair's type")
    w_min: float = Field(0.5, gt=0, description="smallest weight")
    w_max: float = Field(3.0, gt=0, description="largest weight")
    pair_type_bias: dict[str, float] = Field(
        {"global": 0.0, "local": 0.5, "distribution": 1.0}, description="bias of each type of pair"
    )
    missing_score: Literal["error", "zero"] = Field(
        "error", description="a pair without a score: error, or 0 (published), which reads as most human"
    )

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "WeightSettings":
        if self.w_min > self.w_max:
            raise ValueError(f"w_min {self.w_min} is above w_max {self.w_max}")
        return self


def frequency_gaps(keys: Iterable[Key]) -> dict[Key, float]:
    """Gap of each key: max(0, N/(K*n_k) - 1) over N keys of K kinds, divided by the largest gap.

    0 for kinds at least as frequent as the average, 1 for the rarest; all 0 where kinds are equally frequent.
    """
    counts = Counter(keys)
    total = sum(counts.values())
    gaps = {key: max(0.0, total / (len(counts) * count) - 1.0) for key, count in counts.items()}
    largest = max(gaps.values(), default=0.0)
    return {key: gap / largest if largest > 0 else 0.0 for key, gap in gaps.items()}


def complete_scores(scores: np.ndarray, ids: Sequence[str], missing: str, *, field: str) -> np.ndarray:
    """Scores [n], all finite: a missing one (NaN or infinite) is an error, or 0 when `missing` is "zero".

    Raises:
        BadInputs: naming the pairs without a score.
    """
    absent = ~np.isfinite(scores)
    if missing == "zero":
        return np.where(absent, 0.0, scores)
    if absent.any():
        raise BadInputs(
            [
                BadInput(
                    "no distribution score",
                    id=ids[row],
                    field=field,
                    expected="a finite number",
                    fix="score the pairs again; a published recipe (missing_score: zero) takes 0 instead",
                )
                for row in np.flatnonzero(absent)
            ]
        )
    return scores


def pair_type_bias(pair_types: Sequence[str], bias: Mapping[str, float]) -> np.ndarray:
    """Bias [n] of each pair's type; raises `BadInput` for a type that the settings do not name."""
    unknown = sorted(set(pair_types) - set(bias))
    if unknown:
        raise BadInput(
            f"unknown pair type {unknown[0]!r}", field="pair_type", expected=f"one of {', '.join(bias)}"
        )
    return np.array([bias[pair_type] for pair_type in pair_types], dtype=np.float64)


def hdpo_weights(
    chosen: np.ndarray,
    rejected: np.ndarray,
    bucket_gap: np.ndarray,
    language_gap: np.ndarray,
    bias: np.ndarray,
    settings: WeightSettings,
) -> np.ndarray:
    """Weights [n] of pairs from critic scores, gaps and biases [n] each (float64), rounded to `DECIMALS`."""
    weights = (
        1.0
        + settings.bucket_gap * bucket_gap
        + settings.score_gap * np.maximum(0.0, rejected - chosen)
        + settings.language_gap * language_gap
        + settings.pair_type * bias
    )
    clipped = np.clip(weights, settings.w_min, settings.w_max)
    # NumPy scales by 10^8 first, which moves values that lie a bit off a half; Python rounds what is there.
    return np.array([round(weight, DECIMALS) for weight in clipped.tolist()], dtype=np.float64)
