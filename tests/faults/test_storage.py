"""Disks that are full, folders that refuse, files that are broken or gone: one clear line, nothing lost, and the same
command goes on once the cause is gone."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from polyalign.files import read_json, write_json
from polyalign.model_folders import check_weights
from tests.demo_world import Demo
from tests.faults.conftest import CELL, NAME

FORMATTED = "results/formatted/dolly/train.parquet"
SPLIT = "results/splits/en/train.parquet"

Mount = Callable[..., None]


def refusal(demo: Demo, start: str, *options: str | Path, target: str = CELL) -> str:
    """The one line, beginning with `start`, that a run must end with."""
    done = demo.snakemake(*options, targets=[target])
    said = done.stdout + done.stderr
    assert done.returncode != 0, said[-3000:]
    assert "Traceback" not in said, said[-3000:]
    lines = {line for line in said.splitlines() if line.startswith(start)}
    assert len(lines) == 1, said[-3000:]
    return lines.pop()


def contents(folder: Path) -> dict[str, bytes]:
    """{file: bytes} below a folder, hidden ones included, which is where half a file would be."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def mount() -> Iterator[Mount]:
    """`mount ARGUMENTS FOLDER`, undone after the test; skips where the user may not mount."""
    mounted: list[Path] = []

    def make(*arguments: str | Path) -> None:
        folder = Path(arguments[-1])
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount: {done.stderr.strip()}")
        mounted.append(folder)

    yield make
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(options: str, folder: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def test_a_full_disk(whole: Demo, fresh: Demo, mount: Mount) -> None:
    results = fresh.runs / "results"
    mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", results)
    line = refusal(fresh, "format_corpus: ", target=SPLIT)
    assert "No space left on device; fix: free some space" in line
    # What is done stays, what was begun is gone.
    assert (fresh.runs / "resources/raw/dolly/manifest.json").is_file()
    assert not [name for name in contents(results) if Path(name).name.startswith(".")]
    remount("size=64m", results)
    fresh.outcome(targets=[SPLIT])
    assert (fresh.runs / SPLIT).read_bytes() == (whole.runs / SPLIT).read_bytes()


def test_a_read_only_folder(finished: Demo, mount: Mount) -> None:
    results = finished.runs / "results"
    report = read_json(finished.runs / CELL)
    (finished.runs / CELL).unlink()
    before = contents(results)
    mount("--bind", results, results)
    remount("bind,ro", results)
    assert "fix: have it mounted for writing" in refusal(finished, f"{results}: this folder is read-only")
    assert contents(results) == before
    remount("bind,rw", results)
    finished.outcome(targets=[CELL])
    assert read_json(finished.runs / CELL) == report


def test_a_file_that_vanished_from_the_mirror(whole: Demo, fresh: Demo, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    raw = whole.runs / "resources" / "raw"
    shutil.copytree(raw, mirror, ignore=shutil.ignore_patterns("manifest.json"))
    options = ["--config", f"sources={{mirror: {mirror}}}"]
    (source,) = [path for path in (mirror / "dolly").rglob("*") if path.is_file()]
    moved = source.rename(tmp_path / "moved")
    line = refusal(fresh, f"{source}: ", *options, target=FORMATTED)
    assert "the mirror lacks a file of dolly" in line
    assert not list(fresh.runs.rglob("*.jsonl"))
    moved.rename(source)
    fresh.outcome(*options, targets=[FORMATTED])
    assert (fresh.runs / FORMATTED).read_bytes() == (whole.runs / FORMATTED).read_bytes()


def test_a_truncated_table(whole: Demo, finished: Demo) -> None:
    features = f"results/features/en/tiny/{NAME}_test.parquet"
    table = finished.runs / features
    table.write_bytes(table.read_bytes()[:-100])
    line = refusal(finished, f"evaluate_predictions: {features}: not a readable Parquet file")
    assert "fix: delete it and build or fetch it again" in line
    table.unlink()
    finished.outcome(targets=[CELL])
    assert table.read_bytes() == (whole.runs / features).read_bytes()
    assert read_json(finished.runs / CELL) == read_json(whole.runs / CELL)


def tamper(manifest: Path, *keys: str) -> None:
    """Turn the digest of the first file that a manifest lists under these keys around."""
    content = read_json(manifest)
    listed = content
    for key in keys:
        listed = listed[key]
    name, entry = next(iter(listed.items()))
    if isinstance(entry, dict):
        entry["sha256"] = entry["sha256"][::-1]
    else:
        listed[name] = entry[::-1]
    write_json(manifest, content)


def test_a_tampered_manifest_of_raw_files(whole: Demo, finished: Demo) -> None:
    manifest = finished.runs / "resources/raw/dolly/manifest.json"
    tamper(manifest, "details", "files")
    line = refusal(finished, "format_corpus: ", target=FORMATTED)
    assert "raw file of dolly changed" in line
    assert "fix: delete the corpus' manifest.json and run again" in line
    manifest.unlink()
    finished.outcome(targets=[FORMATTED])
    assert (finished.runs / FORMATTED).read_bytes() == (whole.runs / FORMATTED).read_bytes()


def test_a_tampered_manifest_of_a_report(finished: Demo) -> None:
    def look() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [finished.command()[0], "-m", "polyalign", "provenance", CELL],
            cwd=finished.runs,
            env={**finished.environment, "PYTHONPATH": str(finished.root)},
            capture_output=True,
            text=True,
            check=False,
        )

    manifest = finished.runs / CELL.replace(".json", ".manifest.json")
    good = manifest.read_bytes()
    tamper(manifest, "outputs")
    found = look()
    assert found.returncode == 1
    assert f"output {CELL} is not the file this step wrote" in found.stdout
    manifest.write_bytes(good[:-20])
    broken = look()
    assert broken.returncode == 2
    (line,) = broken.stderr.splitlines()
    assert f"{manifest.name}: not valid JSON" in line
    manifest.write_bytes(good)
    assert look().returncode == 0


def test_a_checkpoint_without_one_of_its_shards(whole: Demo, finished: Demo) -> None:
    folder = finished.runs / "results/checkpoints" / NAME
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="1MB")
    shard, *others = check_weights(folder)
    moved = shard.rename(finished.runs / "moved")
    for made in (f"results/predictions/{NAME}/test.jsonl", CELL):
        (finished.runs / made).unlink()
    line = refusal(finished, "generate_predictions: ")
    assert f"{shard.name}: 1 of {len(others) + 1} shards of the weights missing" in line
    assert not list((finished.runs / "results/predictions" / NAME).glob("*.jsonl"))
    moved.rename(shard)
    finished.outcome(targets=[CELL])
    assert read_json(finished.runs / CELL) == read_json(whole.runs / CELL)
