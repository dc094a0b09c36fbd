"""MAUVE with a real, tiny language model made here."""

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")
pytest.importorskip("mauve")

from polyalign.errors import PolyAlignError  # noqa: E402
from polyalign.metrics.mauve import Featurizer, mauve_metrics  # noqa: E402


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


def test_mauve_tells_the_same_from_other_texts(model_dir):
    featurize = Featurizer(model_dir, max_length=32)
    buckets = np.array(["a"] * 40 + ["b"] * 20)
    same = mauve_metrics(texts(0, 60, seed=1), texts(0, 60, seed=2), buckets, featurize)
    other = mauve_metrics(texts(0, 1, seed=1), texts(40, 60, seed=2), buckets, featurize)
    assert same["global"] > 0.8 > other["global"]
    assert [row["n_examples"] for row in same["by_bucket"]] == [40, 20]
    few = mauve_metrics(texts(0, 60, 5), texts(0, 60, 5), buckets[:5], featurize)
    assert few["global"] is None
    assert few["reason"] == "fewer than 20 rows"


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(PolyAlignError, match="no language model here"):
        Featurizer(tmp_path)
