"""Near-duplicates: records that differ in a few words, found apart from exact ones. docs/method.md, Near-duplicates.

MinHash signatures (rensa) of the shingles of question and answer are cut into bands; two records that agree on a band
are candidates. Every candidate pair is then checked by the exact Jaccard similarity of its shingles, so what is
reported is never an estimate, and by the words that its questions, answers and surroundings (context, earlier turns)
share each, so that two answers to one long question are not taken for one. Signatures and texts stand in tables on
disk and DuckDB joins them: memory grows with the confirmed pairs alone.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from polyalign.data.dedup import NO_ROWS, removed_table, rows_to_remove
from polyalign.data.duplicate_search import (
    ClaimFile,
    Files,
    arranged,
    claim_order,
    database,
    largest_first,
    place_of,
    positions,
    processes_for,
)
from polyalign.data.shingles import NearDuplicates, banding, jaccard, shingles
from polyalign.data.signatures import compared_records, sign_file
from polyalign.files import TableWriter
from polyalign.throughput import over_processes

_BATCH = 4096
_EXAMPLES = 20
_BINS = 10


def find_near_duplicates(
    files: Files, settings: NearDuplicates, *, gone: pa.Table | None = None, processes: int = 1
) -> tuple[pa.Table, dict[str, Any]]:
    """Find records that are nearly the same as one with a better claim to stay. docs/method.md, Near-duplicates.

    Args:
        files: {dataset: {split: Parquet or JSONL file of records}}.
        gone: rows that the exact pass removes (`dedup.REMOVED_SCHEMA`); they are not looked at.
        processes: files are read in so many processes at a time.

    Returns:
        A table of `dedup.REMOVED_SCHEMA` and a column `similarity`, a row a record that has a near-duplicate which
        stays, and the report.

    Raises:
        BadInput: a file is missing, or a row is not a record.
    """
    order = claim_order(files)
    bands, rows = banding(settings.threshold, settings.permutations, settings.recall)
    workers = processes_for(order, processes)
    skipped = {} if gone is None else {dataset: rows_to_remove(gone, dataset) for dataset in files}
    with TemporaryDirectory(prefix="polyalign-near-") as folder:
        tasks = [
            (file, folder, settings, bands, rows, skipped.get(file.dataset, {}).get(file.split, NO_ROWS))
            for file in largest_first(order)
        ]
        counts = dict(over_processes(sign_file, tasks, workers))
        with database(folder) as connection:
            candidates = _candidates(
                connection, folder, bands, settings.bucket_pairs, sum(map(sum, counts.values()))
            )
            wanted = [(file, folder, _rows_of(connection, file)) for file in order]
            wanted = [task for task in wanted if len(task[2])]
            list(over_processes(_keep_texts, wanted, workers))
            pairs = _confirmed(connection, folder, settings) if wanted else _Pairs.none()
    return _outcome(order, pairs, settings, (bands, rows), counts, candidates)


_BAND_PAIRS = """
INSERT INTO pairs
WITH shared AS (
    SELECT position, {band} AS hash, count(*) OVER (PARTITION BY {band}) AS size
    FROM bands WHERE {band} IN (SELECT {band} FROM bands GROUP BY {band} HAVING count(*) > 1)
),
large AS (
    SELECT position, min(position) OVER (PARTITION BY hash) AS head,
           lag(position) OVER (PARTITION BY hash ORDER BY position) AS previous
    FROM shared WHERE size > {limit}
)
SELECT a.position, b.position FROM shared a JOIN shared b ON a.hash = b.hash AND a.position < b.position
WHERE a.size <= {limit}
UNION ALL SELECT head, position FROM large WHERE head < position
UNION ALL SELECT previous, position FROM large WHERE previous IS NOT NULL AND previous <> head
"""


def _candidates(
    connection: duckdb.DuckDBPyConnection, folder: str, bands: int, limit: int, records: int
) -> int:
    """Fill the table `candidates` with pairs (first, second) that agree on a band; returns their number.

    Band by band, so that a million records need the memory of one band.
    """
    connection.execute("CREATE TABLE pairs (first BIGINT, second BIGINT)")
    if records:
        connection.execute(f"CREATE VIEW bands AS SELECT * FROM read_parquet('{folder}/bands-*.parquet')")
        for band in range(bands):
            connection.execute(_BAND_PAIRS.format(band=f"b{band}", limit=limit))
    connection.execute("CREATE TABLE candidates AS SELECT DISTINCT first, second FROM pairs")
    connection.execute("DROP TABLE pairs")
    return connection.sql("SELECT count(*) FROM candidates").fetchall()[0][0]


def _rows_of(connection: duckdb.DuckDBPyConnection, file: ClaimFile) -> np.ndarray:
    """Sorted rows of a file that stand in a candidate pair."""
    low, high = positions(file.number, np.array([0, 0])), positions(file.number + 1, np.array([0, 0]))
    query = (
        "SELECT position FROM (SELECT first AS position FROM candidates UNION SELECT second FROM candidates) "
        f"WHERE position >= {low[0]} AND position < {high[0]} ORDER BY position"
    )
    return place_of(connection.sql(query).to_arrow_table().column("position").to_numpy())[1]


_PARTS = ("question", "answer", "around")
_TEXTS_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "language", *_PARTS)] + [("position", pa.int64())]
)
_JOINED = """
SELECT c.first, c.second, a.language, b.id, a.question, b.question, a.answer, b.answer, a.around, b.around
FROM candidates c JOIN texts a ON c.first = a.position JOIN texts b ON c.second = b.position
"""


class _Pairs(NamedTuple):
    """Confirmed pairs, second the one with the lesser claim, and the similarity of all candidates in tenths."""

    first: np.ndarray
    second: np.ndarray
    similarity: np.ndarray
    ids: dict[int, str]
    histogram: list[int]
    alike: int

    @classmethod
    def none(cls) -> "_Pairs":
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, np.zeros(0), {}, [0] * _BINS, 0)


def _keep_texts(task: tuple[ClaimFile, str, np.ndarray]) -> None:
    """Write the texts of a file's candidates where the join finds them."""
    file, folder, rows = task
    with TableWriter(Path(folder) / f"texts-{file.number:05d}.parquet", _TEXTS_SCHEMA) as writer:
        for batch in compared_records(file.path):
            first, last = np.searchsorted(rows, (batch[0].row, batch[-1].row + 1))
            ours = [batch[row - batch[0].row] for row in rows[first:last].tolist()]
            if ours:
                places = positions(file.number, np.array([record.row for record in ours], dtype=np.int64))
                columns = [[getattr(record, name) for record in ours] for name in _TEXTS_SCHEMA.names[:-1]]
                writer.write(pa.table([*map(pa.array, columns), places], schema=_TEXTS_SCHEMA))


