"""Search for duplicates among any number of records in little memory. docs/method.md, Deduplication.

Every file is scanned once, files side by side: per record its key, group and id go to a table on disk. An embedded
database (DuckDB) then groups the keys, and spills to disk what does not fit into `MEMORY_LIMIT`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from polyalign.data.example_keys import KEY_BYTES, keyed_batches
from polyalign.files import StrPath, TableWriter
from polyalign.throughput import collector_paused, over_processes

PRIORITY = ("test", "validation2", "dev", "train")
"""Splits from the best protected to the least; any other split comes after them."""
GROUP_FIELDS = {
    "coqa": "conversation_id",
    "dailydialog": "dialogue_id",
    "multiwoz": "dialogue_id",
    "oasst2_zh": "message_tree_id",
}
"""Corpora whose records form groups that must not be spread over splits, and the meta key of the group."""
MEMORY_LIMIT = "512MB"
"""What the database may hold in memory."""
Files = Mapping[str, Mapping[str, StrPath]]
"""{dataset: {split: file}}"""

_GROUP_BYTES = 16
_SCAN_ROWS = 65536
_SMALL_BYTES = 4 << 20
"""Files that are smaller together are scanned in one process: starting others would take longer."""
_ROW_BITS = 40
# A record's position: its file's number in the order of claims to stay, then its row.
_SCAN_SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("rank", pa.int16()),
        ("key", pa.binary(KEY_BYTES)),
        ("grp", pa.binary(_GROUP_BYTES)),
        ("id", pa.string()),
    ]
)
_SEARCH = """
WITH best AS (
    SELECT grp, min(rank) AS best FROM scan WHERE grp IS NOT NULL GROUP BY grp HAVING min(rank) < max(rank)
),
conflict AS (SELECT position FROM scan JOIN best USING (grp) WHERE rank > best),
alive AS (SELECT position, key FROM scan ANTI JOIN conflict USING (position)),
first AS (SELECT key, min(position) AS kept FROM alive GROUP BY key HAVING count(*) > 1),
removed AS (
    SELECT position, -1::BIGINT AS kept FROM conflict
    UNION ALL SELECT position, kept FROM alive JOIN first USING (key) WHERE position <> kept
)
SELECT position, kept, id FROM removed JOIN scan USING (position)
"""


class ClaimFile(NamedTuple):
    """A file in the order of claims to stay: split priority, then corpus."""

    number: int
    dataset: str
    split: str
    path: str


@dataclass(frozen=True)
class Found:
    """What a search found; arrays have an entry a removed record, in order of corpus, split and row.

    Attributes:
        files: the files searched, by number.
        sizes: their records.
        file, row: where the record stands, row from 0.
        kept_file, kept_row: where the record stands that stays in its place; -1 for a group conflict.
        ids: ids of the removed records.
    """

    files: list[ClaimFile]
    sizes: np.ndarray
    file: np.ndarray
    row: np.ndarray
    kept_file: np.ndarray
    kept_row: np.ndarray
    ids: pa.ChunkedArray


def split_rank(split: str) -> tuple[int, str]:
    """Sort key of a split: test first, unknown splits last."""
    return (PRIORITY.index(split), "") if split in PRIORITY else (len(PRIORITY), split)


def claim_order(files: Files) -> list[ClaimFile]:
    """Files in the order in which their records claim to stay."""
    pairs = [
        (dataset, split, str(path)) for dataset, splits in files.items() for split, path in splits.items()
    ]
    pairs.sort(key=lambda entry: (split_rank(entry[1]), entry[0]))
    return [ClaimFile(number, *entry) for number, entry in enumerate(pairs)]


def positions(number: int | np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Positions of rows of the files with those numbers."""
    return (np.int64(number) << _ROW_BITS) | rows


