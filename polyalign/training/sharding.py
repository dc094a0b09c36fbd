"""Sharding in bfloat16: parameters and gradients, not what the losses are made of."""

from dataclasses import replace
from typing import Any

from accelerate import FullyShardedDataParallelPlugin

_set_precision = FullyShardedDataParallelPlugin.set_mixed_precision


def _set_precision_of_weights(plugin: Any, *arguments: Any, **options: Any) -> None:
    _set_precision(plugin, *arguments, **options)
    plugin.mixed_precision_policy = replace(plugin.mixed_precision_policy, output_dtype=None)


def keep_outputs() -> None:
    """Make accelerate's FSDP leave a model's outputs in the precision in which they were computed.

    Its policy for bfloat16 rounds them too: the log-probability of an answer, which DPO compares with the reference
    model's, would then be known to the nearest quarter or half.
    """
    FullyShardedDataParallelPlugin.set_mixed_precision = _set_precision_of_weights
