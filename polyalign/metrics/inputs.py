"""The rows of an evaluation: records and their predictions, checked against each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath, sha256_json
from polyalign.predictions import id_problem, read_predictions
from polyalign.records import count_tokens, read_records


@dataclass(frozen=True)
class Rows:
    """Records of a split in order, or some of them, and their predictions.

    Attributes:
        source_index: int64 (n,), row number of each record in its split.
        ids, datasets, buckets, splits, languages, tracks: str arrays (n,).
        prompts: int64 (n,), equal where question, context and history are.
        questions, answers: n texts.
        predictions: n texts; None where a row was not answered.
        finish_reasons: n of stop, length, error, or None where not stated.
    """

    source_index: np.ndarray
    ids: np.ndarray
    datasets: np.ndarray
    buckets: np.ndarray
    splits: np.ndarray
    languages: np.ndarray
    tracks: np.ndarray
    prompts: np.ndarray
    questions: list[str]
    answers: list[str]
    predictions: list[str | None]
    finish_reasons: list[str | None]

    @cached_property
    def answered(self) -> np.ndarray:
        """Numbers of the rows with a prediction."""
        return np.array(
            [row for row, text in enumerate(self.predictions) if text is not None], dtype=np.int64
        )

    def digest(self, rows: np.ndarray) -> str:
        """Digest of source_index and id of some rows."""
        return sha256_json([[int(self.source_index[row]), str(self.ids[row])] for row in rows])

    def take(self, rows: np.ndarray) -> "Rows":
        """Some of the rows, by number."""
        picked = {}
        for name, values in vars(self).items():
            if isinstance(values, list):
                picked[name] = [values[row] for row in rows.tolist()]
            elif name != "answered":
                picked[name] = values[rows]
        return Rows(**picked)


def _texts_and_reasons(path: StrPath, ids: Sequence[str]) -> tuple[list[str | None], list[str | None]]:
    """Prediction and finish reason of each record, None where there is none."""
    texts: list[str | None] = [None] * len(ids)
    reasons: list[str | None] = [None] * len(ids)
    problems: list[BadInput] = []
    for index, (line, row) in read_predictions(path, rows=len(ids)).items():
        if problem := id_problem(path, line, row, index, ids[index]):
            problems.append(problem)
        texts[index], reasons[index] = row["prediction"], row.get("finish_reason")
    if problems:
        raise BadInputs(problems)
    return texts, reasons


def read_rows(records_path: StrPath, predictions_path: StrPath) -> Rows:
    """Records and their predictions.

    Raises:
        BadInput, BadInputs: a broken file; a source_index that is missing, out of range or there twice; a
            prediction that is no text; an id that is not the record's.
    """
    names = ("id", "dataset", "bucket_id", "split", "language", "track")
    columns: dict[str, list[str]] = {name: [] for name in (*names, "question", "human_answer")}
    prompts: list[int] = []
    for record in read_records(records_path):
        for name, values in columns.items():
            values.append(record[name])
        history = tuple((turn["role"], turn["text"]) for turn in record["dialogue_history"])
        prompts.append(hash((record["question"], record["context"], history)))
    if not prompts:
        raise BadInput("no records", file=records_path, fix="build the split again")
    predictions, reasons = _texts_and_reasons(predictions_path, columns["id"])
    arrays = (np.array(columns[name]) for name in names)
    texts = columns["question"], columns["human_answer"], predictions, reasons
    return Rows(np.arange(len(prompts)), *arrays, np.array(prompts), *texts)


def common_rows(rows: Rows, others: Sequence[StrPath]) -> np.ndarray:
    """Numbers of the rows that have a prediction here and in every one of the other prediction files.

    Raises:
        BadInput: no row is answered by all of them.
    """
    kept = np.zeros(len(rows.ids), dtype=bool)
    kept[rows.answered] = True
    for path in others:
        there = np.zeros(len(rows.ids), dtype=bool)
        there[list(read_predictions(path, rows=len(rows.ids)))] = True
        kept &= there
        if not kept.any():
            raise BadInput("no row is answered by this file and all before it", file=path)
    return np.flatnonzero(kept)


def token_counts(texts: Sequence[str]) -> np.ndarray:
    """Tokens of each text by the language-neutral rule of the records, float64 (n,)."""
    # Normalizing a text only changes its whitespace, which is part of no token.
    return np.array([count_tokens(text) for text in texts], dtype=np.float64)