def place_of(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(file numbers, rows) of positions; -1 twice where the position is -1."""
    return position >> _ROW_BITS, np.where(position < 0, -1, position & ((1 << _ROW_BITS) - 1))


@contextmanager
def database(folder: StrPath) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database that spills into `folder`."""
    connection = duckdb.connect(
        config={
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(folder),
            "preserve_insertion_order": False,
        }
    )
    try:
        yield connection
    finally:
        connection.close()


def processes_for(files: list[ClaimFile], processes: int) -> int:
    """Processes worth starting for these files."""
    known = (Path(file.path) for file in files)
    return processes if sum(path.stat().st_size for path in known if path.is_file()) > _SMALL_BYTES else 1


def largest_first(files: list[ClaimFile]) -> list[ClaimFile]:
    """Files by size, so that no large one is left for the end; those that are missing come first."""
    return sorted(
        files, key=lambda file: -Path(file.path).stat().st_size if Path(file.path).is_file() else -(1 << 62)
    )


def search(files: Files, processes: int = 1) -> Found:
    """Find group conflicts and duplicates.

    Args:
        files: {dataset: {split: Parquet or JSONL file of records}}.
        processes: files are scanned in so many processes at a time.

    Raises:
        BadInput: a file is missing, or a row is not a record.
    """
    order = claim_order(files)
    ranks = sorted({split_rank(file.split) for file in order})
    with TemporaryDirectory(prefix="polyalign-dedup-") as folder:
        tasks = [(file, ranks.index(split_rank(file.split)), folder) for file in largest_first(order)]
        counted = dict(over_processes(_scan, tasks, processes_for(order, processes)))
        sizes = np.array([counted[file.number] for file in order], dtype=np.int64)
        if not sizes.sum():
            return arranged(order, sizes, pa.table({"position": [], "kept": [], "id": []}, _EMPTY))
        with database(folder) as connection:
            connection.execute(f"CREATE VIEW scan AS SELECT * FROM read_parquet('{folder}/*.parquet')")
            removed = connection.sql(_SEARCH).to_arrow_table()
    return arranged(order, sizes, removed)


_EMPTY = pa.schema([("position", pa.int64()), ("kept", pa.int64()), ("id", pa.string())])


def arranged(order: list[ClaimFile], sizes: np.ndarray, removed: pa.Table) -> Found:
    """What was found, by corpus, split and row, from a table of position, kept and id."""
    file, row = place_of(removed.column("position").to_numpy())
    kept_file, kept_row = place_of(removed.column("kept").to_numpy())
    by_corpus = sorted(order, key=lambda entry: (entry.dataset, split_rank(entry.split)))
    shown = np.empty(len(order), dtype=np.int64)
    shown[[entry.number for entry in by_corpus]] = np.arange(len(order))
    index = np.lexsort((row, shown[file]))
    ids = removed.column("id").take(pa.array(index))
    return Found(order, sizes, file[index], row[index], kept_file[index], kept_row[index], ids)


def _scan(task: tuple[ClaimFile, int, str]) -> tuple[int, int]:
    """Read one file and write what the search needs of it; returns the file's number and records."""
    file, rank, folder = task
    field = GROUP_FIELDS.get(file.dataset)
    keys: list[bytes] = []
    groups: list[bytes | None] = []
    ids: list[str] = []
    with TableWriter(Path(folder) / f"{file.number:05d}.parquet", _SCAN_SCHEMA) as writer, collector_paused():

        def flush() -> None:
            rows = np.arange(writer.rows, writer.rows + len(keys))
            columns = [positions(file.number, rows), np.full(len(keys), rank, np.int16), keys, groups, ids]
            arrays = [pa.array(column, kind.type) for column, kind in zip(columns, _SCAN_SCHEMA, strict=True)]
            writer.write(pa.table(arrays, schema=_SCAN_SCHEMA))
            for column in (keys, groups, ids):
                column.clear()

        for batch_ids, batch_keys, metas in keyed_batches(file.path):
            keys += batch_keys
            ids += batch_ids
            groups += [_group(meta, field, file.dataset) for meta in metas] if field else [None] * len(metas)
            if len(keys) >= _SCAN_ROWS:
                flush()
        flush()
    return file.number, writer.rows


def _group(meta: Any, field: str, dataset: str) -> bytes | None:
    """Digest of the group of a record, or None where it has none."""
    if isinstance(meta, str):
        meta = json.loads(meta)
    group = meta.get(field) if isinstance(meta, dict) else None
    if group is None or group == "":
        return None
    return hashlib.blake2b(f"{dataset}\0{group}".encode(), digest_size=_GROUP_BYTES).digest()
