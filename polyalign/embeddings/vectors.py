"""Files of vectors: a Parquet row an answer, with what they were made with in the file's metadata.

vectors = read_vectors("results/embeddings/en/vectors/human.parquet")
vectors.at(rows)                # (n, dim), of some source_index
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from polyalign.errors import BadInput
from polyalign.files import StrPath, dump_json, read_table, write_table

ENCODER_KEY, COUNTS_KEY = "polyalign.encoder", "polyalign.counts"


def vector_column(vectors: np.ndarray) -> pa.FixedSizeListArray:
    """Vectors (n, dim) as a column of Parquet."""
    flat = np.ascontiguousarray(vectors, dtype=np.float32).ravel()
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.shape[1])


def column_vectors(column: pa.ChunkedArray) -> np.ndarray:
    """Vectors (n, dim), float32, of such a column."""
    whole = column.combine_chunks()
    return whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), column.type.list_size)


def write_vectors(
    path: StrPath,
    rows: Sequence[int],
    ids: Sequence[str | None],
    vectors: np.ndarray,
    *,
    encoder: Mapping[str, Any],
    counts: Mapping[str, int],
) -> None:
    """Write the vectors (n, dim) of n rows, with what the encoder is and what was counted."""
    table = pa.table(
        {
            "source_index": pa.array(rows, pa.int64()),
            "id": pa.array(ids, pa.string()),
            "vector": vector_column(vectors),
        }
    )
    metadata = {ENCODER_KEY: dump_json(dict(encoder)), COUNTS_KEY: dump_json(dict(counts))}
    write_table(path, table, metadata)


@dataclass(frozen=True)
class Vectors:
    """A file of vectors: what it was made with, and a vector a row.

    Attributes:
        encoder, counts: as `polyalign.embeddings.encode.embed` records them.
        rows: source_index (n,).
        ids: id of each row, or None.
        values: (n, dim).
    """

    encoder: dict[str, Any]
    counts: dict[str, int]
    rows: np.ndarray
    ids: list[str | None]
    values: np.ndarray

    def at(self, rows: np.ndarray) -> np.ndarray:
        """Vectors of some rows that are there, in their order."""
        order = np.argsort(self.rows, kind="stable")
        return self.values[order[np.searchsorted(self.rows[order], rows)]]


def read_vectors(path: StrPath) -> Vectors:
    """A file of vectors; raises `BadInput` where it is none, or a row is there twice."""
    table = read_table(path, ["source_index", "id", "vector"])
    metadata = table.schema.metadata or {}
    if any(key.encode() not in metadata for key in (ENCODER_KEY, COUNTS_KEY)):
        raise BadInput("no vectors of answers", file=path, expected="a file of `embed_texts`")
    rows = table["source_index"].to_numpy()
    if len(np.unique(rows)) < len(rows):
        raise BadInput("a row is there twice", file=path, field="source_index", fix="embed the answers again")
    return Vectors(
        json.loads(metadata[ENCODER_KEY.encode()]),
        json.loads(metadata[COUNTS_KEY.encode()]),
        rows,
        table["id"].to_pylist(),
        column_vectors(table["vector"]),
    )
