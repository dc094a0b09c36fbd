"""Bucket references of human features and the critic's targets, from files to files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from polyalign.critic.targets import write_targets
from polyalign.features.names import LM_NAMES, TEXT_NAMES
from polyalign.features.origin import MadeBy
from polyalign.features.table import table_schema
from polyalign.files import TableWriter, atomic_directory
from polyalign.records import FAMILIES, LENGTH_BINS, RECORD_SCHEMA
from polyalign.references import REFERENCES_FILE, build_references
from tests.bench.harness import Case, Space
from tests.bench.kit import write_repeated_kit

TITLE = "Bucket references and critic targets"
BOUND = (
    "References: writing the feature matrix (compression), then sorting each feature within its bucket, a few "
    "features at a time; in memory is one row group, one block of features and the rows' ids. Targets: reading "
    "features and writing JSON lines."
)
KIT_ROWS = 2000
_CHUNK = 8192


def _prepare_kit(space: Space) -> None:
    write_repeated_kit(space.data / "kit_2k", KIT_ROWS)


def _references_of_kit(space: Space) -> Callable[[], int]:
    folder = space.data / "kit_2k"

    def run() -> int:
        files = [folder / "records.jsonl"], [folder / "human.parquet"]
        return build_references(*files, space.scratch)["rows"]

    return run


def _targets_of_kit(space: Space) -> Callable[[], int]:
    folder = space.data / "kit_2k"

    def run() -> int:
        files = (folder / name for name in ("records.jsonl", "generated.parquet", "references.json"))
        return write_targets(*files, space.scratch / "targets.jsonl", support="q10_q90", form="corrected")[0]

    return run


def _columns(
    rng: np.random.Generator, start: int, rows: int, names: list[str]
) -> dict[str, list | np.ndarray]:
    """A chunk of made-up rows: 24 buckets of very different sizes."""
    buckets = [f"en|{t}|{f}|{b}" for t in ("single", "multi") for f in FAMILIES for b in LENGTH_BINS]
    chosen = (rng.exponential(4.0, rows).astype(int) % len(buckets)).tolist()
    return {
        "source_index": np.arange(start, start + rows),
        "id": [f"squad_v2-train-{number:08d}" for number in range(start, start + rows)],
        "bucket_id": [buckets[number] for number in chosen],
        **{name: np.round(rng.gamma(2.0, 3.0, rows), 2) for name in names},
    }


def _prepare_million(rows: int, space: Space) -> None:
    folder = space.data / f"features_{rows}"
    if folder.is_dir():
        return
    rng, names = np.random.default_rng(7), [*TEXT_NAMES, *LM_NAMES]
    schema = table_schema(names, MadeBy("core-v1", "made-up"))
    with atomic_directory(folder) as staging:
        features, records = (staging / name for name in ("features.parquet", "records.parquet"))
        with TableWriter(features, schema) as values, TableWriter(records, RECORD_SCHEMA) as labels:
            for start in range(0, rows, _CHUNK):
                columns = _columns(rng, start, min(_CHUNK, rows - start), names)
                _write(values, columns, {"dataset": "squad_v2", "field_name": "human_answer"})
                same = {"dataset": "squad_v2", "split": "train", "style_bucket": "qa_search"}
                _write(labels, columns, same)


def _write(writer: TableWriter, columns: dict, same: dict[str, str]) -> None:
    rows = len(columns["id"])
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.array([same.get(field.name)] * rows, field.type)
        for field in writer.schema
    ]
    writer.write(pa.Table.from_arrays(arrays, schema=writer.schema))


def _references_of_many(rows: int, space: Space) -> Callable[[], int]:
    folder: Path = space.data / f"features_{rows}"

    def run() -> int:
        files = [folder / "records.parquet"], [folder / "features.parquet"]
        details = build_references(*files, space.scratch)
        assert (space.scratch / REFERENCES_FILE).is_file()
        return details["rows"]

    return run


CASES = (
    Case("en kit", _references_of_kit, _prepare_kit, published="references", target=3.0, note="2,000 rows"),
    *(
        Case(
            name,
            partial(_references_of_many, rows),
            partial(_prepare_million, rows),
            published="references",
            target=3.0 if rows > 10_000 else None,
            memory_mb=2000,
            note="made-up values, 177 features, 24 buckets",
        )
        for name, rows in (("10k", 10_000), ("100k", 100_000), ("1M", 1_000_000))
    ),
    Case("targets, en kit", _targets_of_kit, _prepare_kit, published="critic_targets", note="2,000 rows"),
)
