"""Shards: together they are the unsharded run, row for row; what does not fit together is named."""

import json

import pytest
from model_families import record_of, save_model
from test_inference_runner import run, write_records

from polyalign.errors import BadInput, BadInputs
from polyalign.files import read_jsonl
from polyalign.inference.gather import gather_predictions
from polyalign.inference.outcome import row_coverage
from polyalign.manifest import write_manifest


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """(folder with records and model, details and rows of the run in one piece)."""
    folder = tmp_path_factory.mktemp("whole")
    save_model(folder / "model")
    records = [record_of(index, context="long " * 400 if index == 4 else "") for index in range(11)]
    source = write_records(folder / "test.parquet", records)
    return folder, *run(source, folder / "model", folder, "whole.jsonl", mode="cot")


def sharded(whole, folder, count=3, mode="cot", **settings):
    """Manifests of the shards."""
    source, manifests = whole[0] / "test.parquet", []
    for number in range(1, count + 1):
        name = f"test_{number}-of-{count}.jsonl"
        details, _ = run(
            source, whole[0] / "model", folder, name, mode=mode, shard=(number, count), **settings
        )
        manifests.append(folder / f"test_{number}-of-{count}.manifest.json")
        write_manifest(manifests[-1], step="generate_shard", outputs=[folder / name], details=details)
    return manifests


def test_shards_together_are_the_run_in_one_piece(whole, tmp_path):
    manifests = sharded(whole, tmp_path)
    gathered = gather_predictions(whole[0] / "test.parquet", manifests[::-1], tmp_path / "test.jsonl")
    _, details, rows = whole
    assert [row for _, row in read_jsonl(tmp_path / "test.jsonl")] == rows
    assert gathered.pop("shards") == 3
    assert gathered == details
    assert gathered["coverage"] == row_coverage(range(11))
    assert gathered["counts"]["error"] == 1
    assert gathered["counts"]["without_final_answer"] == 10
    assert "en_sft_tiny test: 1 of 11 prompts longer than the model takes" in gathered["warnings"]


def test_a_missing_shard_names_its_rows(whole, tmp_path):
    manifests = sharded(whole, tmp_path)
    with pytest.raises(BadInputs) as error:
        gather_predictions(whole[0] / "test.parquet", manifests[:2], tmp_path / "test.jsonl")
    lines = str(error.value).splitlines()
    assert [line.split("id ")[1].split(":")[0] for line in lines] == ["row-2", "row-5", "row-8"]
    assert not (tmp_path / "test.jsonl").exists()


def test_a_row_of_two_shards_is_refused(whole, tmp_path):
    manifests = sharded(whole, tmp_path)
    with pytest.raises(BadInputs, match="another shard has this row"):
        gather_predictions(whole[0] / "test.parquet", [*manifests, manifests[0]], tmp_path / "test.jsonl")


def test_shards_of_different_runs_are_refused(whole, tmp_path):
    one, other = sharded(whole, tmp_path / "a"), sharded(whole, tmp_path / "b", mode="completion")
    with pytest.raises(BadInput, match="in another way than test_1-of-3"):
        gather_predictions(whole[0] / "test.parquet", [*one[:2], other[2]], tmp_path / "test.jsonl")


def test_a_shard_that_was_edited_is_refused(whole, tmp_path):
    manifests = sharded(whole, tmp_path)
    file = next(iter(json.loads(manifests[1].read_text())["outputs"]))
    with open(file, "a") as handle:
        handle.write("\n")
    with pytest.raises(BadInput, match="content differs from its manifest"):
        gather_predictions(whole[0] / "test.parquet", manifests, tmp_path / "test.jsonl")


@pytest.mark.parametrize("shard", [(0, 2), (3, 2)])
def test_a_shard_that_does_not_exist_is_refused(whole, tmp_path, shard):
    with pytest.raises(BadInput, match="there is no shard"):
        run(whole[0] / "test.parquet", whole[0] / "model", tmp_path, shard=shard)
