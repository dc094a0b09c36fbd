"""TRL's fused head on a CPU: log-probabilities of labelled positions alone.

Where Triton does not run, TRL projects prompts and padding onto the vocabulary too, so that shapes stay the same on
devices that compile each shape anew. A CPU does not, and there it was a third of the time of a small model's step.
"""

import torch
from trl.trainer import utils

_runs_triton = utils._use_triton


def _scores_labels_alone(device: torch.device) -> bool:
    return device.type == "cpu" or _runs_triton(device)


def score_labels_alone() -> None:
    """Make the fused head leave out unlabelled positions on a CPU as it does on a GPU; values and gradients stay."""
    utils._use_triton = _scores_labels_alone
