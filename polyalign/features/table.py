"""Feature tables on disk: Parquet between stages, the published JSONL for people and other tools.

A table says what measured it (polyalign.features.origin), and tables that differ in that are never combined.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from polyalign.errors import BadInput
from polyalign.features.names import FEATURES
from polyalign.features.origin import MadeBy, refuse_different
from polyalign.files import (
    StrPath,
    TableWriter,
    atomic_path,
    dump_json,
    open_parquet,
    open_text,
    parquet_batches,
    read_jsonl,
)

KEYS = ("source_index", "id", "dataset", "bucket_id", "field_name")
"""Columns of a feature table before the features."""


@dataclass(frozen=True)
class FeatureTable:
    """Features of answers, one row an answer.

    Attributes:
        source_index: [rows] int64, position of the record in its split.
        ids, datasets, splits, bucket_ids, field_names: [rows] of the record; splits are "" when read from Parquet,
            which leaves them to the records.
        names: [features] in column order.
        values: [rows, features] float64.
        made_by: what measured the table.
    """

    source_index: np.ndarray
    ids: Sequence[str]
    datasets: Sequence[str]
    splits: Sequence[str]
    bucket_ids: Sequence[str]
    field_names: Sequence[str]
    names: Sequence[str]
    values: np.ndarray
    made_by: MadeBy

    def __len__(self) -> int:
        return len(self.source_index)

    def with_columns(self, names: Sequence[str], values: np.ndarray, made_by: MadeBy) -> "FeatureTable":
        """The table with further features after its own."""
        values = np.hstack([self.values, values])
        return replace(self, names=[*self.names, *names], values=values, made_by=made_by)


def table_schema(names: Sequence[str], made_by: MadeBy) -> pa.Schema:
    """Schema of a feature table in Parquet."""
    keys = [(name, pa.int64() if name == "source_index" else pa.string()) for name in KEYS]
    return pa.schema([*keys, *((name, pa.float64()) for name in names)], made_by.metadata())


def _to_arrow(table: FeatureTable, schema: pa.Schema) -> pa.Table:
    keys = (table.source_index, table.ids, table.datasets, table.bucket_ids, table.field_names)
    columns = [pa.array(column, kind.type) for column, kind in zip(keys, schema, strict=False)]
    columns += [pa.array(np.ascontiguousarray(table.values[:, column])) for column in range(len(table.names))]
    return pa.Table.from_arrays(columns, schema=schema)


def _json_value(name: str, value: float) -> int | float | bool:
    feature = FEATURES.get(name)
    if name.endswith("_lm_truncated"):
        return bool(value)
    return int(value) if feature and feature.integer else float(value)


def _json_rows(table: FeatureTable) -> Iterator[dict[str, Any]]:
    """Rows with the published keys first; ours stand after them."""
    for row, values in enumerate(table.values.tolist()):
        yield {
            "id": table.ids[row],
            "dataset": table.datasets[row],
            "split": table.splits[row],
            "field_name": table.field_names[row],
            "features": {
                name: _json_value(name, value) for name, value in zip(table.names, values, strict=True)
            },
            "source_index": int(table.source_index[row]),
            "bucket_id": table.bucket_ids[row],
            **table.made_by.stated(),
        }


class FeatureWriter:
    """Write feature tables chunk by chunk to one file, Parquet or JSONL(.gz) by suffix, atomically.

    Every chunk becomes a row group of its own in Parquet.
    """

    def __init__(self, path: StrPath, names: Sequence[str], made_by: MadeBy) -> None:
        self.path = Path(path)
        self.rows = 0
        self._schema = table_schema(names, made_by)
        self._stack = ExitStack()

    def __enter__(self) -> "FeatureWriter":
        if self.path.suffix == ".parquet":
            self._table = self._stack.enter_context(TableWriter(self.path, self._schema))
        else:
            temporary = self._stack.enter_context(atomic_path(self.path))
            self._text = self._stack.enter_context(open_text(temporary, "w"))
        return self

    def write(self, table: FeatureTable) -> None:
        """Append a chunk with the names and the origin the writer was made for."""
        if self.path.suffix == ".parquet":
            self._table.write(_to_arrow(table, self._schema))
        else:
            self._text.writelines(dump_json(row) + "\n" for row in _json_rows(table))
        self.rows += len(table)

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)


def write_features(path: StrPath, table: FeatureTable) -> None:
    """Write a whole table, Parquet or JSONL(.gz) by suffix, atomically."""
    with FeatureWriter(path, table.names, table.made_by) as writer:
        writer.write(table)


def read_origin(path: StrPath) -> tuple[list[str], MadeBy]:
    """(feature names, what measured them) of a Parquet feature table, which may be empty."""
    with open_parquet(path) as parquet:
        schema = parquet.schema_arrow
    return [name for name in schema.names if name not in KEYS], MadeBy.of_metadata(schema.metadata)


def _check_keys(schema: pa.Schema, file: StrPath) -> None:
    for name in KEYS:
        if name not in schema.names:
            raise BadInput(f"column {name} is missing", file=file, expected="a feature table")


def from_arrow(part: pa.Table | pa.RecordBatch, file: StrPath) -> FeatureTable:
    """Rows of a Parquet feature table; raises `BadInput` when a key column is missing."""
    _check_keys(part.schema, file)
    names = [name for name in part.schema.names if name not in KEYS]
    columns = [part.column(name).to_numpy(zero_copy_only=False) for name in names]
    values = np.column_stack(columns) if columns else np.zeros((part.num_rows, 0))
    texts = {name: part.column(name).to_pylist() for name in KEYS[1:]}
    return FeatureTable(
        source_index=part.column("source_index").to_numpy(zero_copy_only=False),
        ids=texts["id"],
        datasets=texts["dataset"],
        splits=[""] * part.num_rows,
        bucket_ids=texts["bucket_id"],
        field_names=texts["field_name"],
        names=names,
        values=values,
        made_by=MadeBy.of_metadata(part.schema.metadata),
    )


def _from_json(rows: Sequence[tuple[int, Mapping[str, Any]]], file: StrPath) -> FeatureTable:
    names = list(rows[0][1]["features"]) if rows and "features" in rows[0][1] else []
    values = np.empty((len(rows), len(names)))
    origins = set()
    for position, (number, row) in enumerate(rows):
        features = row.get("features")
        if not isinstance(features, dict) or features.keys() != set(names):
            raise BadInput(
                "not the features of the first line",
                file=file,
                row=number,
                id=row.get("id"),
                field="features",
                expected=f"an object with the {len(names)} features of the file",
            )
        try:
            values[position] = [float(features[name]) for name in names]
        except (TypeError, ValueError):
            wrong = next(name for name in names if not isinstance(features[name], int | float))
            raise BadInput(
                f"found {features[wrong]!r}",
                file=file,
                row=number,
                id=row.get("id"),
                field=wrong,
                expected="a number",
            ) from None
        origins.add(dump_json(MadeBy.of_stated(row).stated()))
    if len(origins) > 1:
        raise BadInput(
            "rows of different feature sets, scorers or backends", file=file, expected="one of each"
        )
    origin = MadeBy.of_stated(json.loads(next(iter(origins), "{}")))
    objects = [row for _, row in rows]
    return FeatureTable(
        source_index=np.array([row.get("source_index", n) for n, row in enumerate(objects)], dtype=np.int64),
        ids=[row.get("id", "") for row in objects],
        datasets=[row.get("dataset", "") for row in objects],
        splits=[row.get("split", "") for row in objects],
        bucket_ids=[row.get("bucket_id", "") for row in objects],
        field_names=[row.get("field_name", "") for row in objects],
        names=names,
        values=values,
        made_by=origin,
    )


def read_feature_chunks(path: StrPath, rows: int = 8192) -> Iterator[FeatureTable]:
    """Stream a feature file, Parquet or JSONL(.gz) by suffix, as tables of at most `rows` rows.

    Raises:
        BadInput: the file is missing or broken, or is no feature table.
    """
    if str(path).endswith(".parquet"):
        with open_parquet(path) as parquet:
            for batch in parquet_batches(parquet, path, rows):
                yield from_arrow(batch, path)
        return
    pending: list[tuple[int, dict[str, Any]]] = []
    start = 0
    for item in read_jsonl(path):
        pending.append(item)
        if len(pending) == rows:
            yield _shifted(_from_json(pending, path), start, pending)
            start += len(pending)
            pending = []
    if pending:
        yield _shifted(_from_json(pending, path), start, pending)


def _shifted(table: FeatureTable, start: int, rows: Sequence[tuple[int, Mapping[str, Any]]]) -> FeatureTable:
    """Number published rows, which have no source_index, by their place in the file."""
    if "source_index" in rows[0][1]:
        return table
    return replace(table, source_index=table.source_index + start)


def feature_columns(part: pa.Table) -> list[str]:
    """Names of the features among the columns of a part of a feature table."""
    return [name for name in part.column_names if name not in KEYS]


def read_arrow_chunks(path: StrPath, rows: int = 8192) -> Iterator[tuple[pa.Table, MadeBy]]:
    """Stream a feature file as (Arrow table of at most `rows` rows, what measured it); as `read_feature_chunks`."""
    if not str(path).endswith(".parquet"):
        for chunk in read_feature_chunks(path, rows):
            yield _to_arrow(chunk, table_schema(chunk.names, chunk.made_by)), chunk.made_by
        return
    with open_parquet(path) as parquet:
        _check_keys(parquet.schema_arrow, path)
        origin = MadeBy.of_metadata(parquet.schema_arrow.metadata)
        for batch in parquet_batches(parquet, path, rows):
            yield pa.Table.from_batches([batch]), origin


def read_features(path: StrPath) -> FeatureTable:
    """Read a whole feature file, Parquet or JSONL(.gz) by suffix; raises as `read_feature_chunks` does."""
    chunks = list(read_feature_chunks(path))
    if not chunks:
        if not str(path).endswith(".parquet"):
            raise BadInput("no rows", file=path, expected="a row of features a line")
        with open_parquet(path) as parquet:
            return from_arrow(parquet.schema_arrow.empty_table(), path)
    check_combinable([(str(path), chunk.names, chunk.made_by) for chunk in chunks])

    def joined(name: str) -> list[str]:
        return [value for chunk in chunks for value in getattr(chunk, name)]

    return FeatureTable(
        source_index=np.concatenate([chunk.source_index for chunk in chunks]),
        ids=joined("ids"),
        datasets=joined("datasets"),
        splits=joined("splits"),
        bucket_ids=joined("bucket_ids"),
        field_names=joined("field_names"),
        names=chunks[0].names,
        values=np.concatenate([chunk.values for chunk in chunks]),
        made_by=chunks[0].made_by,
    )


def check_combinable(tables: Sequence[tuple[StrPath, Sequence[str], MadeBy]]) -> None:
    """Raise `BadInput` when (file, names, origin) tables differ in feature set, tools, scorer or feature names.

    A file that does not say what measured it (a published one) is held to its names alone.
    """
    if not tables:
        return
    first, names, origin = tables[0]
    for file, other_names, other in tables[1:]:
        refuse_different(other, file, origin, first)
        if list(other_names) != list(names):
            odd = sorted(set(names) ^ set(other_names)) or list(other_names)
            raise BadInput(
                f"other features than {first} (first difference: {odd[0]})",
                file=file,
                expected=f"its {len(names)} features in its order",
                fix="extract both with the same --set and the same scorer",
            )
