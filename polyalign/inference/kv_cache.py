"""A key-value cache with room to grow.

The dynamic cache of transformers copies all keys and values for every new token, which took two thirds of
the time of long answers on a CPU. Here room is doubled when it runs out, and a new token is written into it.
"""

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

_FIRST_ROOM = 64


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer, [rows, heads, positions, head size], as views into larger tensors."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self._key_room, self._value_room = self.keys, self.values

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the states of new positions; returns all keys and all values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        self._key_room = _with_room(self._key_room, key_states, start, end)
        self._value_room = _with_room(self._value_room, value_states, start, end)
        self._key_room[:, :, start:end] = key_states
        self._value_room[:, :, start:end] = value_states
        self._show(end)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only the rows `indices`."""
        length = self.get_seq_length()
        self._key_room, self._value_room = self._key_room[indices], self._value_room[indices]
        self._show(length)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Make each row `repeats` rows."""
        length = self.get_seq_length()
        self._key_room = self._key_room.repeat_interleave(repeats, dim=0)
        self._value_room = self._value_room.repeat_interleave(repeats, dim=0)
        self._show(length)

    def _show(self, length: int) -> None:
        self.keys, self.values = self._key_room[:, :, :length], self._value_room[:, :, :length]


def _with_room(room: torch.Tensor, states: torch.Tensor, used: int, needed: int) -> torch.Tensor:
    """`room`, or a larger copy of its first `used` positions when it holds fewer than `needed`."""
    if used and room.shape[-2] >= needed:
        return room
    rows, heads, _, size = states.shape
    larger = states.new_empty(rows, heads, max(2 * used, needed + _FIRST_ROOM), size)
    if used:
        larger[:, :, :used] = room[:, :, :used]
    return larger


def keeps_every_position(cache: DynamicCache) -> bool:
    """Whether no layer of the cache forgets: positions may then be masked anywhere, not at the start alone."""
    return all(type(layer) is GrowingLayer for layer in cache.layers)


def growing_cache(config: object) -> DynamicCache:
    """An empty cache for a model of `config`; sliding-window layers keep their own, which is bounded."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
