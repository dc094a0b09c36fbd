"""Attention and feed-forward layers of a frozen float32 decoder on a CPU, replaced by equal ones that take less time.

    replace_layers(model, rows=4096)
    states = read_states(model.base_model, [(300, 340), (280, 345)], input_ids=ids)

What is saved: one matrix product in place of three for queries, keys and values; rotary embeddings turned in place, as
complex numbers; causal attention in blocks of queries that see only the keys before them, to the last position whose
state is read; an activation computed while its matrix product is written; in the last layer, no attention of rows
before their first position whose state is read, and nothing after attention for any position whose state nobody reads;
in the first layer of a model of few tokens, queries, keys and values looked up by token.

The layers of the Llama family (Llama, Mistral, Qwen2 and their kin) are replaced. A model of another build, or whose
logits would not stay the same, keeps its own layers.
"""

import inspect
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from polyalign.features.packed_linear import PackedLinear, can_pack

BLOCK = 32
"""Queries attended to at a time: what PyTorch's kernel takes at once, so that more only means more keys after them."""
_ROUND = 8
"""Attention ends at a multiple of it, since matrix products of round sizes take less time."""
TABLE_VALUES = 1 << 20
"""Numbers in a table of the first layer's projections: what stays in a CPU's caches."""
_PROBE = (2, 48)
_CLOSE = {"rtol": 1e-4, "atol": 1e-4}
_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
_ATTENTION_INPUTS = {"hidden_states", "position_embeddings", "attention_mask", "past_key_values", "kwargs"}
_MLP = {"gate_proj", "up_proj", "down_proj", "act_fn"}
_DECODER_LAYER = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}

Spans = Sequence[tuple[int, int]]
"""Positions to read of each row: the first one, and the one after the last."""


