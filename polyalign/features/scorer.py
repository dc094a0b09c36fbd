"""The model that scores answers: loaded once, known by its content, with a way from last states to logits."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from polyalign.errors import BadInput
from polyalign.features.frozen_decoder import replace_layers
from polyalign.features.packed_linear import pack_linears
from polyalign.files import StrPath, read_json, sha256_file, sha256_json
from polyalign.model_folders import check_weights, load_tokenizer, load_weights
from polyalign.throughput import usable_cores

TRUNCATIONS = ("prompt_first", "published")
DTYPES = ("float32", "bfloat16", "float16")
CPU_BATCH_TOKENS = 4096
"""Larger batches fall out of a CPU's caches and are slower."""

# Keys of config.json that say nothing about the numbers a model gives, or that loading overrides.
_SILENT_KEYS = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "_commit_hash"}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt")


@dataclass(frozen=True)
class Scorer:
    """A loaded model with its tokenizer.

    Attributes:
        model, tokenizer: of transformers; the model is in evaluation mode on its device.
        start_id: the id that every sequence starts with, if any.
        max_length: maximum tokens of a sequence.
        truncation: one of `TRUNCATIONS`.
        digest: what the model is, see `scorer_digest`.
        threads: batches scored side by side; 1 on a GPU.
    """

    model: Any
    tokenizer: Any
    start_id: int | None
    max_length: int
    truncation: str
    digest: str
    threads: int = 1

    @property
    def vocabulary(self) -> int:
        """Number of logits of a position."""
        return int(self.model.get_output_embeddings().out_features)

    def describe(self) -> str:
        """How it scores, in one line for feature files: architecture, precision, limit and truncation."""
        dtype = str(self.model.dtype).removeprefix("torch.")
        return (
            f"transformers {version('transformers')}, {type(self.model).__name__}, {dtype}, "
            f"max_length {self.max_length}, truncation {self.truncation}"
        )


def scorer_digest(model_dir: StrPath) -> str:
    """SHA-256 of what decides a model's scores: weights, architecture, tokenizer and start token.

    The chat template has no part in it, nor has the precision, which feature files state by themselves.

    Raises:
        BadInput: no weights there, or not all of them.
    """
    folder = Path(model_dir)
    weights = check_weights(folder)
    config = {
        key: value for key, value in read_json(folder / "config.json").items() if key not in _SILENT_KEYS
    }
    tokenizer = [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    tokens_file = folder / "tokenizer_config.json"
    tokens = read_json(tokens_file) if tokens_file.is_file() else {}
    return sha256_json(
        {
            "config": config,
            "files": {path.name: sha256_file(path) for path in [*weights, *tokenizer]},
            "start": {key: tokens.get(key) for key in ("bos_token", "eos_token")},
        }
    )


def load_scorer(
    model_dir: str | Path,
    *,
    max_length: int,
    truncation: str = "prompt_first",
    dtype: str = "float32",
    device: str = "auto",
    threads: int | None = None,
) -> Scorer:
    """Load a causal language model for scoring.

    Args:
        model_dir: a directory in the layout of `save_pretrained`.
        max_length: maximum tokens of start, prompt and answer together; the model's own limit where that is less.
        truncation: what gives way first when that is exceeded: the start of the prompt, then the end of the answer
            (`prompt_first`) or the start of the answer (`published`).
        dtype: `float32`, `bfloat16` or `float16`; log-probabilities are in float32 in any case.
        device: `auto` (a GPU where there is one), `cpu` or a torch device.
        threads: CPU threads, each with a batch of its own; None: as many as there are cores.

    Raises:
        BadInput: no model there, or an unknown setting.
    """
    for value, allowed, name in ((truncation, TRUNCATIONS, "truncation"), (dtype, DTYPES, "dtype")):
        if value not in allowed:
            raise BadInput(f"unknown {name} {value!r}", expected=f"one of {', '.join(allowed)}")
    if max_length < 2:
        raise BadInput(f"max_length {max_length} leaves no room for an answer", expected="2 or more")
    if not (Path(model_dir) / "config.json").is_file():
        raise BadInput(
            "no model to score with", file=model_dir, expected="a directory with config.json and weights"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    digest = scorer_digest(model_dir)
    tokenizer = load_tokenizer(model_dir)
    model = load_weights("AutoModelForCausalLM", model_dir, dtype=getattr(torch, dtype)).to(device).eval()
    check_head(model)
    side_by_side = 1
    if torch.device(device).type == "cpu":
        # Whole batches side by side keep all cores busier than parts of one operation do.
        side_by_side = threads or usable_cores()
        torch.set_num_threads(1)
        replace_layers(model, CPU_BATCH_TOKENS)
        pack_linears(model, CPU_BATCH_TOKENS)
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    max_length = min(max_length, limit or max_length)
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return Scorer(model, tokenizer, start, max_length, truncation, digest, side_by_side)


def head_of(model: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The model's map from last hidden states to logits."""
    output = model.get_output_embeddings()
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return (lambda hidden: torch.tanh(output(hidden) / cap) * cap) if cap else output


@torch.inference_mode()
def check_head(model: Any) -> None:
    """Make sure that body and head, called one after the other, give the model's own logits.

    Raises:
        BadInput: they do not, as in a model that scales its logits.
    """
    ids = torch.arange(4, device=model.device).unsqueeze(0) % model.get_output_embeddings().out_features
    expected = model(input_ids=ids, use_cache=False).logits
    found = head_of(model)(model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
    if not torch.allclose(expected.float(), found.float(), rtol=1e-2, atol=1e-3):
        raise BadInput(
            f"{type(model).__name__} does more to its logits than LM scoring knows",
            file=model.name_or_path,
            expected="a plain output layer, with or without final_logit_softcapping",
        )
