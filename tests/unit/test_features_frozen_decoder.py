"""Layers of frozen decoders: the same states as those of Transformers, in every build that is replaced."""

import pytest
import torch
from model_families import SIZES
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    DynamicCache,
    Gemma2Config,
    GlmConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from polyalign.features.frozen_decoder import BLOCK, replace_layers, scored_from
from polyalign.features.packed_linear import can_pack, pack_linears

pytestmark = pytest.mark.skipif(not can_pack(), reason="this build of PyTorch has no oneDNN")
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
REPLACED = {
    "llama": LlamaConfig(**SIZES, attention_bias=True),
    "qwen2": Qwen2Config(**SIZES),
    # Windows shorter than the input come as masks.
    "qwen2, window": Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=16, max_window_layers=1),
    "mistral, window": MistralConfig(**SIZES, sliding_window=40),
}


def model_of(config) -> torch.nn.Module:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def pair_of(config) -> tuple[torch.nn.Module, torch.nn.Module, int]:
    """The model as it is, one with replaced layers, and how many these are."""
    plain, fast = model_of(config), model_of(config)
    replaced = replace_layers(fast, 64)
    pack_linears(fast, 64)
    return plain, fast, replaced


def ids_of(rows: int, width: int) -> torch.Tensor:
    return torch.randint(0, 400, (rows, width), generator=torch.Generator().manual_seed(width))


@pytest.mark.parametrize("name", REPLACED)
@torch.inference_mode()
def test_replaced_layers_give_the_same_logits(name):
    plain, fast, replaced = pair_of(REPLACED[name])
    assert replaced == 4
    for width in (1, 2, 50, 2 * BLOCK - 1, 3 * BLOCK + 7):
        ids = ids_of(2, width)
        torch.testing.assert_close(fast(input_ids=ids).logits, plain(input_ids=ids).logits, **CLOSE)


@pytest.mark.parametrize("name", REPLACED)
@torch.inference_mode()
def test_states_from_the_first_scored_position_are_whole(name):
    plain, fast, _ = pair_of(REPLACED[name])
    ids = ids_of(3, 2 * BLOCK + 30)
    expected = plain(input_ids=ids).logits
    for first in (0, 1, BLOCK + 5, ids.shape[1] - 1):
        with scored_from(first):
            found = fast(input_ids=ids).logits
        torch.testing.assert_close(found[:, first:], expected[:, first:], **CLOSE)
        assert torch.isfinite(found).all()
    torch.testing.assert_close(fast(input_ids=ids).logits, expected, **CLOSE)


@pytest.mark.parametrize("name", REPLACED)
@torch.inference_mode()
def test_a_beginning_in_the_cache_is_gone_on_from(name):
    plain, fast, _ = pair_of(REPLACED[name])
    ids = ids_of(2, BLOCK + 60)
    cache = DynamicCache(config=fast.config)
    with scored_from(BLOCK):
        fast(input_ids=ids[:, :BLOCK], past_key_values=cache)
    with scored_from(9):
        found = fast(input_ids=ids[:, BLOCK:], past_key_values=cache).logits
    expected = plain(input_ids=ids).logits[:, BLOCK:]
    torch.testing.assert_close(found[:, 9:], expected[:, 9:], **CLOSE)


@pytest.mark.parametrize(
    ("config", "replaced"),
    [
        (Gemma2Config(**SIZES, sliding_window=16, query_pre_attn_scalar=32), 0),
        # Queries and keys are normalized: only its feed-forward layers are of the usual build.
        (Qwen3Config(**SIZES), 2),
        # Neighbours turn together, not halves: seen by the logits.
        (CohereConfig(**{key: value for key, value in SIZES.items() if key != "head_dim"}), 0),
        # A part of each head turns: seen by the shapes.
        (GlmConfig(**SIZES, pad_token_id=0), 0),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
@torch.inference_mode()
def test_models_of_another_build_keep_their_layers(config, replaced):
    plain, fast, found = pair_of(config)
    assert found == replaced
    ids = ids_of(2, 50)
    torch.testing.assert_close(fast(input_ids=ids).logits, plain(input_ids=ids).logits, **CLOSE)


def test_half_precision_keeps_its_layers():
    assert replace_layers(model_of(REPLACED["llama"]).to(torch.bfloat16), 64) == 0