class _Reading:
    """What `read_states` asks of the layers, and whether the last one has done it."""

    def __init__(self, spans: Spans, tokens: torch.Tensor) -> None:
        self.spans, self.tokens = spans, tokens
        self.gathered = False
        self._width = tokens.shape[1]

    @cached_property
    def end(self) -> int:
        """Position from which on nothing is read of any row, a round one; the width where nothing is read at all."""
        last = max((end for _, end in self.spans), default=0)
        return min(self._width, -(-last // _ROUND) * _ROUND) or self._width

    @cached_property
    def _places(self) -> torch.Tensor:
        """[positions to read] of all rows one after the other; filled up to a round number with copies of the last."""
        width = self._width
        read = np.concatenate(
            [np.arange(row * width + first, row * width + end) for row, (first, end) in enumerate(self.spans)]
        )
        filled = np.pad(read, (0, rounded_up(len(read)) - len(read)), mode="edge") if len(read) else read
        return torch.from_numpy(filled)

    def gather(self, states: torch.Tensor) -> torch.Tensor:
        """[1, positions to read, hidden] of states [rows, positions, hidden]."""
        return states.flatten(0, 1).index_select(0, self._places.to(states.device)).unsqueeze(0)


_reading: ContextVar[_Reading | None] = ContextVar("reading", default=None)


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
        inputs: what the decoder takes, `input_ids` among it; without `attention_mask`, attention is causal.
    """
    reading = _Reading(spans, inputs["input_ids"])
    token = _reading.set(reading)
    try:
        states = body(**inputs).last_hidden_state
    finally:
        _reading.reset(token)
    if not reading.gathered:
        states = reading.gather(states)
    return states[0, : sum(end - first for first, end in spans)]


@lru_cache(maxsize=4)
def _band(width: int) -> torch.Tensor:
    """[BLOCK, width + BLOCK] mask to cut those of blocks of queries from: row i sees the columns to width + i."""
    return torch.full((BLOCK, width + BLOCK), float("-inf")).triu(width + 1)


def _blocks(first: int, end: int) -> Iterator[tuple[int, int]]:
    """Runs of `BLOCK` positions that hold those from `first` on."""
    if first < end:
        yield from ((start, min(end, start + BLOCK)) for start in range(first - first % BLOCK, end, BLOCK))


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
        self.project = PackedLinear(joined, rows)
        self._out = PackedLinear(attention.o_proj, rows)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None,
        past_key_values: Any = None,
        last: bool = False,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        """Within `read_states`, the output of the last layer is that of the positions to read alone, gathered."""
        states = self.project(hidden_states)
        turning = self._heads[0] + self._heads[1]
        cos, sin = (part[..., : self._size // 2] for part in position_embeddings)
        turned = states[..., : turning * self._size].unflatten(-1, (-1, 2))
        torch.view_as_complex(turned).mul_(torch.complex(cos, sin).repeat(1, 1, turning))
        query, key, value = states.unflatten(-1, (-1, self._size)).transpose(1, 2).split(self._heads, dim=1)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self._layer)
        reading = _reading.get()
        end = query.shape[2] if reading is None else reading.end
        firsts = [0] * len(query)
        if reading is not None and last:
            firsts = [first if first < stop else end for first, stop in reading.spans]
        attended = self._attend(query, key, value, attention_mask, firsts, end).flatten(2)
        return self._out(reading.gather(attended) if reading is not None and last else attended), None

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        firsts: Sequence[int],
        end: int,
    ) -> torch.Tensor:
        """[texts, positions, heads, size] of queries [texts, heads, positions, size].

        Without a mask, attention is causal. What stands before `firsts`, a position of each text, is undefined: texts
        behind the last one that has come to its first position are left out of a block. From `end` on it is 0.
        """
        width = query.shape[2]
        past = key.shape[2] - width
        if mask is not None and mask.stride(0) == 0:
            mask = mask[:1]  # One mask expanded to all texts is made numbers once.
        attended = query.new_empty(query.shape[0], width, *query.shape[1::2])
        attended[:, end:] = 0
        out = attended.transpose(1, 2)
        longest = -(-end // 1024) * 1024
        for start, stop in _blocks(min(firsts), end):
            rows = max(row for row, first in enumerate(firsts) if first < stop) + 1
            # Cut so that the first query of the block, which is row 0, sees the keys up to its own.
            causal = _band(longest)[: stop - start, longest - start : longest - start + stop]
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


class TokenTable(torch.nn.Module):
    """Norm and projections before the first attention: they depend on the token alone, so they are looked up.

    Args:
        norm: the first layer's norm.
        project: its projections to queries, keys and values.
        embeddings: [vocabulary, hidden] states that the layer is given.
    """

    def __init__(self, norm: torch.nn.Module, project: torch.nn.Module, embeddings: torch.Tensor) -> None:
        super().__init__()
        self._norm, self._project = norm, project
        self._table = project(norm(embeddings))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Within `read_states`, those of its tokens; else those of any states [rows, positions, hidden]."""
        if (reading := _reading.get()) is None:
            return self._project(self._norm(states))
        return torch.nn.functional.embedding(reading.tokens, self._table)


class LastLayer(torch.nn.Module):
    """Last layer of a decoder, which goes on with the positions to read alone once their attention is computed.

    Within `read_states`, it gives [1, positions to read, hidden]; else what the layer that it stands for gives.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self._attention, self._mlp = layer.self_attn, layer.mlp
        self._norms = torch.nn.ModuleList([layer.input_layernorm, layer.post_attention_layernorm])

    def forward(self, hidden_states: torch.Tensor, **inputs: Any) -> torch.Tensor:
        attended, _ = self._attention(hidden_states=self._norms[0](hidden_states), last=True, **inputs)
        if (reading := _reading.get()) is not None:
            hidden_states = reading.gather(hidden_states)
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


def _probe_tokens(model: Any) -> torch.Tensor:
    """[2, positions] token ids."""
    rows, width = _PROBE
    return (torch.arange(rows * width) * 7919 % model.get_output_embeddings().out_features).view(rows, width)


def _probe(model: Any) -> torch.Tensor:
    """Logits of some tokens of two rows, one row after the other."""
    ids = _probe_tokens(model)
    width = ids.shape[1]
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
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if dict(module.named_children()).keys() == _DECODER_LAYER
    ]
    if layers and all(isinstance(module.self_attn, RotaryAttention) for _, module in layers):
        if table := _table_of(model, *layers[0]):
            replaced += _replace(model, table, expected)
        name, module = layers[-1]
        replaced += _replace(model, {name: LastLayer(module)}, expected)
    return replaced


def _table_of(model: Any, name: str, layer: Any) -> dict[str, torch.nn.Module]:
    """What stands in for the norm and the projections of the first layer.

    Nothing for a large vocabulary, or where the layer is given other states than the embeddings, such as scaled ones.
    """
    project, embeddings = layer.self_attn.project, model.get_input_embeddings().weight
    if len(embeddings) * project.out_features > TABLE_VALUES:
        return {}
    given: list[torch.Tensor] = []
    hook = layer.input_layernorm.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    _probe(model)
    hook.remove()
    if not given or not torch.equal(given[0], embeddings[_probe_tokens(model)]):
        return {}
    return {
        f"{name}.input_layernorm": TokenTable(layer.input_layernorm, project, embeddings),
        f"{name}.self_attn.project": torch.nn.Identity(),
    }
