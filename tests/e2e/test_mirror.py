"""The same chain on real corpora: a cut of raw files in their official layout, where they lie beside the checkout."""

import gzip
import json
import math
import shutil
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from polyalign.corpora.catalogue import CORPORA

pytestmark = pytest.mark.e2e

ENGLISH = sorted(name for name, corpus in CORPORA.items() if corpus.language == "en")
ROWS = 50
DIALOGUES = 8


def cut(source: Path, target: Path) -> None:
    """Copy a raw file of any of the layouts, cut to its first rows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".parquet":
        rows = 4 if source.parent.name == "coqa" else ROWS
        pq.write_table(pq.read_table(source).slice(0, rows), target)
    elif source.suffix == ".zip":
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
            for name in old.namelist():
                new.writestr(name, b"".join(old.read(name).splitlines(keepends=True)[:DIALOGUES]))
    elif source.name.endswith(".json.gz"):
        rows = json.loads(gzip.decompress(source.read_bytes()))
        target.write_bytes(gzip.compress(json.dumps(rows[:ROWS]).encode()))
    elif source.suffix == ".jsonl":
        target.write_bytes(b"".join(source.read_bytes().splitlines(keepends=True)[: 4 * ROWS]))
    else:
        shutil.copy(source, target)


def test_real_corpora_make_a_report(small_demo, shared, tmp_path):
    """From eight real corpora to the report of HDPO, on CPU."""
    for dataset in ENGLISH:
        folder = shared / "data/raw" / dataset
        for source in folder.rglob("*"):
            if source.is_file() and "raw" not in source.relative_to(folder).parts:
                cut(source, tmp_path / "mirror" / dataset / source.relative_to(folder))
    runs = tmp_path / "runs"
    small_demo.outcome(
        "--directory",
        runs,
        "--config",
        f"sources={{mirror: {tmp_path / 'mirror'}}}",
        targets=["results/metrics/en_hdpo_tiny.json"],
    )
    report = json.loads((runs / "results/metrics/en_hdpo_tiny.json").read_text())
    test = pq.read_table(runs / "results/splits/en/test.parquet", columns=["dataset"])
    assert report["coverage"]["answered"] == test.num_rows > 100
    datasets = {row["dataset"] for row in report["metrics"]["utility"]["by_dataset"]}
    assert datasets == set(test["dataset"].to_pylist())
    assert len(datasets) >= 7
    assert math.isfinite(report["metrics"]["bng"]["overall_macro"])
    manifest = json.loads((runs / "resources/raw/eli5_category/manifest.json").read_text())
    assert manifest["details"]["obtained"] == "mirror"
