"""What a benchmark is made of, how one is measured, and on what machine.

A stage is a module of `tests/bench/stages/` with three names:

    TITLE = "Deduplication"                     # heading of its table
    BOUND = "SHA-1 of every record's text."     # one or two sentences: what bounds it, how it grows
    CASES = (Case("10k", _start, published="deduplicate", target=3.0), ...)

`start(space)` runs in the process that is measured, but untimed: it loads what is not to be counted and returns the
timed call. That call does the work and returns the number of rows it went through.
"""

import csv
import importlib
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent.parent
STAGES = BENCH / "stages"
PUBLISHED_TABLE = BENCH / "published.csv"
ENOUGH_SECONDS = 20.0
"""A case that takes longer is measured once, a shorter one `REPEATS` times."""
REPEATS = 3
_SIZE = re.compile(r"(?:(?P<family>.*), )?(?P<count>\d+)(?P<unit>[kM]?)")
_UNITS = {"": 1, "k": 1_000, "M": 1_000_000}
_SAMPLE_SECONDS = 0.1
_MARK = "polyalign-bench:"


@dataclass(frozen=True)
class Space:
    """Folders of a case.

    Attributes:
        data: inputs, made once and kept between runs; shared by all stages.
        scratch: outputs, emptied before every run.
    """

    data: Path
    scratch: Path


def nothing_to_prepare(space: Space) -> None:
    """The preparation of a case whose input is already there."""


@dataclass(frozen=True)
class Case:
    """One line of a stage's table.

    Attributes:
        name: unique within the stage: an input's size ("100k") or name ("dolly").
        start: untimed setup in the measured process; returns the timed call, which returns its rows.
        prepare: makes the inputs, in a process of its own; must leave alone what is already made.
        published: row of published.csv to compare with.
        target: least ratio to the published figure; `make bench` says where it is missed.
        memory_mb: most memory allowed.
        note: what a reader needs to know to read the line.
    """

    name: str
    start: Callable[[Space], Callable[[], int]]
    prepare: Callable[[Space], None] = nothing_to_prepare
    published: str | None = None
    target: float | None = None
    memory_mb: int | None = None
    note: str = ""


def size_of(name: str) -> int:
    """Rows that a case's name or an option speaks of: "10k", "merged, 1M"; 0 where it speaks of none."""
    match = _SIZE.fullmatch(name)
    return int(match["count"]) * _UNITS[match["unit"]] if match else 0


def family_of(name: str) -> str:
    """What cases of one thing at several sizes have in common: "merged" of "merged, 1M", nothing of "10k"."""
    match = _SIZE.fullmatch(name)
    return (match["family"] or "") if match else name


@dataclass(frozen=True)
class Stage:
    """A module of stages/, loaded."""

    name: str
    title: str
    bound: str
    cases: tuple[Case, ...]

    def case(self, name: str) -> Case:
        return next(case for case in self.cases if case.name == name)


def load_stage(name: str) -> Stage:
    """The stage of that module name."""
    module = importlib.import_module(f"tests.bench.stages.{name}")
    names = [case.name for case in module.CASES]
    if len(set(names)) != len(names):
        raise ValueError(f"{name}: two cases of one name")
    return Stage(name, module.TITLE, module.BOUND, tuple(module.CASES))


def stage_names() -> list[str]:
    """Every stage, in name order: the order of the page."""
    return sorted(path.stem for path in STAGES.glob("[a-z]*.py"))


def published_figures() -> dict[str, dict[str, Any]]:
    """{name: {rows_per_s or seconds, what, source}} of the published implementation."""
    with open(PUBLISHED_TABLE, encoding="utf-8", newline="") as handle:
        rows = {row.pop("name"): row for row in csv.DictReader(handle)}
    for row in rows.values():
        for key in ("rows_per_s", "seconds"):
            row[key] = float(row[key]) if row[key] else None
    return rows


def ratio_to_published(result: dict[str, Any], figure: dict[str, Any] | None) -> float | None:
    """How many times as fast as the published implementation: by rows/s, or by seconds for a fixed input."""
    if figure is None:
        return None
    if figure["rows_per_s"]:
        return result["rows_per_s"] / figure["rows_per_s"]
    return figure["seconds"] / result["seconds"]


