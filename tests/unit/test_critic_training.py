"""Training of the critic on a frozen encoder: what it learns, what it keeps, and when it refuses."""

import csv

import numpy as np
import pytest
import torch
from critic_world import (
    BUCKETS,
    collapsing_pairs,
    save_encoder,
    train,
    trained_critic,
    write_pairs,
)

from polyalign.critic.bundle import load_critic
from polyalign.critic.data import read_pairs
from polyalign.critic.losses import critic_loss
from polyalign.errors import BadInput, PolyAlignError
from polyalign.files import read_json, sha256_file


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_critic(tmp_path_factory.mktemp("critic"))


@pytest.fixture(scope="module")
def encoder_dir(trained):
    return trained[0] / "encoder"


class TestTraining:
    def test_learns_to_tell_human_from_model(self, trained):
        folder, details = trained
        assert details["eval_pairs_ranked"] > 0.9
        history = details["history"]
        assert details["eval_loss"] < 0.7 * history[0]["train_loss"]
        assert details["pairs"]["train"] == {"used": 190, "without_target": 10}
        critic = load_critic(folder / "bundle", encoder_dir=None)
        scores = critic.score(["h1 h2 h3", "m1 m2 m3"], [BUCKETS[0]] * 2)
        assert scores.shape == (2,)
        assert scores[0] < 0.4 < scores[1]

    def test_bundle_is_complete_and_the_best_epoch_is_kept(self, trained):
        folder, _ = trained
        bundle = folder / "bundle"
        assert {file.name for file in bundle.iterdir()} == {
            "config.json",
            "buckets.json",
            "model.safetensors",
            "history.csv",
            "steps.csv",
        }
        with open(bundle / "history.csv") as handle:
            rows = list(csv.DictReader(handle))
        best = min(rows, key=lambda row: float(row["eval_loss"]))
        config = read_json(bundle / "config.json")
        assert config["outcome"]["best_epoch"] == int(best["epoch"])
        assert not config["encoder"]["path"].startswith("/")
        # The head on disk has the eval loss that is stated for the best epoch.
        critic, val = load_critic(bundle), read_pairs(folder / "val.parquet")
        chosen = critic.score([val.texts[place] for place in val.chosen], val.buckets)
        rejected = critic.score([val.texts[place] for place in val.rejected], val.buckets)
        loss = critic_loss(
            torch.cat([chosen, rejected]),
            torch.tensor(np.concatenate([val.chosen_target, val.rejected_target]), dtype=torch.float32),
            chosen,
            rejected,
            margin=0.1,
            reg_lambda=1.0,
            rank_lambda=1.0,
        )
        assert loss.loss.item() == pytest.approx(float(best["eval_loss"]), rel=1e-4)

    def test_same_seed_same_weights_and_no_trace_in_the_global_state(self, trained, encoder_dir, tmp_path):
        folder, _ = trained
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        train(folder, encoder_dir, tmp_path / "again")
        assert torch.rand(1) == expected
        weights = "model.safetensors"
        assert sha256_file(tmp_path / "again" / weights) == sha256_file(folder / "bundle" / weights)
        train(folder, encoder_dir, tmp_path / "other", seed=1)
        assert sha256_file(tmp_path / "other" / weights) != sha256_file(folder / "bundle" / weights)

    def test_published_regression_sees_no_model_targets(self, trained, encoder_dir, tmp_path):
        """With ranking off, the published critic cannot know that model answers are far from human ones."""
        folder, _ = trained
        details = train(folder, encoder_dir, tmp_path / "b", regress_on="human", rank_lambda=0.0)
        critic = load_critic(tmp_path / "b")
        scores = critic.score(["m1 m2 m3", "m4 m5"], [BUCKETS[0]] * 2)
        assert scores.max() < 0.5
        assert details["eval_loss"] < 0.2

    def test_another_encoder_is_refused(self, trained, tmp_path):
        with pytest.raises(BadInput, match="another encoder"):
            load_critic(trained[0] / "bundle", encoder_dir=save_encoder(tmp_path / "other", seed=9))

    def test_no_targets_is_an_error(self, encoder_dir, tmp_path):
        write_pairs(tmp_path / "train.parquet", 8, 1, without=8)
        write_pairs(tmp_path / "val.parquet", 8, 2)
        with pytest.raises(BadInput, match="min_bucket_size"):
            train(tmp_path, encoder_dir, tmp_path / "b")

    def test_collapse_is_an_error_and_leaves_no_bundle(self, encoder_dir, tmp_path):
        """Answers of unknown words alone all have the same vector."""
        collapsing_pairs(tmp_path / "train.parquet", tmp_path / "val.parquet")
        with pytest.raises(PolyAlignError, match="collapsed"):
            train(tmp_path, encoder_dir, tmp_path / "bundle")
        assert not (tmp_path / "bundle").exists()
