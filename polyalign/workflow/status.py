"""The grid language x model x method: what is fresh, stale or missing, why, and what it would cost."""

import csv
import json
import statistics
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from polyalign.config import read_config
from polyalign.files import StrPath
from polyalign.workflow.plan import Job, ancestors, explain, plan
from polyalign.workflow.run_lock import is_held

PAGES = {"tables": "main", "detection": "detection", "judge": "judge", "embeddings": "embeddings"}
"""Targets of the workflow beside `metrics`, and the tables that they end in: results/tables/{name}_{language}.md."""

STYLES = {"fresh": "green", "stale": "yellow", "missing": "dim", "running": "cyan", "interrupted": "red"}


# Narrow enough for the paper's six methods on a terminal of 80 columns.
_LAYOUT: dict[str, Any] = {"box": box.SIMPLE_HEAD, "pad_edge": False, "collapse_padding": True}


@dataclass(frozen=True)
class Standing:
    """How an artifact stands, and what is between it and being fresh.

    Attributes:
        state: fresh, stale (built, but not from what is there now), missing (not built), running, or
            interrupted (a step was begun and no Snakemake works in the folder).
        cause: first reason, of the deepest step that is due by itself.
        artifact: that step's first output.
        steps: jobs to do, those shared with other cells included.
        gpu_hours: what these jobs are expected to take, times their GPUs.
    """

    state: str
    cause: str | None = None
    artifact: str | None = None
    steps: int = 0
    gpu_hours: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Cell(Standing):
    """A cell's report."""

    language: str
    method: str
    model: str

    @property
    def label(self) -> str:
        """As in file names."""
        return f"{self.language}_{self.method}_{self.model}"


@dataclass(frozen=True, kw_only=True)
class Page(Standing):
    """One table of a language: the methods side by side, detectors, judges or embeddings."""

    name: str
    language: str

    @property
    def label(self) -> str:
        """What it shows, of which language."""
        return f"{self.name} {self.language}"


@dataclass(frozen=True)
class Status:
    """The whole grid and its pages; `gpu_hours` and `steps` count a job that several of them need once."""

    cells: list[Cell]
    steps: int
    gpu_hours: float
    estimated_from: dict[str, int] = field(default_factory=dict)
    pages: list[Page] = field(default_factory=list)


def _benchmark_seconds(path: Path) -> float | None:
    """Wall seconds of a benchmark file, the mean over repeats."""
    try:
        with open(path, newline="", encoding="utf-8") as handle:
            return statistics.fmean(float(row["s"]) for row in csv.DictReader(handle, delimiter="\t"))
    except (OSError, KeyError, ValueError, statistics.StatisticsError):
        return None


class Estimates:
    """Hours of a job: its own last run, else other runs of its rule, else the configured guess."""

    def __init__(self, directory: Path, defaults: Mapping[str, float]) -> None:
        self.directory = directory
        self.defaults = defaults
        self.used = {"own benchmark": 0, "benchmarks of its rule": 0, "configured guess": 0}
        self._of_rule: dict[str, float | None] = {}

    def _median_of_rule(self, rule: str) -> float | None:
        if rule not in self._of_rule:
            files = (self.directory / "benchmarks" / rule).rglob("*.tsv")
            seconds = [value for path in files if (value := _benchmark_seconds(path)) is not None]
            self._of_rule[rule] = statistics.median(seconds) / 3600 if seconds else None
        return self._of_rule[rule]

    def hours(self, job: Job) -> float:
        """Expected wall hours of one job."""
        own = _benchmark_seconds(self.directory / job.benchmark) if job.benchmark else None
        if own is not None:
            self.used["own benchmark"] += 1
            return own / 3600
        median = self._median_of_rule(job.rule)
        if median is not None:
            self.used["benchmarks of its rule"] += 1
            return median
        self.used["configured guess"] += 1
        return self.defaults.get(job.rule, 0.0) / job.shards


def begun_outputs(directory: Path) -> set[str]:
    """Outputs of jobs that were begun and not finished, from Snakemake's own markers."""
    folder = directory / ".snakemake" / "incomplete"
    names = set()
    for path in folder.rglob("*"):
        if path.is_file():
            encoded = "".join(part.removeprefix("@") for part in path.relative_to(folder).parts)
            try:
                names.add(urlsafe_b64decode(encoded).decode())
            except ValueError:
                continue
    return names


