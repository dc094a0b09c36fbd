"""Vectors on a plane: principal components, t-SNE and UMAP, with fixed seeds.

    places = project("tsne", vectors, settings, seed=42)        # (n, 2)

t-SNE and UMAP keep neighbourhoods, not distances: how far two clouds lie apart there says little, which is why figures
stand beside the pictures (docs/embeddings.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyalign.embeddings.settings import PROJECTIONS, Embeddings
from polyalign.embeddings.space import reduce
from polyalign.errors import BadInput

TITLES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
FEWEST_POINTS = 5
"""Below that there is no neighbourhood to keep."""


@dataclass(frozen=True)
class Projection:
    """A picture's coordinates.

    Attributes:
        name: one of `PROJECTIONS`.
        places: (n, 2).
        axes: what each axis is, or "" where it has no meaning.
    """

    name: str
    places: np.ndarray
    axes: tuple[str, str]

    @property
    def title(self) -> str:
        """Name as figures write it."""
        return TITLES[self.name]


def project_all(vectors: np.ndarray, settings: Embeddings, seed: int) -> list[Projection]:
    """The configured projections of n vectors (n, dim), in order.

    Raises:
        BadInput: too few vectors, or a projection whose package is not installed.
    """
    if len(vectors) < FEWEST_POINTS:
        raise BadInput(f"{len(vectors)} answers to draw", expected=f"{FEWEST_POINTS} or more")
    reduced, share = reduce(vectors.astype(np.float64), settings.components)
    parts = reduced.var(axis=0)
    shares = share * parts / parts.sum() if parts.sum() > 0 else np.zeros(len(parts))
    found = []
    for name in dict.fromkeys(settings.projections):
        axes = ("", "")
        if name == "pca":
            axes = tuple(f"PC{n + 1} ({_at(shares, n):.0%})" for n in range(2))
        found.append(Projection(name, project(name, reduced, settings, seed), axes))
    return found


def _at(values: Sequence[float], place: int) -> float:
    return float(values[place]) if place < len(values) else 0.0


def project(name: str, vectors: np.ndarray, settings: Embeddings, seed: int) -> np.ndarray:
    """Coordinates (n, 2) of vectors (n, k); equal input and seed give equal coordinates.

    Raises:
        BadInput: an unknown name, or the package is not installed.
    """
    if name not in PROJECTIONS:
        raise BadInput(f"no projection {name!r}", expected=f"one of {', '.join(PROJECTIONS)}")
    if name == "pca":
        places, _ = reduce(vectors, 2)
        # Answers on a line, or all in one place.
        return np.pad(places, ((0, 0), (0, 2 - places.shape[1])))
    return (_tsne if name == "tsne" else _umap)(vectors, settings, seed)


def _tsne(vectors: np.ndarray, settings: Embeddings, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    model = TSNE(
        perplexity=min(settings.perplexity, (len(vectors) - 1) / 3),
        init="pca" if vectors.shape[1] > 1 else "random",
        learning_rate="auto",
        random_state=seed,
        n_jobs=1,
    )
    return model.fit_transform(vectors.astype(np.float32)).astype(np.float64)


def _umap(vectors: np.ndarray, settings: Embeddings, seed: int) -> np.ndarray:
    try:
        from umap import UMAP
    except ImportError:
        raise BadInput(
            "the projection umap needs the package umap-learn",
            field="embeddings.projections",
            fix="pip install umap-learn, or leave umap out",
        ) from None
    model = UMAP(
        n_neighbors=min(settings.neighbors, len(vectors) - 1),
        # With few points the spectral start has no solution to find.
        init="spectral" if len(vectors) > 50 else "random",
        random_state=seed,
        # One thread: with several the result depends on who comes first.
        n_jobs=1,
    )
    return model.fit_transform(vectors.astype(np.float32)).astype(np.float64)
