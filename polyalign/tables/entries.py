"""Reports that are read for a table, each with its replicates and its further seeds."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from polyalign.errors import BadInput
from polyalign.files import StrPath, read_table
from polyalign.methods import ORACLE_METHODS
from polyalign.metrics.bootstrap import ends, interval
from polyalign.metrics.evaluation import BOUNDS, RECENTRED, ceilings_of, estimates_of
from polyalign.metrics.groups import group_estimates, group_key, split_key
from polyalign.metrics.report import Cell, Report, read_report
from polyalign.tables.model import Spread
from polyalign.tables.names import METHOD_LABELS


@dataclass
class Entry:
    """A row of a table: the report of a cell with its file and replicates, and those of its further seeds.

    Estimates are means over the seeds, and so are the replicates that tests are made of, since all seeds are resampled
    together. Intervals are those of the first seed.
    """

    file: Path
    report: Report
    replicates: dict[str, np.ndarray] = field(default_factory=dict)
    further: "list[Entry]" = field(default_factory=list)

    @property
    def model(self) -> str:
        """The model, whatever its seed."""
        return self.report.cell.seed_of or self.report.cell.model

    @property
    def runs(self) -> "list[Entry]":
        """One entry a seed, this one first."""
        return [self, *self.further]

    @property
    def method(self) -> str:
        return self.report.cell.method

    @property
    def label(self) -> str:
        """The method as tables write it."""
        return METHOD_LABELS.get(self.method, self.method)

    @cached_property
    def estimates(self) -> dict[str, float | None]:
        """Every value that a table may show, by name; those of buckets and datasets by `group_key`."""
        if not self.further:
            return self.own_estimates
        keys = dict.fromkeys(key for run in self.runs for key in run.own_estimates)
        return {key: float(np.mean(known)) if (known := self._over_seeds(key)) else None for key in keys}

    @cached_property
    def own_estimates(self) -> dict[str, float | None]:
        """The values of this report alone."""
        metrics = self.report.metrics.model_dump(by_alias=True)
        return {**estimates_of(metrics), **group_estimates(metrics)}

    @cached_property
    def ceilings(self) -> dict[str, float | None]:
        """What the human answers reach, by name of the value, where that means something."""
        metrics = self.report.metrics
        known = ceilings_of(metrics.model_dump(by_alias=True))
        # Of all rows: distinct-n falls with their number, and the ceiling has half of them.
        known |= metrics.diversity.overall.human.model_dump()
        known |= {group_key("mean_tokens", row.bucket_id): row.human for row in metrics.mean_tokens.by_bucket}
        return known

    def _over_seeds(self, key: str) -> list[float]:
        values = [run.own_estimates.get(key) for run in self.runs]
        return [value for value in values if value is not None]

    def spread(self, key: str) -> Spread | None:
        """How a value differs between seeds; None where fewer than two have it."""
        known = self._over_seeds(key)
        if len(known) < 2:
            return None
        return Spread(len(known), float(np.std(known, ddof=1)), min(known), max(known))

    @cached_property
    def drawn(self) -> dict[str, np.ndarray]:
        """Replicates of the estimates: means over the seeds, of values that each of them has."""
        if not self.further:
            return self.replicates
        if len({run.report.intervals.draws_digest for run in self.runs}) > 1:
            return {}
        shared = [key for key in self.replicates if all(key in run.replicates for run in self.further)]
        return {key: np.mean([run.replicates[key] for run in self.runs], axis=0) for key in shared}

    def interval(self, key: str) -> tuple[float, float] | tuple[None, None]:
        """Interval of a value of the first seed, (None, None) where it was not resampled."""
        found = self.report.intervals.metrics.get(key)
        metric, group = split_key(key)
        estimate = self.own_estimates.get(key)
        if group is not None and estimate is not None and key in self.replicates:
            found = interval(
                self.replicates[key],
                estimate,
                self.report.intervals.confidence,
                recentre=metric in RECENTRED,
                bounds=BOUNDS.get(metric, (0.0, 1.0)),
            )
        return ends(found)


def replicates_file(metrics_file: StrPath) -> Path:
    """Where the bootstrap replicates of a report stand: `{cell}_bootstrap.parquet` beside `{cell}.json`."""
    path = Path(metrics_file)
    return path.with_name(f"{path.stem}_bootstrap.parquet")


def _small_groups(report: Report) -> set[str]:
    """Buckets and datasets with too few rows for an interval: resampling two rows says nothing."""
    least = report.parameters.get("min_bucket_size", 20)
    utility = report.metrics.utility
    counts = {row.bucket_id: row.n_examples for row in utility.by_bucket}
    counts |= {row.dataset: row.n_examples for row in utility.by_dataset}
    return {name for name, count in counts.items() if count < least}


def _cell_of_name(file: Path) -> Cell:
    """The cell that a report from outside the workflow is named after."""
    parts = file.stem.split("_")
    if len(parts) != 3 or parts[1] not in (*METHOD_LABELS, *ORACLE_METHODS):
        raise BadInput(
            "the report names no cell, nor does its file name",
            file=file,
            field="cell",
            expected="{language}_{method}_{model}.json, the method being one of " + ", ".join(METHOD_LABELS),
            fix="rename the report",
        )
    return Cell(language=parts[0], method=parts[1], model=parts[2])


def read_entry(path: StrPath) -> Entry:
    """Read a report and, where they are beside it, its replicates.

    Raises:
        BadInput: no report, a report of no cell, or replicates of another run.
    """
    report, file = read_report(path), Path(path)
    if report.cell is None:
        report = report.model_copy(update={"cell": _cell_of_name(file)})
    if report.languages != [report.cell.language]:
        raise BadInput(
            f"the records of {report.cell.name} are in {', '.join(report.languages)}",
            file=file,
            field="languages",
            expected=report.cell.language,
            fix="name the report after its language, or evaluate the records of one language",
        )
    replicates: dict[str, np.ndarray] = {}
    aside = replicates_file(file)
    if aside.is_file():
        table = read_table(aside)
        digest = (table.schema.metadata or {}).get(b"polyalign.draws_digest", b"").decode()
        if digest != (report.intervals.draws_digest or ""):
            raise BadInput("replicates of another evaluation", file=aside, fix=f"build {file} again")
        few = _small_groups(report)
        names = [name for name in table.column_names if split_key(name)[1] not in few]
        replicates = {name: table.column(name).to_numpy() for name in names}
    return Entry(file, report, replicates)
