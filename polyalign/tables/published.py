"""Our figures beside the paper's: difference, verdict, and what forbids a comparison.

Published figures and their flags come from `polyalign.published`; docs/tables.md tells what a verdict means.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from polyalign.methods import METHODS, ORACLE_METHODS
from polyalign.published import CITATION, FLAGS, PublishedReport, published_metrics, published_reports
from polyalign.tables.entries import Entry
from polyalign.tables.main import value_of
from polyalign.tables.model import Column, Page, Row, Table, Tone, Value
from polyalign.tables.names import METHOD_LABELS, language_name
from polyalign.tables.notes import page_notes

TOLERANCE = 0.05
"""A published figure counts as reproduced up to this relative difference, whatever the interval."""
COMPARED = (
    Column("qa_f1", "F1", 1),
    Column("rouge_l_f1", "ROUGE-L", 1),
    Column("bng", "BNG", -1),
    Column("hcr", "HCR", 1),
    Column("mauve", "MAUVE", 1),
    Column("tdm", "TDM", 1),
    Column("distinct_2", "Distinct-2", 0),
    Column("nuf", "NUF", 1),
    Column("aggregate", "Aggregate", 1),
)
ON_FEATURES = ("bng", "hcr", "nuf", "aggregate")
"""Metrics that depend on features and their scorer."""
ON_MAUVE = ("mauve", "nuf", "aggregate")
ON_BNG = ("bng", "nuf", "aggregate")
PAPER_FEATURES = "paper-v1"
PAPER_FEATURIZER = "gpt2"

REPRODUCED, DIFFERS, NOT_COMPARABLE = "reproduced", "differs", "cannot compare"
_TONES: dict[str, Tone] = {REPRODUCED: "good", DIFFERS: "bad", NOT_COMPARABLE: "soft"}


@dataclass(frozen=True)
class Verdict:
    """How a figure of ours stands to the published one; `why` is given where they cannot be compared."""

    word: str
    why: str = ""


def published_page(entries: Sequence[Entry], language: str) -> Page:
    """Verdicts by metric, then a table a metric; at the end every published figure with what is known about it."""
    pairs = [(entry, published_metrics(entry.report.cell.name)) for entry in entries]
    known = [(entry, report) for entry, report in pairs if report is not None]
    tables, lead = [], "Figures of this run beside those of the paper's published metric reports."
    if known:
        metrics = [
            column
            for column in COMPARED
            if any(report.value(column.key) is not None for _, report in known)
            and any(entry.estimates.get(column.key) is not None for entry, _ in known)
        ]
        tables = [_summary(known, metrics), *(_of_metric(known, metric) for metric in metrics)]
    else:
        models = ", ".join(dict.fromkeys(entry.model for entry in entries))
        lead = f"The paper publishes no figures of {models}. For reference, those that it does publish."
    notes = [
        *(page_notes(entries) if known else []),
        (
            f"Reproduced: the published figure lies in our interval or within {TOLERANCE:.0%} of ours. "
            f"Published figures: {CITATION}."
        ),
    ]
    title = f"{language_name(language)}: this run and the published figures"
    return Page("published", title, language, [*tables, _published_table(language)], lead=lead, notes=notes)


def verdict_on(entry: Entry, report: PublishedReport, key: str) -> Verdict:
    """The verdict on one metric of one cell."""
    ours, theirs = entry.estimates.get(key), report.value(key)
    if theirs is None:
        return Verdict(NOT_COMPARABLE, "not published")
    if ours is None:
        return Verdict(NOT_COMPARABLE, "not measured here")
    reasons = [FLAGS[flag] for flag in blocking_flags(report, key)] + _own_reasons(entry, report, key)
    if reasons:
        return Verdict(NOT_COMPARABLE, "; ".join(reasons))
    low, high = entry.interval(key)
    inside = low is not None and low <= theirs <= high
    spread = entry.spread(key)
    inside = inside or (spread is not None and spread.low <= theirs <= spread.high)
    near = abs(ours - theirs) <= TOLERANCE * abs(ours)
    return Verdict(REPRODUCED if inside or near else DIFFERS)


def blocking_flags(report: PublishedReport, key: str) -> list[str]:
    """Flags of a published report that forbid to compare this metric; the others do not touch it."""
    scope = {"other_scorer": ON_FEATURES, "constant_in_bng": ON_BNG, "hcr_zero": ()}
    return [flag for flag in report.flags if key in scope.get(flag, (key,))]


def _own_reasons(entry: Entry, report: PublishedReport, key: str) -> list[str]:
    """What in our report forbids the comparison."""
    ours, reasons = entry.report, []
    if ours.coverage.answered != report.rows_expected:
        reasons.append(f"{ours.coverage.answered:,} rows here, {report.rows_expected:,} there")
    if key in ON_FEATURES and ours.features and ours.features.feature_set != PAPER_FEATURES:
        reasons.append(f"features {ours.features.feature_set} here, {PAPER_FEATURES} there")
    if key in ON_MAUVE and ours.metrics.mauve.featurizer not in (None, PAPER_FEATURIZER):
        reasons.append(f"MAUVE by {ours.metrics.mauve.featurizer} here, {PAPER_FEATURIZER} there")
    return reasons


def _summary(known: Sequence[tuple[Entry, PublishedReport]], metrics: Sequence[Column]) -> Table:
    """How many cells have each verdict, by metric."""
    words = (REPRODUCED, DIFFERS, NOT_COMPARABLE)
    rows = []
    for metric in metrics:
        counts = Counter(verdict_on(entry, report, metric.key).word for entry, report in known)
        values = {
            word: Value(text=str(counts[word]), tone=_TONES[word] if counts[word] else "") for word in words
        }
        rows.append(Row("cells", metric.key, metric.header, values))
    columns = [Column(word, word.capitalize()) for word in words]
    return Table("verdicts", "Verdicts", columns, rows, stub="Metric")


def _of_metric(known: Sequence[tuple[Entry, PublishedReport]], metric: Column) -> Table:
    key, rows, reasons = metric.key, [], {}
    for entry, report in known:
        verdict, ours, theirs = verdict_on(entry, report, key), entry.estimates.get(key), report.value(key)
        both = ours is not None and theirs is not None
        mark = ""
        if verdict.why:
            mark = f" ({reasons.setdefault(verdict.why, len(reasons) + 1)})"
        values = {
            "ours": value_of(entry, key),
            "published": Value(theirs, tone=_TONES[verdict.word] if verdict.word == NOT_COMPARABLE else ""),
            "difference": Value(ours - theirs if both else None),
            "verdict": Value(text=verdict.word + mark, tone=_TONES[verdict.word]),
        }
        rows.append(Row(entry.model, entry.method, entry.label, values))
    columns = [
        Column("ours", "This run", 0, metric.digits),
        Column("published", "Published", 0, metric.digits),
        Column("difference", "Difference", 0, metric.digits, signed=True),
        Column("verdict", "Verdict"),
    ]
    notes = [f"({number}) {why[:1].upper()}{why[1:]}." for why, number in reasons.items()]
    return Table(key, f"{metric.header} {metric.arrow}".strip(), columns, rows, notes=notes)


def _published_table(language: str) -> Table:
    """What the paper published for a language; figures that a flag touches are marked."""
    reports = [report for report in published_reports() if report.main and report.language == language]
    order = list(METHODS)
    models = list(dict.fromkeys(report.model for report in reports))
    reports.sort(key=lambda report: (models.index(report.model), order.index(report.method)))
    rows, flags = [], {}
    for report in reports:
        values = {}
        for column in COMPARED:
            tone = "soft" if blocking_flags(report, column.key) else ""
            values[column.key] = Value(report.value(column.key), tone=tone)
        marks = [f"({flags.setdefault(flag, len(flags) + 1)})" for flag in report.flags]
        values["rows"] = Value(text=f"{report.rows:,}")
        values["flags"] = Value(text=" ".join(marks) or "none", tone="soft")
        label = METHOD_LABELS.get(report.published_as, METHOD_LABELS["hdpo"])
        label += ", oracle prompt" if report.method in ORACLE_METHODS else ""
        rows.append(Row(report.model, report.method, label, values))
    return Table(
        "figures",
        "Published figures",
        [*COMPARED, Column("rows", "Rows"), Column("flags", "Flags")],
        rows,
        notes=[
            "Grey: not to be compared with anything, because of a flag that touches this metric.",
            *(f"({number}) {FLAGS[flag][:1].upper()}{FLAGS[flag][1:]}." for flag, number in flags.items()),
        ],
    )
