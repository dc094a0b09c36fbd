"""Runs of the workflow through `--profile slurm`, and what the cluster does meanwhile."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class SlurmRun:
    """A copy of the checkout and the working directory of its small demo."""

    root: Path
    runs: Path

    def command(self, *options: str, targets: tuple[str, ...], directory: Path | None = None) -> list[str]:
        """What a user types, with the small demo's configuration and shorter waits."""
        return [
            *(sys.executable, "-m", "snakemake", "--profile", "slurm"),
            *("--configfile", "config/demo.yaml", "tests/e2e/small.yaml"),
            *("--directory", str(directory or self.runs), "--jobs", "4", "--latency-wait", "5"),
            *("--slurm-init-seconds-before-status-checks", "3"),
            *options,
            "--",
            *targets,
        ]

    def start(self, *options: str, targets: tuple[str, ...], directory: Path | None = None) -> subprocess.Popen[str]:
        """Start Snakemake; its output goes to one pipe."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.Popen(
            self.command(*options, targets=targets, directory=directory),
            cwd=self.root,
            env={**environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def finish(
        self, *options: str, targets: tuple[str, ...], directory: Path | None = None, timeout: int = 1500
    ) -> tuple[int, str]:
        """(exit code, output) of a whole run."""
        process = self.start(*options, targets=targets, directory=directory)
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output


@dataclass
class Seen:
    """What `scontrol` showed over time: {job id: rule}, and for each moment which jobs held which GPUs."""

    rules: dict[str, str] = field(default_factory=dict)
    moments: list[dict[str, set[int]]] = field(default_factory=list)


def jobs_now() -> Iterator[dict[str, str]]:
    """Fields of every job Slurm knows, from `scontrol show job -d`."""
    done = subprocess.run(["scontrol", "show", "job", "-d", "-o"], text=True, capture_output=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("JobId="):
            yield dict(re.findall(r"(\w+)=(\S*)", line))


def running_job(rule: str) -> str | None:
    """Id of the running job of a rule."""
    for job in jobs_now():
        if job.get("JobState") == "RUNNING" and job.get("Comment", "").startswith(f"rule_{rule}_"):
            return job["JobId"]
    return None


@contextmanager
def watching(every: float = 0.5) -> Iterator[Seen]:
    """Sample running jobs and their GPUs until the block ends."""
    seen, stop = Seen(), threading.Event()

    def sample() -> None:
        while not stop.wait(every):
            held: dict[str, set[int]] = {}
            for job in jobs_now():
                seen.rules[job["JobId"]] = job.get("Comment", "")
                found = re.search(r"gpu[^(]*\(IDX:([\d,-]+)\)", job.get("GRES", ""))
                if job.get("JobState") == "RUNNING" and found:
                    held[job["JobId"]] = _numbers(found.group(1))
            seen.moments.append(held)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _numbers(text: str) -> set[int]:
    """{0, 1, 2} of `0-2`, {0, 2} of `0,2`."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def wait_for(what: str, ready, process: subprocess.Popen[str], seconds: float = 300) -> None:
    """Wait until `ready()` while the run goes on."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, f"the run ended before {what}: {process.stdout.read()[-3000:]}"
        assert time.monotonic() < deadline, f"no {what} within {seconds:.0f} s"
        time.sleep(0.1)
