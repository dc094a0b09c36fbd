"""MAUVE with a real, tiny language model made here."""

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
pytest.importorskip("mauve")

from polyalign.errors import PolyAlignError  # noqa: E402
from polyalign.metrics.bootstrap import draw_weights  # noqa: E402
from polyalign.metrics.mauve import Featurizer, Mauve, histogram_mauve  # noqa: E402
from polyalign.metrics.settings import MauveSettings  # noqa: E402


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed

    folder = tmp_path_factory.mktemp("lm")
    words = ["<end>", "<unk>", *(f"w{number}" for number in range(60))]
    tokenizer = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token="<unk>").save_pretrained(
        folder
    )
    set_seed(0)
    config = GPT2Config(vocab_size=len(words), n_positions=64, n_embd=32, n_layer=2, n_head=2, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def texts(low: int, high: int, count: int = 60, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(f"w{n}" for n in rng.integers(low, high, rng.integers(3, 12))) for _ in range(count)]


def test_features_do_not_depend_on_the_batch(model_dir):
    some = [*texts(0, 60, 9), ""]
    together, alone = Featurizer(model_dir, batch_tokens=64), Featurizer(model_dir, batch_tokens=1)
    np.testing.assert_allclose(together(some), alone(some), atol=1e-5)
    assert np.isfinite(together(some)).all()


def measured(model_dir, low: int, high: int, count: int = 60) -> Mauve | str:
    """Predictions of the words low to high, against answers of all words."""
    buckets = np.array(["a"] * 40 + ["b"] * 20)[:count]
    settings = MauveSettings(max_length=32)
    return Mauve.of_texts(
        texts(low, high, count, seed=1), texts(0, 60, count, seed=2), buckets, model_dir, settings
    )


def test_mauve_tells_the_same_from_other_texts(model_dir):
    same, other = measured(model_dir, 0, 60).summary(), measured(model_dir, 40, 41).summary()
    assert same["global"] > 0.8 > other["global"]
    assert [row["n_examples"] for row in same["by_bucket"]] == [40, 20]
    assert measured(model_dir, 0, 60, count=5) == "fewer than 20 rows"


def test_human_halves_are_alike(model_dir):
    first = np.arange(60) % 2 == 0
    assert measured(model_dir, 40, 41).of_human_halves(first) > 0.8
    assert measured(model_dir, 40, 41).of_human_halves(np.zeros(60, dtype=bool)) is None


def test_mauve_replicates_tell_near_from_far_and_follow_the_draws(model_dir):
    buckets = np.array(["a"] * 40 + ["b"] * 20)
    draws = draw_weights(buckets, 40, seed=0)
    whole, by_bucket = measured(model_dir, 0, 60).replicates(draws)
    far, _ = measured(model_dir, 40, 41).replicates(draws)
    assert whole.shape == (40,)
    assert set(by_bucket) == {"a", "b"}
    assert whole.std() > 0
    assert whole.mean() > far.mean() + 0.3


def test_mauve_of_histograms_equals_the_package():
    from mauve.compute_mauve import get_divergence_curve_for_multinomials
    from sklearn.metrics import auc

    rng = np.random.default_rng(0)
    human, generated = rng.multinomial(50, rng.dirichlet(np.ones(8)), size=(2, 5)).astype(float)
    for p, q, found in zip(human, generated, histogram_mauve(human, generated), strict=True):
        weights = np.linspace(1e-6, 1 - 1e-6, 25)
        x, y = get_divergence_curve_for_multinomials(p / p.sum(), q / q.sum(), weights, 5).T
        expected = 0.5 * (auc(x[np.argsort(x)], y[np.argsort(x)]) + auc(y[np.argsort(y)], x[np.argsort(y)]))
        assert found == pytest.approx(expected, abs=1e-9)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(PolyAlignError, match="no language model here"):
        Featurizer(tmp_path)
