"""The online term of HDPO: critic distances of the policy's own answers to the prompts of the global batch.

`report` (published) takes greedy answers and adds their mean distance to the loss as a number without
gradient. `score_function` samples answers and estimates the gradient of their expected distance, with the
mean of the other samples of the global batch as baseline. Both happen every k steps, in training only.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig
from trl.models.utils import unwrap_model_for_generation

from polyalign.training.losses import leave_one_out_advantages
from polyalign.training.recipe import OnlineRecipe


@dataclass
class Samples:
    """Sampled answers of one micro batch of n prompts: token ids and their critic scores."""

    prompts: list[list[int]]
    answers: list[list[int]]
    scores: Tensor
    advantages: Tensor


def prompts_of(batch: Mapping[str, Tensor]) -> list[list[int]]:
    """Prompt ids of a collated preference batch, from the chosen half of its rows."""
    rows = len(batch["weight"])
    starts = batch["completion_mask"][:rows].argmax(dim=1).tolist()
    return [ids[:start].tolist() for ids, start in zip(batch["input_ids"][:rows], starts, strict=True)]


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Fix torch's random numbers inside the block and leave them untouched outside.

    Samples then depend on seed and step alone, so that a resumed run draws what an unbroken one would.
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def answer_prompts(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    sample: bool,
    max_new_tokens: int,
    batch_rows: int,
    device: torch.device,
    in_step: bool = False,
) -> list[list[int]]:
    """Answers' token ids, up to and with EOS; sampled at temperature 1 from the full distribution, or greedy.

    Args:
        in_step: the weights are sharded over devices, so each goes on until all have ended.
    """
    config = GenerationConfig(
        do_sample=sample,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        repetition_penalty=1.0,
        max_new_tokens=max_new_tokens,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    answers: list[list[int]] = []
    for start in range(0, len(prompts), batch_rows):
        rows = [torch.tensor(ids) for ids in prompts[start : start + batch_rows]]
        ids = pad_sequence(
            rows, batch_first=True, padding_value=tokenizer.pad_token_id, padding_side="left"
        ).to(device)
        width = ids.shape[1]
        lengths = torch.tensor([len(row) for row in rows], device=device)
        mask = (torch.arange(width, device=device) >= width - lengths[:, None]).long()
        with torch.no_grad():
            # Of ZeRO-3 generate knows by itself, of what accelerate shards by FSDP it does not.
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=config,
                synced_gpus=True if in_step else None,
            )
        answers += [up_to_eos(row, tokenizer.eos_token_id) for row in output[:, width:].tolist()]
    return answers


def up_to_eos(ids: list[int], eos: int) -> list[int]:
    """Token ids up to the first EOS, which is kept."""
    return ids[: ids.index(eos) + 1] if eos in ids else ids


class OnlineTerm:
    """Answers, scores and advantages for the steps that use the online term.

    Args:
        recipe: its settings.
        critic: scores texts in buckets; lower is closer to human answers.
        buckets: bucket names by the number in the `bucket` column.
        seed: seed of the samples.
    """

    def __init__(
        self, recipe: OnlineRecipe, critic: Any, buckets: Sequence[str], tokenizer: Any, seed: int
    ) -> None:
        self.recipe = recipe
        self.critic = critic
        self.buckets = list(buckets)
        self.tokenizer = tokenizer
        self.seed = seed

    def due(self, step: int) -> bool:
        """Whether the optimizer step after `step` finished ones uses the term."""
        return step % self.recipe.every == 0

    def sample(
        self, model: Any, accelerator: Any, batches: Sequence[Mapping[str, Tensor]], step: int
    ) -> list[Samples]:
        """Answer and score the prompts of all micro batches of one step, a `Samples` for each."""
        prompts = [prompts_of(batch) for batch in batches]
        flat = [ids for rows in prompts for ids in rows]
        seed = self.seed * 1_000_003 + step * accelerator.num_processes + accelerator.process_index
        was_training = model.training
        model.eval()
        with (
            seeded(seed, accelerator.device),
            unwrap_model_for_generation(model, accelerator) as policy,
            accelerator.autocast(),
        ):
            answers = answer_prompts(
                policy,
                self.tokenizer,
                flat,
                sample=self.recipe.mode == "score_function",
                max_new_tokens=self.recipe.max_new_tokens,
                batch_rows=self.recipe.batch_rows,
                device=accelerator.device,
                in_step=accelerator.distributed_type == DistributedType.FSDP,
            )
        model.train(was_training)
        texts = self.tokenizer.batch_decode(answers, skip_special_tokens=True)
        numbers = torch.cat([batch["bucket"] for batch in batches]).tolist()
        with torch.no_grad():
            scores = self.critic.score(texts, [self.buckets[number] for number in numbers])
        scores = scores.to(accelerator.device, torch.float32)
        sums = torch.stack([scores.sum(), torch.tensor(float(len(scores)), device=scores.device)])
        total, count = accelerator.reduce(sums, reduction="sum")
        advantages = leave_one_out_advantages(scores, total, int(count))
        return self._by_batch(prompts, answers, scores, advantages)

    @staticmethod
    def _by_batch(
        prompts: Sequence[list[list[int]]], answers: list[list[int]], scores: Tensor, advantages: Tensor
    ) -> list[Samples]:
        samples, start = [], 0
        for rows in prompts:
            part = slice(start, start + len(rows))
            samples.append(Samples(rows, answers[part], scores[part], advantages[part]))
            start += len(rows)
        return samples


def append_samples(batch: dict[str, Tensor], samples: Samples, pad_token_id: int) -> dict[str, Tensor]:
    """The [2n, t] token columns of a batch with the n sampled sequences below them, [3n, t'].

    One forward pass then serves pairs and samples, as distributed wrappers prefer.
    """
    rows = [torch.tensor(p + a) for p, a in zip(samples.prompts, samples.answers, strict=True)]
    masks = [
        torch.tensor([0] * len(p) + [1] * len(a))
        for p, a in zip(samples.prompts, samples.answers, strict=True)
    ]
    width = max(batch["input_ids"].shape[1], *(len(row) for row in rows))
    device = batch["input_ids"].device

    def stacked(column: str, added: Sequence[Tensor], fill: int) -> Tensor:
        old = batch[column]
        block = old.new_full((old.shape[0] + len(added), width), fill)
        block[: old.shape[0], : old.shape[1]] = old
        for number, row in enumerate(added, start=old.shape[0]):
            block[number, : len(row)] = row.to(device)
        return block

    return {
        "input_ids": stacked("input_ids", rows, pad_token_id),
        "attention_mask": stacked("attention_mask", [torch.ones_like(row) for row in rows], 0),
        "completion_mask": stacked("completion_mask", masks, 0),
    }
