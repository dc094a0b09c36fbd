"""The critic on a tiny random encoder: vectors, training, bundles, scoring."""

import csv
import math

import numpy as np
import pyarrow as pa
import pytest
import torch

from polyalign.critic import train as critic_training
from polyalign.critic.bundle import load_critic
from polyalign.critic.data import CHUNK_TEXTS, embed_texts, read_pairs
from polyalign.critic.losses import check_scores, critic_loss, score_diagnostics
from polyalign.critic.model import BucketVocabulary, CriticHead, Encoder, encoder_digest, mean_pool
from polyalign.critic.recipe import CriticRecipe, EncoderSettings, read_recipe, resolve_critic_recipe
from polyalign.critic.score import SCORE_COLUMNS, score_pairs
from polyalign.critic.train import train_critic
from polyalign.errors import BadInput, BadInputs, PolyAlignError
from polyalign.files import read_json, read_table, sha256_file, write_table
from polyalign.hdpo_weights import frequency_gaps
from polyalign.pairs import PAIR_SCHEMA

HUMAN_WORDS = [f"h{n}" for n in range(20)]
MODEL_WORDS = [f"m{n}" for n in range(20)]
BUCKETS = ("en|single|qa|short", "en|multi|dialogue|short")


def save_encoder(folder, seed):
    """A random one-layer model with a word-level tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    words = ["<unk>", "<eos>", *HUMAN_WORDS, *MODEL_WORDS]
    raw = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", eos_token="<eos>").save_pretrained(
        folder
    )
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.5,
    )
    LlamaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder_dir(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"), seed=0)


@pytest.fixture(scope="module")
def encoder(encoder_dir):
    return Encoder(encoder_dir, EncoderSettings(dtype="float32"))


def pair(number, bucket, chosen, rejected, chosen_target, rejected_target):
    language, track, family, length = bucket.split("|")
    return {
        "source_index": number,
        "id": f"r{number}",
        "bucket_id": bucket,
        "style_bucket": "qa_search",
        "length_bin": length,
        "family": family,
        "track": track,
        "language": language,
        "pair_type": "global",
        "chosen": chosen,
        "rejected": rejected,
        "chosen_target": chosen_target,
        "rejected_target": rejected_target,
    }


def write_pairs(path, count, seed, *, without=0, buckets=BUCKETS):
    """Human words have targets near 0.1, model words near 0.8; the last `without` pairs lack targets."""
    rng = np.random.default_rng(seed)

    def text(words):
        return " ".join(rng.choice(words, size=rng.integers(2, 7)))

    rows = [
        pair(
            number,
            buckets[0] if number % 4 else buckets[1],
            text(HUMAN_WORDS),
            text(MODEL_WORDS),
            float(rng.uniform(0.05, 0.15)) if number < count - without else None,
            float(rng.uniform(0.7, 0.9)) if number < count - without else None,
        )
        for number in range(count)
    ]
    write_table(path, pa.Table.from_pylist(rows, schema=PAIR_SCHEMA))
    return path


FAST = {"epochs": 20, "batch_size": 16, "encoder": {"dtype": "float32"}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, encoder_dir):
    """(folder, details) of a critic trained on 200 pairs, with its pair tables beside it."""
    folder = tmp_path_factory.mktemp("critic")
    write_pairs(folder / "train.parquet", 200, 1, without=10)
    write_pairs(folder / "val.parquet", 60, 2)
    details = train_critic(
        folder / "train.parquet",
        folder / "val.parquet",
        encoder_dir,
        folder / "bundle",
        folder / "cache",
        FAST,
        "cpu",
    )
    return folder, details


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
        train_critic(
            folder / "train.parquet",
            folder / "val.parquet",
            encoder_dir,
            tmp_path / "again",
            folder / "cache",
            FAST,
            "cpu",
        )
        assert torch.rand(1) == expected
        weights = "model.safetensors"
        assert sha256_file(tmp_path / "again" / weights) == sha256_file(folder / "bundle" / weights)
        train_critic(
            folder / "train.parquet",
            folder / "val.parquet",
            encoder_dir,
            tmp_path / "other",
            folder / "cache",
            {**FAST, "seed": 1},
            "cpu",
        )
        assert sha256_file(tmp_path / "other" / weights) != sha256_file(folder / "bundle" / weights)

    def test_published_regression_sees_no_model_targets(self, trained, encoder_dir, tmp_path):
        """With ranking off, the published critic cannot know that model answers are far from human ones."""
        folder, _ = trained
        changes = {**FAST, "regress_on": "human", "rank_lambda": 0.0}
        details = train_critic(
            folder / "train.parquet",
            folder / "val.parquet",
            encoder_dir,
            tmp_path / "b",
            folder / "cache",
            changes,
            "cpu",
        )
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
            train_critic(
                tmp_path / "train.parquet",
                tmp_path / "val.parquet",
                encoder_dir,
                tmp_path / "b",
                tmp_path / "c",
                FAST,
            )

    def test_collapse_is_an_error_and_leaves_no_bundle(self, encoder_dir, tmp_path):
        """Answers of unknown words alone all have the same vector."""
        rows = [pair(n, BUCKETS[0], f"x{n}", f"y{n}", 0.1, 0.8) for n in range(8)]
        write_table(tmp_path / "pairs.parquet", pa.Table.from_pylist(rows, schema=PAIR_SCHEMA))
        with pytest.raises(PolyAlignError, match="collapsed"):
            train_critic(
                tmp_path / "pairs.parquet",
                tmp_path / "pairs.parquet",
                encoder_dir,
                tmp_path / "bundle",
                tmp_path / "cache",
                FAST,
                "cpu",
            )
        assert not (tmp_path / "bundle").exists()


TUNED = {
    "epochs": 3,
    "batch_size": 16,
    "encoder": {"dtype": "float32", "training": "finetuned", "learning_rate": 1e-3},
}


def fine_tune(folder, encoder_dir, out, recipe=TUNED):
    pairs = folder / "train.parquet", folder / "val.parquet"
    return train_critic(*pairs, encoder_dir, out / "bundle", out / "cache", recipe, "cpu")


@pytest.fixture(scope="module")
def tuned(trained, encoder_dir, tmp_path_factory):
    """(folder, details) of a critic whose encoder learned too."""
    out = tmp_path_factory.mktemp("tuned")
    return out, fine_tune(trained[0], encoder_dir, out)


class TestFineTuning:
    def test_the_encoder_learns_and_stands_in_the_bundle(self, trained, tuned, encoder_dir, encoder):
        out, details = tuned
        assert details["encoder"] == "finetuned"
        frozen = trained[1]["history"][:3]
        assert details["history"][-1]["eval_loss"] < min(row["eval_loss"] for row in frozen)
        bundle = out / "bundle"
        config = read_json(bundle / "config.json")
        assert config["encoder"]["path"] == "encoder"
        assert config["encoder"]["digest"] == encoder_digest(bundle / "encoder") != encoder.digest
        assert config["encoder"]["started_from"] == encoder.digest
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
        rows = [pair(n, BUCKETS[0], f"x{n}", f"y{n}", 0.1, 0.8) for n in range(8)]
        write_table(tmp_path / "train.parquet", pa.Table.from_pylist(rows, schema=PAIR_SCHEMA))
        write_table(tmp_path / "val.parquet", pa.Table.from_pylist(rows, schema=PAIR_SCHEMA))
        with pytest.raises(PolyAlignError, match="collapsed"):
            fine_tune(tmp_path, encoder_dir, tmp_path)
        assert not (tmp_path / "bundle").exists()


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
        rows = [pair(n, BUCKETS[0], f"x{n}", f"y{n}", None, None) for n in range(8)]
        write_table(tmp_path / "pairs.parquet", pa.Table.from_pylist(rows, schema=PAIR_SCHEMA))
        with pytest.raises(PolyAlignError, match="collapsed"):
            self.run(trained, encoder_dir, tmp_path / "pairs.parquet", tmp_path / "scored.parquet")
        assert not (tmp_path / "scored.parquet").exists()


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
