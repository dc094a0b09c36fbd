"""A workflow killed at random moments, again and again, ends in the report of one that nothing happened to."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil

from polyalign.files import read_json, read_jsonl
from tests.demo_world import Demo
from tests.faults.conftest import CELL, CONFIGS, KILLS, NAME

SECONDS = (2.0, 36.0)
"""CPU seconds that a workflow and its jobs get, so that a busy machine changes nothing: at least until it plans its
jobs, at most for a few of them."""


def start(demo: Demo) -> subprocess.Popen[bytes]:
    """A workflow that leads a process group of its own."""
    demo.runs.mkdir(parents=True, exist_ok=True)
    with (demo.runs / "output.txt").open("ab") as output:
        return subprocess.Popen(
            demo.command(targets=[CELL]),
            cwd=demo.root,
            env=demo.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the workflow and to everything that it started, as when power fails."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def used_seconds(process: subprocess.Popen[bytes]) -> float:
    """CPU seconds of a workflow and of all its jobs so far, those that ended included."""
    used = 0.0
    try:
        workflow = psutil.Process(process.pid)
        for each in (workflow, *workflow.children(recursive=True)):
            used += sum(each.cpu_times()[:4])
    except psutil.NoSuchProcess:
        pass
    return used


def file_names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_workflow_killed_at_random_ends_in_the_same_report(whole: Demo, tmp_path: Path) -> None:
    chance = random.Random(11)
    runs = [Demo(whole.root, tmp_path / "run0", CONFIGS)]
    killed = 0
    while killed < KILLS:
        process, moment = start(runs[-1]), chance.uniform(*SECONDS)
        while process.poll() is None and used_seconds(process) < moment:
            time.sleep(0.1)
        if process.poll() is None:
            kill(process)
            killed += 1
            continue
        assert process.returncode == 0, (runs[-1].runs / "output.txt").read_text()[-4000:]
        # It came to its end between two kills: the next one starts from nothing.
        runs.append(Demo(whole.root, tmp_path / f"run{len(runs)}", CONFIGS))
    predictions = f"results/predictions/{NAME}/test.jsonl"
    for demo in runs:
        demo.outcome(targets=[CELL])
        assert read_json(demo.runs / CELL) == read_json(whole.runs / CELL)
        assert list(read_jsonl(demo.runs / predictions)) == list(read_jsonl(whole.runs / predictions))
        # Nor is anything left of what was being written when a kill came.
        assert file_names(demo.runs / "results") == file_names(whole.runs / "results")


def test_two_workflows_in_one_folder_do_not_mix(fresh: Demo) -> None:
    first = start(fresh)
    try:
        lock = fresh.runs / ".snakemake" / "polyalign.lock"
        while not lock.exists():
            assert first.poll() is None, (fresh.runs / "output.txt").read_text()[-4000:]
            time.sleep(0.1)
        second = fresh.snakemake(targets=[CELL])
        assert second.returncode == 2
        line = f"{fresh.runs}: another workflow is running here"
        assert [text for text in second.stderr.splitlines() if text.startswith(line)], second.stderr
        assert "Traceback" not in second.stderr
        assert first.poll() is None
        planned = fresh.snakemake("-n", targets=[CELL])
        assert planned.returncode == 0, planned.stderr
    finally:
        kill(first)
    # A killed workflow leaves no lock behind.
    fresh.outcome(targets=["results/formatted/dolly/train.parquet"])
