"""Turn dynamics match: whether answers follow the user's turn the way human answers do (multi-turn rows only).

Definition: docs/method.md, Metrics, TDM.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from polyalign.metrics.bng import STD_FLOOR, wasserstein
from polyalign.metrics.bootstrap import deviation_replicates, distance_replicates
from polyalign.metrics.tokens import tokenize

METHOD = "continuous_latent_turn_dynamics"
MAX_RANK = 64
SIMILARITIES = (
    "length_ratio_similarity",
    "lexical_accommodation_similarity",
    "semantic_coupling_similarity",
    "latent_transition_similarity",
)


def null_tdm(reason: str) -> dict:
    """The result where TDM does not apply."""
    return {"overall_macro": None, "by_bucket": [], "method": METHOD, "reason": reason}


def _similarity(gap: float) -> float:
    return 1.0 / (1.0 + gap)


def distribution_similarity(generated: np.ndarray, human: np.ndarray) -> float:
    """1 / (1 + Wasserstein distance over human deviation) of two samples of one quantity."""
    deviation = human.std()
    distance = wasserstein(generated[:, None], human[:, None])[0]
    return _similarity(float(distance / (deviation if deviation > STD_FLOOR else 1.0)))


def cross_product(questions: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Centred question-to-answer cross product Q^T A / n of n turns, (rank, rank)."""
    return (questions - questions.mean(axis=0)).T @ (answers - answers.mean(axis=0)) / len(questions)


def matrix_similarity(generated: np.ndarray, human: np.ndarray) -> float:
    """1 / (1 + Frobenius norm of the difference over that of the human matrix)."""
    size = np.linalg.norm(human)
    return _similarity(float(np.linalg.norm(generated - human) / (size if size > STD_FLOOR else 1.0)))


def transition_similarity(questions: np.ndarray, generated: np.ndarray, human: np.ndarray) -> float:
    """Similarity of the cross products of generated and of human answers to the same questions, each (n, rank)."""
    return matrix_similarity(cross_product(questions, generated), cross_product(questions, human))


def _row_dots(a: sparse.csr_matrix, b: sparse.csr_matrix) -> np.ndarray:
    return np.asarray(a.multiply(b).sum(axis=1)).ravel()


def _row_cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(axis=1) / np.where(norms > STD_FLOOR, norms, 1.0)


@dataclass(frozen=True)
class Turns:
    """Multi-turn rows of one bucket.

    Attributes:
        rows: int array (n,), their numbers among all multi-turn rows.
        quantities: for each of the first three of `SIMILARITIES`, (generated (n,), human (n,)).
        latent: questions, generated and human answers in the latent space, each (n, rank).
    """

    rows: np.ndarray
    quantities: dict[str, tuple[np.ndarray, np.ndarray]]
    latent: tuple[np.ndarray, np.ndarray, np.ndarray]

    def similarities(self) -> dict[str, float]:
        """The four similarities, each in [0, 1]."""
        values = {name: distribution_similarity(g, h) for name, (g, h) in self.quantities.items()}
        return {**values, SIMILARITIES[3]: transition_similarity(*self.latent)}

    def halves_similarity(self, chosen: np.ndarray) -> float:
        """Mean similarity of the human answers to the chosen turns (bool (n,)) and those to the others."""
        values = [distribution_similarity(h[chosen], h[~chosen]) for _, h in self.quantities.values()]
        questions, _, human = self.latent
        crosses = (cross_product(questions[rows], human[rows]) for rows in (chosen, ~chosen))
        return float(np.mean([*values, matrix_similarity(*crosses)]))


