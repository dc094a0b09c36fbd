"""Bucket-weighted supervised fine-tuning: TRL's SFTTrainer with the Bucket-SFT loss.

Plain SFT uses the loss of TRL's trainer as it is. In Bucket-SFT each example's mean token cross-entropy is weighted and
divided by the weights of the global batch, whatever the micro batch (docs/training.md, Weights).
"""

from typing import Any

import torch
from torch import Tensor
from trl import SFTTrainer

from polyalign.training.batches import (
    ExactColumns,
    Totals,
    WeightedSftCollator,
    denominators,
    global_totals,
)
from polyalign.training.losses import SequenceLogps, sft_nll, weighted_mean
from polyalign.training.sampler import LengthSorted


class PlainSftTrainer(LengthSorted, SFTTrainer):
    """SFTTrainer, which divides by the answer tokens of the global batch."""


class WeightedSftTrainer(ExactColumns, LengthSorted, SFTTrainer):
    """SFTTrainer whose rows carry a `weight`.

    Args:
        normalization: `global` or `micro`, see `polyalign.training.batches.denominators`.
    """

    # compute_loss divides by the global batch, so the Trainer must not divide by accumulation steps again.
    loss_is_scaled_for_ga = True

    def __init__(self, *args: Any, normalization: str = "global", **kwargs: Any) -> None:
        self.normalization = normalization
        self.sorts_rows = normalization == "global"
        super().__init__(*args, **kwargs)
        if not isinstance(self.data_collator, WeightedSftCollator):
            raise TypeError("WeightedSftTrainer needs a WeightedSftCollator: others drop the weights")
        self.totals: Totals | None = None
        self.eval_mean_weight = mean_weight(self.eval_dataset)

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list, Any]:
        """All micro batches of one step; their weights are added up before the first one is used."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if batches:
            self.totals = global_totals(self.accelerator, batches, device)
        return batches, items

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """This micro batch's share of sum(w_i * l_i) / sum(w_i)."""
        weights = inputs.pop("weight")
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        lengths = outputs.label_mask.sum(dim=1).to(outputs.log_probs.dtype)
        nll = sft_nll(SequenceLogps(outputs.log_probs.sum(dim=1), lengths))
        training = self.model.training
        if training:
            scale = self.current_gradient_accumulation_steps
            weight_total, row_total = denominators(
                weights,
                self.totals,
                normalization=self.normalization,
                micro_batches=scale,
                devices=self.accelerator.num_processes,
            )
        else:
            # Evaluation averages batches by their rows, which needs the mean weight of the whole split.
            scale, row_total = 1, torch.tensor(float(len(weights)), device=weights.device)
            weight_total = row_total * self.eval_mean_weight
        loss = weighted_mean(nll, weights, weight_total)
        with torch.no_grad():
            tokens = lengths.sum().clamp(min=1)
            self.note(
                {
                    "loss/unweighted": weighted_mean(nll, None, row_total) * scale,
                    "weight/mean": weights.mean(),
                    "entropy": outputs.entropy.sum() / tokens,
                    "mean_token_accuracy": outputs.is_top1.sum() / tokens,
                }
            )
        return (loss, outputs) if return_outputs else loss

    def note(self, values: dict[str, Tensor]) -> None:
        """Keep scalars of this micro batch for the next line of the log, averaged over devices."""
        note_metrics(self, values)


def mean_weight(dataset: Any) -> float:
    """Mean of a dataset's `weight` column; 1 without a dataset."""
    if dataset is None or not len(dataset):
        return 1.0
    return float(torch.tensor(dataset["weight"][:], dtype=torch.float64).mean())


def note_metrics(trainer: Any, values: dict[str, Tensor]) -> None:
    """Append scalars, averaged over devices, to the metrics that a TRL trainer logs next."""
    mode = "train" if trainer.model.training else "eval"
    names = list(values)
    stacked = torch.stack([values[name].detach().float() for name in names])
    mean = trainer.accelerator.reduce(stacked, reduction="mean").tolist()
    for name, value in zip(names, mean, strict=True):
        trainer._metrics[mode][name].append(value)
