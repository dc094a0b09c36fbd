"""Choosing the next token: penalties, temperature, top-p, and random numbers that belong to a row.

A row draws the same numbers whatever rows stand beside it, so that batches, resumed runs and single rows
agree.
"""

import numpy as np
import torch

from polyalign.inference.decoding import Decoding

# Nearly every nucleus is smaller, and on a GPU finding this many is much cheaper than sorting a vocabulary.
_NUCLEUS_GUESS = 256


def row_uniforms(seed: int, count: int) -> np.ndarray:
    """`count` float64 numbers in [0, 1) of one row: number k is for its k-th new token."""
    return np.random.Generator(np.random.Philox(key=seed)).random(count)


def penalize(
    logits: torch.Tensor, seen: torch.Tensor | None, counts: torch.Tensor | None, decoding: Decoding
) -> torch.Tensor:
    """Logits after the repetition and the frequency penalty.

    Args:
        logits: [rows, vocabulary].
        seen: bool of that shape, tokens of the prompt and of the answer so far; None without that penalty.
        counts: float of that shape, how often a token stands in the answer so far; None without that penalty.
    """
    if seen is not None:
        factor = decoding.repetition_penalty
        logits = torch.where(seen, torch.where(logits > 0, logits / factor, logits * factor), logits)
    if counts is not None:
        logits = logits - decoding.frequency_penalty * counts
    return logits


def choose_tokens(logits: torch.Tensor, uniforms: torch.Tensor | None, decoding: Decoding) -> torch.Tensor:
    """Next token of each row, [rows].

    Sampling inverts the distribution function over the vocabulary in its own order at the row's number:
    tokens of almost equal probability then never change places because another batch rounds differently.

    Args:
        logits: [rows, vocabulary], float32.
        uniforms: [rows], float64 in [0, 1); not used (None) when decoding is greedy.
    """
    if decoding.greedy:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits / decoding.temperature, dim=-1)
    if decoding.top_p < 1:
        threshold = _nucleus_threshold(probabilities, decoding.top_p)
        probabilities = probabilities.masked_fill(probabilities < threshold, 0.0)
    cumulative = probabilities.double().cumsum(dim=-1)
    total = cumulative[:, -1:]
    # Rounding must not carry the point up to the total, past the last possible token.
    point = torch.minimum(uniforms[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulative, point, right=True).squeeze(-1)


def _nucleus_threshold(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """Probability of the last token of each row's nucleus, [rows, 1]; tokens that tie with it belong to it."""
    ranked = _ranked(probabilities, top_p)
    # A token is in the nucleus when those before it hold less than top_p.
    inside = ranked.cumsum(dim=-1) - ranked < top_p
    return ranked.masked_fill(~inside, torch.inf).amin(dim=-1, keepdim=True)


def _ranked(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """The probabilities of each row, falling, as far as they hold `top_p`."""
    if probabilities.device.type == "cpu":
        # NumPy sorts with vector instructions, some thirty times as fast as torch; it was half of the time.
        return torch.from_numpy(np.sort(probabilities.numpy(), axis=-1)[:, ::-1].copy())
    ranked = probabilities.topk(min(_NUCLEUS_GUESS, probabilities.shape[-1])).values
    if (ranked.sum(dim=-1) < top_p).any():
        ranked = probabilities.sort(dim=-1, descending=True).values
    return ranked
