"""Language-model features of answers: how probable a base model finds them, without and with their prompt.

    matrix = score_lm_features("path/to/model", records, answers, max_length=1024)

Each answer is scored twice: after a start token alone, and after the start token and the rendered prompt. Sequences are
batched by length, common beginnings are run once, and logits are computed for answer tokens alone. Definitions:
docs/features.md.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import DynamicCache

from polyalign.errors import BadInput
from polyalign.features.frozen_decoder import Spans, read_states, rounded_up
from polyalign.features.lm_batches import Batch, ScoredText, distinct, make_batches, make_sequences
from polyalign.features.names import LM_NAMES
from polyalign.features.rounding import round_decimals
from polyalign.features.scorer import CPU_BATCH_TOKENS, Scorer, head_of, load_scorer
from polyalign.features.shards import WINDOW_ROWS
from polyalign.progress import track
from polyalign.prompts import condition_prefix
from polyalign.records import normalize_text
from polyalign.throughput import collector_paused

LOGIT_VALUES = {"cpu": 3 << 17, "cuda": 1 << 28}
"""Logits computed at a time: what stays in a CPU's caches, or 1 GiB of a GPU's memory."""
MAX_EXPONENT = 50.0

_COLUMN = {name: column for column, name in enumerate(LM_NAMES)}


def _padded(rows: Sequence[Sequence[int]], device: torch.device, most: int) -> torch.Tensor:
    """[rows, positions] token ids, filled up with 0 on the right to a round number of positions, at most `most`."""
    width = min(most, rounded_up(max(1, *map(len, rows))))
    ids = np.zeros((len(rows), width), dtype=np.int64)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
    return torch.from_numpy(ids).to(device)


def _states(scorer: Scorer, batch: Batch, spans: Spans) -> torch.Tensor:
    """[positions to read, hidden] last hidden states; positions are counted after the common beginnings.

    The last token of a sequence is left out, since nothing comes after it to be predicted. Padding stands after the
    others, where causal attention never looks, so no mask is needed.
    """
    body, device = scorer.model.base_model, scorer.model.device
    ids = _padded(
        [text.tokens[batch.shared : -1] for text in batch.texts], device, scorer.max_length - batch.shared
    )
    if not batch.shared:
        return read_states(body, spans, input_ids=ids, use_cache=False)
    cache = DynamicCache(config=scorer.model.config)
    beginnings = torch.tensor(batch.beginnings, device=device)
    # The beginnings are run for their keys and values; no state of theirs is read.
    nothing = [(0, 0)] * len(beginnings)
    read_states(body, nothing, input_ids=beginnings, past_key_values=cache, use_cache=True)
    cache.batch_select_indices(torch.tensor(batch.group, device=device))
    return read_states(body, spans, input_ids=ids, past_key_values=cache, use_cache=True)


@torch.inference_mode()
def answer_logprobs(scorer: Scorer, batch: Batch) -> list[np.ndarray]:
    """Log-probabilities of the answer tokens of each sequence; the first token of a sequence has none."""
    starts = [max(1, len(text.prefix)) for text in batch.texts]
    # The state at one position predicts the token at the next; only answer tokens are worth their logits.
    spans = [
        (start - batch.shared - 1, text.length - batch.shared - 1)
        for start, text in zip(starts, batch.texts, strict=True)
    ]
    targets = [text.tokens[start:] for start, text in zip(starts, batch.texts, strict=True)]
    flat = torch.tensor(
        [token for tokens in targets for token in tokens], dtype=torch.long, device=scorer.model.device
    )
    logprobs = _token_logprobs(scorer, _states(scorer, batch, spans), flat).double().cpu().numpy()
    return np.split(logprobs, list(accumulate(map(len, targets)))[:-1])


def _token_logprobs(scorer: Scorer, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """[tokens] float32 log-probabilities of `targets` given `states` [tokens, hidden], a bounded part at a time."""
    head = head_of(scorer.model)
    step = max(64, LOGIT_VALUES.get(states.device.type, 1 << 24) // scorer.vocabulary)
    if not len(targets):
        return torch.empty(0, device=targets.device)
    # In half precision the sum over the vocabulary would be off by enough for perplexities to explode.
    losses = [
        torch.nn.functional.cross_entropy(head(part).float(), wanted, reduction="none")
        for part, wanted in zip(states.split(step), targets.split(step), strict=True)
    ]
    return -torch.cat(losses)


def _describe(
    kind: str, sequences: Sequence[ScoredText], logprobs: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """The features of sequences of one kind, by name without the lm_ and kind prefix; 0 where there is no score."""
    scored = np.array([len(values) for values in logprobs], dtype=np.int64)
    some = scored > 0
    flat = np.concatenate(logprobs) if len(logprobs) else np.zeros(0)
    starts = (np.cumsum(scored) - scored)[some]

    def over_tokens(function: np.ufunc, values: np.ndarray) -> np.ndarray:
        result = np.zeros(len(scored))
        if some.any():
            result[some] = function.reduceat(values, starts)
        return result

    count = np.where(some, scored, 1)
    answer = np.array([len(sequence.answer) for sequence in sequences])
    dropped = {
        part: np.array([getattr(sequence, f"{part}_dropped") for sequence in sequences])
        for part in ("prefix", "answer")
    }
    total = over_tokens(np.add, flat)
    mean = total / count
    squares = (flat - np.repeat(mean, scored)) ** 2
    return {
        "condition_text_available": np.full(len(scored), float(kind == "conditional")),
        "answer_token_count": answer,
        "prefix_token_count": np.array([len(one.prefix) - one.started for one in sequences]),
        "lm_truncated": dropped["prefix"] + dropped["answer"] > 0,
        "lm_prefix_tokens_dropped": dropped["prefix"],
        "lm_answer_tokens_dropped": dropped["answer"],
        "available": some,
        "scored_token_count": scored,
        "score_coverage": scored / np.where(some, answer, 1),
        "logprob_sum": total,
        "logprob_mean": mean,
        "nll_sum": -total,
        "nll_mean": -mean,
        "perplexity": np.where(some, np.exp(np.minimum(-mean, MAX_EXPONENT)), 0.0),
        "bits_per_token": -mean / math.log(2),
        "surprisal_mean": -mean,
        "surprisal_std": np.sqrt(over_tokens(np.add, squares) / count),
        "surprisal_min": -over_tokens(np.maximum, flat),
        "surprisal_max": -over_tokens(np.minimum, flat),
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


class LmScorer:
    """Language-model features of one list of answers after another, with the same threads all along.

        with LmScorer(load_scorer("path/to/model", max_length=1024)) as score:
            matrix = score(records, answers)

    Args:
        scorer: the model.
        batch_tokens: tokens of a batch, padding included; at most `CPU_BATCH_TOKENS` without a GPU.
    """

    def __init__(self, scorer: Scorer, batch_tokens: int = 16384) -> None:
        on_cpu = scorer.model.device.type == "cpu"
        self._scorer = scorer
        self._batch_tokens = min(batch_tokens, CPU_BATCH_TOKENS) if on_cpu else batch_tokens
        self._pool = ThreadPoolExecutor(scorer.threads) if scorer.threads > 1 else None

    def __enter__(self) -> "LmScorer":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _run(self, batches: Sequence[Batch]) -> Iterable[list[np.ndarray]]:
        if self._pool is None:
            return (answer_logprobs(self._scorer, batch) for batch in batches)
        return self._pool.map(lambda batch: answer_logprobs(self._scorer, batch), batches)

    def _start(
        self, prefixes: Sequence[str], texts: Sequence[str]
    ) -> Iterator[tuple[ScoredText, np.ndarray]]:
        """Start to score a window; returns each sequence with the log-probabilities of its answer, in any order."""
        sequences = list(make_sequences(self._scorer, 0, prefixes, texts))
        alike = distinct([sequence for sequence in sequences if sequence.answer])
        of = {id(group[0]): group for group in alike.values()}
        batches = make_batches([group[0] for group in alike.values()], self._batch_tokens)
        running = self._run(batches)

        def results() -> Iterator[tuple[ScoredText, np.ndarray]]:
            yield from ((sequence, np.zeros(0)) for sequence in sequences if not sequence.answer)
            for batch, found in zip(batches, running, strict=True):
                for text, logprobs in zip(batch.texts, found, strict=True):
                    yield from ((sequence, logprobs) for sequence in of[id(text)])

        return results()

    def _windows(
        self, matrix: np.ndarray, records: Sequence[Mapping[str, Any]], answers: Sequence[str]
    ) -> Iterator[np.ndarray]:
        """Fill `matrix` and give its windows; the next one is tokenized while threads are busy with this one."""
        before: tuple[np.ndarray, Iterator[tuple[ScoredText, np.ndarray]]] | None = None
        for first in range(0, len(records), WINDOW_ROWS):
            rows = slice(first, first + WINDOW_ROWS)
            part = matrix[rows]
            texts = [normalize_text(answer) for answer in answers[rows]]
            prefixes = [condition_prefix(record) for record in records[rows]]
            part[:, _COLUMN["lm_answer_char_count"]] = [len(text) for text in texts]
            part[:, _COLUMN["lm_prefix_char_count"]] = [len(prefix) for prefix in prefixes]
            started = self._start(prefixes, texts)
            if before is not None:
                yield _fill(*before)
            before = part, started
        if before is not None:
            yield _fill(*before)

    def __call__(self, records: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> np.ndarray:
        """[rows, 43] float64 features in the order of `LM_NAMES`; see `score_lm_features`."""
        if len(records) != len(answers):
            raise BadInput(
                f"{len(answers)} answers for {len(records)} records", expected="one answer a record"
            )
        matrix = np.zeros((len(records), len(LM_NAMES)))
        windows = self._windows(matrix, records, answers)
        with collector_paused():
            for _ in track(windows, total=len(records), label="LM features", count=len):
                pass
        matrix[:, _COLUMN["lm_max_seq_length"]] = self._scorer.max_length
        _add_comparison(matrix)
        return round_decimals(matrix)


def _fill(matrix: np.ndarray, scored: Iterable[tuple[ScoredText, np.ndarray]]) -> np.ndarray:
    """The matrix, its scores filled in."""
    found = list(scored)
    for kind in ("unconditional", "conditional"):
        sequences = [sequence for sequence, _ in found if sequence.kind == kind]
        logprobs = [values for sequence, values in found if sequence.kind == kind]
        rows = [sequence.row for sequence in sequences]
        for name, values in _describe(kind, sequences, logprobs).items():
            matrix[rows, _COLUMN[f"lm_{kind}_{name}"]] = values
    return matrix


def score_with(
    scorer: Scorer, records: Sequence[Mapping[str, Any]], answers: Sequence[str], batch_tokens: int = 16384
) -> np.ndarray:
    """[rows, 43] language-model features of `answers` to `records` under a loaded scorer; see `score_lm_features`."""
    with LmScorer(scorer, batch_tokens) as score:
        return score(records, answers)


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
    threads: int | None = None,
) -> np.ndarray:
    """Language-model features of answers.

    Args:
        model_dir, max_length, truncation, dtype, device, threads: as `load_scorer` takes them.
        records: the records that the answers are for; question, context and dialogue_history make the prompt.
        answers: one answer a record; normalized here.
        batch_tokens: tokens of a batch, padding included; at most `CPU_BATCH_TOKENS` without a GPU.

    Returns:
        [rows, 43] float64 in the order of `polyalign.features.names.LM_NAMES`. An empty answer has all scores 0 and
        `available` 0.

    Raises:
        BadInput: no model there, an unknown setting, or a different number of answers and records.
    """
    scorer = load_scorer(
        model_dir, max_length=max_length, truncation=truncation, dtype=dtype, device=device, threads=threads
    )
    return score_with(scorer, records, answers, batch_tokens)
