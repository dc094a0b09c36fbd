"""The rows of an evaluation: records and their predictions, checked against each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyalign.errors import BadInput, BadInputs
from polyalign.files import StrPath, read_jsonl, sha256_json
from polyalign.records import count_tokens, normalize_text, read_records

FINISH_REASONS = ("stop", "length", "error")
_FIX = "predict the split again, or give the records that were predicted"


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


def _read_predictions(path: StrPath, ids: Sequence[str]) -> tuple[list[str | None], list[str | None]]:
    """Texts and finish reasons by source_index."""
    texts: list[str | None] = [None] * len(ids)
    reasons: list[str | None] = [None] * len(ids)
    lines: dict[int, int] = {}
    problems: list[BadInput] = []

    def problem(row: int, text: str, field: str, expected: str, id: Any = None) -> None:
        problems.append(BadInput(text, file=path, row=row, id=id, field=field, expected=expected, fix=_FIX))

    for line, row in read_jsonl(path):
        index, text = row.get("source_index"), row.get("prediction")
        reason, own_id = row.get("finish_reason"), row.get("id")
        if not isinstance(index, int) or isinstance(index, bool):
            problem(line, f"found {index!r}", "source_index", "a 0-based row number", own_id)
        elif not 0 <= index < len(ids):
            problem(line, f"{index} is out of range", "source_index", f"0 to {len(ids) - 1}", own_id)
        elif index in lines:
            expected = "one prediction a row"
            problem(line, f"{index} stands in row {lines[index]} too", "source_index", expected, own_id)
        elif not isinstance(text, str):
            problem(line, f"found {text!r:.40}", "prediction", "a text", own_id)
        elif own_id is not None and str(own_id) != ids[index]:
            problem(line, f"found {own_id!r}", "id", f"{ids[index]!r}, the id of record {index}", own_id)
        elif reason is not None and reason not in FINISH_REASONS:
            problem(line, f"found {reason!r}", "finish_reason", f"one of {', '.join(FINISH_REASONS)}", own_id)
        else:
            lines[index], texts[index], reasons[index] = line, text, reason
    if problems:
        raise BadInputs(problems)
    if not lines:
        raise BadInput("no predictions", file=path, expected="one JSON object a line", fix=_FIX)
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
    predictions, reasons = _read_predictions(predictions_path, columns["id"])
    arrays = (np.array(columns[name]) for name in ("id", "dataset", "bucket", "split", "language", "track"))
    return Rows(*arrays, columns["question"], columns["answer"], predictions, reasons)


def token_counts(texts: Sequence[str]) -> np.ndarray:
    """Tokens of each text by the language-neutral rule of the records, float64 (n,)."""
    return np.array([count_tokens(normalize_text(text)) for text in texts], dtype=np.float64)
