"""The statistics of Fast-DetectGPT, Binoculars and DetectGPT as functions of logits and sums.

Papers: Bao et al. 2024 (arXiv 2310.05130), Hans et al. 2024 (arXiv 2401.12070), Mitchell et al. 2023
(arXiv 2301.11305). Nothing here loads a model; docs/method.md, Judge, detectors and human evaluation.
"""

import math

import torch
from torch import Tensor

from polyalign.errors import BadInput


def shared_width(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [n, v] cut to the narrower vocabulary: models of one tokenizer pad theirs to different widths."""
    width = min(first.shape[-1], second.shape[-1])
    return first[..., :width], second[..., :width]


def token_logprobs(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities [n] of `targets` [n] under `logits` [n, v], in nats."""
    return -torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")


def conditional_moments(sampler_logits: Tensor, scorer_logits: Tensor, targets: Tensor) -> Tensor:
    """[n, 3]: log p of each target under the scorer, and mean and variance of log p under the sampler.

    Args:
        sampler_logits, scorer_logits: [n, v] of the same positions; may be one tensor.
        targets: [n] token ids.
    """
    sampler, scorer = shared_width(sampler_logits.float(), scorer_logits.float())
    logprobs = scorer.log_softmax(-1)
    probabilities = sampler.softmax(-1)
    mean = (probabilities * logprobs).sum(-1)
    # Of deviations, not as a difference of squares: that loses all digits where a token is nearly certain.
    variance = (probabilities * (logprobs - mean[:, None]) ** 2).sum(-1)
    found = logprobs.gather(-1, targets[:, None]).squeeze(-1)
    return torch.stack([found, mean, variance], dim=-1)


def fast_curvature(logprob_sum: float, mean_sum: float, variance_sum: float) -> float:
    """Conditional probability curvature of a text from sums over its tokens; NaN where nothing varies."""
    return (logprob_sum - mean_sum) / math.sqrt(variance_sum) if variance_sum > 0 else math.nan


def cross_entropies(observer_logits: Tensor, performer_logits: Tensor) -> Tensor:
    """Cross-entropy [n] of the performer's prediction under the observer's, both [n, v], in nats."""
    observer, performer = shared_width(observer_logits.float(), performer_logits.float())
    return -(observer.softmax(-1) * performer.log_softmax(-1)).sum(-1)


def binoculars_ratio(logprob_sum: float, cross_entropy_sum: float) -> float:
    """Log-perplexity over cross-entropy, both of the same tokens; NaN where the cross-entropy is 0."""
    return -logprob_sum / cross_entropy_sum if cross_entropy_sum > 0 else math.nan


def perturbation_z(own: float, others: list[float]) -> float:
    """DetectGPT: how many standard deviations a text's log-probability lies above those of its versions.

    Args:
        own: mean log-probability of the text's tokens.
        others: the same of its versions; NaN comes back where they are all equal.
    """
    mean = sum(others) / len(others)
    variance = sum((value - mean) ** 2 for value in others) / (len(others) - 1)
    return (own - mean) / math.sqrt(variance) if variance > 0 else math.nan


def _log_density(value: float, mean: float, std: float) -> float:
    return -0.5 * ((value - mean) / std) ** 2 - math.log(std)


def machine_probability(value: float, human: tuple[float, float], machine: tuple[float, float]) -> float:
    """P(AI) of a value, both kinds of text being equally likely and normal with (mean, standard deviation)."""
    difference = _log_density(value, *human) - _log_density(value, *machine)
    # exp of a large number overflows, of a small one it does not.
    if difference > 0:
        odds = math.exp(-difference)
        return odds / (1 + odds)
    return 1 / (1 + math.exp(difference))


def machine_threshold(human: tuple[float, float], machine: tuple[float, float]) -> float:
    """The value between the two means at which both kinds of text are equally likely.

    Normals of different width cross twice. Beyond the other crossing, far on the human side, the wider machine normal
    is above again; no decision rests on that.
    """
    low, high = human[0], machine[0]
    if low >= high:
        raise BadInput(
            "the mean of human text is not below that of machine text", expected="human_mean < ai_mean"
        )
    if machine_probability(low, human, machine) > 0.5 or machine_probability(high, human, machine) < 0.5:
        raise BadInput("the two normals do not cross between their means", expected="means further apart")
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if machine_probability(middle, human, machine) < 0.5 else (low, middle)
    return high
