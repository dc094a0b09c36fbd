"""The human ceiling: what every metric says of one half of the human answers measured against the other half.

Each bucket's rows fall into two halves by the seed. A number of a model can then be read against what humans reach by
the same measure; samples are half as large, so distances between distributions lie a little higher than they would on
all rows. Definition: docs/method.md, Metrics beyond the paper.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from polyalign.metrics import bng, hcr
from polyalign.metrics.diversity import NgramTable, diversity
from polyalign.metrics.inputs import Rows
from polyalign.metrics.naturalness import Bucket
from polyalign.metrics.settings import MetricSettings
from polyalign.metrics.tdm import Turns
from polyalign.metrics.utility import SCORES, score_rows
from polyalign.references import QUANTILES, quantile_index

DIVERSITY = ("distinct_1", "distinct_2", "distinct_3", "self_bleu_4")
NATURALNESS = ("bng", "bng_robust", "hcr", "hcr_q25_q75", "hcr_calibrated", "inside_rate")
_BANDS = {"hcr": ("q10", "q90"), "hcr_q25_q75": ("q25", "q75")}


@dataclass
class Ceiling:
    """Values by metric, None with a reason where humans cannot be measured against each other."""

    values: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    prompts: int = 0

    def put(self, names: Sequence[str], values: Mapping[str, float | None] | None, reason: str) -> None:
        """Take over `values` of some metrics; those that are None or missing get the reason."""
        for name in names:
            value = None if values is None else values.get(name)
            self.values[name] = value
            if value is None:
                self.reasons[name] = reason


def split_halves(buckets: np.ndarray, seed: int) -> np.ndarray:
    """Which rows are of the first half: bool (n,), half of each bucket's rows, rounded down."""
    first = np.zeros(len(buckets), dtype=bool)
    for bucket in np.unique(buckets):
        rows = np.flatnonzero(buckets == bucket)
        generator = np.random.default_rng([seed, zlib.crc32(str(bucket).encode())])
        first[generator.permutation(rows)[: len(rows) // 2]] = True
    return first


def human_ceiling(
    rows: Rows,
    large: Sequence[Bucket],
    human_grams: NgramTable,
    turns: Mapping[str, Turns] | str,
    multi: np.ndarray,
    mauve: Callable[[np.ndarray], float | None] | None,
    settings: MetricSettings,
) -> Ceiling:
    """The ceiling of every metric of an evaluation.

    Args:
        large: buckets with features, see `polyalign.metrics.naturalness.large_buckets`.
        human_grams: n-grams of the human answers to the answered rows.
        turns: multi-turn buckets in the latent space, or why there are none.
        multi: for each multi-turn row of `turns`, its place among the answered rows.
        mauve: gives MAUVE between two halves of the human answers from the bool array of the first half, (answered,);
            None without a featurizer.
    """
    first = split_halves(rows.buckets, settings.seed)
    found = Ceiling()
    utility, found.prompts = same_prompt_utility(rows, settings.min_bucket_size)
    found.put(SCORES, utility, f"fewer than {settings.min_bucket_size} prompts have two human answers")
    of_answered = first[rows.answered]
    half = np.flatnonzero(of_answered)
    varied = diversity(human_grams, half, **settings.self_bleu()) if len(half) else None
    found.put(DIVERSITY, varied, "too few rows")
    reason = "no features or no large bucket"
    found.put(NATURALNESS, halves_naturalness(large, first) if large else None, reason)
    reason = turns if isinstance(turns, str) else "a half of a bucket is empty"
    tdm = None if isinstance(turns, str) else halves_tdm(turns, of_answered[multi])
    found.put(["tdm"], {"tdm": tdm}, reason)
    found.put(["mauve"], {"mauve": mauve(of_answered) if mauve else None}, "no featurizer, or too few rows")
    found.put(["nuf", "aggregate"], None, "needs a utility, which humans have only where prompts repeat")
    return found


def same_prompt_utility(rows: Rows, least: int) -> tuple[dict[str, float] | None, int]:
    """(mean scores of a human answer against another one to the same prompt, prompts with two answers).

    None for fewer than `least` such prompts. The first answer is scored against the second.
    """
    by_prompt: dict[int, list[int]] = {}
    for row, prompt in enumerate(rows.prompts.tolist()):
        by_prompt.setdefault(prompt, []).append(row)
    pairs = [places[:2] for places in by_prompt.values() if len(places) > 1]
    if len(pairs) < least:
        return None, len(pairs)
    scores = score_rows([rows.answers[a] for a, _ in pairs], [rows.answers[b] for _, b in pairs])
    return {name: float(values.mean()) for name, values in scores.items()}, len(pairs)


def halves_naturalness(large: Sequence[Bucket], first: np.ndarray) -> dict[str, float]:
    """BNG and HCR, plain and of our variants, of the first halves against the second ones; means over buckets."""
    gathered: dict[str, list[float]] = {}
    for bucket in large:
        chosen = first[bucket.rows]
        one, other = bucket.human[chosen], bucket.human[~chosen]
        values = {
            "bng": bng.bucket_gaps(one, other).bng,
            "bng_robust": bng.robust_gaps(one, other, bucket.names).bng,
            **_halves_coverage(bucket, one, other),
        }
        for name, value in values.items():
            if not np.isnan(value):
                gathered.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in gathered.items()}


def _halves_coverage(bucket: Bucket, one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """How much of one half lies in the support that the other half spans."""
    ordered, deviation = np.sort(other, axis=0), other.std(axis=0)

    def band(low: str, high: str) -> hcr.Support:
        at = [quantile_index(len(other), QUANTILES[name]) for name in (low, high)]
        return hcr.Support(ordered[at[0]], ordered[at[1]], deviation)

    values = {}
    for name, ends in _BANDS.items():
        values[name] = float(hcr.inside(one, band(*ends)).all(axis=1).mean())
    support, kept = band(*_BANDS["hcr"]), bucket.kept
    values["inside_rate"] = float(hcr.inside(one, support).mean())
    if kept.any():
        support = hcr.Support(support.low[kept], support.high[kept], support.std[kept])
        threshold = hcr.calibrated_threshold(hcr.support_distance(other[:, kept], support))
        near = hcr.support_distance(one[:, kept], support) <= threshold
        values["hcr_calibrated"] = float(near.mean())
    return values


def halves_tdm(turns: Mapping[str, Turns], first: np.ndarray) -> float | None:
    """TDM of the answers of the first half against those of the second; mean over buckets.

    Args:
        first: which multi-turn rows are of the first half, bool (multi-turn rows,).
    """
    values = []
    for part in turns.values():
        chosen = first[part.rows]
        if chosen.any() and not chosen.all():
            values.append(part.halves_similarity(chosen))
    return float(np.mean(values)) if values else None
