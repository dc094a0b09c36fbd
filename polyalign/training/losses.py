"""The training losses as pure functions of log-probabilities (docs/method.md, Critic and HDPO).

Every loss is first a value per example, shape [n], and becomes a scalar in one place, `weighted_mean`, whose
denominator the caller chooses. That denominator is what sets the published system (arXiv 2606.13227), which
divides by the weights of each micro-batch, so that a micro-batch of one row cancels its own weight, apart
from the corrected form, which divides by the weights of the whole global batch.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LogpsKind = Literal["token_mean", "sum"]


class SequenceLogps(NamedTuple):
    """Log-probabilities of n completions: `sums` and token counts `lengths`, both [n]."""

    sums: Tensor
    lengths: Tensor

    @property
    def means(self) -> Tensor:
        """Mean log-probability per token, [n]; 0 for a completion without tokens."""
        return self.sums / self.lengths.clamp(min=1)


class PreferenceTerms(NamedTuple):
    """The parts of the preference loss, each [n], before weights, factors and the mean."""

    preference: Tensor
    regularizer: Tensor
    chosen_nll: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor


def sequence_logps(token_logps: Tensor, mask: Tensor) -> SequenceLogps:
    """Sums and lengths of [n, t] token log-probabilities where `mask` [n, t] is true."""
    kept = torch.where(mask.bool(), token_logps, torch.zeros_like(token_logps))
    return SequenceLogps(kept.sum(dim=1), mask.sum(dim=1).to(token_logps.dtype))


def label_logps(logits: Tensor, labels: Tensor) -> SequenceLogps:
    """Log-probabilities of `labels` [n, t] (-100: not counted) under next-token `logits` [n, t, v]."""
    targets = labels[:, 1:]
    mask = targets != -100
    logps = torch.log_softmax(logits[:, :-1], dim=-1)
    picked = logps.gather(2, targets.clamp(min=0).unsqueeze(2)).squeeze(2)
    return sequence_logps(picked, mask)


def weighted_mean(
    values: Tensor, weights: Tensor | None = None, total: Tensor | float | None = None
) -> Tensor:
    """sum(weights * values) / total; 0 where every weight is 0.

    Args:
        values: [n].
        weights: [n], not negative, or None for weights of 1.
        total: what to divide by; None for the sum of these weights, the weighted mean of this micro-batch.
            With the sum over the global batch, the results of its micro-batches add up to its weighted mean.
    """
    weights = torch.ones_like(values) if weights is None else weights.to(values.dtype)
    total = (
        weights.sum() if total is None else torch.as_tensor(total, dtype=values.dtype, device=values.device)
    )
    return (weights * values).sum() / total.clamp(min=torch.finfo(values.dtype).tiny)


def sft_nll(logps: SequenceLogps) -> Tensor:
    """Mean token cross-entropy of each answer, [n]: the l_i of the Bucket-SFT loss."""
    return -logps.means


def weighted_sft_loss(
    logps: SequenceLogps, weights: Tensor | None = None, total: Tensor | float | None = None
) -> Tensor:
    """Bucket-SFT loss sum(w_i * l_i) / sum(w_i), the sum of weights taken over `total` where given."""
    return weighted_mean(sft_nll(logps), weights, total)


def dpo_sigmoid(
    chosen_logratios: Tensor, rejected_logratios: Tensor, beta: float, smoothing: float = 0.0
) -> Tensor:
    """Sigmoid DPO loss of each pair, [n] (Rafailov et al. 2023), with conservative DPO's label smoothing.

    Args:
        chosen_logratios, rejected_logratios: log pi(y|x) - log pi_ref(y|x), [n].
        beta: strength of the KL constraint.
        smoothing: probability that a preference is the wrong way round.
    """
    logits = beta * (chosen_logratios - rejected_logratios)
    return -(1 - smoothing) * F.logsigmoid(logits) - smoothing * F.logsigmoid(-logits)


def distribution_regularizer(
    chosen: SequenceLogps,
    rejected: SequenceLogps,
    chosen_scores: Tensor,
    rejected_scores: Tensor,
    beta: float,
    logps: LogpsKind,
) -> Tensor:
    """Expected critic distance of each pair, p*d_chosen + (1-p)*d_rejected, [n].

    p = sigmoid(beta * (chosen - rejected)) under the policy. With `sum` (published) the difference of summed
    log-probabilities decides p, so the longer answer mostly loses; `token_mean` compares means per token.
    """
    if logps == "sum":
        difference = chosen.sums - rejected.sums
    elif logps == "token_mean":
        difference = chosen.means - rejected.means
    else:
        raise ValueError(f"unknown kind of log-probabilities {logps!r}")
    p = torch.sigmoid(beta * difference)
    return p * chosen_scores + (1 - p) * rejected_scores


def preference_terms(
    chosen: SequenceLogps,
    rejected: SequenceLogps,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    *,
    beta: float,
    smoothing: float = 0.0,
    scores: tuple[Tensor, Tensor] | None = None,
    regularizer_logps: LogpsKind = "token_mean",
    regularizer_beta: float | None = None,
) -> PreferenceTerms:
    """All parts of the DPO and HDPO losses of n pairs.

    Args:
        chosen, rejected: policy log-probabilities.
        reference_chosen, reference_rejected: summed log-probabilities under the reference model, [n].
        scores: critic distances of (chosen, rejected), [n] each; None where the loss has no regularizer.
        regularizer_beta: the beta of the regularizer's p; None for `beta`.
    """
    chosen_ratios, rejected_ratios = chosen.sums - reference_chosen, rejected.sums - reference_rejected
    regularizer = torch.zeros_like(chosen.sums)
    if scores is not None:
        slope = beta if regularizer_beta is None else regularizer_beta
        regularizer = distribution_regularizer(chosen, rejected, *scores, slope, regularizer_logps)
    return PreferenceTerms(
        preference=dpo_sigmoid(chosen_ratios, rejected_ratios, beta, smoothing),
        regularizer=regularizer,
        chosen_nll=sft_nll(chosen),
        chosen_rewards=(beta * chosen_ratios).detach(),
        rejected_rewards=(beta * rejected_ratios).detach(),
    )


def hdpo_loss(
    terms: PreferenceTerms,
    weights: Tensor | None,
    *,
    reg_lambda: float,
    ftx_gamma: float,
    weight_total: Tensor | float | None = None,
    row_total: Tensor | float | None = None,
    online: Tensor | None = None,
    online_lambda: float = 0.0,
) -> Tensor:
    """sum(w*l)/sum(w) + reg_lambda*mean(reg) + ftx_gamma*mean(nll) + online_lambda*mean(online).

    Args:
        weights: hdpo_weight of each pair, [n]; None for 1.
        weight_total, row_total: sum of weights and number of rows to divide by: None for this micro-batch's
            (published), the global batch's in the corrected form.
        online: online term of each pair's prompt, [n], or one value for all.
    """
    preference = weighted_mean(terms.preference, weights, weight_total)
    loss = preference
    if reg_lambda:
        loss = loss + reg_lambda * weighted_mean(terms.regularizer, None, row_total)
    if ftx_gamma:
        loss = loss + ftx_gamma * weighted_mean(terms.chosen_nll, None, row_total)
    if online is not None and online_lambda:
        values = online.to(preference.dtype).expand(terms.preference.shape)
        loss = loss + online_lambda * weighted_mean(values, None, row_total)
    return loss


def leave_one_out_advantages(scores: Tensor, total: Tensor | float, count: int) -> Tensor:
    """Score of each sample minus the mean score of the other samples, [m].

    Args:
        scores: critic distances of m of the `count` samples of a global batch, which sum to `total`.

    The mean of the others does not depend on the sample itself, so the gradient estimate stays unbiased.
    A single sample has no others: its advantage is 0.
    """
    if count < 2:
        return torch.zeros_like(scores)
    return scores - (total - scores) / (count - 1)


def score_function_surrogate(advantages: Tensor, sample_logps: Tensor) -> Tensor:
    """Advantage times log-probability of each sample, [m].

    Its gradient estimates that of the expected critic distance of the policy's own answers (the
    score-function or REINFORCE estimator). Its value has no meaning of its own.
    """
    return advantages.detach() * sample_logps
