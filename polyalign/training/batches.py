"""Micro batches: collators that keep the columns losses need, and sums over the global batch.

TRL's collators keep the columns they know and drop the rest without a word, so ours add theirs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

FLOAT_COLUMNS = ("weight", "chosen_score", "rejected_score")
PREFERENCE_COLUMNS = (*FLOAT_COLUMNS, "bucket")


def extra_columns(examples: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Tensor]:
    """The named columns of some rows as tensors [n]."""
    return {
        name: torch.tensor(
            [example[name] for example in examples],
            dtype=torch.float32 if name in FLOAT_COLUMNS else torch.long,
        )
        for name in names
    }


@dataclass
class WeightedSftCollator(DataCollatorForLanguageModeling):
    """TRL's collator, with `weight` [n]."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        return {**super().torch_call(examples), **extra_columns(examples, ["weight"])}


@dataclass
class PreferenceCollator(DataCollatorForPreference):
    """TRL's collator, with weight, critic scores and bucket number [n] beside its [2n, t] token columns."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        return {**super().torch_call(examples), **extra_columns(examples, PREFERENCE_COLUMNS)}


class ExactColumns:
    """A Trainer whose float columns belong to its loss and not to the model, so DeepSpeed must not round them.

    Under it the Trainer gives every float of a batch the model's precision: reference log-probabilities, weights and
    scores in bfloat16.
    """

    def _prepare_input(self, data: Any) -> Any:
        if isinstance(data, Tensor):
            return data.to(self.args.device)
        return super()._prepare_input(data)


class Totals(NamedTuple):
    """Sum of weights and number of rows of a global batch: all micro batches of one step on all devices."""

    weights: Tensor
    rows: Tensor


def global_totals(
    accelerator: Any, micro_batches: Sequence[Mapping[str, Any]], device: torch.device
) -> Totals:
    """Add up weights and rows of the micro batches of one optimizer step, over all devices."""
    weights = [batch["weight"] for batch in micro_batches]
    local = torch.tensor(
        [sum(float(w.sum()) for w in weights), sum(len(w) for w in weights)],
        dtype=torch.float64,
        device=device,
    )
    weight_sum, rows = accelerator.reduce(local, reduction="sum").to(torch.float32)
    return Totals(weight_sum, rows)


def denominators(
    weights: Tensor, totals: Totals, *, normalization: str, micro_batches: int, devices: int
) -> tuple[Tensor, Tensor]:
    """What a micro batch divides its weighted sum and its row sum by, so that its loss needs no further
    scaling.

    Losses of the micro batches of one device are added, gradients of the devices averaged. `global` therefore
    divides by the global batch's totals over the device count. `micro` (published) divides by the micro
    batch's own totals and the number of micro batches.

    Args:
        weights: [n] of this micro batch.
        totals: of the global batch.
    """
    if normalization == "global":
        return totals.weights / devices, totals.rows / devices
    return weights.sum() * micro_batches, torch.tensor(
        float(len(weights)), device=weights.device
    ) * micro_batches
