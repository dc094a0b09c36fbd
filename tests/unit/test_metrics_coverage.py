"""Intervals and tests do what they say on simulated data: they cover the truth, and see nothing where nothing is.

The truth of a metric is its mean over many fresh samples of the same number of rows. A 95% interval should cover it in
95 of 100 samples; of the 120 samples taken here it may miss a few more, and a narrower one misses many.
"""

import numpy as np
import pytest

from polyalign.metrics import bng
from polyalign.metrics.bootstrap import (
    distinct_replicates,
    draw_weights,
    holm,
    interval,
    paired_difference,
)
from polyalign.metrics.diversity import NgramTable
from polyalign.metrics.groups import mean_replicates
from polyalign.metrics.naturalness import Bucket, replicates
from polyalign.metrics.nuf import hypervolume_replicates
from polyalign.metrics.tdm import SIMILARITIES, Turns, summarize, tdm_replicates
from polyalign.metrics.tokens import Tokens

SIZES = {"a": 120, "b": 180}
BUCKETS = np.repeat(list(SIZES), list(SIZES.values()))
NAMES = ["char_count", "token_count", "distinct_1", "word_token_count"]
TRIALS, REPLICATES, FRESH = 120, 200, 600


def simulate_features(rng: np.random.Generator, shift: float, spread: float) -> list[Bucket]:
    """Skewed and whole-numbered features of humans, and of answers moved by `shift` and widened by `spread`."""
    buckets = []
    for name, size in SIZES.items():
        human, generated = rng.gamma(3, 1, (size, 4)), rng.gamma(3, spread, (size, 4)) + shift
        human[:, 3], generated[:, 3] = rng.poisson(2, size), rng.poisson(2 + shift, size)
        buckets.append(Bucket(name, np.arange(size), human, generated, NAMES, {}))
    return buckets


def macro_bng(buckets: list[Bucket]) -> float:
    return float(np.mean([bng.bucket_gaps(one.generated, one.human).bng for one in buckets]))


def bng_replicates(buckets: list[Bucket], seed: int) -> np.ndarray:
    draws = draw_weights(BUCKETS, REPLICATES, seed)
    return np.mean(list(replicates(buckets, NAMES, draws)["bng"].values()), axis=0)


def share_covered(truth: float, found: list) -> float:
    return float(np.mean([one.low <= truth <= one.high for one in found]))


@pytest.mark.parametrize("shift, spread", [(0.1, 1.0), (0.5, 1.2), (0.0, 2.0)])
def test_intervals_of_bng_cover_it_for_small_and_large_gaps(shift, spread):
    rng = np.random.default_rng(1)
    truth = np.mean([macro_bng(simulate_features(rng, shift, spread)) for _ in range(FRESH)])
    found = []
    for trial in range(TRIALS):
        sample = simulate_features(rng, shift, spread)
        found.append(
            interval(
                bng_replicates(sample, trial),
                macro_bng(sample),
                0.95,
                recentre=True,
                bounds=(0, float("inf")),
            )
        )
    assert share_covered(truth, found) >= 0.89


def test_intervals_of_stratified_means_cover_them():
    rng = np.random.default_rng(2)
    truth = np.mean(np.repeat([0.4, 2 / 6], list(SIZES.values())))
    found = []
    for trial in range(TRIALS):
        scores = np.concatenate([rng.beta(2, 3, 120), rng.beta(2, 4, 180)])
        draws = draw_weights(BUCKETS, REPLICATES, trial)
        values = mean_replicates({"qa_f1": scores}, draws, np.repeat(["one", "two"], 150))
        found.append(interval(values["qa_f1"], scores.mean(), 0.95, recentre=False))
    assert 0.89 <= share_covered(truth, found) <= 0.995


def test_intervals_of_distinct_n_cover_it():
    rng = np.random.default_rng(3)
    shares = 1 / np.arange(1, 400)

    def sample() -> NgramTable:
        lengths = rng.integers(3, 9, len(BUCKETS))
        codes = rng.choice(len(shares), lengths.sum(), p=shares / shares.sum())
        return NgramTable(Tokens(codes, lengths, len(shares)))

    truth = np.mean([sample().distinct(1) for _ in range(FRESH)])
    found = []
    for trial in range(TRIALS):
        table = sample()
        values = distinct_replicates(table, draw_weights(BUCKETS, REPLICATES, trial), [1])[1]
        found.append(interval(values, table.distinct(1), 0.95, recentre=True))
    # Longer than it has to be, never too short: distinct-n varies less between samples than between draws.
    assert share_covered(truth, found) >= 0.89


