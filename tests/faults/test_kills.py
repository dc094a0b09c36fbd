"""A workflow killed at random moments, again and again, ends in the report of one that nothing happened to."""

import os
import random
import subprocess
import time
from pathlib import Path

import psutil

from polyalign.files import read_json, read_jsonl
from tests.demo_world import Demo
from tests.faults.conftest import CELL

KILLS = int(os.environ.get("FAULT_KILLS", "20"))
SECONDS = (4.0, 22.0)
"""How long a workflow lives: at least until it plans its jobs, at most for a few of them."""


def start(demo: Demo) -> subprocess.Popen[bytes]:
    demo.runs.mkdir(parents=True, exist_ok=True)
    with (demo.runs / "output.txt").open("ab") as output:
        return subprocess.Popen(
            demo.command(targets=[CELL]),
            cwd=demo.root,
            env=demo.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL to the workflow and to everything that it started, as when power fails."""
    main = psutil.Process(process.pid)
    for each in [main, *main.children(recursive=True)]:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


def test_a_workflow_killed_at_random_ends_in_the_same_report(whole: Demo, tmp_path: Path) -> None:
    chance = random.Random(11)
    killed, run, runs = 0, 0, [Demo(whole.root, tmp_path / "run0")]
    while killed < KILLS:
        process = start(runs[-1])
        deadline = time.monotonic() + chance.uniform(*SECONDS)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if process.poll() is None:
            kill(process)
            killed += 1
            continue
        assert process.returncode == 0, (runs[-1].runs / "output.txt").read_text()[-4000:]
        run += 1  # it came to its end between two kills: the next one starts from nothing
        runs.append(Demo(whole.root, tmp_path / f"run{run}"))
    for demo in runs:
        demo.outcome(targets=[CELL])
        assert read_json(demo.runs / CELL) == read_json(whole.runs / CELL)
        predictions = "results/predictions/en_hdpo_tiny/test.jsonl"
        assert list(read_jsonl(demo.runs / predictions)) == list(read_jsonl(whole.runs / predictions))


def test_two_workflows_in_one_folder_do_not_mix(whole: Demo, tmp_path: Path) -> None:
    demo = Demo(whole.root, tmp_path / "runs")
    first = start(demo)
    try:
        lock = demo.runs / ".snakemake" / "polyalign.lock"
        while not lock.exists():
            assert first.poll() is None, (demo.runs / "output.txt").read_text()[-4000:]
            time.sleep(0.05)
        second = demo.snakemake(targets=[CELL])
        assert second.returncode == 2
        line = f"{demo.runs}: another workflow is running here"
        assert [text for text in second.stderr.splitlines() if line in text], second.stderr
        assert "Traceback" not in second.stderr
        assert first.poll() is None
        planned = demo.snakemake("-n", targets=[CELL])
        assert planned.returncode == 0, planned.stderr
    finally:
        kill(first)
    # A killed workflow leaves no lock behind.
    listed = demo.snakemake("--touch", targets=["results/raw/en/dolly"])
    assert "another workflow" not in listed.stderr