def _confirmed(connection: duckdb.DuckDBPyConnection, folder: str, settings: NearDuplicates) -> _Pairs:
    """Check every candidate pair by exact similarity."""
    connection.execute(f"CREATE VIEW texts AS SELECT * FROM read_parquet('{folder}/texts-*.parquet')")
    histogram, ids, alike = [0] * _BINS, {}, 0
    found: list[tuple[int, int, float]] = []
    for batch in connection.sql(_JOINED).to_arrow_reader(_BATCH):
        for first, second, language, identity, *texts in zip(
            *(column.to_pylist() for column in batch.columns), strict=True
        ):
            parts = [texts[0:2], texts[2:4], texts[4:6]]
            size = getattr(settings.shingle, language)
            one, other = (
                shingles(f"{question}\n{answer}", size) for question, answer in zip(*parts[:2], strict=True)
            )
            similarity = jaccard(one, other)
            histogram[min(int(similarity * _BINS), _BINS - 1)] += 1
            if similarity < settings.threshold:
                continue
            alike += 1
            if all(
                jaccard(shingles(one, 1), shingles(other, 1)) >= settings.threshold for one, other in parts
            ):
                found.append((first, second, similarity))
                ids[second] = identity
    if not found:
        return _Pairs.none()._replace(histogram=histogram, alike=alike)
    found.sort(key=lambda pair: (pair[1], pair[0]))
    first, second, similarity = zip(*found, strict=True)
    return _Pairs(np.array(first), np.array(second), np.array(similarity), ids, histogram, alike)


def _greedy(pairs: _Pairs) -> dict[int, tuple[int, float]]:
    """{position of a near-duplicate: (position that stays in its place, similarity)}, by the claim to stay.

    In the order of claims a record goes when one that it resembles, and that has a better claim, stays; so a test
    record never goes for a training record, and of three in a row the two ends can stay.
    """
    kept: dict[int, tuple[int, float]] = {}
    columns = (pairs.first.tolist(), pairs.second.tolist(), pairs.similarity.tolist())
    for first, second, similarity in zip(*columns, strict=True):
        if second not in kept and first not in kept:
            kept[second] = (first, similarity)
    return kept


def _outcome(
    order: list[ClaimFile],
    pairs: _Pairs,
    settings: NearDuplicates,
    bands: tuple[int, int],
    counts: Mapping[int, tuple[int, int]],
    candidates: int,
) -> tuple[pa.Table, dict[str, Any]]:
    """The table of near-duplicates and the report."""
    kept = _greedy(pairs)
    compared = np.array([counts[file.number][0] for file in order], dtype=np.int64)
    position = np.array(list(kept), dtype=np.int64)
    stays = np.array([first for first, _ in kept.values()], dtype=np.int64)
    found = arranged(
        order,
        compared,
        pa.table(
            {"position": position, "kept": stays, "id": pa.array([pairs.ids[p] for p in kept], pa.string())}
        ),
    )
    table, causes = removed_table(found)
    similar = [kept[place][1] for place in positions(found.file, found.row).tolist()]
    table = table.append_column("similarity", pa.array(similar, pa.float64()))
    short = sum(count for _, count in counts.values())
    per_split = Counter(f"{order[number].dataset}:{order[number].split}" for number in found.file.tolist())
    report = {
        "mode": settings.mode,
        "threshold": settings.threshold,
        "shingle": settings.shingle.model_dump(),
        "min_shingles": settings.min_shingles,
        "permutations": settings.permutations,
        "bands": bands[0],
        "rows_a_band": bands[1],
        "recall_at_threshold": round(1 - (1 - settings.threshold ** bands[1]) ** bands[0], 6),
        "counts": {
            "compared": int(compared.sum()),
            "too_short": short,
            "candidate_pairs": candidates,
            "alike_pairs": pairs.alike,
            "confirmed_pairs": len(pairs.first),
            "near_duplicates": table.num_rows,
            "removed_total": table.num_rows if settings.mode == "remove" else 0,
        },
        "candidate_precision": round(pairs.alike / candidates, 6) if candidates else None,
        "candidate_similarity": {
            f"{tenth / _BINS:.1f}-{(tenth + 1) / _BINS:.1f}": count
            for tenth, count in enumerate(pairs.histogram)
        },
        "near_duplicates_by_cause": {
            name: causes.get(name, 0) for name in ("same_split", "cross_split", "cross_dataset")
        },
        "near_duplicates_by_dataset_split": dict(sorted(per_split.items())),
        "examples": [
            {**row, "similarity": round(row["similarity"], 4)}
            for row in table.drop_columns(["row", "kept_row"]).slice(0, _EXAMPLES).to_pylist()
        ],
    }
    return table, report
