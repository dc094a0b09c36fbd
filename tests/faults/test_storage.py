"""Disks that are full, folders that refuse, files that are broken or gone: one clear line, nothing lost, and the same
command goes on once the cause is gone."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyalign.files import read_json
from tests.demo_world import Demo
from tests.faults.conftest import CELL

FORMATTED = "results/formatted/dolly/train.parquet"
REFERENCES = "results/references/en/tiny/bucket_references.json"

Finished = Callable[[], Demo]


def refused(demo: Demo, *options: str | Path, target: str = CELL) -> str:
    """What a run that must fail says; never a traceback on the terminal's own lines."""
    done = demo.snakemake(*options, targets=[target])
    said = done.stdout + done.stderr
    assert done.returncode != 0, said[-3000:]
    return said


def half_written(folder: Path) -> list[Path]:
    """Files written aside that nobody renamed or removed."""
    return [path for path in folder.rglob(".*") if path.is_file() and path.name[1].isdigit()]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts that are gone after the test; skips where the user may not mount."""
    mounted: list[Path] = []

    def make(name: str, *arguments: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        done = subprocess.run(["mount", *arguments, folder], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mounting needs root: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", folder], check=False)


def test_a_full_disk(whole: Demo, mount: Callable[..., Path]) -> None:
    folder = mount("disk", "-t", "tmpfs", "-o", "size=3m", "tmpfs")
    demo = Demo(whole.root, folder / "runs")
    said = refused(demo)
    assert "No space left on device" in said
    assert "fix: free some space" in said
    assert not half_written(demo.runs / "results")
    subprocess.run(["mount", "-o", "remount,size=1g", folder], check=True)
    demo.outcome(targets=[CELL])
    assert read_json(demo.runs / CELL) == read_json(whole.runs / CELL)


def test_a_folder_that_cannot_be_written(finished: Finished, mount: Callable[..., Path]) -> None:
    demo = finished()
    metrics = demo.runs / "results" / "metrics"
    before = (demo.runs / CELL).read_text()
    (demo.runs / REFERENCES).unlink()  # something to do again, whose result goes elsewhere
    subprocess.run(["mount", "--bind", metrics, mount("ro", "-t", "tmpfs", "tmpfs")], check=False)
    done = subprocess.run(["mount", "--bind", "-o", "ro", metrics, metrics], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("a read-only mount needs root")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", metrics], check=True)
        said = refused(demo, "--forcerun", "evaluate_predictions")
        assert "Read-only file system" in said
        assert (demo.runs / CELL).read_text() == before
    finally:
        subprocess.run(["umount", "--lazy", metrics], check=True)
    demo.outcome(targets=[CELL])
    assert (demo.runs / CELL).read_text() == before


def test_a_file_that_vanished_from_the_mirror(finished: Finished, tmp_path: Path) -> None:
    done = finished()
    mirror = tmp_path / "mirror"
    shutil.copytree(done.runs / "resources" / "raw", mirror, ignore=shutil.ignore_patterns("manifest.json"))
    demo = Demo(done.root, tmp_path / "mirrored")
    options = ["--config", f"sources={{mirror: {mirror}}}"]
    (source,) = [path for path in (mirror / "dolly").rglob("*") if path.is_file()]
    kept = source.read_bytes()
    source.unlink()
    said = refused(demo, *options, target=FORMATTED)
    assert source.name in said
    assert not (demo.runs / "resources/raw/dolly").exists() or not list(
        (demo.runs / "resources/raw/dolly").rglob("*.jsonl")
    )
    source.write_bytes(kept)
    demo.outcome(*options, targets=[FORMATTED])
    assert (demo.runs / FORMATTED).read_bytes() == (done.runs / FORMATTED).read_bytes()


def test_a_truncated_table(finished: Finished) -> None:
    demo = finished()
    before = read_json(demo.runs / CELL)
    table = demo.runs / FORMATTED
    whole_bytes = table.read_bytes()
    table.write_bytes(whole_bytes[: len(whole_bytes) // 2])
    said = refused(demo)
    assert f"{FORMATTED}: " in said
    assert "not a readable Parquet file" in said
    table.unlink()
    demo.outcome(targets=[CELL])
    assert table.read_bytes() == whole_bytes
    assert read_json(demo.runs / CELL) == before


def test_a_tampered_manifest(finished: Finished) -> None:
    demo = finished()
    manifest = demo.runs / "results/metrics/en_hdpo_tiny.manifest.json"
    text = manifest.read_text()
    digest = next(iter(read_json(manifest)["outputs"].values()))
    digest = digest["sha256"] if isinstance(digest, dict) else digest
    manifest.write_text(text.replace(digest, digest[::-1]))
    command = [*demo.command()[:1], "-m", "polyalign", "provenance", CELL]
    environment = {**demo.environment, "PYTHONPATH": str(demo.root)}

    def look() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=demo.runs, env=environment, capture_output=True, text=True, check=False
        )

    found = look()
    assert found.returncode == 1
    assert "en_hdpo_tiny.json" in found.stdout + found.stderr
    manifest.write_text("{" + text)
    broken = look()
    assert broken.returncode in (1, 2)
    assert "Traceback" not in broken.stderr
    manifest.write_text(text)
    assert look().returncode == 0


def test_a_checkpoint_without_its_weights(finished: Finished) -> None:
    demo = finished()
    before = read_json(demo.runs / CELL)
    folder = demo.runs / "results/checkpoints/en_hdpo_tiny"
    weights = next(folder.rglob("*.safetensors"))
    moved = demo.runs / "moved"
    os.rename(weights, moved)
    said = refused(demo, "--forcerun", "generate_predictions")
    assert "no model weights" in said
    os.rename(moved, weights)
    demo.outcome("--forcerun", "generate_predictions", targets=[CELL])
    assert read_json(demo.runs / CELL) == before