def state_of(
    artifact: str,
    jobs: Sequence[Job],
    hours: Mapping[str, float],
    begun: set[str],
    running: bool,
    directory: Path,
) -> dict[str, Any]:
    """The fields of a `Standing`.

    Args:
        artifact: the cell's report or the page, below the directory.
        jobs: the whole plan.
        hours: expected wall hours of each job, by its first output.
        begun: outputs of jobs that were begun and not finished.
        running: whether a workflow is running in the directory.
    """
    due = ancestors(jobs, artifact)
    if not due:
        return {"state": "fresh"}
    first = next(job for job in due if job.own_reasons)
    if begun & {output for job in due for output in job.outputs}:
        state = "running" if running else "interrupted"
    else:
        state = "stale" if (directory / artifact).is_file() else "missing"
    return {
        "state": state,
        "cause": f"{first.name}: {explain(first.own_reasons[0])}",
        "artifact": first.outputs[0],
        "steps": len(due),
        "gpu_hours": round(sum(hours[job.outputs[0]] * job.gpus for job in due), 3),
    }


def grid_status(*, root: StrPath, directory: StrPath, configfiles: Sequence[StrPath] = ()) -> Status:
    """State, cause and cost of every cell of the configured grid and of the pages made of them.

    Args:
        root: folder of the Snakefile and of config/config.yaml.
        directory: working directory whose results are looked at.
        configfiles: files merged over config/config.yaml, in order.

    Raises:
        BadInputs: the configuration has mistakes.
        PolyAlignError: the dry-run failed.
    """
    home = Path(directory)
    config = read_config(Path(root) / "config" / "config.yaml", *configfiles)
    jobs = plan(["metrics", *PAGES], root=root, directory=home, configfiles=configfiles)
    jobs = [job for job in jobs if job.outputs]
    estimates = Estimates(home, config.hours)
    hours = {job.outputs[0]: estimates.hours(job) if job.gpus else 0.0 for job in jobs}
    begun, running = begun_outputs(home), is_held(home)
    known = (jobs, hours, begun, running, home)
    cells = [
        Cell(language=lang, method=method, model=model, **state_of(report, *known))
        for lang, method, model in config.grid_cells()
        for report in [f"results/metrics/{lang}_{method}_{model}.json"]
    ]
    pages = [
        Page(name=name, language=language, **state_of(f"results/tables/{stem}_{language}.md", *known))
        for name, stem in PAGES.items()
        for language in config.grid.languages
    ]
    total = sum(hours[job.outputs[0]] * job.gpus for job in jobs)
    return Status(cells, len(jobs), round(total, 3), estimates.used, pages)


def status_values(status: Status) -> dict[str, Any]:
    """The status as plain JSON values."""
    return json.loads(json.dumps(asdict(status)))


def _mark(one: Standing) -> Text:
    hours = f", {one.gpu_hours:.0f} h" if one.gpu_hours >= 0.5 else ""
    return Text(one.state + (f"\n{one.steps}{hours}" if one.steps else ""), style=STYLES[one.state])


def _page_table(pages: Sequence[Page]) -> Table:
    """The pages, a row a language."""
    names = list(dict.fromkeys(page.name for page in pages))
    table = Table("page", *names, **_LAYOUT)
    for language in dict.fromkeys(page.language for page in pages):
        found = {page.name: page for page in pages if page.language == language}
        table.add_row(language, *(_mark(found[name]) for name in names))
    return table


def print_status(status: Status, console: Console | None = None) -> None:
    """The grid as a table, then each cause once with the cells it holds up, then the sum."""
    console = console or Console(soft_wrap=True)
    methods = list(dict.fromkeys(cell.method for cell in status.cells))
    table = Table("cell", *methods, caption="state; steps to do, GPU hours", **_LAYOUT)
    rows: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in status.cells:
        rows.setdefault((cell.language, cell.model), {})[cell.method] = cell
    for (language, model), cells in rows.items():
        table.add_row(
            f"{language} {model}", *(_mark(cells[method]) if method in cells else "" for method in methods)
        )
    console.print(table)
    if status.pages:
        console.print(_page_table(status.pages))
    causes: dict[str, list[str]] = {}
    for one in [*status.cells, *status.pages]:
        if one.cause:
            causes.setdefault(one.cause, []).append(one.label)
    if causes:
        console.print("First cause, deepest step first due:")
    for cause, names in causes.items():
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        console.print(f"  {cause}  [{shown}]", markup=False, highlight=False)
    if not status.steps:
        console.print("Everything is fresh.")
        return
    guesses = status.estimated_from.get("configured guess", 0)
    basis = "; ".join(f"{count} by {kind}" for kind, count in status.estimated_from.items() if count)
    console.print(
        f"{status.steps} steps, about {status.gpu_hours:,.1f} GPU hours" + (f" ({basis})" if basis else "")
    )
    if guesses:
        console.print("Guesses come from `hours` in the configuration until a run leaves benchmarks.")
