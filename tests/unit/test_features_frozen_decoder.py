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
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from polyalign.features import frozen_decoder
from polyalign.features.frozen_decoder import (
    BLOCK,
    LastLayer,
    TokenTable,
    read_states,
    replace_layers,
    rounded_up,
)
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
# Its layers have the usual parts but multiply what they add.
GRANITE = GraniteConfig(**SIZES, residual_multiplier=0.5, attention_multiplier=0.2)


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
    # Attention and feed-forward of two layers, norm and projections of the first, and the last layer.
    assert replaced == 7
    for width in (1, 2, 50, 2 * BLOCK - 1, 3 * BLOCK + 7):
        ids = ids_of(2, width)
        torch.testing.assert_close(fast(input_ids=ids).logits, plain(input_ids=ids).logits, **CLOSE)


SPANS = [
    [(0, 2 * BLOCK + 30), (0, 2 * BLOCK + 30), (0, 2 * BLOCK + 30)],
    [(1, 2), (BLOCK + 5, 2 * BLOCK + 29), (7, 7)],
    [(2 * BLOCK + 29, 2 * BLOCK + 30), (0, BLOCK), (BLOCK, BLOCK + 32)],
    [(0, 0), (5, 5), (9, 9)],
]


@pytest.mark.parametrize("name", [*REPLACED, "granite"])
@pytest.mark.parametrize("spans", SPANS, ids=["all", "some", "edges", "none"])
@torch.inference_mode()
def test_states_that_are_read_are_those_of_the_whole(name, spans):
    plain, fast, _ = pair_of({**REPLACED, "granite": GRANITE}[name])
    ids = ids_of(3, 2 * BLOCK + 30)
    whole = plain.base_model(input_ids=ids).last_hidden_state
    expected = torch.cat([whole[row, first:end] for row, (first, end) in enumerate(spans)])
    for model in (plain, fast):
        torch.testing.assert_close(read_states(model.base_model, spans, input_ids=ids), expected, **CLOSE)
    # Outside of `read_states` the layers give all states.
    torch.testing.assert_close(fast.base_model(input_ids=ids).last_hidden_state, whole, **CLOSE)


@torch.inference_mode()
def test_one_row_as_wide_as_the_number_of_positions_read():
    plain, fast, _ = pair_of(REPLACED["qwen2"])
    ids = ids_of(1, 64)
    whole = plain.base_model(input_ids=ids).last_hidden_state[0]
    for first in range(40):
        found = read_states(fast.base_model, [(first, 63)], input_ids=ids)
        torch.testing.assert_close(found, whole[first:63], **CLOSE)


@pytest.mark.parametrize("name", REPLACED)
@torch.inference_mode()
def test_a_beginning_in_the_cache_is_gone_on_from(name):
    plain, fast, _ = pair_of(REPLACED[name])
    ids = ids_of(2, BLOCK + 60)
    cache = DynamicCache(config=fast.config)
    read_states(fast.base_model, [(0, 0)] * 2, input_ids=ids[:, :BLOCK], past_key_values=cache)
    spans = [(9, 60), (0, 41)]
    found = read_states(fast.base_model, spans, input_ids=ids[:, BLOCK:], past_key_values=cache)
    whole = plain.base_model(input_ids=ids).last_hidden_state[:, BLOCK:]
    torch.testing.assert_close(found, torch.cat([whole[0, 9:60], whole[1, :41]]), **CLOSE)


@torch.inference_mode()
def test_positions_nobody_reads_are_left_out_of_the_last_feed_forward_layer():
    _, fast, _ = pair_of(REPLACED["qwen2"])
    seen = []
    last = next(module for module in fast.modules() if isinstance(module, LastLayer))
    last._mlp.register_forward_hook(lambda module, inputs, found: seen.append(tuple(inputs[0].shape[:2])))
    read_states(fast.base_model, [(90, 100), (60, 83)], input_ids=ids_of(2, 100))
    assert seen == [(1, rounded_up(10 + 23))]


@torch.inference_mode()
def test_rows_nobody_reads_yet_are_left_out_of_the_last_attention(monkeypatch):
    _, fast, _ = pair_of(REPLACED["qwen2"])
    attend, attended = frozen_decoder.scaled_dot_product_attention, []

    def counted(query, *arguments, **options):
        attended.append(tuple(query.shape[::2]))
        return attend(query, *arguments, **options)

    monkeypatch.setattr(frozen_decoder, "scaled_dot_product_attention", counted)
    spans = [(BLOCK, 4 * BLOCK), (3 * BLOCK, 4 * BLOCK), (5, 5)]
    # What stands after the last position read is left out of every attention.
    read_states(fast.base_model, spans, input_ids=ids_of(3, 6 * BLOCK))
    assert attended == [(3, BLOCK)] * 4 + [(1, BLOCK)] * 2 + [(2, BLOCK)]


@torch.inference_mode()
def test_projections_of_the_first_layer_are_looked_up_where_the_vocabulary_is_small(monkeypatch):
    ids, spans = ids_of(2, 50), [(0, 50), (20, 40)]
    found = []
    for table_values in (frozen_decoder.TABLE_VALUES, 0):
        monkeypatch.setattr(frozen_decoder, "TABLE_VALUES", table_values)
        _, fast, _ = pair_of(REPLACED["llama"])
        tables = [module for module in fast.modules() if isinstance(module, TokenTable)]
        assert len(tables) == (table_values > 0)
        for table in tables:
            table._project.register_forward_hook(lambda *_: pytest.fail("computed, not looked up"))
        found.append(read_states(fast.base_model, spans, input_ids=ids))
    torch.testing.assert_close(*found, **CLOSE)


def test_round_numbers_are_few_and_at_most_an_eighth_larger():
    numbers = range(1, 4097)
    rounded = [rounded_up(number) for number in numbers]
    assert all(number <= up <= number * 9 / 8 for number, up in zip(numbers, rounded, strict=True))
    assert len(set(rounded)) < 90
    assert [rounded_up(number) for number in (0, 3, 15, 17, 257)] == [0, 3, 15, 18, 288]


@pytest.mark.parametrize(
    ("config", "replaced"),
    [
        (Gemma2Config(**SIZES, sliding_window=16, query_pre_attn_scalar=32), 0),
        # Queries and keys are normalized: only its feed-forward layers are of the usual build.
        (Qwen3Config(**SIZES), 2),
        (GRANITE, 6),
        # Its first layer is given other states than its embeddings.
        (GraniteConfig(**SIZES, residual_multiplier=0.5, embedding_multiplier=12.0), 4),
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


@torch.inference_mode()
def test_a_model_of_mixed_build_keeps_its_first_and_last_layer():
    plain, fast = model_of(REPLACED["llama"]), model_of(REPLACED["llama"])
    fast.model.layers[0].self_attn.more = torch.nn.Identity()
    # Attention of one layer and feed-forward of both.
    assert replace_layers(fast, 64) == 3
    ids = ids_of(2, 50)
    whole = plain.base_model(input_ids=ids).last_hidden_state
    found = read_states(fast.base_model, [(3, 40), (7, 50)], input_ids=ids)
    torch.testing.assert_close(found, torch.cat([whole[0, 3:40], whole[1, 7:50]]), **CLOSE)


def test_half_precision_keeps_its_layers():
    assert replace_layers(model_of(REPLACED["llama"]).to(torch.bfloat16), 64) == 0
