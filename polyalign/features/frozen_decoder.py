"""Attention and feed-forward layers of a frozen float32 decoder on a CPU, replaced by equal ones that take less time.

    replace_layers(model, rows=4096)
    states = read_states(model.base_model, [(300, 340), (280, 345)], input_ids=ids)

What is saved: one matrix product in place of three for queries, keys and values; rotary embeddings turned in place, as
complex numbers; causal attention in blocks of queries that see only the keys before them; an activation computed while
its matrix product is written; in the last layer, no attention of rows before their first position whose state is read,
and nothing after attention for any position whose state nobody reads.

The layers of the Llama family (Llama, Mistral, Qwen2 and their kin) are replaced. A model of another build, or whose
logits would not stay the same, keeps its own layers.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from polyalign.features.packed_linear import PackedLinear, can_pack

BLOCK = 64
"""Queries attended to at a time: fewer waste less on keys after them, more use a CPU better."""
_PROBE = (2, 48)
_CLOSE = {"rtol": 1e-4, "atol": 1e-4}
_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
_ATTENTION_INPUTS = {"hidden_states", "position_embeddings", "attention_mask", "past_key_values", "kwargs"}
_MLP = {"gate_proj", "up_proj", "down_proj", "act_fn"}
_DECODER_LAYER = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}

Spans = Sequence[tuple[int, int]]
"""Positions to read of each row: the first one, and the one after the last."""


@dataclass
class _Reading:
    """What `read_states` asks of the layers, and whether the last one has done it."""

    spans: Spans
    gathered: bool = False


_reading: ContextVar[_Reading | None] = ContextVar("reading", default=None)


def _gathered(states: torch.Tensor, spans: Spans) -> torch.Tensor:
    """[1, positions to read, hidden] of states [rows, positions, hidden], one row after the other.

    The number of positions is filled up to a round one, with copies of the last.
    """
    width = states.shape[1]
    runs = [np.arange(row * width + first, row * width + end) for row, (first, end) in enumerate(spans)]
    read = np.concatenate(runs)
    filled = np.pad(read, (0, rounded_up(len(read)) - len(read)), mode="edge") if len(read) else read
    return states.flatten(0, 1)[torch.from_numpy(filled).to(states.device)].unsqueeze(0)


def rounded_up(count: int) -> int:
    """The next number of four significant bits, at most an eighth larger.

    oneDNN prepares each product of another size anew, for longer than small ones take, so few sizes save time.
    """
    step = 1 << max(0, count.bit_length() - 4)
    return -(-count // step) * step


def read_states(body: Any, spans: Spans, **inputs: Any) -> torch.Tensor:
    """Last hidden states of some positions of each row, one row after the other, [positions to read, hidden].

    Args:
        body: a decoder of Transformers, with replaced layers or its own.
        spans: the positions to read.
        inputs: what the decoder takes; without `attention_mask`, attention is causal.
    """
    reading = _Reading(spans)
    token = _reading.set(reading)
    try:
        states = body(**inputs).last_hidden_state
    finally:
        _reading.reset(token)
    if not reading.gathered:
        states = _gathered(states, spans)
    return states[0, : sum(end - first for first, end in spans)]


@lru_cache(maxsize=4)
def _band(width: int) -> torch.Tensor:
    """[2 BLOCK, width + 2 BLOCK] mask to cut those of blocks of queries from: row i sees the columns to width + i."""
    return torch.full((2 * BLOCK, width + 2 * BLOCK), float("-inf")).triu(width + 1)


def _blocks(first: int, end: int) -> Iterator[tuple[int, int]]:
    """Even runs of about `BLOCK` positions."""
    count = max(1, round((end - first) / BLOCK))
    size = max(1, -(-(end - first) // count))
    yield from ((start, min(end, start + size)) for start in range(first, end, size))


class RotaryAttention(torch.nn.Module):
    """Self-attention of the Llama family; forward takes and gives what the layer that it stands for does.

    Args:
        attention: the layer.
        rows: rows of a typical input.
    """

    def __init__(self, attention: Any, rows: int) -> None:
        super().__init__()
        self._layer, self._scale = attention.layer_idx, attention.scaling
        self._size = attention.head_dim
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self._heads = [linear.out_features // self._size for linear in projections]
        # The two numbers that turn together, half a head apart, become neighbours: a complex number.
        pairs = torch.arange(self._size).view(2, -1).T.flatten()
        joined = torch.nn.Linear(attention.q_proj.in_features, sum(self._heads) * self._size)
        for name, joint in joined.named_parameters():
            parts = []
            for linear, heads in zip(projections, self._heads, strict=True):
                part = getattr(linear, name)
                part = torch.zeros(linear.out_features) if part is None else part
                turned = part.view(heads, self._size, -1)
                parts.append((turned if linear is attention.v_proj else turned[:, pairs]).reshape(part.shape))
            joint.data = torch.cat(parts)
        self._project = PackedLinear(joined, rows)
        self._out = PackedLinear(attention.o_proj, rows)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None,
        past_key_values: Any = None,
        spans: Spans | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        """With `spans`, the output is that of these positions alone, [1, positions to read, hidden]."""
        states = self._project(hidden_states)
        turning = self._heads[0] + self._heads[1]
        cos, sin = (part[..., : self._size // 2] for part in position_embeddings)
        turned = states[..., : turning * self._size].unflatten(-1, (-1, 2))
        torch.view_as_complex(turned).mul_(torch.complex(cos, sin).repeat(1, 1, turning))
        query, key, value = states.unflatten(-1, (-1, self._size)).transpose(1, 2).split(self._heads, dim=1)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self._layer)
        firsts = [0] * len(query)
        if spans is not None:
            firsts = [first if first < end else query.shape[2] for first, end in spans]
        attended = self._attend(query, key, value, attention_mask, firsts).flatten(2)
        return self._out(attended if spans is None else _gathered(attended, spans)), None

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        firsts: Sequence[int],
    ) -> torch.Tensor:
        """[texts, positions, heads, size] of queries [texts, heads, positions, size].

        Without a mask, attention is causal. What stands before `firsts`, a position of each text, is undefined: texts
        behind the last one that has come to its first position are left out of a block.
        """
        end = query.shape[2]
        past = key.shape[2] - end
        if mask is not None and mask.stride(0) == 0:
            mask = mask[:1]  # One mask expanded to all texts is made numbers once.
        attended = query.new_empty(query.shape[0], end, *query.shape[1::2])
        out = attended.transpose(1, 2)
        width = -(-end // 1024) * 1024
        for start, stop in _blocks(min(firsts), end):
            rows = max(row for row, first in enumerate(firsts) if first < stop) + 1
            # Cut so that the first query of the block, which is row 0, sees the keys up to its own.
            causal = _band(width)[: stop - start, width - start : width - start + stop]
            seen = causal if mask is None else mask[:rows, :, start:stop, : past + stop]
            block = query[:rows, :, start:stop], key[:rows, :, : past + stop], value[:rows, :, : past + stop]
            out[:rows, :, start:stop] = scaled_dot_product_attention(
                *block, seen, scale=self._scale, enable_gqa=self._heads[0] != self._heads[1]
            )
        return attended


class GatedMlp(torch.nn.Module):
    """Feed-forward layer down(silu(gate(x)) * up(x))."""

    def __init__(self, mlp: Any, rows: int) -> None:
        super().__init__()
        self._gate = PackedLinear(mlp.gate_proj, rows, activation="swish")
        self._up, self._down = PackedLinear(mlp.up_proj, rows), PackedLinear(mlp.down_proj, rows)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self._down(self._gate(states).mul_(self._up(states)))


class LastLayer(torch.nn.Module):
    """Last layer of a decoder, which goes on with the positions to read alone once their attention is computed.

    Within `read_states`, it gives [1, positions to read, hidden]; else what the layer that it stands for gives.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self._attention, self._mlp = layer.self_attn, layer.mlp
        self._norms = torch.nn.ModuleList([layer.input_layernorm, layer.post_attention_layernorm])

    def forward(self, hidden_states: torch.Tensor, **inputs: Any) -> torch.Tensor:
        reading = _reading.get()
        spans = None if reading is None else reading.spans
        attended, _ = self._attention(hidden_states=self._norms[0](hidden_states), spans=spans, **inputs)
        if reading is not None:
            hidden_states = _gathered(hidden_states, reading.spans)
            reading.gathered = True
        hidden_states = hidden_states + attended
        return hidden_states + self._mlp(self._norms[1](hidden_states))


