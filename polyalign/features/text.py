"""Text features of answers: one row of 134 numbers a text.

    matrix = extract_text_features(["An answer.", "Another one!"], "core-v1")

Definitions: docs/features.md. Values are rounded to 6 decimals, as published.
"""

import itertools
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from polyalign.features.backends import Backend, load_backend
from polyalign.features.chars import measure_characters
from polyalign.features.grammar import measure_grammar
from polyalign.features.names import TEXT_NAMES
from polyalign.features.rounding import round_decimals
from polyalign.features.sentiment import measure_sentiment
from polyalign.features.shape import measure_shape
from polyalign.features.units import build_units
from polyalign.features.words import measure_words
from polyalign.records import normalize_text

BATCH_ROWS = 512
BATCH_CHARACTERS = 400_000
"""A batch ends at whichever comes first; the second bounds memory when answers are long."""
LEAST_ROWS = 64
"""Smaller batches would cost more than they gain by keeping all processes busy to the end."""


def measure_batch(texts: Sequence[str], backend: Backend) -> np.ndarray:
    """[texts, 134] features of normalized texts, columns in canonical order."""
    units = build_units(texts, backend)
    characters = measure_characters(texts)
    words = measure_words(units, characters, backend.stop_words, backend.chinese_stop_words)
    columns = {
        **characters,
        **measure_shape(units, characters),
        **words,
        **measure_grammar(units, backend.tag(units), words["stopword_count"]),
        **measure_sentiment(texts, backend.polarity),
    }
    return round_decimals(np.column_stack([columns[name] for name in TEXT_NAMES]))


def _batches(texts: Sequence[str], rows: int) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(normalize_text(text))
        characters += len(batch[-1])
        if len(batch) == rows or characters > BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _measure_in_worker(job: tuple[list[str], str]) -> np.ndarray:
    texts, feature_set = job
    return measure_batch(texts, load_backend(feature_set))


class TextExtractor:
    """Text features of one list of answers after another, with the same processes all along.

        with TextExtractor("core-v1", workers=8) as extract:
            matrix = extract(["An answer.", "Another one!"])

    Args:
        feature_set: `paper-v1` or `core-v1`.
        workers: processes; they start when there is more than a batch to measure.

    Raises:
        BadInput: no such feature set.
        PolyAlignError: a tool of the set is missing; the message gives the command that gets it.
    """

    def __init__(self, feature_set: str, workers: int = 1) -> None:
        self._feature_set = feature_set
        self._workers = workers
        self._backend = load_backend(feature_set)
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "TextExtractor":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _measure_all(self, batches: Iterator[list[str]]) -> Iterator[np.ndarray]:
        # The first batch is measured here: it often is the only one, and workers then start with everything loaded.
        for batch in itertools.islice(batches, 0 if self._pool else 1):
            yield measure_batch(batch, self._backend)
        second = next(batches, None)
        if second is None:
            return
        rest = itertools.chain([second], batches)
        if self._workers == 1:
            yield from (measure_batch(batch, self._backend) for batch in rest)
            return
        if self._pool is None:
            context = multiprocessing.get_context("fork")
            self._pool = ProcessPoolExecutor(self._workers, mp_context=context)
        yield from self._pool.map(_measure_in_worker, ((batch, self._feature_set) for batch in rest))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """[texts, 134] float64 features of answers, in the order of `feature_names`; texts are normalized here."""
        # Several batches a process, so that none waits long for the last one.
        rows = min(BATCH_ROWS, max(LEAST_ROWS, len(texts) // (8 * self._workers)))
        parts = list(self._measure_all(_batches(texts, rows if self._workers > 1 else BATCH_ROWS)))
        return np.concatenate(parts) if parts else np.zeros((0, len(TEXT_NAMES)))


def extract_text_features(texts: Sequence[str], feature_set: str, workers: int = 1) -> np.ndarray:
    """[texts, 134] text features of answers; see `TextExtractor` for arguments and errors."""
    with TextExtractor(feature_set, workers) as extract:
        return extract(texts)
