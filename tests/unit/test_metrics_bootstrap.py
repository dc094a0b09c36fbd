"""Intervals and paired tests against known answers."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from polyalign.metrics import tdm
from polyalign.metrics.bootstrap import (
    distance_replicates,
    distinct_replicates,
    draw_weights,
    holm,
    interval,
    paired_difference,
    weighted_means,
)
from polyalign.metrics.diversity import NgramTable
from polyalign.metrics.tokens import tokenize

BUCKETS = np.array(["a"] * 30 + ["b"] * 12)


def test_draws_stay_in_their_bucket_and_depend_on_rows_and_seed_alone():
    draws = draw_weights(BUCKETS, 20, seed=3)
    assert [weights.sum(axis=1).tolist() for _, weights in draws.values()] == [[30] * 20, [12] * 20]
    alone = draw_weights(BUCKETS[:30], 20, seed=3)
    np.testing.assert_array_equal(alone["a"][1], draws["a"][1])
    assert (draw_weights(BUCKETS, 20, seed=4)["a"][1] != draws["a"][1]).any()


@pytest.mark.parametrize("unanswered", [0, 7])
def test_distances_equal_those_of_the_resampled_values(unanswered):
    rng = np.random.default_rng(0)
    human, generated = rng.poisson(3, 40).astype(float), rng.poisson(4, 40).astype(float)
    generated[:unanswered] = np.nan
    weights = draw_weights(np.array(["a"] * 40), 25, seed=1)["a"][1]
    found = distance_replicates(weights, generated[:, None], human[:, None], [0])[:, 0]
    there = ~np.isnan(generated)
    expected = [wasserstein_distance(generated[there], human, drawn[there], drawn) for drawn in weights]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_distinct_equals_that_of_the_resampled_texts():
    texts = ["red fox runs", "blue sky", "red fox sits", "blue sky red fox", "", "one"] * 2
    table = NgramTable(tokenize(texts))
    draws = draw_weights(np.array(["a", "b"] * 6), 15, seed=2)
    found = distinct_replicates(table, draws)
    for replicate in range(15):
        counts = np.zeros(12, dtype=int)
        for rows, weights in draws.values():
            counts[rows] = weights[replicate]
        picked = [text for text, count in zip(texts, counts, strict=True) for _ in range(count)]
        for order in (1, 2, 3):
            expected = NgramTable(tokenize(picked)).distinct(order)
            assert found[order][replicate] == pytest.approx(expected, abs=1e-6)


def test_turn_dynamics_of_even_draws_are_the_estimate():
    rng = np.random.default_rng(1)
    words = np.array(["sun", "moon", "tree", "lake", "bird", "song", "wind", "rain"])
    texts = [[" ".join(rng.choice(words, rng.integers(2, 9))) for _ in range(30)] for _ in range(3)]
    turns = tdm.embed_turns(*texts, ["b"] * 30)
    found = tdm.tdm_replicates(turns["b"], np.ones((2, 30), dtype=np.float32))
    np.testing.assert_allclose(found, tdm.summarize(turns)["overall_macro"], rtol=1e-6)


def test_an_interval_of_a_mean_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    truth, covered, trials = 0.4, 0, 300
    weights = draw_weights(np.array(["a"] * 80), 300, seed=0)["a"][1]
    for _ in range(trials):
        sample = rng.beta(2, 3, size=80)
        found = interval(weighted_means(weights, sample), sample.mean(), 0.95, recentre=False)
        covered += found.low <= truth <= found.high
    assert 0.91 <= covered / trials <= 0.98


def test_recentred_replicates_surround_the_estimate_within_bounds():
    found = interval(np.array([0.90, 0.94, 0.98]), 0.99, 0.95, recentre=True)
    assert found.method == "percentile_recentred"
    assert found.low < 0.99 < found.high == 1.0
    assert interval(np.array([np.nan]), 0.5, 0.95, recentre=False) is None


def test_a_paired_test_sees_a_small_steady_gain_and_rarely_sees_none():
    rng = np.random.default_rng(9)
    weights = draw_weights(np.array(["a"] * 100), 300, seed=0)["a"][1]
    false_alarms = 0
    for _ in range(150):
        base = rng.uniform(size=100)
        same = base + rng.normal(0, 0.05, 100)
        a, b = weighted_means(weights, same), weighted_means(weights, base)
        false_alarms += paired_difference(a, b, same.mean(), base.mean()).beyond_noise
    assert false_alarms / 150 < 0.11
    better = base + 0.02
    found = paired_difference(weighted_means(weights, better), b, better.mean(), base.mean())
    # The spread between rows is large, the gain is not; only pairing shows it.
    assert found.beyond_noise
    assert found.p_value < 0.01
    assert found.estimate == pytest.approx(0.02)


def test_p_values_go_on_where_replicates_run_out():
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 1, 200)
    near, far = (paired_difference(gain + noise, np.zeros(200), gain, 0.0).p_value for gain in (1.0, 6.0))
    assert 0.2 < near < 0.5
    assert 0 < far < 1e-6 < 1 / 200
    assert paired_difference(np.zeros(200), np.zeros(200), 0.0, 0.0).p_value == 1


def test_holm_multiplies_the_smallest_most_and_keeps_their_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_rarely_rejects_anything_where_nothing_differs():
    p_values = np.random.default_rng(11).uniform(size=(2000, 20))
    families = np.mean([min(holm(row)) < 0.05 for row in p_values])
    assert 0.03 < families < 0.065
    assert np.mean((p_values < 0.05).any(axis=1)) > 0.5
