"""What ratings say: means, win rates, strengths and agreement, with intervals.

Replicates resample prompts, within their length bin: answers to one prompt are rated together, by several
annotators, and are no independent observations. Strengths are Bradley-Terry's, by choix; agreement is
Krippendorff's alpha, by krippendorff. docs/human_eval.md, Numbers.
"""

from collections.abc import Callable, Sequence

import choix
import krippendorff
import numpy as np

from polyalign.human_eval.exports import Rating
from polyalign.human_eval.settings import CHOICES
from polyalign.metrics.bootstrap import ends, interval, ratio, row_weights, weighted_sums

REGULARIZATION = 0.01
"""Wins that choix adds to each side of every pair, so that a system that never lost has a finite strength."""
_UNBOUNDED = (-np.inf, np.inf)


class Resampling:
    """Draws of prompts, the same for every number of a summary.

    Args:
        length_bins: length bin of each prompt of the key, (P,).
        replicates: B; 0 for no intervals.
    """

    def __init__(self, length_bins: Sequence[str], replicates: int, confidence: float, seed: int) -> None:
        self.confidence = confidence
        self.weights = row_weights(np.array(length_bins), replicates, seed)

    def estimate(
        self, estimate: float, replicates: np.ndarray, bounds: tuple[float, float] = _UNBOUNDED
    ) -> dict[str, float | None]:
        """{estimate, low, high}; replicates that have no value are left out."""
        found = interval(replicates, estimate, self.confidence, recentre=False, bounds=bounds)
        low, high = ends(found)
        return {"estimate": float(estimate), "low": low, "high": high}

    def mean(self, prompts: np.ndarray, values: np.ndarray, bounds: tuple[float, float]) -> dict | None:
        """Mean of values that belong to prompts; None where there are none.

        Args:
            prompts: number of the prompt of each value, (n,).
        """
        if not len(values):
            return None
        count = self.weights.shape[1]
        sums = np.bincount(prompts, weights=values, minlength=count)
        counts = np.bincount(prompts, minlength=count).astype(float)
        replicates = ratio(*weighted_sums(self.weights, np.column_stack([sums, counts])).T)
        return {"n": len(values), **self.estimate(values.mean(), replicates, bounds)}


def mean_scores(
    ratings: Sequence[Rating], dimensions: Sequence[str], systems: Sequence[str], draws: Resampling
) -> dict[str, dict[str, dict | None]]:
    """{system: {dimension: mean}}; `overall` is the mean over dimensions of the items scored in all of them."""
    found = {}
    for system in systems:
        own = [rating for rating in ratings if rating.systems == (system,)]
        whole = [rating for rating in own if len(rating.scores) == len(dimensions)]

        def over(rated: Sequence[Rating], value: Callable[[Rating], float]) -> dict | None:
            prompts = np.array([rating.prompt for rating in rated], dtype=int)
            return draws.mean(prompts, np.array([value(rating) for rating in rated], dtype=float), (1.0, 5.0))

        found[system] = {
            name: over([r for r in own if name in r.scores], lambda r, name=name: r.scores[name])
            for name in dimensions
        }
        found[system]["overall"] = over(whole, lambda r: sum(r.scores.values()) / len(r.scores))
    return found


def win_counts(ratings: Sequence[Rating], systems: Sequence[str], prompts: int) -> np.ndarray:
    """Wins of row over column by prompt, (P, S, S); a tie is half a win for each."""
    place = {name: number for number, name in enumerate(systems)}
    counts = np.zeros((prompts, len(systems), len(systems)))
    for rating in ratings:
        first, second = (place[name] for name in rating.systems)
        won = {"first": 1.0, "second": 0.0, "tie": 0.5}[rating.choice]
        counts[rating.prompt, first, second] += won
        counts[rating.prompt, second, first] += 1 - won
    return counts


def strengths(counts: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """Bradley-Terry strengths (log, mean 0) of a matrix of wins, (S, S) -> (S,)."""
    found = choix.ilsr_pairwise_dense(
        counts, alpha=REGULARIZATION, initial_params=start, max_iter=1000, tol=1e-6
    )
    return found - found.mean()


def preferences(ratings: Sequence[Rating], systems: Sequence[str], draws: Resampling) -> dict[str, dict]:
    """{system: {n, win_rate, strength}} of pairs; a system without comparisons has neither."""
    prompts = draws.weights.shape[1]
    counts = win_counts(ratings, systems, prompts)
    whole = counts.sum(axis=0)
    played = whole.sum(axis=1) + whole.sum(axis=0)
    compared = np.flatnonzero(played)
    estimate = strengths(whole[np.ix_(compared, compared)])
    sampled = (draws.weights @ counts.reshape(prompts, -1)).reshape(-1, *whole.shape)
    replicated = [strengths(drawn[np.ix_(compared, compared)], estimate) for drawn in sampled]
    replicates = np.array(replicated).reshape(-1, len(compared))
    rates = ratio(sampled.sum(axis=2), sampled.sum(axis=2) + sampled.sum(axis=1))
    found: dict[str, dict] = {}
    for number, name in enumerate(systems):
        if not played[number]:
            found[name] = {"n": 0, "win_rate": None, "strength": None}
            continue
        place = int(np.searchsorted(compared, number))
        rate = whole[number].sum() / played[number]
        found[name] = {
            "n": round(played[number]),
            "win_rate": draws.estimate(rate, rates[:, number], (0.0, 1.0)),
            "strength": draws.estimate(estimate[place], replicates[:, place]),
        }
    return found


def choice_shares(ratings: Sequence[Rating]) -> dict[str, float]:
    """Share of each choice; more `first` than `second` beyond chance is a bias for the place."""
    return {name: sum(rating.choice == name for rating in ratings) / len(ratings) for name in CHOICES}


def agreement(
    values: Sequence[tuple[Rating, float]], level: str, draws: Resampling
) -> dict[str, float | int | str | None]:
    """Krippendorff's alpha of the annotators' values.

    Args:
        values: ratings with the value that is compared.
        level: level of measurement, `ordinal` or `nominal`.

    Returns:
        estimate, low and high (None with a `reason` where alpha is not defined), items rated by two or more.
    """
    domain = sorted({value for _, value in values})
    items: dict[str, np.ndarray] = {}
    prompts: dict[str, int] = {}
    for rating, value in values:
        items.setdefault(rating.item, np.zeros(len(domain)))[domain.index(value)] += 1
        prompts[rating.item] = rating.prompt
    shared = [name for name, counted in items.items() if counted.sum() > 1]
    empty = {"estimate": None, "low": None, "high": None, "items": len(shared)}
    if not shared:
        return empty | {"reason": "no item was rated by two annotators"}
    table = np.array([items[name] for name in shared])
    if np.count_nonzero(table.sum(axis=0)) < 2:
        return empty | {"reason": "every rating is the same"}

    def alpha(counted: np.ndarray) -> float:
        if np.count_nonzero(counted.sum(axis=0)) < 2:
            return np.nan
        return krippendorff.alpha(value_counts=counted, value_domain=domain, level_of_measurement=level)

    places = np.array([prompts[name] for name in shared])
    times = draws.weights[:, places].astype(int)
    replicates = np.array([alpha(np.repeat(table, drawn, axis=0)) for drawn in times])
    return draws.estimate(alpha(table), replicates, (-1.0, 1.0)) | {"items": len(shared)}
