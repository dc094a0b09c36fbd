"""The answers whose features are measured: those of records, or predictions for them, streamed in chunks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyalign.errors import BadInput
from polyalign.features.origin import MadeBy
from polyalign.features.table import FeatureTable
from polyalign.files import StrPath
from polyalign.predictions import read_predictions
from polyalign.records import read_records

CHUNK_ROWS = 8192
PREDICTION = "prediction"
"""Name of the field that a prediction file holds its answers in, and of the answers in feature tables."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Chunk:
    """Some answers: their positions in the split, their records and their texts, all [rows]."""

    source_index: list[int]
    records: list[Record]
    texts: list[str]

    def table(self, field: str, values: np.ndarray, names: list[str], made_by: MadeBy) -> FeatureTable:
        """A feature table of these answers."""
        return FeatureTable(
            source_index=np.array(self.source_index, dtype=np.int64),
            ids=[record["id"] for record in self.records],
            datasets=[record["dataset"] for record in self.records],
            splits=[record["split"] for record in self.records],
            bucket_ids=[record["bucket_id"] for record in self.records],
            field_names=[field] * len(self.records),
            names=names,
            values=values,
            made_by=made_by,
        )


def _answers(records: StrPath, field: str, predictions: StrPath | None) -> Iterator[tuple[int, Record, str]]:
    """(source_index, record, answer) in the order of the records."""
    wanted = None if predictions is None else read_predictions(predictions)
    index = -1
    for index, record in enumerate(read_records(records)):
        if wanted is None:
            text = record.get(field)
            if not isinstance(text, str):
                raise BadInput(
                    f"found {text!r:.40}",
                    file=records,
                    row=index + 1,
                    id=record["id"],
                    field=field,
                    expected="a text",
                )
            yield index, record, text
        elif index in wanted:
            line, row = wanted.pop(index)
            if row.get("id", record["id"]) != record["id"]:
                raise BadInput(
                    f"is not the id at source_index {index}",
                    file=predictions,
                    row=line,
                    id=row["id"],
                    expected=f"id {record['id']}",
                )
            yield index, record, row[PREDICTION]
    if wanted:
        outside, (line, _) = next(iter(wanted.items()))
        raise BadInput(
            f"source_index {outside} is out of range", file=predictions, row=line, expected=f"0 to {index}"
        )


def read_chunks(
    records: StrPath, field: str = "human_answer", predictions: StrPath | None = None
) -> Iterator[Chunk]:
    """Stream the answers of a record file, or the predictions for its rows, in chunks of `CHUNK_ROWS`.

    Args:
        records: records, Parquet or JSONL(.gz); the row number is the source_index.
        field: the field of a record that holds its answer; without effect for predictions.
        predictions: JSONL rows with source_index and prediction, in any order.

    Raises:
        BadInput: naming file, row and field of the first problem.
    """
    chunk = Chunk([], [], [])
    for index, record, text in _answers(records, field, predictions):
        chunk.source_index.append(index)
        chunk.records.append(record)
        chunk.texts.append(text)
        if len(chunk.texts) == CHUNK_ROWS:
            yield chunk
            chunk = Chunk([], [], [])
    if chunk.texts:
        yield chunk
