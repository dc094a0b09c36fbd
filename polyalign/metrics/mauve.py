"""MAUVE of predictions against human answers, over all rows and by bucket (C-MAUVE).

Definition: docs/method.md, Metrics. The features are the last hidden state at the last token under any causal
language model in a local folder; mauve-text compares them (its own featurizer knows few models).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.metrics.bootstrap import Draws, weighted_sums
from polyalign.metrics.settings import MauveSettings
from polyalign.model_folders import load_tokenizer, load_weights
from polyalign.progress import track

SCALING_FACTOR = 5


def null_mauve(reason: str) -> dict:
    """The result where MAUVE was not taken."""
    return {
        "global": None,
        "overall_macro": None,
        "overall_weighted": None,
        "by_bucket": [],
        "skipped": True,
        "reason": reason,
    }


class Featurizer:
    """A causal language model that turns texts into vectors.

    Args:
        model_dir: folder of a model and its tokenizer.
        max_length: most tokens of a text; the rest is left out.
        batch_tokens: padded tokens a batch.

    Raises:
        BadInput: the folder holds no model.
    """

    def __init__(self, model_dir: StrPath, *, max_length: int = 256, batch_tokens: int = 8192) -> None:
        import torch

        if not (Path(model_dir) / "config.json").is_file():
            raise BadInput(
                "no language model here", file=model_dir, expected="a folder with config.json and a tokenizer"
            )
        self.name = Path(model_dir).name
        self.max_length, self.batch_tokens = max_length, batch_tokens
        self._torch = torch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer = load_tokenizer(model_dir)
        # Without its head: logits of every position would cost more than the states.
        model = load_weights("AutoModel", model_dir, dtype=torch.float32)
        self._model = model.to(self._device).eval()

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; an empty text is the end-of-text token alone, so that it counts too."""
        tokenizer = self._tokenizer
        ids = tokenizer(list(texts), truncation=True, max_length=self.max_length, add_special_tokens=False)
        end = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 0
        return [row or [end] for row in ids["input_ids"]]

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Features of n texts, float32 array (n, hidden)."""
        ids = self._token_ids(texts)
        features = np.zeros((len(ids), self._model.config.hidden_size), dtype=np.float32)
        with self._torch.inference_mode():
            for rows in track(self._batches(ids), label="MAUVE features", unit="batches"):
                features[rows] = self._last_states([ids[row] for row in rows])
        return features

    def _batches(self, ids: list[list[int]]) -> list[list[int]]:
        """Row numbers by batch, longest texts first, each batch within the token budget."""
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        batches = []
        while order:
            count = max(1, self.batch_tokens // len(ids[order[0]]))
            batches.append(order[:count])
            order = order[count:]
        return batches

    def _last_states(self, ids: list[list[int]]) -> np.ndarray:
        """Last hidden state at the last token of each row."""
        torch = self._torch
        inputs = torch.zeros((len(ids), max(map(len, ids))), dtype=torch.long)
        mask = torch.zeros_like(inputs)
        for place, row in enumerate(ids):
            inputs[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        # Right padding: under causal attention the padding cannot reach the tokens before it.
        output = self._model(input_ids=inputs.to(self._device), attention_mask=mask.to(self._device))
        last = torch.tensor([len(row) - 1 for row in ids])
        return output.last_hidden_state[torch.arange(len(ids)), last].float().cpu().numpy()


def mauve_score(human: np.ndarray, generated: np.ndarray, seed: int) -> float:
    """MAUVE of two samples of feature vectors, (n, hidden) and (m, hidden).

    Raises:
        BadInput: the package mauve-text is not installed.
    """
    try:
        import mauve
    except ImportError:
        raise BadInput(
            "MAUVE needs the package mauve-text", fix="pip install mauve-text, or switch MAUVE off"
        ) from None
    result = mauve.compute_mauve(
        p_features=human,
        q_features=generated,
        mauve_scaling_factor=SCALING_FACTOR,
        seed=seed,
        verbose=False,
    )
    return float(result.mauve)


def _sample(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return np.array(sorted(random.Random(seed).sample(rows.tolist(), most)))


@dataclass(frozen=True)
class Mauve:
    """The embedded texts of n rows, or of a sample of them, and what MAUVE says of them.

    Attributes:
        featurizer: name of the model.
        human, generated: float32 (k, hidden), features of the k rows that any group needs.
        place: int (n,), where the features of a row stand; -1 for a row that no group needs.
        groups: row numbers of each bucket, and under "" those of the whole.
        counts: rows of each bucket before sampling.
        seed: seed of the clustering.
    """

    featurizer: str
    human: np.ndarray
    generated: np.ndarray
    place: np.ndarray
    groups: dict[str, np.ndarray]
    counts: dict[str, int]
    seed: int

    @classmethod
    def of_texts(
        cls,
        predictions: Sequence[str],
        answers: Sequence[str],
        buckets: np.ndarray,
        model_dir: StrPath,
        settings: MauveSettings,
        *,
        min_bucket_size: int = 20,
        seed: int = 42,
    ) -> "Mauve | str":
        """Embed n predictions and answers; the reason why there is no MAUVE for fewer rows than a bucket needs.

        Args:
            buckets: bucket of each row; smaller ones than `min_bucket_size` are left out of C-MAUVE.
        """
        featurize = Featurizer(model_dir, max_length=settings.max_length, batch_tokens=settings.batch_tokens)
        if len(predictions) < min_bucket_size:
            return f"fewer than {min_bucket_size} rows"
        groups = {"": _sample(np.arange(len(predictions)), settings.max_texts, seed)}
        counts = {}
        for bucket in np.unique(buckets):
            rows = np.flatnonzero(buckets == bucket)
            if len(rows) >= min_bucket_size:
                groups[str(bucket)] = _sample(rows, settings.max_texts, seed)
                counts[str(bucket)] = len(rows)
        needed = np.unique(np.concatenate(list(groups.values())))
        place = np.full(len(predictions), -1)
        place[needed] = np.arange(len(needed))
        human = featurize([answers[row] for row in needed])
        generated = featurize([predictions[row] for row in needed])
        return cls(featurize.name, human, generated, place, groups, counts, seed)

    def summary(self) -> dict:
        """`global, overall_macro, overall_weighted, by_bucket, skipped, reason`, the featurizer and its texts."""
        values = {}
        for name, rows in self.groups.items():
            at = self.place[rows]
            values[name] = mauve_score(self.human[at], self.generated[at], self.seed)
        whole = values.pop("")
        weights = [self.counts[bucket] for bucket in values]
        return {
            "global": whole,
            "overall_macro": float(np.mean(list(values.values()))) if values else None,
            "overall_weighted": float(np.average(list(values.values()), weights=weights)) if values else None,
            "by_bucket": [
                {"bucket_id": bucket, "n_examples": self.counts[bucket], "c_mauve": value}
                for bucket, value in values.items()
            ],
            "skipped": False,
            "reason": None,
            "featurizer": self.featurizer,
            "n_texts": len(self.groups[""]),
        }

    def of_human_halves(self, first: np.ndarray) -> float | None:
        """MAUVE of the human answers of the first half (bool (n,)) against the others of the sample."""
        rows = self.groups[""]
        halves = [self.human[self.place[rows[first[rows] == side]]] for side in (True, False)]
        if min(map(len, halves)) < 2:
            return None
        return mauve_score(halves[1], halves[0], self.seed)

    def replicates(self, draws: Draws) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """(MAUVE of each draw (B,), {bucket: C-MAUVE of each draw (B,)}); the clusters stay fixed.

        mauve-text keeps its clusters to itself, so these are our own; the replicates tell the spread, not the value.
        """
        values = {}
        for name, rows in self.groups.items():
            at = self.place[rows]
            labels = cluster(np.concatenate([self.human[at], self.generated[at]]), len(rows), self.seed)
            sides = np.zeros((len(self.place), 2 * (labels.max() + 1)))
            sides[rows, labels[: len(rows)]] = 1
            sides[rows, labels.max() + 1 + labels[len(rows) :]] = 1
            sampled = np.zeros(len(self.place), dtype=bool)
            sampled[rows] = True
            histograms = sum(
                weighted_sums(weights[:, sampled[own]], sides[own[sampled[own]]])
                for own, weights in draws.values()
                if sampled[own].any()
            )
            values[name] = histogram_mauve(*np.split(histograms, 2, axis=1))
        return values.pop(""), values


def cluster(features: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Cluster of each of 2 * count feature vectors (2 * count, hidden): a tenth as many as texts a side."""
    import faiss
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    unit = normalize(features.astype(np.float64))
    if np.ptp(unit, axis=0).max() == 0:
        return np.zeros(len(features), dtype=np.int64)
    # Nine tenths of the variance, as MAUVE itself keeps.
    reduced = PCA(n_components=0.9, svd_solver="full", random_state=seed).fit_transform(unit)
    reduced = np.ascontiguousarray(reduced, dtype=np.float32)
    kmeans = faiss.Kmeans(reduced.shape[1], max(2, round(count / 10)), niter=50, seed=seed)
    kmeans.cp.min_points_per_centroid = 1
    kmeans.train(reduced)
    return kmeans.index.search(reduced, 1)[1].ravel()


