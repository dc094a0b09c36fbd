"""Bucket references: what human answers look like, feature by feature, in each condition.

    build_references(["train.jsonl"], ["features.jsonl"], "references/")

Definitions: docs/method.md, Bucket references. Layout: docs/references.md.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from polyalign.errors import BadInput
from polyalign.features.origin import MadeBy
from polyalign.features.table import (
    KEYS,
    FeatureTable,
    check_combinable,
    read_feature_chunks,
    table_schema,
)
from polyalign.files import StrPath, TableWriter, open_parquet, read_json, read_table, write_json
from polyalign.records import read_record_batches, read_records

QUANTILES = {"q10": 0.10, "q25": 0.25, "q50": 0.50, "q75": 0.75, "q90": 0.90}
SUPPORTS = {"support_q10_q90": ("q10", "q90"), "support_q25_q75": ("q25", "q75")}
REFERENCES_FILE = "bucket_references.json"
MATRIX_FILE = "feature_matrix.parquet"
SKIPPED_FILE = "skipped_buckets.json"
LABELS = ("split", "style_bucket")
"""Columns of the feature matrix beside those of a feature table."""
BLOCK_VALUES = 16_000_000
"""Feature values held at a time while quantiles are taken (128 MB)."""

_RECORD_COLUMNS = ["id", "dataset", "split", "style_bucket", "bucket_id"]


@dataclass(frozen=True)
class Labels:
    """What the counts of a reference are taken over; string arrays [rows]."""

    bucket_ids: np.ndarray
    styles: np.ndarray
    datasets: np.ndarray
    splits: np.ndarray


def quantile_index(rows: int, share: float) -> int:
    """Index of quantile `share` among `rows` sorted values: round((rows - 1) * share), halves to even (`paper`)."""
    return round((rows - 1) * share)


def feature_statistics(values: np.ndarray) -> dict[str, np.ndarray]:
    """min, max, mean, std (population), q10, q25, q50, q75, q90 of each column of values [rows, features]."""
    ordered = np.sort(values, axis=0)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": values.mean(axis=0),
        "std": values.std(axis=0),
        **{name: ordered[quantile_index(len(values), share)] for name, share in QUANTILES.items()},
    }


def bucket_reference(
    names: Sequence[str], statistics: Mapping[str, np.ndarray], labels: Labels, made_by: MadeBy
) -> dict[str, Any]:
    """The reference of one bucket under the published keys, with what measured the features beside them.

    Args:
        names: [features].
        statistics: as `feature_statistics` returns them, each [features].
        labels: of the bucket's rows.
        made_by: what measured the features.
    """
    rows = len(labels.bucket_ids)
    columns = {name: values.tolist() for name, values in statistics.items()}
    place = {name: column for column, name in enumerate(names)}
    ordered = sorted(names)
    stats = {
        name: {"count": rows, **{key: values[place[name]] for key, values in columns.items()}}
        for name in ordered
    }
    counts = {"style": labels.styles, "dataset": labels.datasets, "split": labels.splits}
    return {
        "count": rows,
        "feature_count": len(names),
        "prototype_mean": {name: stats[name]["mean"] for name in ordered},
        "prototype_median": {name: stats[name]["q50"] for name in ordered},
        **{
            support: {name: {"low": stats[name][low], "high": stats[name][high]} for name in ordered}
            for support, (low, high) in SUPPORTS.items()
        },
        "feature_stats": stats,
        **{
            f"{kind}_counts": dict(sorted(Counter(values.tolist()).items()))
            for kind, values in counts.items()
        },
        # Features that do not say what measured them are published ones: so are references built from them.
        **(made_by.stated() if made_by.feature_set else {}),
    }


def _rows_by_bucket(bucket_ids: np.ndarray) -> dict[str, np.ndarray]:
    """Row numbers of each bucket, in order, buckets sorted by name."""
    buckets, codes = np.unique(bucket_ids, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    stops = np.cumsum(np.bincount(codes, minlength=len(buckets)))
    parts = np.split(order, stops[:-1])
    return {str(bucket): rows for bucket, rows in zip(buckets, parts, strict=True)}


def reference_statistics(
    blocks: Any, bucket_ids: np.ndarray, min_bucket_size: int
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, int]]:
    """Statistics of every bucket that is large enough, and the sizes of the buckets that are not.

    Args:
        blocks: iterable of float64 arrays [rows, some features]; together they are the whole matrix, so that memory
            holds one block at a time.
        bucket_ids: [rows].
        min_bucket_size: least number of rows.
    """
    groups = _rows_by_bucket(bucket_ids)
    skipped = {bucket: len(rows) for bucket, rows in groups.items() if len(rows) < min_bucket_size}
    parts: dict[str, list[dict[str, np.ndarray]]] = {bucket: [] for bucket in groups if bucket not in skipped}
    for block in blocks:
        for bucket, statistics in parts.items():
            statistics.append(feature_statistics(block[groups[bucket]]))
    joined = {
        bucket: {key: np.concatenate([part[key] for part in statistics]) for key in statistics[0]}
        for bucket, statistics in parts.items()
    }
    return joined, skipped


def references_of(
    table: FeatureTable, labels: Labels, min_bucket_size: int = 20
) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """({bucket: reference}, {bucket too small: its rows}) of features held in memory; see `build_references`."""
    statistics, skipped = reference_statistics([table.values], labels.bucket_ids, min_bucket_size)
    return _references(statistics, table.names, labels, table.made_by), skipped


def _references(
    statistics: Mapping[str, Mapping[str, np.ndarray]], names: Sequence[str], labels: Labels, made_by: MadeBy
) -> dict[str, dict[str, Any]]:
    groups = _rows_by_bucket(labels.bucket_ids)
    result = {}
    for bucket, values in statistics.items():
        rows = groups[bucket]
        own = Labels(labels.bucket_ids[rows], labels.styles[rows], labels.datasets[rows], labels.splits[rows])
        result[bucket] = bucket_reference(names, values, own, made_by)
    return result


def _record_labels(path: StrPath) -> dict[str, np.ndarray]:
    """Id and labels of every record of a file, by column."""
    if str(path).endswith(".parquet"):
        batches = list(read_record_batches(path, _RECORD_COLUMNS))
        columns = {
            name: [value for batch in batches for value in batch.column(name).to_pylist()]
            for name in _RECORD_COLUMNS
        }
    else:
        rows = [[record[name] for name in _RECORD_COLUMNS] for record in read_records(path)]
        columns = {name: [row[column] for row in rows] for column, name in enumerate(_RECORD_COLUMNS)}
    return {name: np.array(values, dtype=object) for name, values in columns.items()}


def _labelled(
    chunk: FeatureTable, records: Mapping[str, np.ndarray], file: StrPath, of: StrPath
) -> dict[str, Any]:
    """Labels of a chunk's rows from their records, after a check that they belong together."""
    at = chunk.source_index
    if len(at) and not 0 <= int(at.min()) <= int(at.max()) < len(records["id"]):
        raise BadInput(
            f"source_index {int(at.max())} is out of range",
            file=file,
            expected=f"a row of {of}",
            fix="pair the files",
        )
    wrong = np.flatnonzero(records["id"][at] != np.array(chunk.ids, dtype=object))
    if len(wrong):
        row = int(wrong[0])
        raise BadInput(
            f"features of another record than row {int(at[row]) + 1} of {of}",
            file=file,
            id=chunk.ids[row],
            expected=f"id {records['id'][at[row]]}",
            fix="give record and feature files in the same order, made from each other",
        )
    return {name: values[at] for name, values in records.items()}


