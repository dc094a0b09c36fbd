"""Score pairs with a critic and give each its HDPO weight. docs/method.md, Views."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from polyalign.critic.bundle import Critic, load_critic
from polyalign.critic.data import PairData, embed_texts, read_pairs
from polyalign.critic.losses import check_scores, score_diagnostics
from polyalign.critic.model import UNKNOWN_BUCKET
from polyalign.critic.recipe import DOCS
from polyalign.files import StrPath, read_table, write_table
from polyalign.hdpo_weights import (
    WeightSettings,
    complete_scores,
    frequency_gaps,
    hdpo_weights,
    pair_type_bias,
)
from polyalign.progress import track
from polyalign.settings import read_settings

BATCH_PAIRS = 4096
SCORE_COLUMNS = (
    "chosen_dist_score",
    "rejected_dist_score",
    "critic_bucket_id",
    "baseline_bucket_gap",
    "lang_weight",
    "hdpo_weight",
)


def score_answers(critic: Critic, pairs: PairData, cache: StrPath) -> tuple[np.ndarray, np.ndarray]:
    """Critic scores [n], float64, of the chosen and of the rejected answers of a pair table."""
    vectors = embed_texts(pairs.texts, critic.encoder, cache, "pairs")
    buckets = critic.vocabulary.ids(pairs.buckets)
    scores = np.empty((2, len(pairs.ids)))
    total = len(pairs.ids)
    batches = [range(total)[start : start + BATCH_PAIRS] for start in range(0, total, BATCH_PAIRS)]
    for batch in track(batches, total=total, label="score", unit="pairs", count=len):
        rows = slice(batch.start, batch.stop)
        for side, places in enumerate((pairs.chosen, pairs.rejected)):
            scores[side, rows] = critic.score_vectors(vectors.take(places[rows]), buckets[rows]).cpu().numpy()
    return scores[0], scores[1]


def _look_up(keys: list[str], gaps: Mapping[str, float]) -> np.ndarray:
    """Gap [n] of each key; one that the train pairs lack has gap 0 (`paper`): there is nothing to balance."""
    return np.array([gaps.get(key, 0.0) for key in keys], dtype=np.float64)


def weight_columns(
    pairs: pa.Table, train_pairs: pa.Table, chosen: np.ndarray, rejected: np.ndarray, settings: WeightSettings
) -> dict[str, np.ndarray]:
    """Columns baseline_bucket_gap, lang_weight, hdpo_weight [n] of scored pairs.

    Args:
        train_pairs: the pairs of the train split, over whose buckets and languages gaps are counted.
        chosen, rejected: complete scores [n].
    """
    bucket_gap = _look_up(
        pairs["bucket_id"].to_pylist(), frequency_gaps(train_pairs["bucket_id"].to_pylist())
    )
    language_gap = _look_up(
        pairs["language"].to_pylist(), frequency_gaps(train_pairs["language"].to_pylist())
    )
    bias = pair_type_bias(pairs["pair_type"].to_pylist(), settings.pair_type_bias)
    weights = hdpo_weights(chosen, rejected, bucket_gap, language_gap, bias, settings)
    return {"baseline_bucket_gap": bucket_gap, "lang_weight": language_gap, "hdpo_weight": weights}


def score_pairs(
    pairs_path: StrPath,
    train_pairs_path: StrPath,
    bundle_dir: StrPath,
    encoder_dir: StrPath,
    cache_dir: StrPath,
    output: StrPath,
    weights: Mapping[str, Any],
    device: str = "auto",
) -> dict[str, Any]:
    """Write the pair table with `SCORE_COLUMNS` added; returns score and weight statistics.

    Args:
        train_pairs_path: pairs of the train split; `pairs_path` itself when that split is scored.
        weights: keys of `WeightSettings`; how the critic works comes from its bundle.

    Raises:
        PolyAlignError: the scores collapsed.
        BadInputs: a score is missing and the recipe does not take 0 for it.
    """
    settings = read_settings(WeightSettings, weights, file="critic recipe, weights", docs=DOCS)
    critic = load_critic(bundle_dir, device, encoder_dir=encoder_dir)
    pairs = read_pairs(pairs_path)
    chosen, rejected = score_answers(critic, pairs, cache_dir)
    chosen = complete_scores(chosen, pairs.ids, settings.missing_score, field="chosen_dist_score")
    rejected = complete_scores(rejected, pairs.ids, settings.missing_score, field="rejected_dist_score")
    diagnostics = score_diagnostics(*pairs.pair_texts(np.arange(len(pairs.ids))), chosen, rejected)
    check_scores(diagnostics, where=str(pairs_path))
    table = read_table(pairs_path)
    buckets = critic.vocabulary.ids(pairs.buckets).numpy()
    columns = {
        "chosen_dist_score": chosen,
        "rejected_dist_score": rejected,
        "critic_bucket_id": buckets,
        **weight_columns(
            table,
            read_table(train_pairs_path, ["bucket_id", "language"]),
            chosen,
            rejected,
            settings,
        ),
    }
    for name in SCORE_COLUMNS:
        table = table.append_column(name, pa.array(columns[name]))
    write_table(output, table)
    given = columns["hdpo_weight"]
    return {
        "pairs": len(given),
        "pairs_in_unknown_buckets": int((buckets == UNKNOWN_BUCKET).sum()),
        "pairs_ranked": float((rejected > chosen).mean()),
        "scores": diagnostics,
        "weights": {
            "mean": float(given.mean()),
            "min": float(given.min()),
            "max": float(given.max()),
            "clipped": int(((given == settings.w_min) | (given == settings.w_max)).sum()),
        },
    }
