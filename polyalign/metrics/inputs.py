"""The rows of an evaluation: records and their predictions, checked against each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath, sha256_json
from polyalign.predictions import read_predictions
from polyalign.records import count_tokens, normalize_text, read_records


@dataclass(frozen=True)
class Rows:
    """Records of a split in order, and their predictions.

    Attributes:
        ids, datasets, buckets, splits, languages, tracks: str arrays (n,).
        questions, answers: n texts.
        predictions: n texts; None where a row was not answered.
        finish_reasons: n of stop, length, error, or None where not stated.
    """

    ids: np.ndarray
    datasets: np.ndarray
    buckets: np.ndarray
    splits: np.ndarray
    languages: np.ndarray
    tracks: np.ndarray
    questions: list[str]
    answers: list[str]
    predictions: list[str | None]
    finish_reasons: list[str | None]

    @property
    def answered(self) -> np.ndarray:
        """Numbers of the rows with a prediction, = their source_index."""
        return np.array(
            [row for row, text in enumerate(self.predictions) if text is not None], dtype=np.int64
        )

    def digest(self, rows: np.ndarray) -> str:
        """Digest of source_index and id of some rows."""
        return sha256_json([[int(row), str(self.ids[row])] for row in rows])


def _texts_and_reasons(path: StrPath, ids: Sequence[str]) -> tuple[list[str | None], list[str | None]]:
    """Prediction and finish reason of each record, None where there is none."""
    texts: list[str | None] = [None] * len(ids)
    reasons: list[str | None] = [None] * len(ids)
    problems: list[BadInput] = []
    for index, (line, row) in read_predictions(path, rows=len(ids)).items():
        own_id = row.get("id")
        if own_id is not None and str(own_id) != ids[index]:
            expected = f"{ids[index]!r}, the id of record {index}"
            fix = "predict the split again, or give the records that were predicted"
            problems.append(
                BadInput(f"found {own_id!r}", file=path, row=line, field="id", expected=expected, fix=fix)
            )
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
    columns: dict[str, list[str]] = {
        name: [] for name in ("id", "dataset", "bucket", "split", "language", "track", "question", "answer")
    }
    for record in read_records(records_path):
        columns["bucket"].append(record["bucket_id"])
        columns["answer"].append(record["human_answer"])
        for name in ("id", "dataset", "split", "language", "track", "question"):
            columns[name].append(record[name])
    if not columns["id"]:
        raise BadInput("no records", file=records_path, fix="build the split again")
    predictions, reasons = _texts_and_reasons(predictions_path, columns["id"])
    arrays = (np.array(columns[name]) for name in ("id", "dataset", "bucket", "split", "language", "track"))
    return Rows(*arrays, columns["question"], columns["answer"], predictions, reasons)


def token_counts(texts: Sequence[str]) -> np.ndarray:
    """Tokens of each text by the language-neutral rule of the records, float64 (n,)."""
    return np.array([count_tokens(normalize_text(text)) for text in texts], dtype=np.float64)