def test_intervals_of_turn_dynamics_cover_them():
    rng = np.random.default_rng(4)
    size, rank = 150, 3
    mixing = rng.normal(size=(2, rank, rank))

    def sample() -> dict[str, Turns]:
        asked = rng.normal(size=(size, rank))
        sides = [asked @ mix + rng.normal(size=(size, rank)) for mix in mixing]
        pairs = {name: (rng.gamma(2, 1.3, size), rng.gamma(2, 1, size)) for name in SIMILARITIES[:3]}
        return {"a": Turns(np.arange(size), pairs, (asked, *sides))}

    truth = np.mean([summarize(sample())["overall_macro"] for _ in range(FRESH)])
    weights = draw_weights(np.repeat(["a"], size), REPLICATES, 0)["a"][1]
    found = []
    for _ in range(TRIALS):
        turns = sample()
        estimate = summarize(turns)["overall_macro"]
        found.append(interval(tdm_replicates(turns["a"], weights), estimate, 0.95, recentre=True))
    assert share_covered(truth, found) >= 0.89


def test_intervals_of_the_frontier_cover_it():
    rng = np.random.default_rng(5)

    def sample() -> tuple[list[np.ndarray], list[Bucket]]:
        scores = [rng.beta(2 + place, 3, size) for place, size in enumerate(SIZES.values())]
        return scores, simulate_features(rng, 0.4, 1.0)

    def volume(scores: list[np.ndarray], features: list[Bucket]) -> float:
        natural = [1 / (1 + bng.bucket_gaps(one.generated, one.human).bng) for one in features]
        return float(hypervolume_replicates(np.array([[s.mean() for s in scores]]), np.array([natural]))[0])

    truth = np.mean([volume(*sample()) for _ in range(FRESH)])
    found = []
    for trial in range(TRIALS):
        scores, features = sample()
        draws = draw_weights(BUCKETS, REPLICATES, trial)
        utility = [w @ s / w.sum(axis=1) for s, (_, w) in zip(scores, draws.values(), strict=True)]
        gaps = replicates(features, NAMES, draws)["bng"]
        values = hypervolume_replicates(
            np.column_stack(utility), np.column_stack([1 / (1 + gaps[name]) for name in SIZES])
        )
        found.append(interval(values, volume(scores, features), 0.95, recentre=True))
    assert share_covered(truth, found) >= 0.89


def test_paired_tests_of_several_methods_keep_their_level_after_correction():
    """Four equal methods, six tests of BNG: without a correction a third of the tables would show a difference."""
    rng = np.random.default_rng(6)
    alarms = 0
    for trial in range(60):
        first = simulate_features(rng, 0.3, 1.0)
        methods = [first]
        for _ in range(3):
            fresh = simulate_features(rng, 0.3, 1.0)
            pairs = zip(first, fresh, strict=True)
            methods.append([Bucket(a.name, a.rows, a.human, b.all_generated, NAMES, {}) for a, b in pairs])
        drawn = [(bng_replicates(one, trial), macro_bng(one)) for one in methods]
        tests = [
            paired_difference(drawn[a][0], drawn[b][0], drawn[a][1], drawn[b][1]).p_value
            for a in range(4)
            for b in range(a)
        ]
        alarms += min(holm(tests)) < 0.05
    assert alarms / 60 <= 0.12


def test_a_paired_test_of_bng_sees_a_real_difference():
    rng = np.random.default_rng(7)
    near = simulate_features(rng, 0.2, 1.0)
    far = [Bucket(b.name, b.rows, b.human, b.all_generated + 0.5, NAMES, {}) for b in near]
    found = paired_difference(
        bng_replicates(far, 0), bng_replicates(near, 0), macro_bng(far), macro_bng(near)
    )
    assert found.estimate > 0.1
    assert found.p_value < 0.01
