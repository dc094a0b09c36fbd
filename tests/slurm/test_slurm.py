"""The small demo through `--profile slurm`, on a real Slurm, with what goes wrong on clusters."""

import json
import re
import subprocess
import time

import pytest

from polyalign.files import sha256_file
from tests.slurm import cluster
from tests.slurm.run import SlurmRun, jobs_now, running_job, wait_for, watching

REPORT = "results/metrics/en_hdpo_tiny.json"
TRAINED = ("train_sft", "train_bucketsft", "train_dpo", "train_hdpo", "generate_predictions")
# Training on these pretended GPUs computes on the CPU (`gpus: 0`), while Slurm hands out a device to each job.
WITH_DEVICES = ("--set-resources", *(f"{rule}:gres=gpu:1" for rule in TRAINED))


@pytest.fixture(scope="module")
def built(run: SlurmRun):
    """The whole cell, built once without disturbance; (run, what Slurm did, wall seconds)."""
    start = time.monotonic()
    with watching() as seen:
        code, output = run.finish(*WITH_DEVICES, targets=(REPORT,))
    assert code == 0, output[-6000:]
    wall = time.monotonic() - start
    print(f"\n{len(seen.rules)} Slurm jobs in {wall:.0f} s")
    return run, seen, wall


def test_the_demo_cell_is_built_through_slurm(built):
    run, seen, _ = built
    report = json.loads((run.runs / REPORT).read_text())
    assert report["coverage"]["missing"] == 0
    assert report["metrics"]["bng"]["overall_macro"] > 0
    rules = {re.sub(r"_wildcards_.*", "", comment) for comment in seen.rules.values()}
    assert {f"rule_{rule}" for rule in ("train_sft", "train_bucketsft", "train_hdpo")} <= rules


def test_gpu_jobs_get_a_device_of_their_own_and_run_side_by_side(built):
    run, seen, _ = built
    for rule in ("train_sft", "train_bucketsft", "train_hdpo"):
        log = (run.runs / f"logs/{rule}/en_tiny.log").read_text()
        assert re.search(r"CUDA_VISIBLE_DEVICES=[01]\b", log), f"{rule} was given no device"
    together = [held for held in seen.moments if len(held) > 1]
    assert together, "no two GPU jobs ran at the same time"
    for held in together:
        devices = [device for found in held.values() for device in found]
        assert len(devices) == len(set(devices)), f"a device was shared: {held}"


def state_of(run: SlurmRun, cell: str):
    """Whether the cell's training has written a state in this run."""
    return list((run.runs / f"work/{cell}").glob("*/checkpoints/checkpoint-*/complete.json"))


def test_cancelled_and_preempted_jobs_resume_to_the_same_weights(built):
    run, _, _ = built
    cells = {rule: f"en_{rule.removeprefix('train_')}_tiny" for rule in ("train_sft", "train_bucketsft")}
    weights = {rule: run.runs / f"results/checkpoints/{cell}/model.safetensors" for rule, cell in cells.items()}
    before = {rule: sha256_file(path) for rule, path in weights.items()}
    targets = tuple(f"results/checkpoints/{cell}/manifest.json" for cell in cells.values())
    process = run.start("--forcerun", *cells, *WITH_DEVICES, targets=targets)
    wait_for("a state of train_bucketsft", lambda: state_of(run, cells["train_bucketsft"]), process)
    cancelled = running_job("train_bucketsft")
    subprocess.run(["scancel", cancelled], check=True)
    wait_for("a state of train_sft", lambda: state_of(run, cells["train_sft"]), process)
    preempted = running_job("train_sft")
    # An urgent job that wants the whole node makes Slurm preempt and requeue what runs there.
    cluster.sh("sbatch", "-p", "urgent", "--exclusive", "--output", "/dev/null", "--wrap", "sleep 2")
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output[-6000:]
    assert f"SLURM-job '{cancelled}' failed" in output
    assert "Trying to restart job" in output
    restarts = cluster.sh("scontrol", "show", "job", preempted)
    assert re.search(r"Restarts=[1-9]", restarts), f"{preempted} was not requeued: {restarts}"
    for rule, path in weights.items():
        log = (run.runs / f"logs/{rule}/en_tiny.log").read_text()
        assert re.search(r"training: [1-9]\d* of \d+ steps done", log), f"{rule} did not resume:\n{log[-3000:]}"
        assert sha256_file(path) == before[rule]


def test_a_job_out_of_memory_is_tried_again_with_more(built):
    run, _, _ = built
    little = "build_tiny_model:mem_mb=180 * attempt ** 3"
    target = "results/base_models/en_tiny/manifest.json"
    before = {job["JobId"] for job in jobs_now()}
    with watching(0.2) as seen:
        code, output = run.finish("--forcerun", "build_tiny_model", "--set-resources", little, targets=(target,))
    assert code == 0, output[-6000:]
    assert "Trying to restart job" in output
    jobs = [
        job
        for job, comment in seen.rules.items()
        if job not in before and comment.startswith("rule_build_tiny_model")
    ]
    asked = [re.search(r"mem=([\d.]+[MG])", cluster.sh("scontrol", "show", "job", job)).group(1) for job in jobs]
    assert asked[:2] == ["180M", "1440M"]


def test_a_failing_rule_is_reported_with_its_log(run: SlurmRun, tmp_path):
    raw = tmp_path / "mirror" / "dolly"
    raw.mkdir(parents=True)
    (raw / "databricks-dolly-15k.jsonl").write_text('{"instruction": "Name a tree.", "response": 7}\n')
    sources = f"sources={{mirror: {tmp_path / 'mirror'}}}"
    target = "results/formatted/dolly/manifest.json"
    code, output = run.finish(
        "--config", sources, "--retries", "0", targets=(target,), directory=tmp_path / "runs"
    )
    assert code != 0
    assert "logs/format_corpus/dolly.log" in output
    assert "databricks-dolly-15k.jsonl, row 1" in output
    assert not (tmp_path / "runs" / target).exists()


@pytest.mark.parametrize("command", ["squeue", "sacct"])
def test_accounting_may_be_on(run: SlurmRun, tmp_path, command):
    try:
        cluster.up(accounting=True)
    except cluster.CannotStart as reason:
        pytest.skip(f"no accounting here: {reason}")
    options = ("--slurm-status-command", command, "--default-resources", "slurm_account=lab")
    code, output = run.finish(
        *options, targets=("results/formatted/dolly/manifest.json",), directory=tmp_path / "runs"
    )
    assert code == 0, output[-6000:]
    rows = cluster.sh("sacct", "-X", "-n", "-P", "-o", "comment,state,account").split()
    assert [row for row in rows if row.startswith("rule_format_corpus") and row.endswith("COMPLETED|lab")], rows
