"""Turn dynamics match: whether answers follow the user's turn the way human answers do (multi-turn rows only).

Definition: docs/method.md, Metrics, TDM.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from polyalign.metrics.bng import STD_FLOOR, wasserstein
from polyalign.metrics.bootstrap import wasserstein_replicates
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


def transition_similarity(questions: np.ndarray, generated: np.ndarray, human: np.ndarray) -> float:
    """1 / (1 + relative Frobenius gap) of the centred question-to-answer cross products Q^T A / n, each (n, rank)."""
    centred = questions - questions.mean(axis=0)
    cross_human = centred.T @ (human - human.mean(axis=0)) / len(questions)
    cross_generated = centred.T @ (generated - generated.mean(axis=0)) / len(questions)
    size = np.linalg.norm(cross_human)
    return _similarity(
        float(np.linalg.norm(cross_generated - cross_human) / (size if size > STD_FLOOR else 1.0))
    )


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


def tdm_replicates(part: Turns, weights: np.ndarray) -> np.ndarray:
    """TDM of one bucket under each draw of its rows, (B, n) -> (B,); latent space and human deviations stay fixed."""
    total = np.zeros(len(weights))
    for generated, human in part.quantities.values():
        deviation = human.std()
        distance = wasserstein_replicates(weights, generated, human)
        total += 1 / (1 + distance / (deviation if deviation > STD_FLOOR else 1.0))
    for replicate, drawn in enumerate(weights):
        picked = np.repeat(np.arange(len(drawn)), drawn.astype(np.int64))
        if len(picked):
            total[replicate] += transition_similarity(*(side[picked] for side in part.latent))
        else:
            total[replicate] = np.nan
    return total / len(SIMILARITIES)
