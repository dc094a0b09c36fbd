"""The rows of a table of methods: values with intervals, paired tests, and what must not be compared.

Values are compared within a model: the best is bold only where the paired bootstrap puts its difference to every other
method of that model beyond noise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polyalign.errors import BadInput
from polyalign.files import StrPath, read_table
from polyalign.metrics.bootstrap import Difference, paired_difference
from polyalign.metrics.evaluation import estimates_of
from polyalign.metrics.report import Cell, Report, read_report
from polyalign.prompts import MODE_OF_METHOD, ORACLE_METHODS

METHOD_LABELS = {
    "base": "Base",
    "cot": "CoT",
    "sft": "SFT",
    "bucketsft": "Bucket-SFT",
    "dpo": "DPO",
    "hdpo": "HDPO",
}
BASELINES = ("base", "sft")
"""Methods that every later one of a table is compared with."""
LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}


@dataclass(frozen=True)
class Column:
    """A column: metric key of `estimates_of`, header, direction (1 larger is better, -1 smaller, 0 neither), digits."""

    key: str
    header: str
    direction: int
    digits: int = 3

    @property
    def arrow(self) -> str:
        return {1: "↑", -1: "↓", 0: ""}[self.direction]


COLUMNS = (
    Column("qa_f1", "F1", 1),
    Column("char_f1", "F1 (characters)", 1),
    Column("rouge_l_f1", "ROUGE-L", 1),
    Column("char_rouge_l_f1", "ROUGE-L (characters)", 1),
    Column("bng", "BNG", -1),
    Column("bng_robust", "Robust BNG", -1),
    Column("hcr", "HCR", 1),
    Column("hcr_calibrated", "Calibrated HCR", 1),
    Column("mauve", "MAUVE", 1),
    Column("tdm", "TDM", 1),
    Column("distinct_2", "Distinct-2", 0),
    Column("nuf", "NUF", 1),
    Column("aggregate", "Aggregate", 1),
    Column("mean_tokens", "Tokens", 0, 1),
)
_CHARACTER_COLUMNS = ("char_f1", "char_rouge_l_f1")


@dataclass(frozen=True)
class Value:
    """One number of the table, with its interval where there is one."""

    estimate: float | None
    low: float | None = None
    high: float | None = None
    bold: bool = False


@dataclass(frozen=True)
class Row:
    """A method of a model (or the human answers) with its values by column key."""

    model: str
    method: str
    label: str
    values: dict[str, Value]


@dataclass(frozen=True)
class Comparison:
    """A method against the baseline of its model: {column key: paired difference}."""

    model: str
    label: str
    baseline: str
    differences: dict[str, Difference]


@dataclass(frozen=True)
class Table:
    """A finished table, ready to be written in any format."""

    title: str
    language: str
    columns: list[Column]
    rows: list[Row]
    comparisons: list[Comparison]
    notes: list[str]

    @property
    def models(self) -> list[str]:
        """Models in row order."""
        return list(dict.fromkeys(row.model for row in self.rows))


@dataclass
class Entry:
    """A report with its file and replicates."""

    file: Path
    report: Report
    replicates: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def model(self) -> str:
        return self.report.cell.model

    @property
    def method(self) -> str:
        return self.report.cell.method

    @property
    def estimates(self) -> dict[str, float | None]:
        return estimates_of(self.report.metrics.model_dump(by_alias=True))


def replicates_file(metrics_file: StrPath) -> Path:
    """Where the bootstrap replicates of a report stand: `{cell}_bootstrap.parquet` beside `{cell}.json`."""
    path = Path(metrics_file)
    return path.with_name(f"{path.stem}_bootstrap.parquet")


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
        replicates = {name: table.column(name).to_numpy() for name in table.column_names}
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


def _refuse_different(entries: Sequence[Entry], what: str, values: Sequence[object], fix: str) -> None:
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


def check_comparable(entries: Sequence[Entry]) -> None:
    """Refuse a table whose rows cannot be compared.

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
        if name in seen:
            raise BadInput(
                f"cell {name} stands in {seen[name]} too", file=entry.file, fix="give each cell once"
            )
        seen[name] = entry.file
    again = "evaluate the cells again on the same rows with the same settings"
    reports = [entry.report for entry in entries]
    _refuse_different(entries, "split", [r.split for r in reports], again)
    counts = [f"{r.coverage.answered} of {r.coverage.rows_expected} rows answered" for r in reports]
    # The digest decides; the counts are what a reader can make sense of.
    sets = [
        f"{count} (digest {r.coverage.source_index_digest[:12]})"
        for count, r in zip(counts, reports, strict=True)
    ]
    _refuse_different(
        entries,
        "the set of source_index",
        sets,
        "predict the missing rows, or evaluate every cell on the rows that all have",
    )
    features = [(r.features.feature_set, r.features.n_features) if r.features else None for r in reports]
    sets = [f"{found[0]} with {found[1]} features" if found else "none" for found in features]
    _refuse_different(entries, "feature set", sets, "compute the features of every cell with one set")
    _refuse_different(entries, "parameters", [r.parameters for r in reports], again)
    for model in dict.fromkeys(entry.model for entry in entries):
        group = [entry for entry in entries if entry.model == model]
        scorers = [entry.report.features.scorer if entry.report.features else None for entry in group]
        _refuse_different(
            group, "scorer", scorers, "score the features of every cell of the model with one scorer"
        )


