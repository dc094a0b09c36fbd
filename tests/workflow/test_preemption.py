"""A training job that is told to stop in the middle: Snakemake tries it again, and it goes on."""

import os
import subprocess
import sys
import time

import psutil
import yaml
from safetensors.torch import load_file

from polyalign.files import read_json
from polyalign.training.run_sft import train_sft
from polyalign.training.state import MARKER
from tests.unit.training_world import arguments, equal, make_world, weights

CHECKPOINT = "results/checkpoints/en_sft_tiny"
MANIFEST = f"{CHECKPOINT}/manifest.json"
SMALL = {
    "max_steps": 150,
    "epochs": 50,
    "save_every": 5,
    "log_every": 5,
    "eval_every": None,
    "global_batch_size": 4,
    "micro_batch_size": 2,
}


def make_place(folder):
    """A working directory with a base model and splits, as if their rules had run; returns where they lie."""
    world = make_world(folder / "world")
    for source, target in (
        (world / "base", "results/base_models/en_tiny"),
        (world / "train.parquet", "results/splits/en/train.parquet"),
        (world / "val.parquet", "results/splits/en/val.parquet"),
    ):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        source.rename(folder / target)
    (folder / "results/base_models/en_tiny/manifest.json").write_text("{}")
    config = {"models": {"tiny": {"max_length": 192}}, "recipe_overrides": {"sft": SMALL}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    return folder / "results"


def start(root, folder):
    """Snakemake on the one rule, which it may try twice."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--directory",
        str(folder),
        "--cores",
        "1",
        "--retries",
        "1",
    ]
    command += ["--configfile", "config/demo.yaml", str(folder / "mine.yaml")]
    command += ["--allowed-rules", "train_sft", "--rerun-triggers", "mtime", "--", MANIFEST]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=root, env=environment, text=True, stderr=subprocess.PIPE)


def script_process(snakemake):
    """The process that runs the rule's script, below Snakemake."""
    for child in psutil.Process(snakemake.pid).children(recursive=True):
        if any(word.endswith("train_sft.py") for word in child.cmdline()) and not child.children():
            return child
    raise AssertionError("no process runs the script")


def test_a_preempted_job_is_tried_again_and_goes_on(root, tmp_path):
    given = make_place(tmp_path)
    snakemake = start(root, tmp_path)
    while not (saved := list(tmp_path.glob(f"work/*/*/checkpoints/*/{MARKER}"))):
        assert snakemake.poll() is None, snakemake.stderr.read()
        time.sleep(0.02)
    script_process(snakemake).terminate()
    _, said = snakemake.communicate(timeout=300)
    assert snakemake.returncode == 0, said
    assert saved
    assert "train_sft: stopped by a signal after step" in said
    assert "fix: run the same command again" in said
    log = (tmp_path / "logs/train_sft/en_tiny.log").read_text()
    assert "going on from" in log
    details = read_json(tmp_path / MANIFEST)["details"]
    assert details["steps"] == SMALL["max_steps"]
    # The same weights as a run that nothing stopped.
    unbroken = tmp_path / "unbroken"
    train_sft(
        train=given / "splits/en/train.parquet",
        val=given / "splits/en/val.parquet",
        recipe=details["recipe"],
        **arguments(
            tmp_path, unbroken, init_dir=given / "base_models/en_tiny", seed=details["seed"], max_length=192
        ),
    )
    assert equal(weights(unbroken), load_file(tmp_path / CHECKPOINT / "model.safetensors"))
