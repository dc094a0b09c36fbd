"""DPO and HDPO: TRL's DPOTrainer with the losses of `polyalign.training.losses`.

One trainer serves both: DPO is HDPO with weights of 1 and no further terms. Reference log-probabilities are
computed once, before the first step, and kept beside the tokenized rows. Every term of the loss goes to the
log.
"""

from collections import deque
from typing import Any

import torch
from torch import Tensor
from trl import DPOTrainer

from polyalign.training.batches import (
    PREFERENCE_COLUMNS,
    ExactColumns,
    PreferenceCollator,
    Totals,
    denominators,
    global_totals,
)
from polyalign.training.losses import (
    PreferenceTerms,
    SequenceLogps,
    hdpo_loss,
    preference_terms,
    score_function_surrogate,
    sequence_logps,
    weighted_mean,
)
from polyalign.training.online import OnlineTerm, Samples, append_samples
from polyalign.training.recipe import PreferenceRecipe
from polyalign.training.sampler import LengthSorted
from polyalign.training.sft import mean_weight, note_metrics


class PreferenceTrainer(ExactColumns, LengthSorted, DPOTrainer):
    """DPOTrainer on tokenized pairs with weights, critic scores and bucket numbers.

    Args:
        recipe: beta, factors, normalization and the online settings.
        online: the online term, where the recipe has one.
    """

    # _compute_loss divides by the global batch, so the Trainer must not divide by accumulation steps again.
    loss_is_scaled_for_ga = True

    def __init__(
        self, *args: Any, recipe: PreferenceRecipe, online: OnlineTerm | None = None, **kwargs: Any
    ) -> None:
        if not isinstance(kwargs.get("data_collator"), PreferenceCollator):
            raise TypeError("PreferenceTrainer needs a PreferenceCollator: others drop weights and scores")
        if recipe.needs_critic != (online is not None):
            raise ValueError("the online term of recipe and trainer disagree")
        self.recipe = recipe
        self.sorts_rows = recipe.weight_normalization == "global"
        self.online = online
        self.totals: Totals | None = None
        self.samples: deque[Samples] = deque()
        super().__init__(*args, **kwargs)
        self.eval_mean_weight = mean_weight(self.eval_dataset)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """Rows come tokenized by `polyalign.prompts`; TRL must not render them its own way."""
        return dataset

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        """Reference log-probabilities; TRL would pass our columns on to the model.

        With adapters the reference is the policy itself, which waits on the CPU where FSDP is going to shard it.
        """
        if model.device.type != self.accelerator.device.type:
            model.to(self.accelerator.device)
        known = {name: value for name, value in inputs.items() if name not in PREFERENCE_COLUMNS}
        return super().compute_ref_log_probs(model, known)

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list, Any]:
        """All micro batches of one step: adds up their weights and, when due, answers their prompts."""
        batches, items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if batches:
            self.totals = global_totals(self.accelerator, batches, device)
            if self.online is not None and self.online.due(self.state.global_step):
                step = self.state.global_step
                self.samples.extend(self.online.sample(self.model_wrapped, self.accelerator, batches, step))
        return batches, items

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        """This micro batch's share of the DPO or HDPO loss of its global batch."""
        training = self.model.training
        samples = self.samples.popleft() if training and self.samples else None
        rows = len(inputs["weight"])
        policy_gradient = samples is not None and self.recipe.online.mode == "score_function"
        tokens = append_samples(inputs, samples, self._tokenizer.pad_token_id) if policy_gradient else inputs
        outputs, logps = self._forward(model, tokens)
        chosen, rejected = _rows(logps, 0, rows), _rows(logps, rows, 2 * rows)
        terms = preference_terms(
            chosen,
            rejected,
            inputs["ref_chosen_logps"],
            inputs["ref_rejected_logps"],
            beta=self.recipe.beta,
            smoothing=self.recipe.label_smoothing,
            scores=(inputs["chosen_score"], inputs["rejected_score"]) if self.recipe.needs_scores else None,
            regularizer_logps=self.recipe.regularizer_logps,
            regularizer_beta=self.recipe.regularizer_beta,
        )
        online = None
        if policy_gradient:
            online = score_function_surrogate(samples.advantages, logps.sums[2 * rows :])
        elif samples is not None:
            online = samples.scores
        weights = inputs["weight"]
        weight_total, row_total, scale = self._denominators(weights, training)
        loss = hdpo_loss(
            terms,
            weights,
            reg_lambda=self.recipe.reg_lambda,
            ftx_gamma=self.recipe.ftx_gamma,
            weight_total=weight_total,
            row_total=row_total,
            online=online,
            online_lambda=self.recipe.online.weight,
        )
        with torch.no_grad():
            self._note_terms(terms, weights, chosen, rejected, weight_total / scale, row_total / scale)
            self._note_online(online, samples, row_total / scale)
            self._note_outputs(outputs, tokens, rows)
        return (loss, outputs) if return_outputs else loss

    def _forward(self, model: Any, tokens: dict[str, Tensor]) -> tuple[Any, SequenceLogps]:
        labels = tokens["input_ids"].masked_fill(tokens["completion_mask"] == 0, -100)
        outputs = model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            labels=labels,
            use_cache=False,
            fused_lm_head=True,
        )
        return outputs, sequence_logps(outputs.log_probs, labels[:, 1:] != -100)

    def _denominators(self, weights: Tensor, training: bool) -> tuple[Tensor, Tensor, int]:
        """Divisors of the weighted and the plain mean, and the factor that turns a share into a mean."""
        if not training:
            rows = torch.tensor(float(len(weights)), device=weights.device)
            return rows * self.eval_mean_weight, rows, 1
        scale = self.current_gradient_accumulation_steps
        weight_total, row_total = denominators(
            weights,
            self.totals,
            normalization=self.recipe.weight_normalization,
            micro_batches=scale,
            devices=self.accelerator.num_processes,
        )
        return weight_total, row_total, scale

    def _note_terms(
        self,
        terms: PreferenceTerms,
        weights: Tensor,
        chosen: SequenceLogps,
        rejected: SequenceLogps,
        weight_total: Tensor,
        row_total: Tensor,
    ) -> None:
        values = {
            "loss/preference": weighted_mean(terms.preference, weights, weight_total),
            "loss/regularizer": weighted_mean(terms.regularizer, None, row_total),
            "loss/chosen_nll": weighted_mean(terms.chosen_nll, None, row_total),
            "weight/mean": weights.mean(),
            "rewards/chosen": terms.chosen_rewards.mean(),
            "rewards/rejected": terms.rejected_rewards.mean(),
            "rewards/margins": (terms.chosen_rewards - terms.rejected_rewards).mean(),
            "rewards/accuracies": (terms.chosen_rewards > terms.rejected_rewards).float().mean(),
            "logps/chosen": chosen.sums.mean(),
            "logps/rejected": rejected.sums.mean(),
            "logps/chosen_token_mean": chosen.means.mean(),
            "logps/rejected_token_mean": rejected.means.mean(),
        }
        note_metrics(self, values)

    def _note_online(self, online: Tensor | None, samples: Samples | None, row_total: Tensor) -> None:
        if online is None or samples is None:
            return
        lengths = torch.tensor([float(len(ids)) for ids in samples.answers], device=online.device)
        values = {
            "loss/online": weighted_mean(online, None, row_total),
            "online/score": samples.scores.mean(),
            "online/tokens": lengths.mean(),
        }
        note_metrics(self, values)

    def _note_outputs(self, outputs: Any, tokens: dict[str, Tensor], rows: int) -> None:
        """Entropy over pairs and token accuracy over chosen answers."""
        mask = tokens["completion_mask"][:, 1:].bool()
        pairs, chosen = mask[: 2 * rows], mask[:rows]
        correct = (outputs.is_top1[:rows].bool() & chosen).sum()
        values = {
            "entropy": (outputs.entropy[: 2 * rows] * pairs).sum() / pairs.sum().clamp(min=1),
            "mean_token_accuracy": correct / chosen.sum().clamp(min=1),
        }
        note_metrics(self, values)


def _rows(logps: SequenceLogps, start: int, end: int) -> SequenceLogps:
    return SequenceLogps(logps.sums[start:end], logps.lengths[start:end])
