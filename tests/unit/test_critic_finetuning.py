"""A critic whose encoder learns too: bundles, scores, and going on after a kill."""

import numpy as np
import pytest
import torch
from critic_world import collapsing_pairs, trained_critic

from polyalign.critic import train as critic_training
from polyalign.critic.bundle import load_critic
from polyalign.critic.data import read_pairs
from polyalign.critic.model import Encoder, encoder_digest
from polyalign.critic.recipe import CriticRecipe, EncoderSettings
from polyalign.critic.score import score_pairs
from polyalign.critic.train import train_critic
from polyalign.errors import PolyAlignError
from polyalign.files import read_json, read_table, sha256_file


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_critic(tmp_path_factory.mktemp("critic"))


@pytest.fixture(scope="module")
def encoder_dir(trained):
    return trained[0] / "encoder"


TUNED = {
    "epochs": 3,
    "batch_size": 16,
    "encoder": {"dtype": "float32", "training": "finetuned", "learning_rate": 1e-3},
}


def fine_tune(folder, encoder_dir, out):
    pairs = folder / "train.parquet", folder / "val.parquet"
    return train_critic(*pairs, encoder_dir, out / "bundle", out / "cache", TUNED, "cpu")


@pytest.fixture(scope="module")
def tuned(trained, encoder_dir, tmp_path_factory):
    """(folder, details) of a critic whose encoder learned too."""
    out = tmp_path_factory.mktemp("tuned")
    return out, fine_tune(trained[0], encoder_dir, out)


class TestFineTuning:
    def test_the_encoder_learns_and_stands_in_the_bundle(self, trained, tuned, encoder_dir):
        out, details = tuned
        assert details["encoder"] == "finetuned"
        digest = encoder_digest(encoder_dir)
        frozen = trained[1]["history"][:3]
        assert details["history"][-1]["eval_loss"] < min(row["eval_loss"] for row in frozen)
        bundle = out / "bundle"
        config = read_json(bundle / "config.json")
        assert config["encoder"]["path"] == "encoder"
        assert config["encoder"]["digest"] == encoder_digest(bundle / "encoder") != digest
        assert config["encoder"]["started_from"] == digest
        assert not list((out / "cache").iterdir()), "the state of a finished fine-tuning is removed"
        # The workflow names the base model as encoder; the bundle's own is the one meant.
        critic = load_critic(bundle, encoder_dir=encoder_dir)
        assert critic.encoder.digest == config["encoder"]["digest"]

    def test_scores_of_the_bundle_are_those_of_the_best_epoch(self, trained, tuned):
        out, details = tuned
        critic, val = load_critic(out / "bundle"), read_pairs(trained[0] / "val.parquet")
        scores = [
            critic.score([val.texts[place] for place in side], val.buckets)
            for side in (val.chosen, val.rejected)
        ]
        targets = [
            torch.tensor(side, dtype=torch.float32) for side in (val.chosen_target, val.rejected_target)
        ]
        reg = (torch.cat(scores) - torch.cat(targets)).abs().mean().item()
        best = details["history"][details["best_epoch"] - 1]
        assert reg == pytest.approx(best["eval_reg"], rel=1e-4)

    def test_pairs_are_scored_with_the_learned_encoder(self, trained, tuned, encoder_dir, tmp_path):
        pairs = trained[0] / "val.parquet"
        for name, bundle in (("tuned", tuned[0] / "bundle"), ("frozen", trained[0] / "bundle")):
            weights = CriticRecipe().weights.model_dump()
            out = tmp_path / f"{name}.parquet"
            score_pairs(pairs, pairs, bundle, encoder_dir, tmp_path / "cache", out, weights)
        critic, val = load_critic(tuned[0] / "bundle"), read_pairs(pairs)
        expected = critic.score([val.texts[place] for place in val.chosen], val.buckets)
        found = read_table(tmp_path / "tuned.parquet", ["chosen_dist_score"])["chosen_dist_score"].to_numpy()
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-6)
        other = read_table(tmp_path / "frozen.parquet", ["chosen_dist_score"])["chosen_dist_score"].to_numpy()
        assert not np.allclose(found, other)

    def test_a_killed_fine_tuning_goes_on_after_its_last_epoch(
        self, trained, tuned, encoder_dir, tmp_path, monkeypatch, caplog
    ):
        real = critic_training._train_epoch

        def killed(network, data, optimizer, recipe, epoch):
            if epoch == 3:
                raise KeyboardInterrupt
            return real(network, data, optimizer, recipe, epoch)

        with monkeypatch.context() as patch:
            patch.setattr(critic_training, "_train_epoch", killed)
            with pytest.raises(KeyboardInterrupt):
                fine_tune(trained[0], encoder_dir, tmp_path)
        assert not (tmp_path / "bundle").exists()
        caplog.set_level("INFO")
        fine_tune(trained[0], encoder_dir, tmp_path)
        assert "going on after epoch 2" in caplog.messages
        for name in ("model.safetensors", "encoder/model.safetensors", "history.csv", "steps.csv"):
            assert sha256_file(tmp_path / "bundle" / name) == sha256_file(tuned[0] / "bundle" / name), name

    def test_gradients_do_not_hang_on_how_texts_are_batched(self, encoder_dir):
        found = []
        for tokens in (1, 16384):
            settings = EncoderSettings(dtype="float32", training="finetuned", batch_tokens=tokens)
            learning = Encoder(encoder_dir, settings, trainable=True)
            vectors = learning.encode_to_learn(["h1 h2", "m1", "h4 m4 m5"])
            torch.testing.assert_close(vectors.detach(), learning.encode(["h1 h2", "m1", "h4 m4 m5"]))
            vectors.square().sum().backward()
            found.append(learning.model.layers[0].mlp.up_proj.weight.grad)
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)

    def test_a_collapse_is_an_error_here_too(self, encoder_dir, tmp_path):
        collapsing_pairs(tmp_path / "train.parquet", tmp_path / "val.parquet")
        with pytest.raises(PolyAlignError, match="collapsed"):
            fine_tune(tmp_path, encoder_dir, tmp_path)
        assert not (tmp_path / "bundle").exists()