def _best(group: Sequence[Entry], column: Column, confidence: float) -> Entry | None:
    """The entry that beats every other of its model beyond noise, if any."""
    measured = [entry for entry in group if entry.estimates[column.key] is not None]
    if not column.direction or len(measured) < 2:
        return None
    best = max(measured, key=lambda entry: column.direction * entry.estimates[column.key])
    for other in measured:
        if other is not best:
            found = difference(best, other, column.key, confidence)
            if found is None or not found.beyond_noise or found.estimate * column.direction <= 0:
                return None
    return best


def difference(a: Entry, b: Entry, key: str, confidence: float = 0.95) -> Difference | None:
    """Paired difference of two entries; None where either has no replicates or they were not drawn together."""
    digests = {entry.report.intervals.draws_digest for entry in (a, b)}
    if len(digests) != 1 or None in digests or key not in a.replicates or key not in b.replicates:
        return None
    return paired_difference(
        a.replicates[key], b.replicates[key], a.estimates[key], b.estimates[key], confidence
    )


def _row(entry: Entry, columns: Sequence[Column], bold: Mapping[str, Entry | None]) -> Row:
    values = {}
    for column in columns:
        found = entry.report.intervals.metrics.get(column.key)
        values[column.key] = Value(
            entry.estimates[column.key],
            found.low if found else None,
            found.high if found else None,
            bold[column.key] is entry,
        )
    return Row(entry.model, entry.method, METHOD_LABELS.get(entry.method, entry.method), values)


def _human_row(entry: Entry, columns: Sequence[Column]) -> Row:
    """What the human answers reach on the same rows, where that means something."""
    metrics = entry.report.metrics
    known = {
        "bng": metrics.human_ceiling.values["bng"],
        "bng_robust": metrics.human_ceiling.values["bng_robust"],
        "hcr": metrics.hcr_of_human_rows.support_q10_q90.overall_macro,
        "hcr_calibrated": 0.9 if metrics.hcr_calibrated.overall_macro is not None else None,
        "distinct_2": metrics.diversity.overall.human.distinct_2,
        "mean_tokens": metrics.mean_tokens.human,
    }
    values = {column.key: Value(known.get(column.key)) for column in columns}
    return Row(entry.model, "human", "Human", values)


def _columns(entries: Sequence[Entry], language: str) -> tuple[list[Column], list[str]]:
    """(columns that have a value, notes on those left out)."""
    notes = []
    columns = [column for column in COLUMNS if language == "zh" or column.key not in _CHARACTER_COLUMNS]
    columns = [
        column for column in columns if any(entry.estimates[column.key] is not None for entry in entries)
    ]
    parts = {
        tuple(
            sorted(
                name for name, value in entry.report.metrics.aggregate.components.items() if value is not None
            )
        )
        for entry in entries
    }
    if len(parts) > 1:
        columns = [column for column in columns if column.key != "aggregate"]
        notes.append("The aggregate is left out: it is made of different components in different rows.")
    elif parts and any(column.key == "aggregate" for column in columns):
        notes.append(f"The aggregate is the geometric mean of {', '.join(next(iter(parts)))}.")
    return columns, notes


