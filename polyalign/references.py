"""Bucket references: what human answers look like, feature by feature, in each condition.

    build_references(["train.jsonl"], ["features.jsonl"], "references/")

Definitions: docs/method.md, Bucket references. Layout: docs/references.md.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from polyalign.errors import BadInput
from polyalign.features.answers import CHUNK_ROWS
from polyalign.features.origin import MadeBy
from polyalign.features.table import (
    KEYS,
    check_combinable,
    feature_columns,
    read_arrow_chunks,
    table_schema,
)
from polyalign.files import StrPath, TableWriter, atomic_path, dump_json, read_json, read_table, write_json
from polyalign.records import read_record_batches, read_records

QUANTILES = {"q10": 0.10, "q25": 0.25, "q50": 0.50, "q75": 0.75, "q90": 0.90}
SUPPORTS = {"support_q10_q90": ("q10", "q90"), "support_q25_q75": ("q25", "q75")}
"""Keys of a reference for its supports, and the quantiles that bound them."""
REFERENCES_FILE = "bucket_references.json"
MATRIX_FILE = "feature_matrix.parquet"
SKIPPED_FILE = "skipped_buckets.json"
LABELS = ("split", "style_bucket")
"""Columns of the feature matrix beside those of a feature table."""
COUNTED = {"style": "style_bucket", "dataset": "dataset", "split": "split"}
"""What a reference counts its rows by: the name in its keys, and the column."""
BLOCK_VALUES = 4_000_000
"""Feature values held at a time while quantiles are taken (32 MB)."""

_RECORD_COLUMNS = ["id", "dataset", "split", "style_bucket", "bucket_id"]
_RECORD_SCHEMA = pa.schema([(name, pa.string()) for name in _RECORD_COLUMNS])


def quantile_index(rows: int, share: float) -> int:
    """Index of quantile `share` among `rows` sorted values: round((rows - 1) * share), halves to even (`paper`)."""
    return round((rows - 1) * share)


def feature_statistics(values: np.ndarray) -> dict[str, np.ndarray]:
    """min, max, mean, std (population), q10, q25, q50, q75, q90 [features] of values [features, rows].

    `values` is sorted in place, along its rows.
    """
    mean, std = values.mean(axis=1), values.std(axis=1)
    values.sort(axis=1)
    places = {name: quantile_index(values.shape[1], share) for name, share in QUANTILES.items()}
    # Copies, because a view would keep the whole block.
    picked = {name: values[:, place].copy() for name, place in {"min": 0, "max": -1, **places}.items()}
    return {"min": picked.pop("min"), "max": picked.pop("max"), "mean": mean, "std": std, **picked}


def bucket_reference(
    names: Sequence[str],
    statistics: Mapping[str, np.ndarray],
    counts: Mapping[str, Mapping[str, int]],
    rows: int,
    made_by: MadeBy,
) -> dict[str, Any]:
    """The reference of one bucket under the published keys, with what measured the features beside them.

    Args:
        names: [features].
        statistics: as `feature_statistics` returns them, each [features].
        counts: {label: {its value: rows}}, for the labels of `LABELS`.
        rows: of the bucket.
        made_by: what measured the features.
    """
    columns = {name: values.tolist() for name, values in statistics.items()}
    place = {name: column for column, name in enumerate(names)}
    ordered = sorted(names)
    stats = {
        name: {"count": rows, **{key: values[place[name]] for key, values in columns.items()}}
        for name in ordered
    }
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
        **{f"{kind}_counts": dict(sorted(counts[label].items())) for kind, label in COUNTED.items()},
        # Features that do not say what measured them are published ones: so are references built from them.
        **(made_by.stated() if made_by.feature_set else {}),
    }


@dataclass(frozen=True)
class Buckets:
    """Rows of a matrix by bucket.

    Attributes:
        names: bucket ids, sorted.
        order: [rows] row numbers, bucket by bucket.
        stops: [buckets] where each bucket ends in `order`.
    """

    names: list[str]
    order: np.ndarray
    stops: np.ndarray

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "Buckets":
        """From the column of bucket ids."""
        codes, names = _codes(column)
        rank = np.argsort(np.array(names, dtype=object))
        place = np.empty(len(names), dtype=np.int64)
        place[rank] = np.arange(len(names))
        order = np.argsort(place[codes], kind="stable").astype(np.int32)
        return cls(
            [names[number] for number in rank],
            order,
            np.cumsum(np.bincount(place[codes], minlength=len(names))),
        )

    def parts(self) -> Iterator[tuple[str, slice]]:
        """Each bucket with its place in `order`."""
        start = 0
        for name, stop in zip(self.names, self.stops.tolist(), strict=True):
            yield name, slice(start, stop)
            start = stop


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """(a number for each row, the values that the numbers stand for) of a column of strings."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary.to_pylist()


def reference_statistics(
    blocks: Iterable[np.ndarray], buckets: Buckets, min_bucket_size: int
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, int]]:
    """Statistics of every bucket that is large enough, and the sizes of the buckets that are not.

    Args:
        blocks: float64 arrays [some features, rows]; together they are the whole matrix, so that memory holds one
            block at a time.
        buckets: of the rows.
        min_bucket_size: least number of rows.
    """
    places = dict(buckets.parts())
    sizes = {bucket: place.stop - place.start for bucket, place in places.items()}
    skipped = {bucket: size for bucket, size in sizes.items() if size < min_bucket_size}
    parts: dict[str, list[dict[str, np.ndarray]]] = {bucket: [] for bucket in places if bucket not in skipped}
    for block in blocks:
        ordered = block[:, buckets.order]
        for bucket, statistics in parts.items():
            statistics.append(feature_statistics(ordered[:, places[bucket]]))
    joined = {
        bucket: {key: np.concatenate([part[key] for part in statistics]) for key in statistics[0]}
        for bucket, statistics in parts.items()
    }
    return joined, skipped


