"""What the corrected losses promise beyond the published numbers."""

import itertools

import pytest
import torch

from polyalign.training.losses import (
    SequenceLogps,
    distribution_regularizer,
    hdpo_loss,
    leave_one_out_advantages,
    preference_terms,
    score_function_surrogate,
    sequence_logps,
    weighted_mean,
)


def leaf(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_shares_of_micro_batches_add_up_to_the_global_weighted_mean():
    values, weights = leaf(1.0, 2.0, 4.0, 8.0), torch.tensor([0.5, 3.0, 1.0, 0.1], dtype=torch.float64)
    whole = weighted_mean(values, weights)
    for size in (1, 2, 4):
        parts = zip(values.split(size), weights.split(size), strict=True)
        assert sum(weighted_mean(v, w, weights.sum()) for v, w in parts).item() == pytest.approx(whole.item())
    # Published: a micro batch of one row divides its own weight out.
    published = sum(weighted_mean(v, w) for v, w in zip(values.split(1), weights.split(1), strict=True)) / 4
    assert published.item() == pytest.approx(values.mean().item())
    assert published.item() != pytest.approx(whole.item())
    assert weighted_mean(values, torch.zeros(4)).item() == 0


def test_masked_positions_do_not_count():
    logps = torch.tensor([[-1.0, float("-inf"), -2.0], [-3.0, -4.0, -5.0]])
    result = sequence_logps(logps, torch.tensor([[1, 0, 1], [0, 0, 0]]))
    assert result.sums.tolist() == [-3.0, 0.0]
    assert result.means.tolist() == [-1.5, 0.0]


def test_regularizer_per_token_does_not_favour_the_shorter_answer():
    distances = leaf(1.0).detach(), leaf(0.0).detach()
    long, short = SequenceLogps(leaf(-300.0), leaf(100.0)), SequenceLogps(leaf(-15.0), leaf(5.0))
    even = distribution_regularizer(long, short, *distances, 0.1, "token_mean")
    assert even.item() == pytest.approx(0.5)
    published = distribution_regularizer(long, short, *distances, 0.1, "sum")
    assert published.item() < 1e-9
    with pytest.raises(ValueError, match="unknown kind"):
        distribution_regularizer(long, short, *distances, 0.1, "median")


def test_online_number_moves_the_loss_but_not_its_gradient():
    def run(online):
        chosen, rejected = leaf(-3.0, -4.0), leaf(-5.0, -1.0)
        ones = torch.ones(2, dtype=torch.float64)
        terms = preference_terms(
            SequenceLogps(chosen, ones), SequenceLogps(rejected, ones), -4 * ones, -4 * ones, beta=0.1
        )
        loss = hdpo_loss(terms, None, reg_lambda=0, ftx_gamma=0.05, online=online, online_lambda=0.5)
        return loss.item(), torch.autograd.grad(loss, [chosen, rejected])

    plain, gradient = run(None)
    shifted, same = run(torch.tensor([0.2, 0.6]))
    assert shifted - plain == pytest.approx(0.5 * 0.4)
    for a, b in zip(gradient, same, strict=True):
        assert torch.equal(a, b)


def test_score_function_gradient_is_unbiased():
    """Over all pairs of samples, the estimate averages to the gradient of the expected score."""
    logits, scores = leaf(0.3, -0.5, 1.0), torch.tensor([0.2, 1.5, 0.7], dtype=torch.float64)
    exact = torch.autograd.grad((torch.softmax(logits, 0) * scores).sum(), logits)[0]
    expected = torch.zeros(3, dtype=torch.float64)
    for pair in itertools.product(range(3), repeat=2):
        logps = torch.log_softmax(logits, 0)
        drawn = scores[list(pair)]
        advantages = leave_one_out_advantages(drawn, drawn.sum(), 2)
        loss = score_function_surrogate(advantages, logps[list(pair)]).mean()
        expected += logps.exp()[list(pair)].prod().detach() * torch.autograd.grad(loss, logits)[0]
    torch.testing.assert_close(expected, exact)
    assert leave_one_out_advantages(scores[:1], scores[0], 1).tolist() == [0.0]
