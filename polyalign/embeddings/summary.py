"""Figures of a language: distances of every system's answers from the human ones, overall and by bucket.

    summary = summarize("en", "human.parquet", {"en_sft_tiny": "en_sft_tiny.parquet"}, buckets, settings, seed=42)

Every figure is taken on the rows that humans and all systems have a vector for. Definitions: docs/method.md,
Embeddings; how to read them: docs/embeddings.md.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from polyalign.embeddings.classifier import two_sample_test
from polyalign.embeddings.distances import (
    energy_distance,
    frechet_by_chance,
    frechet_distance,
    mean_shift,
    spread_ratio,
)
from polyalign.embeddings.settings import Embeddings
from polyalign.embeddings.space import Space, read_space
from polyalign.errors import BadInput
from polyalign.files import StrPath, write_json
from polyalign.methods import refuse_oracles
from polyalign.metrics.bootstrap import ends, interval, row_weights
from polyalign.progress import track
from polyalign.records import read_records

SCHEMA_VERSION = 1
_ANYWHERE = (-np.inf, np.inf)


def buckets_of(records: StrPath) -> np.ndarray:
    """Bucket of each row of a split."""
    return np.array([record["bucket_id"] for record in read_records(records)])


def summarize(
    language: str,
    human_file: StrPath,
    system_files: Mapping[str, StrPath],
    buckets: np.ndarray,
    settings: Embeddings,
    seed: int,
) -> dict[str, Any]:
    """The summary of a language.

    Args:
        human_file: vectors of the human answers.
        system_files: {system: vectors of its answers}.
        buckets: bucket of each row of the split.
        seed: of folds, exchanges and draws.

    Raises:
        BadInput: vectors that must not be compared, or of rows that the split does not have.
    """
    space = read_space(human_file, system_files, components=settings.components)
    if space.rows[-1] >= len(buckets):
        raise BadInput(
            f"row {space.rows[-1]} is beyond the {len(buckets)} records",
            file=human_file,
            fix="give the records that were embedded",
        )
    own = buckets[space.rows]
    groups = {"": np.arange(len(own))}
    sizes = {str(name): int((own == name).sum()) for name in np.unique(own)}
    large = [name for name, size in sizes.items() if size >= settings.min_bucket_size]
    groups |= {name: np.flatnonzero(own == name) for name in large}
    weights = row_weights(own, settings.bootstrap, seed)
    work = [(name, group) for name in space.systems for group in groups]
    found: dict[str, dict[str, Any]] = {name: {} for name in space.systems}
    for name, group in track(work, label="distances", unit="groups"):
        rows = groups[group]
        found[name][group] = figures(
            space.human[rows], space.systems[name][rows], weights[:, rows], settings, seed
        )
    return {
        "schema_version": SCHEMA_VERSION,
        "language": language,
        "encoder": space.encoder,
        "space": _described(space),
        "common_rows": len(space.rows),
        "buckets": {name: sizes[name] for name in large},
        "small_buckets": {name: size for name, size in sizes.items() if name not in large},
        "intervals": {"replicates": settings.bootstrap, "confidence": settings.confidence, "seed": seed},
        "permutations": settings.permutations,
        "folds": settings.folds,
        "human": {"counts": space.counts["human"]},
        "systems": {
            name: {
                "counts": space.counts[name],
                "overall": parts[""],
                "by_bucket": {group: parts[group] for group in large},
            }
            for name, parts in found.items()
        },
    }


def _described(space: Space) -> dict[str, Any]:
    return {
        "components": space.human.shape[1],
        "explained": space.explained,
        "unit": space.spread,
    }


def figures(
    human: np.ndarray, other: np.ndarray, weights: np.ndarray, settings: Embeddings, seed: int
) -> dict[str, Any]:
    """Every figure of a system's answers (n, k) beside the human ones (n, k).

    Args:
        weights: how often each row is drawn, (B, n).
    """
    energy = energy_distance(human, other, weights, settings.permutations, seed)
    test = two_sample_test(human, other, folds=settings.folds, seed=seed, weights=weights)
    # Rows that are drawn twice bring the clouds apart a little, which shifts the replicates alone.
    around = interval(
        energy.replicates, energy.estimate, settings.confidence, recentre=True, bounds=_ANYWHERE
    )
    area = interval(test.replicates, test.auc, settings.confidence, recentre=False)
    (energy_low, energy_high), (auc_low, auc_high) = ends(around), ends(area)
    return {
        "rows": len(human),
        "frechet": frechet_distance(human, other),
        "frechet_chance": frechet_by_chance(human, other, seed),
        "energy": energy.estimate,
        "energy_low": energy_low,
        "energy_high": energy_high,
        "energy_p": energy.p_value,
        "auc": test.auc,
        "auc_low": auc_low,
        "auc_high": auc_high,
        "mean_shift": mean_shift(human, other),
        "spread_ratio": spread_ratio(human, other),
    }


def summarize_files(
    language: str,
    records: StrPath,
    human_file: StrPath,
    system_files: Mapping[str, StrPath],
    out: StrPath,
    *,
    settings: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    """Summarize the cells of a language and write the summary; what a rule runs. Returns the summary."""
    refuse_oracles(system_files)
    typed = Embeddings.model_validate(dict(settings))
    summary = summarize(language, human_file, system_files, buckets_of(records), typed, seed)
    write_json(out, summary)
    return summary
