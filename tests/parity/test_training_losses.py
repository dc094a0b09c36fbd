"""Losses against the published system's numbers, values and gradients, in float64."""

import json

import pytest
import torch

from polyalign.training.losses import (
    SequenceLogps,
    hdpo_loss,
    label_logps,
    preference_terms,
    sft_nll,
    weighted_mean,
    weighted_sft_loss,
)

RTOL = 1e-9


@pytest.fixture(scope="module")
def kit(shared):
    return json.loads((shared / "data/parity/en/hdpo_loss.json").read_text())


def vector(values, grad=False):
    return None if values is None else torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def close(found, expected):
    torch.testing.assert_close(found, vector(expected), rtol=RTOL, atol=1e-12)


def published(case):
    """Terms and total loss of one case by the published settings, and the leaves of its gradient."""
    given = case["inputs"]
    chosen, rejected = (
        vector(given["policy_chosen_logps"], True),
        vector(given["policy_rejected_logps"], True),
    )
    scores = None
    if given["chosen_dist_score"] is not None:
        scores = vector(given["chosen_dist_score"]), vector(given["rejected_dist_score"])
    terms = preference_terms(
        SequenceLogps(chosen, vector(given["chosen_lengths"])),
        SequenceLogps(rejected, torch.ones_like(rejected)),
        vector(given["reference_chosen_logps"]),
        vector(given["reference_rejected_logps"]),
        beta=given["beta"],
        smoothing=given["label_smoothing"],
        scores=scores,
        regularizer_logps="sum",
    )
    loss = hdpo_loss(
        terms,
        vector(given["hdpo_weight"]),
        reg_lambda=given["hdpo_reg_lambda"],
        ftx_gamma=given["pref_ftx"],
        online=vector(given["online_reg_value"]),
        online_lambda=given["hdpo_online_reg_lambda"],
    )
    return terms, loss, chosen, rejected


def test_hdpo_values_and_gradients(kit):
    assert len(kit["cases"]) == 40
    for case in kit["cases"]:
        terms, loss, chosen, rejected = published(case)
        expected = case["outputs"]
        close(loss.detach(), expected["loss"])
        close(terms.preference.detach(), expected["pref_losses"])
        close(terms.regularizer.detach().mean(), expected["dist_reg_loss"])
        close(terms.chosen_nll.detach().mean(), expected["sft_loss_mean"])
        close(terms.chosen_rewards, expected["chosen_rewards"])
        close(terms.rejected_rewards, expected["rejected_rewards"])
        loss.backward()
        close(chosen.grad, expected["grad_policy_chosen_logps"])
        close(rejected.grad, expected["grad_policy_rejected_logps"])


def test_weighted_sft_from_logits(kit):
    for case in kit["dist_sft_cases"]:
        logps = label_logps(vector(case["logits"]), torch.tensor(case["labels"]))
        close(logps.sums, case["sum_logps"])
        assert logps.lengths.tolist() == case["valid_length"]
        close(sft_nll(logps), case["per_example_loss"])
        close(weighted_sft_loss(logps, vector(case["dist_sft_weight"])), case["loss"])


def test_weighted_sft_gradients_are_those_of_its_values(kit):
    """The published numbers hold no gradients of this loss: finite differences of its values stand in for them."""
    for case in kit["dist_sft_cases"]:
        labels, weights = torch.tensor(case["labels"]), vector(case["dist_sft_weight"])
        assert torch.autograd.gradcheck(
            lambda logits, labels=labels, weights=weights: weighted_sft_loss(
                label_logps(logits, labels), weights
            ),
            vector(case["logits"], True),
        )


def test_published_normalisation_cancels_the_weight_of_a_single_row(kit):
    rows = kit["single_row_batch_weight_has_no_effect"]
    weights = [row["hdpo_weight"] for row in rows]
    value = vector([rows[0]["loss"]])
    for row in rows:
        close(weighted_mean(value, vector([row["hdpo_weight"]])), row["loss"])
    # Divided by the global batch's weights, the same rows count by their weights.
    parts = [weighted_mean(value, vector([weight]), sum(weights)).item() for weight in weights]
    assert parts == pytest.approx([rows[0]["loss"] * w / sum(weights) for w in weights], rel=RTOL)