def _notes(entries: Sequence[Entry]) -> list[str]:
    """The caption's sentences: rows, scorer, intervals, decoding."""
    report = entries[0].report
    notes = [
        f"{report.coverage.answered} of {report.coverage.rows_expected} rows"
        + (f" of the {report.split} split." if report.split else ".")
    ]
    if report.features:
        scorers = {entry.report.features.scorer for entry in entries}
        named = (
            f"scored by {scorers.pop()}"
            if len(scorers) == 1
            else "each model scored by its own base model, so BNG and HCR compare within a model only"
        )
        if named == "scored by None":
            named = "without language-model features"
        notes.append(f"Features: {report.features.feature_set} ({report.features.n_features}), {named}.")
    intervals = report.intervals
    if intervals.replicates:
        notes.append(
            f"Brackets: {intervals.confidence:.0%} bootstrap intervals ({intervals.replicates} replicates, "
            "stratified by bucket); a value without brackets was not resampled. Bold: better than every other "
            "method of the model by more than noise (paired test)."
        )
        if not all(entry.replicates for entry in entries):
            notes.append("Some reports come without replicates, so their rows were not tested.")
    decodings = {str(entry.report.decoding) for entry in entries if entry.report.decoding is not None}
    if len(decodings) > 1:
        notes.append("Rows were decoded differently: differences between them are not the method's alone.")
    cut = [entry.report.coverage.length_share for entry in entries if entry.report.coverage.length_share]
    if cut and max(cut) > 0.01:
        notes.append(f"Up to {max(cut):.0%} of the answers of a row end at the length limit.")
    empty = max(entry.report.coverage.empty_predictions / entry.report.coverage.answered for entry in entries)
    if empty > 0.01:
        notes.append(f"Up to {empty:.0%} of the answers of a row are empty.")
    human = "Human: the human answers themselves; BNG of one half against the other, calibrated HCR by construction."
    return [*notes, human]


def assemble(entries: Sequence[Entry], language: str, *, models: Sequence[str] = ()) -> Table:
    """One table of the reports of one language.

    Args:
        models: order of the models; others follow in the order of the entries.

    Raises:
        BadInput: rows that cannot be compared, see `check_comparable`.
    """
    check_comparable(entries)
    order = list(dict.fromkeys([*models, *(entry.model for entry in entries)]))
    ranks = list(METHOD_LABELS)
    entries = sorted(entries, key=lambda e: (order.index(e.model), ranks.index(e.method)))
    columns, notes = _columns(entries, language)
    confidence = entries[0].report.intervals.confidence
    rows, comparisons = [], []
    for model in order:
        group = [entry for entry in entries if entry.model == model]
        bold = {column.key: _best(group, column, confidence) for column in columns}
        rows += [_row(entry, columns, bold) for entry in group]
        if group:
            rows.append(_human_row(group[0], columns))
            comparisons += _compare(group, columns, confidence)
    title = f"{LANGUAGE_NAMES.get(language, language)}: methods by model"
    return Table(title, language, columns, rows, comparisons, notes + _notes(entries))


def _compare(group: Sequence[Entry], columns: Sequence[Column], confidence: float) -> list[Comparison]:
    """Every method of a model against each baseline that stands before it."""
    found = []
    for position, baseline in enumerate(group):
        if baseline.method not in BASELINES:
            continue
        for entry in group[position + 1 :]:
            differences = {
                column.key: difference(entry, baseline, column.key, confidence) for column in columns
            }
            known = {key: value for key, value in differences.items() if value is not None}
            if known:
                label, other = (METHOD_LABELS.get(e.method, e.method) for e in (entry, baseline))
                found.append(Comparison(entry.model, label, other, known))
    return found