def machine() -> dict[str, Any]:
    """The machine in the few words that matter to a reader of timings."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def measure(stage: Stage, case: Case, work: Path) -> dict[str, Any]:
    """Prepare a case and run it in fresh processes; the median run by wall time.

    Returns:
        rows, seconds, cpu_seconds, rows_per_s, peak_mb (whole process, its children included), others (cores that
        everything else on the machine kept busy meanwhile, on average), yardstick, repeats.

    Raises:
        RuntimeError: the case fails; its error has been printed.
    """
    _in_process(stage, case, work, "prepare")
    runs = [_in_process(stage, case, work, "run")]
    while len(runs) < REPEATS and sum(run["seconds"] for run in runs) < ENOUGH_SECONDS:
        runs.append(_in_process(stage, case, work, "run"))
    middle = statistics.median_low(run["seconds"] for run in runs)
    chosen = next(run for run in runs if run["seconds"] == middle)
    peak = max(run["peak_mb"] for run in runs)
    return {**chosen, "peak_mb": peak, "repeats": len(runs)}


def _in_process(stage: Stage, case: Case, work: Path, action: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.harness", action, stage.name, case.name, str(work)]
    environment = {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        **os.environ,
    }
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not found:
        raise RuntimeError(f"{stage.name} {case.name}: {action} failed with exit code {done.returncode}")
    return json.loads(found[-1].removeprefix(_MARK))


def _has_children() -> bool:
    """Whether this process has children; asked often, so without going through all processes where that can be."""
    lists = list(Path("/proc/self/task").glob("*/children"))
    try:
        return any(path.read_bytes() for path in lists) if lists else True
    except OSError:
        return True


class _TreeMemory(threading.Thread):
    """Samples the memory of this process and its children: rusage knows only the largest single child."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_with_children = 0
        self._process = psutil.Process()
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            if not _has_children():
                continue
            children = self._process.children(recursive=True)
            total = 0
            for process in (self._process, *children):
                try:
                    # What a fork shares with its parent counts once.
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
            self.peak_with_children = max(self.peak_with_children, total)

    def stop(self) -> int:
        self._over.set()
        self.join()
        return self.peak_with_children


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _busy_seconds() -> float:
    """Processor time that the machine has spent on anything; the kernel counts it in hundredths of a second."""
    spent = psutil.cpu_times()
    return spent.user + spent.nice + spent.system + spent.irq + spent.softirq


def yardstick_seconds() -> float:
    """Processor seconds of a fixed piece of work, the least of five: how fast this machine is at what stages do.

    Words counted in Python, numbers sorted and matrices multiplied by NumPy. A time over it hardly depends on the
    machine, so that times stored on one can be compared with those of another.
    """
    import numpy as np

    rng = np.random.default_rng(3)
    numbers, matrix = rng.random(300_000), rng.random((400, 400))
    text = " ".join(f"word{number % 977}" for number in range(60_000))
    found = []
    for _ in range(5):
        begin = time.process_time()
        Counter(word.lower() for word in text.split())
        np.sort(numbers)
        matrix @ matrix
        found.append(time.process_time() - begin)
    return round(min(found), 5)


def run_timed(call: Callable[[], int]) -> dict[str, Any]:
    """Time one call in this process."""
    memory = _TreeMemory()
    memory.start()
    busy, cpu, begin = _busy_seconds(), _cpu_seconds(), time.perf_counter()
    rows = call()
    seconds, cpu, busy = time.perf_counter() - begin, _cpu_seconds() - cpu, _busy_seconds() - busy
    # ru_maxrss counts kilobytes on Linux.
    peak = max(memory.stop(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    return {
        "rows": rows,
        "seconds": round(seconds, 4),
        "cpu_seconds": round(cpu, 4),
        "others": round(max(0.0, busy - cpu) / seconds, 2),
        "rows_per_s": round(rows / seconds, 1),
        "peak_mb": round(peak / 1e6),
    }


def _child(action: str, stage: str, name: str, work: str) -> None:
    """Entry of the fresh process: `prepare` or `run` one case and print what was found on the last line."""
    case = load_stage(stage).case(name)
    space = Space(Path(work) / "data", Path(work) / "scratch" / stage / name)
    space.data.mkdir(parents=True, exist_ok=True)
    if action == "prepare":
        case.prepare(space)
        found: dict[str, Any] = {}
    else:
        shutil.rmtree(space.scratch, ignore_errors=True)
        space.scratch.mkdir(parents=True)
        # PyArrow loads pandas with the first array it makes; imports are not what is timed.
        importlib.import_module("pandas")
        try:
            call = case.start(space)
            found = {**run_timed(call), "yardstick": yardstick_seconds()}
        finally:
            shutil.rmtree(space.scratch, ignore_errors=True)
    print(_MARK + json.dumps(found), flush=True)


if __name__ == "__main__":
    _child(*sys.argv[1:])
