"""The critic without training: its parts, vectors of texts, and recipes."""

import numpy as np
import pytest
import torch
from critic_world import HUMAN_WORDS, save_encoder

from polyalign.critic.data import CHUNK_TEXTS, embed_texts
from polyalign.critic.losses import check_scores, critic_loss, score_diagnostics
from polyalign.critic.model import BucketVocabulary, CriticHead, Encoder, encoder_digest, mean_pool
from polyalign.critic.recipe import CriticRecipe, EncoderSettings, read_recipe, resolve_critic_recipe
from polyalign.errors import BadInput, BadInputs, PolyAlignError


@pytest.fixture(scope="module")
def encoder_dir(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"), seed=0)


@pytest.fixture(scope="module")
def encoder(encoder_dir):
    return Encoder(encoder_dir, EncoderSettings(dtype="float32"))


class TestParts:
    def test_pooling_ignores_padding(self):
        hidden = torch.tensor([[[1.0], [3.0], [100.0]], [[2.0], [4.0], [6.0]]])
        assert mean_pool(hidden, torch.tensor([[1, 1, 0], [1, 1, 1]])).tolist() == [[2.0], [4.0]]

    def test_unknown_buckets_share_an_id_that_shifts_nothing(self):
        vocabulary = BucketVocabulary(["b", "a", "b"])
        assert vocabulary.ids(["a", "b", "c", "d"]).tolist() == [1, 2, 0, 0]
        head = CriticHead(4, len(vocabulary), bucket_dim=3, hidden_dim=5, dropout=0.0)
        assert head.bucket_embedding.weight[0].abs().sum() == 0
        assert head.bucket_embedding.weight[1].abs().sum() > 0

    def test_loss_by_hand(self):
        loss = critic_loss(
            torch.tensor([1.0, 2.0]),
            torch.tensor([0.0, 4.0]),
            torch.tensor([0.5, 0.1]),
            torch.tensor([0.2, 0.9]),
            margin=0.1,
            reg_lambda=2.0,
            rank_lambda=10.0,
        )
        assert [part.item() for part in loss] == pytest.approx([2 * 1.5 + 10 * 0.2, 1.5, 0.2])

    def test_gradients_of_the_loss_are_those_of_its_values(self):
        values = ([1.0, 2.0], [0.0, 4.0], [0.5, 0.1], [0.2, 0.9])
        pred, target, chosen, rejected = (torch.tensor(row, dtype=torch.float64) for row in values)

        def loss(pred, chosen, rejected):
            lambdas = {"margin": 0.1, "reg_lambda": 2.0, "rank_lambda": 10.0}
            return critic_loss(pred, target, chosen, rejected, **lambdas).loss

        assert torch.autograd.gradcheck(loss, [part.requires_grad_() for part in (pred, chosen, rejected)])

    def test_constant_scores_within_pairs_are_a_collapse_even_if_they_differ_by_bucket(self):
        scores = np.array([0.1, 0.1, 0.7, 0.7])
        texts = ["a", "b", "c", "d"]
        found = score_diagnostics(texts, ["w", "x", "y", "z"], scores, scores)
        with pytest.raises(PolyAlignError, match="distinct_text_pairs 4"):
            check_scores(found, where="pairs")
        check_scores(
            score_diagnostics(texts[:3], ["x", "y", "z"], scores[:3], scores[:3]), where="three pairs"
        )
        check_scores(score_diagnostics(texts, texts, scores, scores), where="equal texts")


class TestEncoder:
    TEXTS = ("h1 h2 h3", "m1", "h4 m4", " ".join(HUMAN_WORDS))

    def test_vectors_do_not_hang_on_the_batch(self, encoder, encoder_dir):
        alone = torch.cat([encoder.encode([text]) for text in self.TEXTS])
        together = encoder.encode(self.TEXTS)
        small = Encoder(encoder_dir, EncoderSettings(dtype="float32", batch_tokens=1)).encode(self.TEXTS)
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(small, alone, rtol=1e-5, atol=1e-6)
        assert alone.shape == (4, 16)
        assert alone.dtype == torch.float32

    def test_a_blank_text_reads_as_the_end_token(self, encoder):
        blank, end = encoder.encode(["  \n", "<eos>"])
        torch.testing.assert_close(blank, end)

    def test_long_texts_are_cut_at_their_end(self, encoder_dir):
        encoder = Encoder(encoder_dir, EncoderSettings(dtype="float32", max_length=3))
        one, other = encoder.encode(["h1 h2 h3 h4 h5", "h1 h2 h3"])
        torch.testing.assert_close(one, other)

    def test_a_folder_without_weights_is_named(self, tmp_path):
        with pytest.raises(BadInput, match="no safetensors weights"):
            encoder_digest(tmp_path)

    def test_vectors_are_computed_once(self, encoder, tmp_path, monkeypatch):
        texts = [f"h{n % 20} m{n % 19} h{n % 7}" for n in range(CHUNK_TEXTS + 5)]
        first = embed_texts(texts, encoder, tmp_path, "texts")
        assert len(list(tmp_path.glob("*.npy"))) == 2
        torch.testing.assert_close(
            first.take(np.array([CHUNK_TEXTS + 4, 0])),
            encoder.encode([texts[-1], texts[0]]),
            rtol=1e-5,
            atol=1e-6,
        )
        calls = []
        real = encoder.encode
        monkeypatch.setattr(encoder, "encode", lambda chunk: calls.append(len(chunk)) or real(chunk))
        embed_texts(texts, encoder, tmp_path, "texts")
        assert calls == []
        embed_texts([*texts[:CHUNK_TEXTS], "h1"], encoder, tmp_path, "texts")
        assert calls == [1]


class TestRecipes:
    def test_shipped_recipes_resolve(self):
        ours, paper = resolve_critic_recipe("critic"), resolve_critic_recipe("critic-paper")
        assert ours == CriticRecipe().model_dump(mode="json")
        assert {name for name in ours if ours[name] != paper[name]} == {
            "target_form",
            "regress_on",
            "weights",
        }
        assert paper["weights"]["missing_score"] == "zero"

    def test_overrides_change_key_by_key(self):
        recipe = resolve_critic_recipe("critic", {"epochs": 9, "weights": {"w_max": 2.0}})
        assert (recipe["epochs"], recipe["weights"]["w_max"], recipe["weights"]["w_min"]) == (9, 2.0, 0.5)

    @pytest.mark.parametrize(
        "values, words",
        [
            ({"epoch": 3}, ["epoch", "epochs"]),
            ({"weights": {"wmax": 3}}, ["weights.wmax", "w_max"]),
            ({"dropout": 1.5}, ["dropout"]),
            ({"weights": {"w_min": 4}}, ["w_min", "w_max"]),
        ],
    )
    def test_wrong_keys_are_named(self, values, words):
        with pytest.raises(BadInputs) as caught:
            read_recipe(values)
        for word in words:
            assert word in str(caught.value)