def embed_turns(
    questions: Sequence[str],
    answers: Sequence[str],
    predictions: Sequence[str],
    buckets: Sequence[str],
    *,
    min_bucket_size: int = 20,
) -> dict[str, Turns] | str:
    """The large buckets of n multi-turn rows in one latent space, or the reason why there is none.

    Args:
        questions, answers, predictions: the user's message, the human answer and the prediction of each row.
        buckets: bucket of each row; buckets below `min_bucket_size` shape the latent space and get no score.
    """
    # Who reads reports only takes names from here, and scikit-learn takes half a second.
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not len(questions):
        return "no multi-turn rows"
    names, codes = np.unique(np.asarray(buckets), return_inverse=True)
    large = [code for code in range(len(names)) if (codes == code).sum() >= min_bucket_size]
    if not large:
        return f"no multi-turn bucket with {min_bucket_size} rows"
    vectorizer = TfidfVectorizer(lowercase=True, token_pattern=r"(?u)\b\w+\b", norm="l2")
    try:
        vectorizer.fit([*questions, *answers, *predictions])
    except ValueError:
        return "the multi-turn rows hold no words"
    q, human, generated = (vectorizer.transform(texts) for texts in (questions, answers, predictions))
    rank = min(MAX_RANK, min(q.shape) - 1)
    if rank < 1:
        return "the multi-turn rows hold a single word"
    space = TruncatedSVD(n_components=rank, random_state=0).fit(q)
    latent_q, latent_human, latent_generated = (space.transform(matrix) for matrix in (q, human, generated))
    asked, answered, replied = (tokenize(texts).lengths for texts in (questions, answers, predictions))
    ratios = replied / np.maximum(asked, 1), answered / np.maximum(asked, 1)
    overlap = _row_dots(q, generated), _row_dots(q, human)
    coupling = _row_cosines(latent_q, latent_generated), _row_cosines(latent_q, latent_human)
    pairs = dict(zip(SIMILARITIES, (ratios, overlap, coupling), strict=False))
    turns = {}
    for code in large:
        rows = np.flatnonzero(codes == code)
        turns[str(names[code])] = Turns(
            rows,
            {name: (g[rows], h[rows]) for name, (g, h) in pairs.items()},
            (latent_q[rows], latent_generated[rows], latent_human[rows]),
        )
    return turns


def summarize(turns: dict[str, Turns] | str) -> dict:
    """`overall_macro`, `by_bucket`, `method`, and `reason` (None unless the values are null)."""
    if isinstance(turns, str):
        return null_tdm(turns)
    rows = []
    for bucket, part in turns.items():
        values = part.similarities()
        mean = float(np.mean([values[name] for name in SIMILARITIES]))
        rows.append({"bucket_id": bucket, "n_examples": len(part.rows), **values, "tdm": mean})
    macro = float(np.mean([row["tdm"] for row in rows]))
    return {"overall_macro": macro, "by_bucket": rows, "method": METHOD, "reason": None}


def tdm_replicates(part: Turns, weights: np.ndarray, threads: int = 1) -> np.ndarray:
    """TDM of one bucket under each draw of its rows, (B, n) -> (B,); the latent space stays fixed."""
    pairs = list(part.quantities.values())
    generated, human = (np.column_stack([pair[side] for pair in pairs]) for side in (0, 1))
    deviations = human.std(axis=0)
    scales = np.where(deviations > STD_FLOOR, deviations, 1.0)
    distances = distance_replicates(weights, generated, human, range(len(pairs)), threads)
    scales = scales * deviation_replicates(weights, human)
    total = (1 / (1 + distances / scales)).sum(axis=1) + _transition_replicates(part.latent, weights)
    return np.where(weights.any(axis=1), total / len(SIMILARITIES), np.nan)


def _transition_replicates(
    latent: tuple[np.ndarray, np.ndarray, np.ndarray], weights: np.ndarray
) -> np.ndarray:
    """`transition_similarity` of each draw, (B,).

    Both cross products are linear in the answers, so their difference is that of one matrix: two products a draw.
    """
    questions, generated, human = (side.astype(np.float32) for side in latent)
    rank = human.shape[1]
    sides = np.ascontiguousarray(np.hstack([generated - human, human]))
    asked = np.ascontiguousarray(questions.T)
    found = np.empty(len(weights))
    for replicate, drawn in enumerate(weights):
        drawn = drawn.astype(np.float32)
        count = max(1.0, float(drawn.sum()))
        means = drawn @ sides / count
        asked_mean = asked @ drawn / count
        cross = (asked * drawn) @ sides / count
        cross -= np.outer(asked_mean, means)
        gap, size = np.linalg.norm(cross[:, :rank]), np.linalg.norm(cross[:, rank:])
        found[replicate] = _similarity(gap / (size if size > STD_FLOOR else 1.0))
    return found
