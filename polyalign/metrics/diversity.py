"""Diversity of a set of answers: distinct-1/2/3 and Self-BLEU-4.

Definitions: docs/method.md, Metrics. Self-BLEU equals NLTK's sentence_bleu with smoothing method1; n-grams are
counted once a text instead of once a comparison, which makes it some fifty times faster.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from polyalign.metrics.tokens import Tokens

ORDERS = (1, 2, 3, 4)
DISTINCT_ORDERS = (1, 2, 3)
SMOOTHING = 0.1
"""What NLTK's smoothing method1 puts in place of a zero count."""


def _numbered(keys: np.ndarray) -> tuple[np.ndarray, int]:
    """Each key's number among the different keys, int32, and how many there are. Arrow hashes where NumPy sorts."""
    encoded = pa.array(keys).dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False), len(encoded.dictionary)


class NgramTable:
    """N-grams of orders 1 to 4 of n tokenized texts, as integers.

    Attributes:
        lengths: int array (n,), tokens a text.
        grams: per order, the number of every n-gram occurrence, int32, in text order; numbers of different orders do
            not overlap.
        offsets: first gram number of each order.
        size: number of different n-grams of all orders.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.lengths = tokens.lengths
        owner, codes = tokens.owners().astype(np.int32), tokens.codes
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
                current = current.astype(np.int64) * max(tokens.size, 1) + codes[start + order - 1]
            current, different = _numbered(current)
            self.grams[order], self.offsets[order] = current + np.int32(offset), offset
            offset += different
        self.size = offset

    def counts(self, order: int) -> np.ndarray:
        """Occurrences of n-grams of an order in each text, (n,)."""
        return np.maximum(self.lengths - order + 1, 0)

    def occurrences(self, order: int, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(position in `chosen`, gram number) of every n-gram occurrence in the chosen texts (numbers, in order)."""
        counts = self.counts(order)
        first, chosen_counts = np.cumsum(counts) - counts, counts[chosen]
        owner = np.repeat(np.arange(len(chosen)), chosen_counts)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(chosen_counts) - chosen_counts, chosen_counts)
        return owner, self.grams[order][first[chosen][owner] + within]

    def distinct(self, order: int, chosen: np.ndarray | None = None) -> float:
        """Distinct n-grams over all n-grams of the chosen texts (numbers); 0 when there are none."""
        grams = self.grams[order] if chosen is None else self.occurrences(order, chosen)[1]
        if not len(grams):
            return 0.0
        seen = np.zeros(self.size, dtype=bool)
        seen[grams] = True
        return int(np.count_nonzero(seen)) / len(grams)


def draw_candidates(count: int, sample: int, generator: random.Random) -> list[int]:
    """Positions of the texts whose Self-BLEU is taken: all, or a sample in the order drawn."""
    return generator.sample(range(count), sample) if count > sample else list(range(count))


def self_bleu_scores(
    table: NgramTable,
    chosen: Sequence[int] | np.ndarray,
    *,
    sample: int = 500,
    references: int = 100,
    seed: int = 42,
) -> tuple[np.ndarray, np.ndarray]:
    """BLEU-4 of sampled texts, each against a sample of the other sampled texts.

    The draws are those of the published system: `sample` texts by Python's Mersenne Twister, empty ones then left
    out, and for each the references from the rest of the sample, by the same generator.

    Args:
        table: n-grams of all texts.
        chosen: numbers of the texts of this group, in order.

    Returns:
        (numbers of the k sampled texts, their scores), each (k,); none for fewer than two texts that are not empty.
    """
    generator = random.Random(seed)
    drawn = np.asarray(chosen, dtype=np.int64)[draw_candidates(len(chosen), sample, generator)]
    texts = drawn[table.lengths[drawn] > 0]
    if len(texts) < 2:
        return texts[:0], np.zeros(0)
    matched = _clipped_matches(table, texts, references, generator)
    scores = [
        _smoothed_bleu(clipped, int(length), reference)
        for (clipped, reference), length in zip(matched, table.lengths[texts], strict=True)
    ]
    return texts, np.array(scores)


def self_bleu(table: NgramTable, chosen: Sequence[int] | np.ndarray, **sampling: int) -> float:
    """Mean of `self_bleu_scores`, in [0, 1]; 0 for fewer than two texts that are not empty."""
    scores = self_bleu_scores(table, chosen, **sampling)[1]
    return sum(scores.tolist()) / len(scores) if len(scores) else 0.0


@dataclass(frozen=True)
class _Shared:
    """The n-grams that at least two of some texts have: only these can match.

    Attributes:
        block: (grams, texts) occurrences; grams by order, small integers where the counts allow it.
        starts: where each order but the first begins among the grams, (3,).
        own: for each text, its grams in order.
    """

    block: np.ndarray
    starts: np.ndarray
    own: list[np.ndarray]


def _shared_grams(table: NgramTable, texts: np.ndarray) -> _Shared:
    parts = [table.occurrences(order, texts) for order in ORDERS]
    keys = np.concatenate([grams.astype(np.int64) * len(texts) + owner for owner, grams in parts])
    pairs, counts = np.unique_counts(keys)
    grams, owners = np.divmod(pairs, len(texts))
    firsts = np.flatnonzero(np.diff(grams, prepend=-1))
    spread = np.diff(firsts, append=len(grams))
    kept = np.repeat(spread > 1, spread)
    numbers = np.repeat(np.arange((spread > 1).sum()), spread[spread > 1])
    owners, counts = owners[kept], counts[kept]
    kind = np.uint8 if counts.max(initial=0) < 256 else np.int32
    block = np.zeros(((spread > 1).sum(), len(texts)), dtype=kind)
    block[numbers, owners] = counts
    starts = np.searchsorted(grams[firsts][spread > 1], [table.offsets[order] for order in ORDERS[1:]])
    by_owner = np.argsort(owners, kind="stable")
    own = np.split(numbers[by_owner], np.searchsorted(owners[by_owner], np.arange(1, len(texts))))
    return _Shared(block, starts, own)


def _clipped_matches(
    table: NgramTable, texts: np.ndarray, references: int, generator: random.Random
) -> list[tuple[list[int], int]]:
    """Per text: clipped n-gram matches of each order, and the length of the closest reference."""
    shared = _shared_grams(table, texts)
    lengths = table.lengths[texts]
    others = list(range(len(texts)))
    matched = []
    for position, grams in enumerate(shared.own):
        pool = others[:position] + others[position + 1 :]
        picked = generator.sample(pool, references) if len(pool) > references else pool
        rows = shared.block[grams]
        best = np.minimum(rows.take(picked, axis=1).max(axis=1, initial=0), rows[:, position])
        sums = np.cumsum(np.append(0, best), dtype=np.int64)
        edges = sums[np.concatenate(([0], np.searchsorted(grams, shared.starts), [len(grams)]))]
        gaps = np.abs(lengths[picked] - lengths[position])
        matched.append((np.diff(edges).tolist(), int(lengths[picked][gaps == gaps.min()].min())))
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
    values = {f"distinct_{order}": table.distinct(order, chosen) for order in DISTINCT_ORDERS}
    bleu = self_bleu(table, chosen, sample=sample, references=references, seed=seed)
    return {**values, "self_bleu_4": bleu}
