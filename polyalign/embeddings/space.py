"""One space for the answers of a language: the rows that all have in common, reduced to principal components.

    space = read_space("human.parquet", {"en_sft_tiny": "en_sft_tiny.parquet"}, components=64)
    space.human, space.systems["en_sft_tiny"]          # (n, k) each; row i of both answers one question

A unit of it is the spread of the human answers: the root of the mean squared distance of a human answer from their
mean. So the distances of an encoder whose vectors lie in a narrow cone can be read like those of any other.
Definitions: docs/method.md, Embeddings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyalign.embeddings.vectors import Vectors, read_vectors
from polyalign.errors import BadInput
from polyalign.files import StrPath

FEWEST_ROWS = 10
"""Fewer rows in common say nothing about two distributions."""


@dataclass(frozen=True)
class Space:
    """Human answers and those of every system to the same rows.

    Attributes:
        rows: source_index (n,), in order.
        human: (n, k).
        systems: {system: (n, k)}.
        spread: length of a unit in the encoder's own.
        explained: share of the variance that the k components hold.
        encoder: what the vectors were made with.
        counts: {"human" or system: what was counted when they were made}.
    """

    rows: np.ndarray
    human: np.ndarray
    systems: dict[str, np.ndarray]
    spread: float
    explained: float
    encoder: dict[str, Any]
    counts: dict[str, dict[str, int]]


def read_common(
    human_file: StrPath, system_files: Mapping[str, StrPath]
) -> tuple[np.ndarray, Vectors, dict[str, Vectors]]:
    """(rows that all have a vector for, human answers, systems).

    Raises:
        BadInput: no systems, vectors of another encoder, ids that are not the human answers', too few common rows.
    """
    if not system_files:
        raise BadInput("no system to compare with the human answers", fix="give at least one")
    human = read_vectors(human_file)
    ids = dict(zip(human.rows.tolist(), human.ids, strict=True))
    systems = {}
    for name, path in system_files.items():
        systems[name] = read_vectors(path)
        _same_encoder(human, systems[name], path)
        for row, own in zip(systems[name].rows.tolist(), systems[name].ids, strict=True):
            if own is not None and ids.get(row) not in (None, own):
                raise BadInput(
                    f"found {own!r} for row {row}",
                    file=path,
                    field="id",
                    expected=repr(ids[row]),
                    fix="embed predictions of the same split",
                )
    common = human.rows
    for found in systems.values():
        common = np.intersect1d(common, found.rows)
    if len(common) < FEWEST_ROWS:
        raise BadInput(
            f"{len(common)} rows are answered by humans and by every system",
            file=human_file,
            expected=f"{FEWEST_ROWS} or more",
            fix="leave out the system that answers other rows, or embed more rows",
        )
    return np.sort(common), human, systems


def read_space(human_file: StrPath, system_files: Mapping[str, StrPath], *, components: int) -> Space:
    """The common rows of human answers and systems in one space of at most `components` dimensions.

    Raises:
        BadInput: see `read_common`, or human answers that all have one vector.
    """
    rows, human, systems = read_common(human_file, system_files)
    people = human.at(rows).astype(np.float64)
    spread = float(np.sqrt(people.var(axis=0).sum()))
    if spread < 1e-9:
        raise BadInput(
            "all human answers have the same vector", file=human_file, fix="choose another encoder"
        )
    parts = [people, *(found.at(rows).astype(np.float64) for found in systems.values())]
    reduced, explained = reduce(np.concatenate(parts), components)
    reduced /= spread
    split = np.split(reduced, len(parts))
    return Space(
        rows,
        split[0],
        dict(zip(systems, split[1:], strict=True)),
        spread,
        explained,
        human.encoder,
        {"human": human.counts, **{name: found.counts for name, found in systems.items()}},
    )


def reduce(vectors: np.ndarray, components: int) -> tuple[np.ndarray, float]:
    """(coordinates (n, k) on the first k principal components, share of the variance that these hold).

    k is `components`, or what the vectors (n, dim) have where that is less; the signs of components are fixed.
    """
    centred = vectors - vectors.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred)
    values, axes = np.maximum(values[::-1], 0.0), axes[:, ::-1]
    total = values.sum()
    # Directions that hold nothing but rounding are left out.
    there = max(1, int((values > total * 1e-12).sum()))
    kept = axes[:, : min(components, there)]
    largest = np.abs(kept).argmax(axis=0)
    kept = kept * np.where(kept[largest, np.arange(kept.shape[1])] < 0, -1.0, 1.0)
    share = float(values[: kept.shape[1]].sum() / total) if total > 0 else 1.0
    return centred @ kept, share


def _same_encoder(human: Vectors, other: Vectors, path: StrPath) -> None:
    """Raise `BadInput` unless both were made with the same encoder and settings."""
    differing: Sequence[str] = sorted(
        key for key in {*human.encoder, *other.encoder} if human.encoder.get(key) != other.encoder.get(key)
    )
    if differing:
        raise BadInput(
            f"another encoder than that of the human answers ({', '.join(differing)} differ)",
            file=path,
            fix="embed all of them with one encoder",
        )
