"""Reports that are read for a table, and the refusal of those that must not be compared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from polyalign.errors import BadInput
from polyalign.features.origin import LM_GROUP, MadeBy
from polyalign.files import StrPath, read_table
from polyalign.methods import METHODS, ORACLE_METHODS, TABLE_METHODS
from polyalign.metrics.bootstrap import interval
from polyalign.metrics.evaluation import BOUNDS, RECENTRED, ceilings_of, estimates_of
from polyalign.metrics.groups import group_estimates, group_key, split_key
from polyalign.metrics.report import Cell, Report, read_report
from polyalign.prompts import MODE_OF_METHOD
from polyalign.tables.model import Spread

METHOD_LABELS = {name: METHODS[name].label for name in TABLE_METHODS}


def cell_parts(cell: str) -> tuple[str, str]:
    """(method, model) of a cell."""
    _, method, model = cell.split("_")
    return method, model


def in_table_order(cells: Iterable[str], models: Sequence[str]) -> list[str]:
    """Cells, each once, by model and method; models that are not among `models` come last."""
    known = list(dict.fromkeys(cells))
    order = list(dict.fromkeys([*models, *(cell_parts(cell)[1] for cell in known)]))
    ranks = list(METHOD_LABELS)
    return sorted(
        known, key=lambda cell: (order.index(cell_parts(cell)[1]), ranks.index(cell_parts(cell)[0]))
    )


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
        return (None, None) if found is None else (found.low, found.high)


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


def _refuse_oracle(entry: Entry) -> None:
    """No row of a table may come from predictions that saw the reference answer."""
    expected = MODE_OF_METHOD.get(entry.method)
    if entry.report.oracle or entry.method in ORACLE_METHODS:
        raise BadInput(
            f"{entry.report.cell.name} was predicted from a prompt that shows the reference answer",
            file=entry.file,
            field="prompt_mode",
            expected=f"{expected or 'the prompt of a method'}",
            fix="leave this report out, or predict the cell again with the method's own prompt",
        )
    mode = entry.report.prompt_mode
    if mode is not None and expected is not None and mode != expected:
        raise BadInput(
            f"{entry.report.cell.name} was predicted with prompt mode {mode}",
            file=entry.file,
            field="prompt_mode",
            expected=f"{expected}, the prompt of {entry.method}",
            fix="predict the cell again with the method's own prompt",
        )


def refuse_different(entries: Sequence[Entry], what: str, values: Sequence[object], fix: str) -> None:
    """Raise unless all values are equal, naming the first file that differs from the commonest value."""
    texts = [str(value) for value in values]
    usual = max(texts, key=lambda text: (texts.count(text), -texts.index(text)))
    for entry, text in zip(entries, texts, strict=True):
        if text != usual:
            other = entries[texts.index(usual)].file
            raise BadInput(
                f"{what} differs from the other rows of the table: {text}",
                file=entry.file,
                expected=f"{usual}, as in {other}",
                fix=fix,
            )


def _text_tools(report: Report) -> str:
    """Tools of a report's text features; the scorer is compared within a model."""
    tools = report.features.backends if report.features else {}
    return (
        "; ".join(f"{group}: {tool}" for group, tool in sorted(tools.items()) if group != LM_GROUP) or "none"
    )


def _scorer(report: Report) -> str:
    """Who scored a report's language-model features, and how."""
    if not report.features:
        return "none"
    origin = MadeBy.of_stated(report.features.model_dump())
    return ", ".join(filter(None, [origin.scorer_name, origin.backends.get(LM_GROUP)]))


def check_comparable(entries: Sequence[Entry], *, same_cell: bool = False) -> None:
    """Refuse a table whose rows cannot be compared.

    Args:
        same_cell: a cell may stand there more than once, from several runs.

    Raises:
        BadInput: an oracle prompt, a cell twice, or reports that differ in split, rows, feature set, parameters, or
            (within a model) scorer. Says which file, and how to make it comparable.
    """
    if not entries:
        raise BadInput("no reports", fix="give at least one metrics file")
    seen: dict[str, Path] = {}
    for entry in entries:
        _refuse_oracle(entry)
        name = entry.report.cell.name
        if name in seen and not same_cell:
            raise BadInput(
                f"cell {name} stands in {seen[name]} too", file=entry.file, fix="give each cell once"
            )
        seen[name] = entry.file
    again = "evaluate the cells again on the same rows with the same settings"
    reports = [entry.report for entry in entries]
    refuse_different(entries, "split", [r.split for r in reports], again)
    counts = [f"{r.coverage.answered} of {r.coverage.rows_expected} rows answered" for r in reports]
    # The digest decides; the counts are what a reader can make sense of.
    sets = [
        f"{count} (digest {r.coverage.source_index_digest[:12]})"
        for count, r in zip(counts, reports, strict=True)
    ]
    refuse_different(
        entries,
        "the set of source_index",
        sets,
        "predict the missing rows, or add --common-rows, which evaluates every cell on the rows that all have",
    )
    features = [(r.features.feature_set, r.features.n_features) if r.features else None for r in reports]
    sets = [f"{found[0]} with {found[1]} features" if found else "none" for found in features]
    refuse_different(entries, "feature set", sets, "compute the features of every cell with one set")
    tools = [_text_tools(r) for r in reports]
    refuse_different(
        entries, "tools of the features", tools, "compute the features of every cell with the same tools"
    )
    refuse_different(entries, "parameters", [r.parameters for r in reports], again)
    for model in dict.fromkeys(entry.model for entry in entries):
        group = [entry for entry in entries if entry.model == model]
        for name in ("references", "human_features"):
            digests = [
                entry.report.inputs[name].sha256[:12] if name in entry.report.inputs else "none"
                for entry in group
            ]
            refuse_different(
                group,
                name.replace("_", " "),
                digests,
                "evaluate every cell of the model with the same references and human features",
            )
        scorers = [_scorer(entry.report) for entry in group]
        refuse_different(
            group, "scorer", scorers, "score the features of every cell of the model with one scorer"
        )
