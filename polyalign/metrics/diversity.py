"""Diversity of a set of answers: distinct-1/2/3 and Self-BLEU-4.

Definitions: docs/method.md, Metrics. Self-BLEU equals NLTK's sentence_bleu with smoothing method1; n-grams are
counted once a text instead of once a comparison, which makes it some fifty times faster.
"""

import math
import random
from collections.abc import Sequence

import numpy as np
from scipy import sparse

from polyalign.metrics.tokens import Tokens

ORDERS = (1, 2, 3, 4)
DISTINCT_ORDERS = (1, 2, 3)
SMOOTHING = 0.1
"""What NLTK's smoothing method1 puts in place of a zero count."""


class NgramTable:
    """N-grams of orders 1 to 4 of n tokenized texts, as integers.

    Attributes:
        lengths: int array (n,), tokens a text.
        texts, grams: per order, the text number and the gram number of every n-gram occurrence; gram numbers of
            different orders do not overlap, and occurrences are in text order.
        offsets: first gram number of each order.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.lengths = tokens.lengths
        owner, codes = tokens.owners(), tokens.codes
        self.texts: dict[int, np.ndarray] = {}
        self.grams: dict[int, np.ndarray] = {}
        self.offsets: dict[int, int] = {}
        start, current, offset = np.arange(len(codes)), codes, 0
        for order in ORDERS:
            if order > 1:
                # Number the n-grams by the (n-1)-gram they begin with and their last token.
                last = start + order - 1
                inside = last < len(codes)
                inside[inside] = owner[last[inside]] == owner[start[inside]]
                start, current = start[inside], current[inside]
                keys = current * max(tokens.size, 1) + codes[start + order - 1]
                current = np.unique(keys, return_inverse=True)[1]
            self.texts[order], self.grams[order], self.offsets[order] = owner[start], current + offset, offset
            offset += int(current.max(initial=-1)) + 1
        self.size = offset
        self._counts: sparse.csr_matrix | None = None

    def counts(self) -> sparse.csr_matrix:
        """Occurrences, shape (texts, grams of every order)."""
        if self._counts is None:
            rows = np.concatenate([self.texts[order] for order in ORDERS])
            columns = np.concatenate([self.grams[order] for order in ORDERS])
            ones = np.ones(len(rows), dtype=np.int32)
            shape = (len(self.lengths), max(self.size, 1))
            # Building from coordinates adds up repeated occurrences.
            self._counts = sparse.csr_matrix((ones, (rows, columns)), shape=shape)
        return self._counts

    def distinct(self, order: int, chosen: np.ndarray | None = None) -> float:
        """Distinct n-grams over all n-grams of the chosen texts (bool array (n,)); 0 when there are none."""
        grams = self.grams[order] if chosen is None else self.grams[order][chosen[self.texts[order]]]
        return len(np.unique(grams)) / len(grams) if len(grams) else 0.0


def draw_candidates(count: int, sample: int, generator: random.Random) -> list[int]:
    """Positions of the texts whose Self-BLEU is taken: all, or a sample in the order drawn."""
    return generator.sample(range(count), sample) if count > sample else list(range(count))


def self_bleu(
    table: NgramTable,
    chosen: Sequence[int] | np.ndarray,
    *,
    sample: int = 500,
    references: int = 100,
    seed: int = 42,
) -> float:
    """Mean BLEU-4 of sampled texts, each against a sample of the other sampled texts.

    The draws are those of the published system: `sample` texts by Python's Mersenne Twister, empty ones then left
    out, and for each the references from the rest of the sample, by the same generator.

    Args:
        table: n-grams of all texts.
        chosen: numbers of the texts of this group, in order.

    Returns:
        A value in [0, 1]; 0 for fewer than two texts that are not empty.
    """
    generator = random.Random(seed)
    drawn = np.asarray(chosen, dtype=np.int64)[draw_candidates(len(chosen), sample, generator)]
    texts = drawn[table.lengths[drawn] > 0]
    if len(texts) < 2:
        return 0.0
    lengths = table.lengths[texts]
    matched = _clipped_matches(table, texts, references, generator)
    scores = [
        _smoothed_bleu(clipped, int(length), reference)
        for (clipped, reference), length in zip(matched, lengths, strict=True)
    ]
    return sum(scores) / len(scores)


def _clipped_matches(
    table: NgramTable, texts: np.ndarray, references: int, generator: random.Random
) -> list[tuple[list[int], int]]:
    """Per text: clipped n-gram matches of each order, and the length of the closest reference."""
    counts = table.counts()[texts]
    shared = np.flatnonzero(np.bincount(counts.indices, minlength=counts.shape[1]) > 1)
    # Only grams that two sampled texts share can match: a small dense block, gram by text, holds them all.
    block = np.ascontiguousarray(counts[:, shared].toarray().T)
    block = block.astype(np.uint8 if block.max(initial=0) < 256 else np.int32)
    bounds = np.searchsorted(shared, [table.offsets[order] for order in ORDERS[1:]])
    own = sparse.csr_matrix(counts[:, shared])
    lengths = table.lengths[texts]
    others = list(range(len(texts)))
    matched = []
    for position in range(len(texts)):
        pool = others[:position] + others[position + 1 :]
        picked = generator.sample(pool, references) if len(pool) > references else pool
        span = slice(own.indptr[position], own.indptr[position + 1])
        grams = np.sort(own.indices[span])
        best = np.minimum(block[grams][:, picked].max(axis=1, initial=0), block[grams, position])
        edges = np.searchsorted(grams, bounds)
        clipped = [int(part.sum(dtype=np.int64)) for part in np.split(best, edges)]
        gaps = np.abs(lengths[picked] - lengths[position])
        matched.append((clipped, int(lengths[picked][gaps == gaps.min()].min())))
    return matched


def _smoothed_bleu(clipped: Sequence[int], length: int, reference: int) -> float:
    """BLEU-4 with smoothing method1 from clipped matches, own length and the closest reference length."""
    if not clipped[0]:
        return 0.0
    logs = [
        0.25 * math.log((match or SMOOTHING) / max(1, length - order + 1))
        for order, match in zip(ORDERS, clipped, strict=True)
    ]
    penalty = 1.0 if length > reference else math.exp(1 - reference / length)
    return penalty * math.exp(math.fsum(logs))


def diversity(
    table: NgramTable,
    chosen: np.ndarray,
    *,
    sample: int = 500,
    references: int = 100,
    seed: int = 42,
) -> dict[str, float]:
    """`distinct_1, distinct_2, distinct_3, self_bleu_4` of the chosen texts (numbers, in order)."""
    mask = np.zeros(len(table.lengths), dtype=bool)
    mask[chosen] = True
    values = {f"distinct_{order}": table.distinct(order, mask) for order in DISTINCT_ORDERS}
    bleu = self_bleu(table, chosen, sample=sample, references=references, seed=seed)
    return {**values, "self_bleu_4": bleu}
