"""Statistics of the detectors against the same formulas written out in NumPy, and figures on known answers."""

import math
import random

import numpy as np
import pytest
import torch

from polyalign.detection.curvature import (
    binoculars_ratio,
    conditional_moments,
    cross_entropies,
    fast_curvature,
    machine_probability,
    machine_threshold,
    perturbation_z,
    token_logprobs,
)
from polyalign.detection.protocol import length_batches, windows_of
from polyalign.detection.settings import FastDetectGpt
from polyalign.detection.summary import auroc, tpr_at, weighted_auroc
from polyalign.errors import BadInput

HUMAN, MACHINE = (0.1603, 1.0791), (2.4686, 2.1582)


@pytest.fixture
def logits():
    """(sampler [7, 11], scorer [7, 11], targets [7]) in float64."""
    rng = np.random.default_rng(5)
    return rng.normal(0, 3, (7, 11)), rng.normal(0, 3, (7, 11)), rng.integers(0, 11, 7)


def probabilities(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


def test_fast_detectgpt_is_the_paper_s_formula(logits):
    sampler, scorer, targets = logits
    p, logq = probabilities(sampler), np.log(probabilities(scorer))
    found = np.log(probabilities(scorer))[np.arange(7), targets]
    mean = (p * logq).sum(-1)
    variance = (p * logq**2).sum(-1) - mean**2
    expected = (found.sum() - mean.sum()) / np.sqrt(variance.sum())
    sums = conditional_moments(*tensors(sampler, scorer, targets)).double().sum(0).tolist()
    assert fast_curvature(*sums) == pytest.approx(expected, rel=1e-5)


def test_binoculars_is_the_paper_s_formula(logits):
    observer, performer, targets = logits
    loss = -np.log(probabilities(observer))[np.arange(7), targets].mean()
    cross = -(probabilities(observer) * np.log(probabilities(performer))).sum(-1).mean()
    a, b, ids = tensors(observer, performer, targets)
    ratio = binoculars_ratio(float(token_logprobs(a, ids).sum()), float(cross_entropies(a, b).sum()))
    assert ratio == pytest.approx(loss / cross, rel=1e-5)
    # Of two models that agree it is the loss over the entropy.
    entropy = -(probabilities(observer) * np.log(probabilities(observer))).sum(-1).mean()
    same = binoculars_ratio(float(token_logprobs(a, ids).sum()), float(cross_entropies(a, a).sum()))
    assert same == pytest.approx(loss / entropy, rel=1e-5)


def test_a_vocabulary_that_is_padded_wider_changes_nothing(logits):
    sampler, scorer, targets = logits
    wider = np.concatenate([scorer, np.full((7, 5), 2.0)], axis=1)
    plain = conditional_moments(*tensors(sampler, scorer, targets))
    assert torch.equal(plain, conditional_moments(*tensors(sampler, wider, targets)))
    assert torch.equal(cross_entropies(*tensors(sampler, scorer)), cross_entropies(*tensors(sampler, wider)))


def test_variance_keeps_its_digits_where_a_token_is_nearly_certain():
    peaked = torch.tensor([[40.0, 0.0, 0.0]], dtype=torch.float64)
    _, mean, variance = conditional_moments(peaked, peaked, torch.tensor([0]))[0].tolist()
    # Two tokens at e^-40 with log-probability -40.
    assert mean == pytest.approx(-80 * math.exp(-40), rel=1e-4)
    assert variance == pytest.approx(2 * 1600 * math.exp(-40), rel=1e-4)


def test_detectgpt_is_a_z_score():
    others = [-3.1, -2.9, -3.6, -3.3]
    expected = (-2.0 - np.mean(others)) / np.std(others, ddof=1)
    assert perturbation_z(-2.0, others) == pytest.approx(expected)
    assert math.isnan(perturbation_z(-2.0, [-3.0, -3.0]))


def test_nothing_that_varies_gives_no_number():
    assert math.isnan(fast_curvature(-1.0, -1.0, 0.0))
    assert math.isnan(binoculars_ratio(-1.0, 0.0))


def density(value, mean, std):
    return math.exp(-0.5 * ((value - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.3, 2.0, 5.0])
def test_probability_of_machine_text_comes_from_two_normals(value):
    human, machine = density(value, *HUMAN), density(value, *MACHINE)
    assert machine_probability(value, HUMAN, MACHINE) == pytest.approx(machine / (human + machine))


def test_extreme_values_do_not_overflow():
    assert machine_probability(400.0, HUMAN, MACHINE) == 1.0
    assert machine_probability(0.0, HUMAN, (500.0, 1.0)) == 0.0


def test_the_threshold_is_where_the_two_normals_cross():
    threshold = machine_threshold(HUMAN, MACHINE)
    assert density(threshold, *HUMAN) == pytest.approx(density(threshold, *MACHINE))
    assert HUMAN[0] < threshold < MACHINE[0]
    own = FastDetectGpt()
    assert (own.human_mean, own.human_std, own.ai_mean, own.ai_std) == (*HUMAN, *MACHINE)


def test_normals_in_the_wrong_order_are_refused():
    with pytest.raises(BadInput, match="human_mean < ai_mean"):
        machine_threshold(MACHINE, HUMAN)


@pytest.mark.parametrize("length", [1, 9, 10, 11, 14, 15, 16, 57])
@pytest.mark.parametrize("overlap", [0, 5])
def test_windows_hold_every_token_once(length, overlap):
    ids = list(range(length))
    windows = windows_of(3, ids, limit=10, overlap=overlap)
    assert [token for window in windows for token in window.ids[window.first :]] == ids
    assert all(window.length <= 10 and window.text == 3 for window in windows)
    assert all(window.first == overlap for window in windows[1:])


def test_batches_keep_the_token_budget():
    rng = random.Random(2)
    windows = [windows_of(n, list(range(rng.randrange(1, 40))), 64, 0)[0] for n in range(50)]
    batches = length_batches(windows, 100)
    assert sorted(window.text for batch in batches for window in batch) == list(range(50))
    assert all(len(batch) * max(window.length for window in batch) <= 100 for batch in batches)
    assert length_batches(windows_of(0, list(range(60)), 64, 0), 10)[0][0].length == 60


def test_auroc_counts_pairs_and_halves_ties():
    human, machine = np.array([0.0, 1.0, 2.0, 2.0]), np.array([1.0, 2.0, 5.0])
    pairs = [(m > h) + 0.5 * (m == h) for m in machine for h in human]
    assert auroc(human, machine) == pytest.approx(np.mean(pairs))
    assert auroc(machine, human) == pytest.approx(1 - np.mean(pairs))


def test_weights_count_as_repeated_rows():
    rng = np.random.default_rng(0)
    human, machine = rng.integers(0, 9, 20).astype(float), rng.integers(2, 12, 20).astype(float)
    weights = rng.integers(0, 3, (4, 20))
    found = weighted_auroc(human, machine, weights, weights)
    for row, value in zip(weights, found, strict=True):
        assert value == pytest.approx(auroc(np.repeat(human, row), np.repeat(machine, row)))


def test_true_positives_at_a_rate_of_false_ones():
    human = np.arange(100.0)
    machine = np.array([98.5, 99.5, 95.5, 10.0])
    # One of 100 humans may lie above: the threshold is 98.
    assert tpr_at(human, machine, 0.01) == 0.5
    assert tpr_at(human, machine, 0.05) == 0.75
    # Nobody may: with few humans the largest of them is the threshold.
    assert tpr_at(human[:50], np.array([49.0, 49.5]), 0.01) == 0.5
    assert tpr_at(np.zeros(100), np.zeros(5), 0.05) == 0.0
