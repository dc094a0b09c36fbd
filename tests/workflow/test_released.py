"""Plans with released artifacts: nothing is trained for a checkpoint, nothing predicted for predictions."""

import re

import pytest
import yaml

TRAINING = {
    "train_sft",
    "train_bucketsft",
    "train_dpo",
    "train_hdpo",
    "train_critic",
    "build_pairs",
    "merge_splits",
}


def planned(output: str) -> dict[str, int]:
    """{rule: jobs} of a dry-run's job table."""
    return {
        name: int(count)
        for name, count in re.findall(r"^(\w+) +(\d+)$", output.split("Job stats:")[1], flags=re.MULTILINE)
    }


@pytest.fixture
def plan(snakemake, tmp_path):
    """{rule: jobs} that config/released.yaml plans for targets."""

    def run(*targets: str, options: tuple[str, ...] = ()) -> dict[str, int]:
        files = ("--configfile", "config/released.yaml")
        done = snakemake("-n", "--directory", tmp_path / "runs", *files, *options, "--", *targets)
        assert done.returncode == 0, done.stdout + done.stderr
        return planned(done.stdout + done.stderr)

    return run


def test_the_released_tables_need_no_training_and_no_inference(plan):
    jobs = plan("tables")
    assert jobs["import_predictions"] == jobs["evaluate_predictions"] == 2 * 4 * 4
    assert jobs["import_records"] == 2
    assert jobs["fetch_released"] == 2 * 4 * 4 + 2
    assert not set(jobs) & {*TRAINING, "generate_predictions", "import_checkpoint", "fetch_source"}


def test_cells_by_name_are_made_of_what_was_released(plan):
    """A checkpoint, an oracle that is asked of it here, released oracle predictions, and the other form of a cell."""
    option = "cells={en_bucketsft_llama3b: {source: checkpoint}}"
    cells = ("en_hdpo_llama3b", "en_hdporef_llama3b", "zh_hdporef_gemma2b", "en_bucketsft_llama3b")
    jobs = plan(*(f"results/metrics/{cell}.json" for cell in cells), options=("--config", option))
    assert jobs["import_checkpoint"] == 2
    assert jobs["generate_predictions"] == 3
    assert jobs["import_predictions"] == 1
    assert not set(jobs) & TRAINING


def test_a_cell_trained_from_a_released_checkpoint(snakemake, tmp_path):
    """SFT is taken as released, and DPO trained from it, pairs included."""
    mine = tmp_path / "mine.yaml"
    cell = {"source": "checkpoint", "checkpoint": {"hub": "owner/sft"}}
    mine.write_text(yaml.safe_dump({"cells": {"en_sft_llama3b": cell}}))
    target = "results/metrics/en_dpo_llama3b.json"
    done = snakemake("-n", "--directory", tmp_path, "--configfile", mine, "--", target)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = planned(done.stdout + done.stderr)
    assert jobs["import_checkpoint"] == jobs["train_dpo"] == 1
    assert "train_sft" not in jobs


def test_a_local_file_that_is_not_there_ends_in_one_line(snakemake, tmp_path):
    files = ("--configfile", "config/released.yaml", "--config", f"released_mirror={tmp_path}")
    done = snakemake("-n", "--directory", tmp_path, *files, "--", "tables")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "no released artifact here" in line]
    assert line.startswith(f"{tmp_path}/saiteja33/PolyAlign-All/")
    assert "Traceback" not in done.stderr
