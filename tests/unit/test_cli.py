"""The command line as a user meets it: a chain of commands on files, and errors of one line with exit code 2."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from polyalign.cli import _with_repeated_options
from polyalign.demo.sources import write_demo_source


def polyalign(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "polyalign", *map(str, arguments)]
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(command, cwd=root, text=True, capture_output=True, check=False)


def run(*arguments: object) -> str:
    done = polyalign(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """Raw, formatted and deduplicated records of one generated corpus."""
    folder = tmp_path_factory.mktemp("cli")
    write_demo_source("multiwoz", folder / "raw", 600, seed=3)
    run("format", "multiwoz", "--source", folder / "raw", "--out", folder / "formatted/multiwoz")
    run(
        "dedup", "--in", folder / "formatted", "--out", folder / "deduped", "--report", folder / "report.json"
    )
    return folder


def test_from_raw_files_to_views(tree, tmp_path):
    manifest = json.loads((tree / "formatted/multiwoz/manifest.json").read_text())
    formatted = {
        split: lines(tree / f"formatted/multiwoz/{split}.jsonl") for split in ("train", "dev", "test")
    }
    assert manifest["details"]["split_counts"] == {split: len(rows) for split, rows in formatted.items()}
    counts = json.loads((tree / "report.json").read_text())["counts"]
    assert counts["original_total"] == sum(map(len, formatted.values()))
    assert 0 < counts["removed_total"] < counts["original_total"]
    run("views", "--in", tree / "deduped", "--out", tmp_path, "--language", "en")
    assert lines(tmp_path / "current/test.jsonl") == lines(tree / "deduped/multiwoz/test.jsonl")
    weights = [row["dist_sft_weight"] for row in json.loads((tmp_path / "dist_sft_train.json").read_text())]
    assert sum(weights) / len(weights) == pytest.approx(1.0)


def test_from_records_to_a_table(tree, tmp_path):
    splits = [tree / f"deduped/multiwoz/{split}.jsonl" for split in ("train", "test")]
    features = [tmp_path / "train.parquet", tmp_path / "test.jsonl"]
    for records, out in zip(splits, features, strict=True):
        run("features", "--records", records, "--out", out, "--set", "core-v1")
    # Lists as the shell expands them, not one option a value.
    run("references", "--records", *splits, "--features", *features, "--out", tmp_path / "references")
    references = tmp_path / "references/bucket_references.json"
    targets = tmp_path / "targets.jsonl"
    run(
        "critic-targets", "--records", splits[1], "--features", features[1], "--references", references,
        "--out", targets,
    )  # fmt: skip
    records = lines(splits[1])
    assert [row["id"] for row in lines(targets)] == [record["id"] for record in records]
    known = [row["target"] for row in lines(targets) if row["target"] is not None]
    assert known
    assert min(known) >= 0
    predictions = tmp_path / "predictions.jsonl"
    rows = [{"source_index": row, "prediction": record["human_answer"]} for row, record in enumerate(records)]
    predictions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = tmp_path / "report.json"
    run(
        "evaluate", "--records", splits[1], "--predictions", predictions, "--references", references,
        "--set", "core-v1", "--no-mauve", "--bootstrap", 50, "--out", report,
    )  # fmt: skip
    content = json.loads(report.read_text())
    assert content["metrics"]["utility"]["overall"]["qa_f1"] == 1.0
    assert content["metrics"]["bng"]["overall_macro"] == 0.0
    assert content["metrics"]["mauve"]["global"] is None
    other = tmp_path / "other.jsonl"
    other.write_text(features[1].read_text().replace("adjacent_repeat_count", "of_another_set"))
    done = polyalign(
        "evaluate", "--records", splits[1], "--predictions", predictions, "--human-features", other,
        "--references", references, "--set", "core-v1", "--no-mauve", "--out", report,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"features of {predictions}: other features than {other}")


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["format", "doly", "--source", "nowhere", "--out", "OUT"], ["doly", "dolly"]),
        (["format", "dolly", "--source", "nowhere", "--out", "OUT"], ["nowhere", "fix:"]),
        (["dedup", "--in", "nowhere", "--out", "OUT", "--report", "OUT/r.json"], ["nowhere", "fix:"]),
        (["tables", "--metrics", "nowhere.json", "--out", "OUT"], ["nowhere.json: file not found"]),
        (["features", "--records", "nowhere.jsonl", "--out", "OUT/f", "--set", "core-v1"], ["nowhere.jsonl"]),
    ],
)
def test_bad_input_ends_with_one_line_and_code_2(arguments, expected, tmp_path):
    out = tmp_path / "out"
    done = polyalign(*[argument.replace("OUT", str(out)) for argument in arguments])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert all(part in line for part in expected), line
    assert not list(out.rglob("*")) if out.exists() else True


def test_lists_may_follow_one_option():
    given = ["tables", "--metrics", "a", "b", "--out", "o"]
    assert _with_repeated_options(given) == ["tables", "--metrics", "a", "--metrics", "b", "--out", "o"]
    assert _with_repeated_options(["evaluate", "--records", "a"]) == ["evaluate", "--records", "a"]
    assert _with_repeated_options([]) == []
