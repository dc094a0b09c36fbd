"""The order that rows are trained on: global batches are drawn at random, and each is gone through by length.

A step's gradient is that of its global batch, whatever the order within. Micro batches of rows of similar length hold
little padding, and devices side by side get rows of similar length, so that they wait less for each other.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.compute as pc
from accelerate.data_loader import SeedableRandomSampler
from datasets import Dataset
from torch.utils.data import Sampler


def row_lengths(dataset: Dataset) -> np.ndarray:
    """[rows] tokens of each row: of its sequence, or of its prompt and the longer of its two answers."""
    table = dataset.with_format("arrow")[:]

    def lengths(column: str) -> np.ndarray:
        return pc.list_value_length(table[column]).to_numpy()

    if "input_ids" in table.column_names:
        return lengths("input_ids")
    return lengths("prompt_ids") + np.maximum(lengths("chosen_ids"), lengths("rejected_ids"))


class LengthSampler(Sampler[int]):
    """Rows in the random order of Accelerate's sampler, each global batch of it sorted by length, longest first.

    Args:
        dataset: tokenized rows.
        global_batch_size: rows of one optimizer step, over all devices.
        seed: of the order; each epoch has another.
    """

    def __init__(self, dataset: Dataset, global_batch_size: int, seed: int) -> None:
        self._lengths = row_lengths(dataset)
        self._drawn = SeedableRandomSampler(dataset, data_seed=seed)
        self._size = global_batch_size

    def __len__(self) -> int:
        return len(self._drawn)

    def __iter__(self) -> Iterator[int]:
        # Gone through to its end, it turns to the next epoch.
        drawn = np.array(list(self._drawn), dtype=np.int64)
        for start in range(0, len(drawn), self._size):
            batch = drawn[start : start + self._size]
            yield from batch[np.argsort(-self._lengths[batch], kind="stable")].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Accelerate says which epoch is next, also where a run goes on."""
        self._drawn.set_epoch(epoch)


class LengthSorted:
    """A Trainer of tokenized rows that goes through each global batch by length.

    Attributes:
        sorts_rows: False where the loss depends on which rows share a micro batch; rows then come as they are drawn.
    """

    sorts_rows = True

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if not self.sorts_rows:
            return super()._get_train_sampler(train_dataset)
        arguments = self.args
        rows = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
        dataset = self.train_dataset if train_dataset is None else train_dataset
        return LengthSampler(dataset, rows, arguments.data_seed)
