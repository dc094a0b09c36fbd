"""Pairs scored by a critic: columns, weights, buckets it does not know, and a critic that broke down."""

import math

import numpy as np
import pytest
from critic_world import (
    BUCKETS,
    collapsing_pairs,
    trained_critic,
    write_pairs,
)

from polyalign.critic.bundle import load_critic
from polyalign.critic.score import SCORE_COLUMNS, score_pairs
from polyalign.errors import PolyAlignError
from polyalign.files import read_table
from polyalign.hdpo_weights import frequency_gaps
from polyalign.pairs import PAIR_SCHEMA


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_critic(tmp_path_factory.mktemp("critic"))


@pytest.fixture(scope="module")
def encoder_dir(trained):
    return trained[0] / "encoder"


class TestScoring:
    def run(self, trained, encoder_dir, pairs, output, **weights):
        folder, _ = trained
        return score_pairs(
            pairs,
            folder / "train.parquet",
            folder / "bundle",
            encoder_dir,
            folder / "cache",
            output,
            weights,
            "cpu",
        )

    def test_columns_scores_and_weights(self, trained, encoder_dir, tmp_path):
        folder, _ = trained
        details = self.run(trained, encoder_dir, folder / "val.parquet", tmp_path / "scored.parquet")
        table = read_table(tmp_path / "scored.parquet")
        assert table.schema.names == [*PAIR_SCHEMA.names, *SCORE_COLUMNS]
        rows = table.to_pylist()
        critic = load_critic(folder / "bundle")
        expected = critic.score([row["chosen"] for row in rows], [row["bucket_id"] for row in rows])
        np.testing.assert_allclose(table["chosen_dist_score"].to_numpy(), expected, rtol=1e-4, atol=1e-5)
        gaps = frequency_gaps(read_table(folder / "train.parquet")["bucket_id"].to_pylist())
        for row in rows:
            margin = max(0.0, row["rejected_dist_score"] - row["chosen_dist_score"])
            weight = 1 + 0.5 * gaps[row["bucket_id"]] + margin
            assert row["hdpo_weight"] == pytest.approx(min(max(weight, 0.5), 3.0), abs=1e-8)
            assert row["critic_bucket_id"] > 0
        assert details["pairs_ranked"] > 0.9
        assert details["pairs_in_unknown_buckets"] == 0

    def test_pairs_outside_the_vocabulary_are_scored_and_counted(self, trained, encoder_dir, tmp_path):
        write_pairs(tmp_path / "new.parquet", 12, 3, buckets=(BUCKETS[0], "en|single|assistant|xlong"))
        details = self.run(trained, encoder_dir, tmp_path / "new.parquet", tmp_path / "scored.parquet")
        assert details["pairs_in_unknown_buckets"] == 3
        rows = read_table(tmp_path / "scored.parquet").to_pylist()
        new = [row for row in rows if row["bucket_id"] not in BUCKETS]
        assert all(row["critic_bucket_id"] == 0 and row["baseline_bucket_gap"] == 0.0 for row in new)
        assert all(math.isfinite(row["hdpo_weight"]) for row in rows)

    def test_bounds_hold(self, trained, encoder_dir, tmp_path):
        details = self.run(
            trained, encoder_dir, trained[0] / "val.parquet", tmp_path / "s.parquet", w_min=1.2, w_max=1.3
        )
        assert (details["weights"]["min"], details["weights"]["max"]) == (1.2, 1.3)

    def test_a_critic_that_broke_down_is_told(self, trained, encoder_dir, tmp_path):
        collapsing_pairs(tmp_path / "pairs.parquet", targets=(None, None))
        with pytest.raises(PolyAlignError, match="collapsed"):
            self.run(trained, encoder_dir, tmp_path / "pairs.parquet", tmp_path / "scored.parquet")
        assert not (tmp_path / "scored.parquet").exists()
