"""MinHash signatures of records (rensa), cut into bands: records that agree on a band may be near-duplicates.

Definitions: docs/method.md, Near-duplicates.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import rensa

from polyalign.data.duplicate_search import ClaimFile, positions
from polyalign.data.record_columns import history_rows
from polyalign.data.shingles import NearDuplicates, shingles
from polyalign.files import TableWriter
from polyalign.records import BATCH_ROWS, LANGUAGES, read_record_batches, read_records
from polyalign.throughput import collector_paused

_SEED = 42
_TEXT_FIELDS = ("language", "question", "human_answer", "context")


class Compared(NamedTuple):
    """A record as the search sees it.

    Attributes:
        row: where it stands in its file, from 0.
        around: its context and the earlier turns.
    """

    row: int
    id: str
    language: str
    question: str
    answer: str
    around: str

    @property
    def told(self) -> str:
        """What its signature describes."""
        return f"{self.question}\n{self.answer}"


def compared_records(path: str) -> Iterator[list[Compared]]:
    """The records of a file, batch by batch."""
    start = 0
    if path.endswith(".parquet"):
        for batch in read_record_batches(path, ["id", *_TEXT_FIELDS, "dialogue_history"]):
            columns = [batch.column(name).to_pylist() for name in ("id", *_TEXT_FIELDS)]
            histories = history_rows(batch.column("dialogue_history"))
            fields = zip(*columns, histories, strict=True)
            yield [_compared(start + place, *values) for place, values in enumerate(fields)]
            start += batch.num_rows
        return
    records = enumerate(read_records(path))
    while rows := list(islice(records, BATCH_ROWS)):
        yield [
            _compared(
                row,
                record["id"],
                *(record[name] for name in _TEXT_FIELDS),
                [(turn["role"], turn["text"]) for turn in record["dialogue_history"]],
            )
            for row, record in rows
        ]


def _compared(
    row: int,
    identity: str,
    language: str,
    question: str,
    answer: str,
    context: str,
    history: list[tuple[str, str]],
) -> Compared:
    around = "\n".join((context, *(text for _, text in history)))
    return Compared(row, identity, language, question, answer, around)


def sign_file(
    task: tuple[ClaimFile, str, NearDuplicates, int, int, np.ndarray],
) -> tuple[int, tuple[int, int]]:
    """Write the band hashes of a file's records to `folder/bands-{number}.parquet`.

    Args:
        task: file, folder, settings, bands, rows a band, and the rows of the file that are not looked at.

    Returns:
        (file number, (records compared, records too short)).
    """
    file, folder, settings, bands, rows, skipped = task
    gone = set(skipped.tolist())
    schema = pa.schema([("position", pa.int64()), *((f"b{band}", pa.uint64()) for band in range(bands))])
    short = 0
    with TableWriter(Path(folder) / f"bands-{file.number:05d}.parquet", schema) as writer, collector_paused():
        for batch in compared_records(file.path):
            signed, kinds, signatures = [], [], []
            for record in batch:
                if record.row in gone:
                    continue
                told = shingles(record.told, getattr(settings.shingle, record.language))
                if len(told) < settings.min_shingles:
                    short += 1
                    continue
                sketch = rensa.RMinHash(num_perm=settings.permutations, seed=_SEED)
                sketch.update(list(told))
                signed.append(record.row)
                kinds.append(LANGUAGES.index(record.language))
                signatures.append(sketch.digest())
            if signed:
                hashes = band_hashes(
                    np.array(signatures, dtype=np.uint64), np.array(kinds, dtype=np.uint64), bands, rows
                )
                columns = [positions(file.number, np.array(signed, dtype=np.int64)), *hashes]
                writer.write(pa.table([pa.array(column) for column in columns], schema=schema))
    return file.number, (writer.rows, short)


def band_hashes(signatures: np.ndarray, kinds: np.ndarray, bands: int, rows: int) -> list[np.ndarray]:
    """A 64-bit hash of each band of signatures [records, permutations]; bands arrays [records], uint64.

    Args:
        kinds: [records] uint64; records of different kinds (languages) share no hash.
    """
    hashes = []
    for band in range(bands):
        mixed = kinds * np.uint64(bands) + np.uint64(band + 1)
        for column in range(band * rows, (band + 1) * rows):
            mixed = (mixed ^ signatures[:, column]) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        hashes.append(mixed)
    return hashes
