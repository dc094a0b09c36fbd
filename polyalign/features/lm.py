"""Language-model features of answers: how probable a base model finds them, without and with their prompt.

    matrix = score_lm_features("path/to/model", records, answers, max_length=1024)

Each answer is scored twice: after a start token alone, and after the start token and the rendered prompt. Sequences of
like length are batched together, and logits are computed for answer tokens alone. Definitions: docs/features.md.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from polyalign.errors import BadInput
from polyalign.features.names import LM_NAMES
from polyalign.features.rounding import round_decimals
from polyalign.progress import track
from polyalign.prompts import condition_prefix
from polyalign.records import normalize_text

TRUNCATIONS = ("prompt_first", "published")
DTYPES = ("float32", "bfloat16", "float16")
WINDOW_ROWS = 2048
"""Rows whose sequences are sorted and batched together; bounds memory whatever the number of rows."""
LOGIT_VALUES = 1 << 24
"""Logits computed at a time (64 MiB in float32), so that memory holds with a large vocabulary and long answers."""
CPU_BATCH_TOKENS = 4096
"""Larger batches fall out of a CPU's caches and are slower."""
MAX_EXPONENT = 50.0

_COLUMN = {name: column for column, name in enumerate(LM_NAMES)}


@dataclass(frozen=True)
class Scorer:
    """A loaded model with its tokenizer and the id, if any, that every sequence starts with."""

    model: Any
    tokenizer: Any
    start_id: int | None
    max_length: int
    truncation: str

    @property
    def vocabulary(self) -> int:
        """Number of logits of a position."""
        return int(self.model.get_output_embeddings().out_features)

    def describe(self) -> str:
        """What scored, in one line for feature files: architecture, precision, limit and truncation."""
        dtype = str(self.model.dtype).removeprefix("torch.")
        return (
            f"transformers {version('transformers')}, {type(self.model).__name__}, {dtype}, "
            f"max_length {self.max_length}, truncation {self.truncation}"
        )


@dataclass(frozen=True)
class ScoredText:
    """One sequence to score: `prefix` (start token included) and the answer that follows it.

    Attributes:
        row: row of the result.
        kind: `unconditional` or `conditional`.
        prefix: token ids before the answer.
        answer: token ids of the answer.
        prefix_dropped, answer_dropped: tokens left out to fit the maximum length.
        started: whether `prefix` begins with a start token.
    """

    row: int
    kind: str
    prefix: list[int]
    answer: list[int]
    prefix_dropped: int
    answer_dropped: int
    started: bool

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.prefix) + len(self.answer)


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
        threads: CPU threads of this process; None leaves torch's own choice.

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
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=getattr(torch, dtype)).to(device).eval()
    _check_head(model)
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    max_length = min(max_length, limit or max_length)
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return Scorer(model, tokenizer, start, max_length, truncation)


def _fit(scorer: Scorer, row: int, kind: str, prefix: list[int], answer: list[int]) -> ScoredText:
    """Drop tokens until start, prefix and answer fit the maximum length."""
    start = [] if scorer.start_id is None else [scorer.start_id]
    excess = max(0, len(start) + len(prefix) + len(answer) - scorer.max_length)
    prefix_dropped = min(excess, len(prefix))
    answer_dropped = excess - prefix_dropped
    if answer_dropped:
        answer = answer[answer_dropped:] if scorer.truncation == "published" else answer[:-answer_dropped]
    return ScoredText(
        row, kind, start + prefix[prefix_dropped:], answer, prefix_dropped, answer_dropped, bool(start)
    )


def _sequences(
    scorer: Scorer, first_row: int, prefixes: Sequence[str], answers: Sequence[str]
) -> Iterator[ScoredText]:
    encode = scorer.tokenizer
    prefix_ids = encode([normalize_text(prefix) for prefix in prefixes], add_special_tokens=False)[
        "input_ids"
    ]
    answer_ids = encode(list(answers), add_special_tokens=False)["input_ids"]
    for row, (prefix, answer) in enumerate(zip(prefix_ids, answer_ids, strict=True), start=first_row):
        yield _fit(scorer, row, "unconditional", [], answer)
        yield _fit(scorer, row, "conditional", prefix, answer)