def _substitute(module: Any, rows: int) -> torch.nn.Module | None:
    """The layer to put in a layer's place, None for layers of another build."""
    parts = dict(module.named_children())
    if any(type(part) is not torch.nn.Linear for name, part in parts.items() if name != "act_fn"):
        return None
    if parts.keys() == _ATTENTION:
        # Whoever does more than scaled dot products, such as capping scores, does not run on `sdpa`.
        plain = module.config._attn_implementation == "sdpa"
        inputs = set(inspect.signature(module.forward).parameters)
        usual = plain and inputs == _ATTENTION_INPUTS and getattr(module, "is_causal", False)
        return RotaryAttention(module, rows) if usual else None
    silu = parts.keys() == _MLP and type(parts["act_fn"]).__name__ in ("SiLU", "SiLUActivation")
    return GatedMlp(module, rows) if silu else None


def _put(model: torch.nn.Module, layers: dict[str, torch.nn.Module]) -> None:
    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)


def _probe(model: Any) -> torch.Tensor:
    """Logits of some tokens of two rows, one row after the other."""
    rows, width = _PROBE
    ids = (torch.arange(rows * width) * 7919 % model.get_output_embeddings().out_features).view(rows, width)
    spans = [(width // 2, width), (width // 3, width - 1)]
    states = read_states(model.base_model, spans, input_ids=ids, use_cache=False)
    return model.get_output_embeddings()(states)


def _replace(model: Any, layers: dict[str, torch.nn.Module], expected: torch.Tensor) -> int:
    """Put layers into the model, where `_probe` stays as expected; returns their number, 0 where it does not."""
    own = {name: model.get_submodule(name) for name in layers}
    _put(model, layers)
    try:
        same = torch.allclose(_probe(model), expected, **_CLOSE)
    except RuntimeError:
        # Rotary embeddings of another shape, such as partial ones.
        same = False
    if not same:
        _put(model, own)
    return len(layers) if same else 0


@torch.inference_mode()
def replace_layers(model: Any, rows: int) -> int:
    """Replace the layers of a float32 causal model on the CPU in place, where its logits stay the same.

    Args:
        rows: rows of a typical input, which the layout of the packed weights is chosen for.

    Returns:
        Number of layers replaced; 0 where the model keeps its own.
    """
    if not can_pack() or model.dtype != torch.float32:
        return 0
    parts = {
        name: part
        for name, module in model.named_modules()
        if (part := _substitute(module, rows)) is not None
    }
    if not parts:
        return 0
    expected = _probe(model)
    replaced = _replace(model, parts, expected)
    decoder_layers = [
        (name, module)
        for name, module in model.named_modules()
        if dict(module.named_children()).keys() == _DECODER_LAYER
    ]
    if decoder_layers and isinstance(decoder_layers[-1][1].self_attn, RotaryAttention):
        name, module = decoder_layers[-1]
        replaced += _replace(model, {name: LastLayer(module)}, expected)
    return replaced
