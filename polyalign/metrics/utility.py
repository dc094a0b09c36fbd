"""Utility: exact match, token F1 and ROUGE-L F1 of predictions against human answers.

Definitions: docs/method.md, Metrics for `raw_em, qa_em, qa_f1, rouge_l_f1`; Metrics beyond the paper for the
Chinese-aware `char_f1, char_rouge_l_f1`, which count a Chinese character as a token where the paper's rule makes
one token of a whole Chinese answer.
"""

from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import LCSseq

from polyalign.metrics.tokens import Tokens, tokenize
from polyalign.records import normalize_text

PAPER_SCORES = ("raw_em", "qa_em", "qa_f1", "rouge_l_f1")
CHAR_SCORES = ("char_f1", "char_rouge_l_f1")
SCORES = (*PAPER_SCORES, *CHAR_SCORES)
"""Every score of a row, in the order of the report."""

_ROWS = 4096
"""Rows scored at once: bounds memory, and keeps token numbers within the code points of a string."""


def _harmonic(common: np.ndarray, predicted: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """F1 of common/predicted and common/expected, (n,); 1 when both sides are empty, 0 without overlap."""
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = common / predicted, common / expected
        scores = 2 * precision * recall / (precision + recall)
    scores = np.where(common > 0, scores, 0.0)
    return np.where((predicted == 0) & (expected == 0), 1.0, scores)


def _counted(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Distinct (text, token) keys, sorted, and how often each occurs."""
    return np.unique(tokens.owners() * tokens.size + tokens.codes, return_counts=True)


def overlap_scores(tokens: Tokens) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(token F1, ROUGE-L F1, whether equal), each (n,): text i against text n + i of 2n tokenized texts."""
    n = len(tokens.lengths) // 2
    predicted, expected = tokens.rows(0, n), tokens.rows(n, 2 * n)
    (keys_p, counts_p), (keys_e, counts_e) = _counted(predicted), _counted(expected)
    common, of_p, of_e = np.intersect1d(keys_p, keys_e, assume_unique=True, return_indices=True)
    shared = np.minimum(counts_p[of_p], counts_e[of_e])
    overlap = np.bincount(common // max(tokens.size, 1), shared, minlength=n)
    strings_p, strings_e = predicted.strings(), expected.strings()
    longest = np.zeros(n)
    for row in np.flatnonzero(overlap):
        longest[row] = LCSseq.similarity(strings_p[row], strings_e[row])
    equal = np.array([a == b for a, b in zip(strings_p, strings_e, strict=True)], dtype=bool)
    lengths = predicted.lengths, expected.lengths
    return _harmonic(overlap, *lengths), _harmonic(longest, *lengths), equal


def score_rows(
    predictions: Sequence[str], references: Sequence[str], *, chinese_aware: bool = True
) -> dict[str, np.ndarray]:
    """Scores of each prediction against its human answer.

    Args:
        predictions, references: n texts each, paired by position.
        chinese_aware: also give `char_f1` and `char_rouge_l_f1`.

    Returns:
        {score name: float64 array of shape (n,)}, every value in [0, 1].
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} references")
    names = SCORES if chinese_aware else PAPER_SCORES
    scores = {name: np.zeros(len(predictions)) for name in names}
    for start in range(0, len(predictions), _ROWS):
        rows = slice(start, start + _ROWS)
        part = _score_batch(predictions[rows], references[rows], chinese_aware)
        for name, values in part.items():
            scores[name][rows] = values
    return scores


def _score_batch(
    predictions: Sequence[str], references: Sequence[str], chinese_aware: bool
) -> dict[str, np.ndarray]:
    token_f1, rouge_l, equal = overlap_scores(tokenize([*predictions, *references]))
    # Equal normalized texts have equal tokens, so only those rows need the slower comparison.
    raw = np.zeros(len(predictions))
    for row in np.flatnonzero(equal):
        raw[row] = normalize_text(predictions[row]) == normalize_text(references[row])
    scores = {"raw_em": raw, "qa_em": equal.astype(np.float64), "qa_f1": token_f1, "rouge_l_f1": rouge_l}
    if not chinese_aware:
        return scores
    # Rows of ASCII text alone take the paper's values, which are the same.
    scores |= {"char_f1": token_f1.copy(), "char_rouge_l_f1": rouge_l.copy()}
    pairs = zip(predictions, references, strict=True)
    rows = [row for row, (a, b) in enumerate(pairs) if not (a.isascii() and b.isascii())]
    if rows:
        texts = [side[row] for side in (predictions, references) for row in rows]
        scores["char_f1"][rows], scores["char_rouge_l_f1"][rows], _ = overlap_scores(tokenize(texts, "char"))
    return scores