def _batches(texts: list[ScoredText], batch_tokens: int) -> Iterator[list[ScoredText]]:
    """Batches of similar length, the longest first, within `batch_tokens` tokens, padding included."""
    batch: list[ScoredText] = []
    for text in sorted(texts, key=lambda one: one.length, reverse=True):
        if batch and (len(batch) + 1) * batch[0].length > batch_tokens:
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch


def _head(model: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """The model's map from last hidden states to logits."""
    output = model.get_output_embeddings()
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return (lambda hidden: torch.tanh(output(hidden) / cap) * cap) if cap else output


@torch.inference_mode()
def _check_head(model: Any) -> None:
    """Make sure that body and head, called one after the other, give the model's own logits."""
    ids = torch.arange(4, device=model.device).unsqueeze(0) % model.get_output_embeddings().out_features
    expected = model(input_ids=ids, use_cache=False).logits
    found = _head(model)(model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
    if not torch.allclose(expected.float(), found.float(), rtol=1e-2, atol=1e-3):
        raise BadInput(
            f"{type(model).__name__} does more to its logits than LM scoring knows",
            file=model.name_or_path,
            expected="a plain output layer, with or without final_logit_softcapping",
        )


@torch.inference_mode()
def _answer_logprobs(scorer: Scorer, batch: Sequence[ScoredText]) -> list[np.ndarray]:
    """Log-probabilities of the answer tokens of each sequence; the first token of a sequence has none."""
    ids = torch.zeros((len(batch), max(text.length for text in batch)), dtype=torch.long)
    scored = torch.zeros(ids.shape, dtype=torch.bool)
    for row, text in enumerate(batch):
        ids[row, : text.length] = torch.tensor(text.prefix + text.answer)
        scored[row, max(1, len(text.prefix)) : text.length] = True
    ids, scored = ids.to(scorer.model.device), scored.to(scorer.model.device)
    # Padding stands after the last token, where causal attention never looks, so no mask is needed.
    hidden = scorer.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    # The state at one position predicts the token at the next; only answer tokens are worth their logits.
    states, targets = hidden[:, :-1][scored[:, 1:]], ids[scored]
    logprobs = _token_logprobs(scorer, states, targets).double().cpu().numpy()
    return np.split(logprobs, np.cumsum(scored.sum(1).cpu().numpy())[:-1])


def _token_logprobs(scorer: Scorer, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """[tokens] float32 log-probabilities of `targets` given `states` [tokens, hidden], a bounded part at a time."""
    head = _head(scorer.model)
    step = max(64, LOGIT_VALUES // scorer.vocabulary)
    logprobs = torch.empty(len(targets), dtype=torch.float32, device=targets.device)
    for at in range(0, len(targets), step):
        logits = head(states[at : at + step]).float()
        part = targets[at : at + step]
        logprobs[at : at + step] = -torch.nn.functional.cross_entropy(logits, part, reduction="none")
    return logprobs


def _describe(sequence: ScoredText, logprobs: np.ndarray) -> dict[str, float]:
    """The features of one scored sequence, by name without the lm_ and kind prefix."""
    features = {
        "condition_text_available": float(sequence.kind == "conditional"),
        "answer_token_count": len(sequence.answer),
        "prefix_token_count": len(sequence.prefix) - sequence.started,
        "lm_truncated": float(sequence.prefix_dropped + sequence.answer_dropped > 0),
        "lm_prefix_tokens_dropped": sequence.prefix_dropped,
        "lm_answer_tokens_dropped": sequence.answer_dropped,
    }
    if not len(logprobs):
        return features
    total, mean = float(logprobs.sum()), float(logprobs.mean())
    return {
        **features,
        "available": 1.0,
        "scored_token_count": len(logprobs),
        "score_coverage": len(logprobs) / len(sequence.answer),
        "logprob_sum": total,
        "logprob_mean": mean,
        "nll_sum": -total,
        "nll_mean": -mean,
        "perplexity": math.exp(min(-mean, MAX_EXPONENT)),
        "bits_per_token": -mean / math.log(2),
        "surprisal_mean": -mean,
        "surprisal_std": float(logprobs.std()),
        "surprisal_min": float(-logprobs.max()),
        "surprisal_max": float(-logprobs.min()),
    }


def _add_comparison(matrix: np.ndarray) -> None:
    """Fill the gain and the perplexity ratio, 0 unless both scores are available."""

    def column(name: str) -> np.ndarray:
        return matrix[:, _COLUMN[f"lm_{name}"]]

    both = (column("unconditional_available") > 0) & (column("conditional_available") > 0)
    gain = column("conditional_logprob_sum") - column("unconditional_logprob_sum")
    with np.errstate(divide="ignore", invalid="ignore"):
        perplexities = column("unconditional_perplexity") / column("conditional_perplexity")
    column("conditional_logprob_gain")[:] = np.where(both, gain, 0.0)
    column("conditional_perplexity_ratio")[:] = np.where(both, perplexities, 0.0)


def score_with(
    scorer: Scorer, records: Sequence[Mapping[str, Any]], answers: Sequence[str], batch_tokens: int = 16384
) -> np.ndarray:
    """[rows, 43] language-model features of `answers` to `records` under a loaded scorer; see `score_lm_features`."""
    if len(records) != len(answers):
        raise BadInput(f"{len(answers)} answers for {len(records)} records", expected="one answer a record")
    if scorer.model.device.type == "cpu":
        batch_tokens = min(batch_tokens, CPU_BATCH_TOKENS)
    matrix = np.zeros((len(records), len(LM_NAMES)))
    windows = range(0, len(records), WINDOW_ROWS)
    for first in track(windows, total=len(windows), label="scoring", unit=f"x{WINDOW_ROWS} rows"):
        rows = slice(first, first + WINDOW_ROWS)
        texts = [normalize_text(answer) for answer in answers[rows]]
        prefixes = [condition_prefix(record) for record in records[rows]]
        matrix[rows, _COLUMN["lm_answer_char_count"]] = [len(text) for text in texts]
        matrix[rows, _COLUMN["lm_prefix_char_count"]] = [len(prefix) for prefix in prefixes]
        sequences = list(_sequences(scorer, first, prefixes, texts))
        scored = [sequence for sequence in sequences if sequence.answer]
        results = [(sequence, np.zeros(0)) for sequence in sequences if not sequence.answer]
        for batch in _batches(scored, batch_tokens):
            results += zip(batch, _answer_logprobs(scorer, batch), strict=True)
        for sequence, logprobs in results:
            for name, value in _describe(sequence, logprobs).items():
                matrix[sequence.row, _COLUMN[f"lm_{sequence.kind}_{name}"]] = value
    matrix[:, _COLUMN["lm_max_seq_length"]] = scorer.max_length
    _add_comparison(matrix)
    return round_decimals(matrix)


def score_lm_features(
    model_dir: str | Path,
    records: Sequence[Mapping[str, Any]],
    answers: Sequence[str],
    *,
    max_length: int,
    truncation: str = "prompt_first",
    batch_tokens: int = 16384,
    dtype: str = "float32",
    device: str = "auto",
) -> np.ndarray:
    """Language-model features of answers.

    Args:
        model_dir, max_length, truncation, dtype, device: as `load_scorer` takes them.
        records: the records that the answers are for; question, context and dialogue_history make the prompt.
        answers: one answer a record; normalized here.
        batch_tokens: tokens of a batch, padding included; at most `CPU_BATCH_TOKENS` without a GPU.

    Returns:
        [rows, 43] float64 in the order of `polyalign.features.names.LM_NAMES`. An empty answer has all scores 0 and
        `available` 0.

    Raises:
        BadInput: no model there, an unknown setting, or a different number of answers and records.
    """
    scorer = load_scorer(model_dir, max_length=max_length, truncation=truncation, dtype=dtype, device=device)
    return score_with(scorer, records, answers, batch_tokens)
