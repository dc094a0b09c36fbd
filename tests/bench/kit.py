"""The parity kits as inputs of benchmarks: the rows that the published implementation was timed on.

They are real texts and no part of this repository; a stage that needs them fails with one line where they are not.
"""

import gzip
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from polyalign.features.table import read_features, write_features
from polyalign.files import read_jsonl, write_jsonl
from tests.bench.harness import ROOT

_WORD = re.compile(r"[A-Za-z]{2,}")


def kit_folder(language: str = "en") -> Path:
    """Folder of a kit, which lies beside the checkout as for the tests."""
    for parent in ROOT.parents:
        if (parent / "shared" / "data" / "README.md").is_file():
            return parent / "shared" / "data" / "parity" / language
    raise FileNotFoundError(
        "no folder shared/data beside the checkout: its real inputs are not part of this repository"
    )


def kit_rows(name: str, language: str = "en") -> list[dict[str, Any]]:
    """Rows of a JSONL file of a kit, such as `current.jsonl`."""
    path = kit_folder(language) / name
    return [row for _, row in read_jsonl(path if path.is_file() else f"{path}.gz")]


def varied(texts: Sequence[str], rows: int) -> list[str]:
    """The texts repeated to `rows` rows in which no sentence of some length comes twice.

    In every copy but the first, one word of eight is another word of the texts, so that what a stage remembers of a
    sentence or an answer helps it no more than it does in a corpus of that size.
    """
    rng = random.Random(42)
    words = [word for text in texts for word in _WORD.findall(text)]

    def other(match: re.Match[str]) -> str:
        return rng.choice(words) if rng.random() < 0.125 else match[0]

    more = (_WORD.sub(other, texts[row % len(texts)]) for row in range(len(texts), rows))
    return [*texts[:rows], *more]


def write_repeated_kit(folder: Path, rows: int) -> None:
    """An evaluation's inputs, the English kit repeated to `rows` rows with ids of their own.

    Writes records.jsonl, predictions.jsonl, references.json, human.parquet and generated.parquet; leaves alone a
    folder that has them.
    """
    if (folder / "generated.parquet").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for source, target in (("current.jsonl", "records.jsonl"), ("predictions.jsonl", "predictions.jsonl")):
        some = kit_rows(source)
        write_jsonl(folder / target, (_renamed(some[row % len(some)], row) for row in range(rows)))
    with gzip.open(kit_folder() / "bucket_references.json.gz", "rt", encoding="utf-8") as handle:
        (folder / "references.json").write_text(handle.read(), encoding="utf-8")
    for source, target in (("human", "human"), ("pred", "generated")):
        table = read_features(kit_folder() / f"features_{source}.jsonl.gz")
        picked = np.arange(rows) % len(table)
        columns = ("datasets", "splits", "bucket_ids", "field_names")
        texts = {name: [getattr(table, name)[place] for place in picked] for name in columns}
        ids = [f"{table.ids[place]}-{row}" for row, place in enumerate(picked)]
        repeated = replace(table, source_index=np.arange(rows), ids=ids, values=table.values[picked], **texts)
        write_features(folder / f"{target}.parquet", repeated)


def _renamed(row: dict[str, Any], number: int) -> dict[str, Any]:
    changed = {**row}
    if "id" in row:
        changed["id"] = f"{row['id']}-{number}"
    if "source_index" in row:
        changed["source_index"] = number
    return changed
