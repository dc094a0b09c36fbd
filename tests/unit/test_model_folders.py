"""Weights of a model folder: all of them, whole, or a line that says what is missing."""

import pytest
from model_families import save_model
from transformers import AutoModelForCausalLM

from polyalign.errors import BadInput
from polyalign.model_folders import check_weights, load_weights


@pytest.fixture
def sharded(tmp_path):
    """A model in several files."""
    folder = save_model(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    return folder


def test_a_model_of_several_shards_is_read(sharded):
    assert check_weights(sharded) == sorted(sharded.glob("model-*.safetensors"))
    load_weights("AutoModelForCausalLM", sharded)


def test_a_missing_shard_is_named(sharded):
    first, *_ = shards = check_weights(sharded)
    first.unlink()
    with pytest.raises(BadInput, match=rf"{first.name}: 1 of {len(shards)} shards of the weights missing"):
        load_weights("AutoModelForCausalLM", sharded)


def test_a_cut_shard_is_no_traceback(sharded):
    shard = check_weights(sharded)[-1]
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(BadInput, match=r"broken weights .*; fix: build or fetch"):
        load_weights("AutoModelForCausalLM", sharded)
