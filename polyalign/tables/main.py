"""The main table of a language: every metric of every method, and paired differences from base and SFT."""

from collections.abc import Sequence

from polyalign.tables.comparisons import best_cells, by_model, differences_table
from polyalign.tables.entries import Entry
from polyalign.tables.model import Column, Page, Row, Table, Value
from polyalign.tables.names import language_name
from polyalign.tables.notes import page_notes

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
COMPONENTS = {
    "qa_f1": "F1",
    "bng_score": "1 / (1 + BNG)",
    "mauve_global": "MAUVE",
    "nuf_hypervolume": "NUF",
}
"""Components of the aggregate as readers know them."""
CHARACTER_KEYS = ("char_f1", "char_rouge_l_f1")
"""Metrics that say more than their namesakes where words are not separated by spaces."""
HUMAN_NOTE = (
    "Human: one half of the human answers against the other; Distinct-2 and tokens are those of all of them."
)


def main_page(entries: Sequence[Entry], language: str) -> Page:
    """Methods by model with intervals and what humans reach; best in bold where the tests support it."""
    columns, notes = shown_columns(entries, language)
    rows = method_rows(entries, columns, human=True)
    tables = [Table("methods", "All metrics", columns, rows, notes=notes)]
    differences = differences_table(entries, columns)
    return Page(
        "main",
        f"{language_name(language)}: methods by model",
        language,
        [*tables, differences] if differences else tables,
        lead="How useful the answers of each method are, and how close their distribution is to that of human answers.",
        notes=[*page_notes(entries), HUMAN_NOTE],
    )


def value_of(entry: Entry, key: str, *, bold: bool = False, text: str = "") -> Value:
    """A value of an entry with its interval and its spread over seeds."""
    return Value(
        entry.estimates.get(key), *entry.interval(key), bold=bold, text=text, spread=entry.spread(key)
    )


def _runs(entry: Entry, columns: Sequence[Column]) -> tuple[Row, ...]:
    """A row for each seed, where there are several."""
    if not entry.further:
        return ()
    rows = []
    for run in entry.runs:
        values = {
            column.key: Value(run.own_estimates.get(column.key), *run.interval(column.key))
            for column in columns
        }
        rows.append(Row(entry.model, entry.method, entry.label, values, seed=run.report.seed))
    return tuple(rows)


def method_rows(entries: Sequence[Entry], columns: Sequence[Column], *, human: bool = False) -> list[Row]:
    """A row for each entry, best in bold; with `human`, a last row for each model says what humans reach."""
    best = best_cells(entries, columns)
    rows = []
    for group in by_model(entries):
        for entry in group:
            values = {
                column.key: value_of(entry, column.key, bold=(entry.model, entry.method, column.key) in best)
                for column in columns
            }
            rows.append(Row(entry.model, entry.method, entry.label, values, runs=_runs(entry, columns)))
        if human:
            known = group[0].ceilings
            if any(known.get(column.key) is not None for column in columns):
                values = {column.key: Value(known.get(column.key)) for column in columns}
                rows.append(Row(group[0].model, "human", "Human", values))
    return rows


def shown_columns(entries: Sequence[Entry], language: str) -> tuple[list[Column], list[str]]:
    """(columns that have a value, notes on those left out)."""
    notes = []
    columns = [column for column in COLUMNS if language == "zh" or column.key not in CHARACTER_KEYS]
    columns = [
        column for column in columns if any(entry.estimates[column.key] is not None for entry in entries)
    ]
    parts = {
        tuple(
            sorted(
                name for name, value in run.report.metrics.aggregate.components.items() if value is not None
            )
        )
        for entry in entries
        for run in entry.runs
    }
    if len(parts) > 1:
        columns = [column for column in columns if column.key != "aggregate"]
        notes.append("The aggregate is left out: it is made of different components in different rows.")
    elif parts and any(column.key == "aggregate" for column in columns):
        names = [COMPONENTS.get(name, name) for name in next(iter(parts))]
        notes.append(f"The aggregate is the geometric mean of {', '.join(names[:-1])} and {names[-1]}.")
    return columns, notes
