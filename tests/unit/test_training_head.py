"""The fused head on a CPU scores labelled positions alone, with the values and gradients of TRL's own."""

from unittest.mock import patch

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer import utils

from polyalign.training.head import score_labels_alone

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def scored(ids, labels):
    """What the head says of each position, the gradient of its weights, and how many positions it projected."""
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(**SIZES))
    utils.add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    with patch.object(utils, "_ChunkedLogProbFunction", wraps=utils._ChunkedLogProbFunction) as head:
        found = model(input_ids=ids, labels=labels, fused_lm_head=True)
    found.log_probs.sum().backward()
    return found, model.lm_head.weight.grad, len(head.apply.call_args.args[0])


def test_prompts_and_padding_are_left_out_and_change_nothing():
    ids = torch.randint(50, (3, 12))
    labels = ids.clone()
    labels[:, :7] = -100
    labels[1, 9:] = -100
    with patch.object(utils, "_use_triton", lambda device: False):
        whole, gradient, everything = scored(ids, labels)
        score_labels_alone()
        alone, same, some = scored(ids, labels)
    assert (everything, some) == (33, 12)
    for name in ("log_probs", "entropy", "is_top1"):
        torch.testing.assert_close(getattr(alone, name), getattr(whole, name))
    torch.testing.assert_close(same, gradient)


def test_a_batch_without_labels_has_a_gradient_of_zero():
    ids = torch.randint(50, (2, 6))
    with patch.object(utils, "_use_triton", lambda device: False):
        score_labels_alone()
        _, gradient, projected = scored(ids, torch.full_like(ids, -100))
    assert projected == 0
    assert not gradient.any()
