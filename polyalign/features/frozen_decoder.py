"""Attention and feed-forward layers of a frozen float32 decoder on a CPU, replaced by equal ones that take less time.

    replace_layers(model, rows=4096)
    with scored_from(first):
        states = model.base_model(input_ids=ids).last_hidden_state

What is saved: one matrix product in place of three for queries, keys and values; rotary embeddings turned in place, as
complex numbers; causal attention in blocks of queries that see only the keys before them; in the last layer, no
attention for positions whose state nobody reads; an activation computed while its matrix product is written.

The layers of the Llama family (Llama, Mistral, Qwen2 and their kin) are replaced. A model of another build, or whose
logits would not stay the same, keeps its own layers.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from polyalign.features.packed_linear import PackedLinear, can_pack

BLOCK = 128
"""Queries attended to at a time: fewer waste less on keys after them, more use a CPU better."""
_PROBE = (2, 48)
_CLOSE = {"rtol": 1e-4, "atol": 1e-4}
_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
_ATTENTION_INPUTS = {"hidden_states", "position_embeddings", "attention_mask", "past_key_values", "kwargs"}
_MLP = {"gate_proj", "up_proj", "down_proj", "act_fn"}

_first_scored: ContextVar[int] = ContextVar("first_scored", default=0)


@contextmanager
def scored_from(position: int) -> Iterator[None]:
    """Promise that no last state before this position of the input is read; it is undefined then."""
    token = _first_scored.set(position)
    try:
        yield
    finally:
        _first_scored.reset(token)


@lru_cache(maxsize=4)
def _band(width: int) -> torch.Tensor:
    """[2 BLOCK, width + 2 BLOCK] mask to cut those of blocks of queries from: row i sees the columns to width + i."""
    return torch.full((2 * BLOCK, width + 2 * BLOCK), float("-inf")).triu(width + 1)


def _blocks(first: int, end: int) -> Iterator[tuple[int, int]]:
    """Even runs of about `BLOCK` positions."""
    count = max(1, round((end - first) / BLOCK))
    size = -(-(end - first) // count)
    yield from ((start, min(end, start + size)) for start in range(first, end, size))


class RotaryAttention(torch.nn.Module):
    """Self-attention of the Llama family; forward takes and gives what the layer that it stands for does.

    Args:
        attention: the layer.
        last: whether it is the last one.
        rows: rows of a typical input.
    """

    def __init__(self, attention: Any, last: bool, rows: int) -> None:
        super().__init__()
        self._layer, self._scale, self._last = attention.layer_idx, attention.scaling, last
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
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        states = self._project(hidden_states)
        turning = self._heads[0] + self._heads[1]
        cos, sin = (part[..., : self._size // 2] for part in position_embeddings)
        turned = states[..., : turning * self._size].unflatten(-1, (-1, 2))
        torch.view_as_complex(turned).mul_(torch.complex(cos, sin).repeat(1, 1, turning))
        query, key, value = states.unflatten(-1, (-1, self._size)).transpose(1, 2).split(self._heads, dim=1)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self._layer)
        return self._out(self._attend(query, key, value, attention_mask).flatten(2)), None

    def _attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """[texts, positions, heads, size] of queries [texts, heads, positions, size]; without a mask, causal."""
        options = {"scale": self._scale, "enable_gqa": self._heads[0] != self._heads[1]}
        end = query.shape[2]
        first = min(_first_scored.get(), end - 1) if self._last else 0
        attended = query.new_empty(query.shape[0], end, *query.shape[1::2])
        attended[:, :first] = 0
        out = attended.transpose(1, 2)
        if mask is not None:
            kept = mask[:, :, first:]
            out[:, :, first:] = scaled_dot_product_attention(query[:, :, first:], key, value, kept, **options)
            return attended
        width = -(-end // 1024) * 1024
        for start, stop in _blocks(first, end):
            # Cut so that the first query of the block, which is row 0, sees the keys up to its own.
            causal = _band(width)[: stop - start, width - start : width - start + stop]
            block = query[:, :, start:stop], key[:, :, :stop], value[:, :, :stop]
            out[:, :, start:stop] = scaled_dot_product_attention(*block, causal, **options)
        return attended


class GatedMlp(torch.nn.Module):
    """Feed-forward layer down(silu(gate(x)) * up(x))."""

    def __init__(self, mlp: Any, rows: int) -> None:
        super().__init__()
        self._gate = PackedLinear(mlp.gate_proj, rows, activation="swish")
        self._up, self._down = PackedLinear(mlp.up_proj, rows), PackedLinear(mlp.down_proj, rows)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self._down(self._gate(states).mul_(self._up(states)))


def _substitute(module: Any, last_layer: int, rows: int) -> torch.nn.Module | None:
    """The layer to put in a layer's place, None for layers of another build."""
    parts = dict(module.named_children())
    if any(type(part) is not torch.nn.Linear for name, part in parts.items() if name != "act_fn"):
        return None
    if parts.keys() == _ATTENTION:
        # Whoever does more than scaled dot products, such as capping scores, does not run on `sdpa`.
        plain = module.config._attn_implementation == "sdpa"
        inputs = set(inspect.signature(module.forward).parameters)
        usual = plain and inputs == _ATTENTION_INPUTS and getattr(module, "is_causal", False)
        return RotaryAttention(module, module.layer_idx == last_layer, rows) if usual else None
    silu = parts.keys() == _MLP and type(parts["act_fn"]).__name__ in ("SiLU", "SiLUActivation")
    return GatedMlp(module, rows) if silu else None


def _put(model: torch.nn.Module, layers: dict[str, torch.nn.Module]) -> None:
    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)


def _probe(model: Any, first: int) -> torch.Tensor:
    """Logits of some tokens, from the position `first` on."""
    rows, width = _PROBE
    ids = (torch.arange(rows * width) * 7919 % model.get_output_embeddings().out_features).view(rows, width)
    with scored_from(first):
        return model(input_ids=ids, use_cache=False).logits[:, first:]


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
    last = model.config.get_text_config().num_hidden_layers - 1
    found = {
        name: (module, new)
        for name, module in model.named_modules()
        if (new := _substitute(module, last, rows)) is not None
    }
    if not found:
        return 0
    expected = _probe(model, 0)
    _put(model, {name: new for name, (_, new) in found.items()})
    first = _PROBE[1] // 2
    try:
        same = torch.allclose(_probe(model, first), expected[:, first:], **_CLOSE)
    except RuntimeError:
        # Rotary embeddings of another shape, such as partial ones.
        same = False
    if not same:
        _put(model, {name: old for name, (old, _) in found.items()})
        return 0
    return len(found)