def _matrix_rows(chunk: FeatureTable, labels: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    keys = {
        "source_index": chunk.source_index,
        "id": labels["id"],
        "dataset": labels["dataset"],
        "bucket_id": labels["bucket_id"],
        "field_name": chunk.field_names,
        **{name: labels[name] for name in LABELS},
    }
    columns = [pa.array(values, schema.field(name).type) for name, values in keys.items()]
    columns += [pa.array(np.ascontiguousarray(column)) for column in chunk.values.T]
    return pa.Table.from_arrays(columns, schema=schema)


def _write_matrix(record_files: Sequence[StrPath], feature_files: Sequence[StrPath], path: Path) -> MadeBy:
    """Join features with the labels of their records, all files one after another; returns what measured them."""
    first = next(read_feature_chunks(feature_files[0]), None)
    if first is None:
        raise BadInput("no rows", file=feature_files[0], expected="features of at least one answer")
    schema = table_schema(first.names, first.made_by)
    for position, name in enumerate(LABELS, start=len(KEYS)):
        schema = schema.insert(position, pa.field(name, pa.string()))
    with TableWriter(path, schema) as writer:
        for of, file in zip(record_files, feature_files, strict=True):
            records = _record_labels(of)
            for chunk in read_feature_chunks(file):
                check_combinable(
                    [(feature_files[0], first.names, first.made_by), (file, chunk.names, chunk.made_by)]
                )
                writer.write(_matrix_rows(chunk, _labelled(chunk, records, file, of), schema))
    return first.made_by


def _feature_blocks(path: Path, names: Sequence[str], rows: int) -> Any:
    """Blocks [rows, some features] of the matrix, column by column."""
    width = max(1, BLOCK_VALUES // max(1, rows))
    for start in range(0, len(names), width):
        block = read_table(path, list(names[start : start + width]))
        yield np.column_stack([column.to_numpy() for column in block.columns])


def build_references(
    record_files: Sequence[StrPath],
    feature_files: Sequence[StrPath],
    out: StrPath,
    *,
    min_bucket_size: int = 20,
) -> dict[str, Any]:
    """Build the bucket references of human answers and write them into the folder `out`.

    Files: `bucket_references.json` (published layout), `feature_matrix.parquet` (one row an answer: keys, split, style,
    features) and `skipped_buckets.json`.

    Args:
        record_files: records, Parquet or JSONL(.gz), one file a split.
        feature_files: features of their human answers, in the same order.
        out: folder, made when it is not there.
        min_bucket_size: smaller buckets are listed and get no reference.

    Returns:
        Details for a manifest: rows, buckets, skipped buckets and what measured the features.

    Raises:
        BadInput: files that do not belong together, or features of different sets or scorers.
    """
    if len(record_files) != len(feature_files) or not record_files:
        raise BadInput(
            f"{len(record_files)} record files and {len(feature_files)} feature files",
            expected="one each a split",
        )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    matrix = folder / MATRIX_FILE
    made_by = _write_matrix(record_files, feature_files, matrix)
    with open_parquet(matrix) as parquet:
        names = [name for name in parquet.schema_arrow.names if name not in (*KEYS, *LABELS)]
    table = read_table(matrix, ["bucket_id", "style_bucket", "dataset", "split"])
    labels = Labels(*(np.array(column.to_pylist(), dtype=object) for column in table.columns))
    blocks = _feature_blocks(matrix, names, table.num_rows)
    statistics, skipped = reference_statistics(blocks, labels.bucket_ids, min_bucket_size)
    references = _references(statistics, names, labels, made_by)
    write_json(folder / REFERENCES_FILE, references)
    skipped_rows = [{"bucket_id": bucket, "count": count} for bucket, count in skipped.items()]
    write_json(folder / SKIPPED_FILE, {"min_bucket_size": min_bucket_size, "buckets": skipped_rows})
    return {
        "rows": table.num_rows,
        "buckets": len(references),
        "skipped_buckets": skipped_rows,
        "features": len(names),
        **made_by.stated(),
    }


def read_references(path: StrPath) -> dict[str, dict[str, Any]]:
    """Read bucket references, ours or published ones.

    Raises:
        BadInput: not an object of references by bucket.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise BadInput("not bucket references", file=path, expected="an object of references by bucket")
    for bucket, reference in content.items():
        if not isinstance(reference, dict) or not {"feature_stats", *SUPPORTS} <= reference.keys():
            raise BadInput(
                "not a bucket reference",
                file=path,
                id=bucket,
                expected=f"feature_stats, {', '.join(SUPPORTS)}",
            )
    return content


def references_origin(references: Mapping[str, Mapping[str, Any]]) -> MadeBy:
    """What measured references, as they state it; published ones do not."""
    return MadeBy.of_stated(next(iter(references.values()), {}))