def _label_counts(matrix: pa.Table, buckets: Buckets) -> dict[str, dict[str, dict[str, int]]]:
    """{bucket: {label: {its value: rows}}}."""
    result: dict[str, dict[str, dict[str, int]]] = {bucket: {} for bucket in buckets.names}
    for label in COUNTED.values():
        codes, values = _codes(matrix[label])
        for bucket, place in buckets.parts():
            counts = np.bincount(codes[buckets.order[place]], minlength=len(values)).tolist()
            result[bucket][label] = {value: n for value, n in zip(values, counts, strict=True) if n}
    return result


def _record_labels(path: StrPath) -> pa.Table:
    """Id and labels of every record of a file."""
    if str(path).endswith(".parquet"):
        return pa.Table.from_batches(list(read_record_batches(path, _RECORD_COLUMNS)), _RECORD_SCHEMA)
    rows = ({name: record[name] for name in _RECORD_COLUMNS} for record in read_records(path))
    batches = iter(lambda: list(islice(rows, CHUNK_ROWS)), [])
    return pa.Table.from_batches(
        [pa.RecordBatch.from_pylist(batch, _RECORD_SCHEMA) for batch in batches], _RECORD_SCHEMA
    )


def _labelled(part: pa.Table, records: pa.Table, file: StrPath, of: StrPath) -> pa.Table:
    """The records' labels of a part of a feature table, after a check that they belong together."""
    at = part["source_index"].to_numpy()
    if len(at) and not 0 <= int(at.min()) <= int(at.max()) < records.num_rows:
        raise BadInput(
            f"source_index {int(at.max())} is out of range",
            file=file,
            expected=f"a row of {of}",
            fix="pair the files",
        )
    found = records.take(at)
    same = pc.equal(found["id"], part["id"]).to_numpy()
    if not same.all():
        row = int(np.flatnonzero(~same)[0])
        raise BadInput(
            f"features of another record than row {int(at[row]) + 1} of {of}",
            file=file,
            id=part["id"][row].as_py(),
            expected=f"id {found['id'][row].as_py()}",
            fix="give record and feature files in the same order, made from each other",
        )
    return found


def _matrix_schema(names: Sequence[str], made_by: MadeBy) -> pa.Schema:
    schema = table_schema(names, made_by)
    for position, name in enumerate(LABELS, start=len(KEYS)):
        schema = schema.insert(position, pa.field(name, pa.string()))
    return schema


def _write_matrix(
    record_files: Sequence[StrPath], feature_files: Sequence[StrPath], path: Path
) -> tuple[list[str], MadeBy]:
    """Join features with the labels of their records, all files one after another.

    Returns:
        (feature names, what measured them).
    """
    first = next(read_arrow_chunks(feature_files[0]), None)
    if first is None:
        raise BadInput("no rows", file=feature_files[0], expected="features of at least one answer")
    names, made_by = feature_columns(first[0]), first[1]
    schema = _matrix_schema(names, made_by)
    with TableWriter(path, schema) as writer:
        for of, file in zip(record_files, feature_files, strict=True):
            records = _record_labels(of)
            for part, origin in read_arrow_chunks(file):
                check_combinable([(feature_files[0], names, made_by), (file, feature_columns(part), origin)])
                labels = _labelled(part, records, file, of)
                columns = {name: part[name] for name in part.column_names}
                columns |= {name: labels[name] for name in labels.column_names}
                writer.write(pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema))
    return names, made_by


def _feature_blocks(path: Path, names: Sequence[str], rows: int) -> Iterator[np.ndarray]:
    """Blocks [some features, rows] of the matrix."""
    width = max(1, BLOCK_VALUES // max(1, rows))
    for start in range(0, len(names), width):
        part = read_table(path, list(names[start : start + width]))
        block = np.empty((part.num_columns, rows))
        for number, column in enumerate(part.columns):
            block[number] = column.to_numpy()
        del part
        yield block


def _write_references(path: Path, references: Mapping[str, Mapping[str, Any]]) -> None:
    """Write references as JSON, a bucket a line: indented, they take five times as long."""
    lines = (f"{dump_json(bucket)}: {dump_json(reference)}" for bucket, reference in references.items())
    with atomic_path(path) as temporary:
        temporary.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


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
    names, made_by = _write_matrix(record_files, feature_files, matrix)
    table = read_table(matrix, ["bucket_id", *COUNTED.values()])
    buckets, rows = Buckets.of(table["bucket_id"]), table.num_rows
    counts = _label_counts(table, buckets)
    del table
    statistics, skipped = reference_statistics(_feature_blocks(matrix, names, rows), buckets, min_bucket_size)
    sizes = {bucket: place.stop - place.start for bucket, place in buckets.parts()}
    references = {
        bucket: bucket_reference(names, values, counts[bucket], sizes[bucket], made_by)
        for bucket, values in statistics.items()
    }
    _write_references(folder / REFERENCES_FILE, references)
    skipped_rows = [{"bucket_id": bucket, "count": count} for bucket, count in skipped.items()]
    write_json(folder / SKIPPED_FILE, {"min_bucket_size": min_bucket_size, "buckets": skipped_rows})
    return {
        "rows": rows,
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