def histogram_mauve(human: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """MAUVE of pairs of histograms over the same clusters, (B, clusters) each -> (B,).

    The area under the curve of exp(-c KL(q, r)) and exp(-c KL(p, r)) over mixtures r of p and q, Pillutla et al. 2021.
    """
    totals = human.sum(axis=1, keepdims=True), generated.sum(axis=1, keepdims=True)
    p, q = (
        side / np.where(total > 0, total, 1) for side, total in zip((human, generated), totals, strict=True)
    )

    def similarity(side: np.ndarray, mixture: np.ndarray) -> np.ndarray:
        share = np.where(side > 0, side / np.where(mixture > 0, mixture, 1), 1)
        return np.exp(-SCALING_FACTOR * (side * np.log(share)).sum(axis=1))

    curve = [(np.ones(len(p)), np.zeros(len(p)))]
    for weight in np.linspace(1e-6, 1 - 1e-6, 25):
        mixture = weight * p + (1 - weight) * q
        curve.append((similarity(q, mixture), similarity(p, mixture)))
    curve.append((np.zeros(len(p)), np.ones(len(p))))
    x, y = (np.array(side) for side in zip(*curve, strict=True))
    area = (0.5 * (y[1:] + y[:-1]) * (x[:-1] - x[1:])).sum(axis=0)
    return np.where((totals[0] > 0).all(axis=1) & (totals[1] > 0).all(axis=1), area, np.nan)
