"""The answers whose features are measured: those of records, or predictions for them, streamed in chunks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from polyalign.errors import BadInput
from polyalign.features.origin import MadeBy
from polyalign.features.shards import WHOLE, Shard
from polyalign.features.table import FeatureTable
from polyalign.files import StrPath, open_parquet, read_lines
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


def _own_answers(
    records: StrPath, field: str, rows: tuple[int, int | None]
) -> Iterator[tuple[int, Record, str]]:
    """(source_index, record, answer) of some records' own answers, in order."""
    for index, record in enumerate(read_records(records, *rows), start=rows[0]):
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


def _predicted_answers(
    records: StrPath, predictions: StrPath, shard: Shard
) -> Iterator[tuple[int, Record, str]]:
    """(source_index, record, prediction) of a shard of the predictions, in the order of the records."""
    given = read_predictions(predictions)
    start, stop = shard.rows(len(given))
    wanted = {index: given[index] for index in sorted(given)[start:stop]}
    if not wanted:
        return
    first, last = next(iter(wanted)), next(reversed(wanted))
    for index, record in enumerate(read_records(records, first, last + 1), start=first):
        if index not in wanted:
            continue
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
            f"source_index {outside} is out of range",
            file=predictions,
            row=line,
            expected=f"0 to {_count_rows(records) - 1}",
        )


def _count_rows(records: StrPath) -> int:
    if str(records).endswith(".parquet"):
        with open_parquet(records) as parquet:
            return parquet.metadata.num_rows
    return sum(1 for _ in read_lines(records))


def read_chunks(
    records: StrPath,
    field: str = "human_answer",
    predictions: StrPath | None = None,
    shard: Shard = WHOLE,
) -> Iterator[Chunk]:
    """Stream the answers of a record file, or the predictions for its rows, in chunks of `CHUNK_ROWS`.

    Args:
        records: records, Parquet or JSONL(.gz); the row number is the source_index.
        field: the field of a record that holds its answer; without effect for predictions.
        predictions: JSONL rows with source_index and prediction, in any order.
        shard: the part of the answers to read.

    Raises:
        BadInput: naming file, row and field of the first problem.
    """
    if predictions is not None:
        answers = _predicted_answers(records, predictions, shard)
    else:
        rows = (0, None) if shard == WHOLE else shard.rows(_count_rows(records))
        answers = _own_answers(records, field, rows)
    chunk = Chunk([], [], [])
    for index, record, text in answers:
        chunk.source_index.append(index)
        chunk.records.append(record)
        chunk.texts.append(text)
        if len(chunk.texts) == CHUNK_ROWS:
            yield chunk
            chunk = Chunk([], [], [])
    if chunk.texts:
        yield chunk
