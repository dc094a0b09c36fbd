"""Published against corrected: the same answers under both definitions of a metric, and runs with other recipes.

The first tables need no other run: every report holds the published form of a metric and ours. Where `tables.compare`
names other runs, their cells stand beside this run's.
"""

from collections.abc import Mapping, Sequence

from polyalign.metrics.bootstrap import holm
from polyalign.tables.comparisons import by_model, difference, seeds_agree, verdict
from polyalign.tables.entries import Entry
from polyalign.tables.guards import check_comparable
from polyalign.tables.main import CHARACTER_KEYS, method_rows, shown_columns, value_of
from polyalign.tables.model import Column, Page, Row, Table, Value
from polyalign.tables.names import language_name
from polyalign.tables.notes import page_notes

PAIRS = (
    (Column("bng", "BNG", -1), Column("bng_robust", "Robust BNG", -1)),
    (Column("hcr", "HCR", 1), Column("hcr_calibrated", "Calibrated HCR", 1)),
    (Column("qa_f1", "F1", 1), Column("char_f1", "F1 (characters)", 1)),
    (Column("rouge_l_f1", "ROUGE-L", 1), Column("char_rouge_l_f1", "ROUGE-L (characters)", 1)),
)
"""Published form of a metric and ours."""


def ablation_page(
    entries: Sequence[Entry], language: str, others: Mapping[str, Sequence[Entry]] | None = None
) -> Page:
    """What a correction changes.

    Args:
        others: entries of other runs by their label, of any cells that `entries` has too.

    Raises:
        BadInput: a run whose rows, features or parameters are not those of `entries`.
    """
    tables = [_definitions(entries, language), _parts_of_bng(entries)]
    tables += [_recipes(entries, language, label, found) for label, found in (others or {}).items() if found]
    return Page(
        "ablation",
        f"{language_name(language)}: published against corrected",
        language,
        [table for table in tables if table is not None],
        lead="The same answers under the published definition of a metric and under the corrected one.",
        notes=page_notes(entries),
    )


def _ranks(group: Sequence[Entry], column: Column) -> dict[str, int]:
    """{method: rank by its value, 1 best, equal values sharing the better rank}."""
    known = [entry for entry in group if entry.estimates.get(column.key) is not None]
    return {
        entry.method: 1
        + sum(
            (other.estimates[column.key] - entry.estimates[column.key]) * column.direction > 0
            for other in known
        )
        for entry in known
    }


def _definitions(entries: Sequence[Entry], language: str) -> Table | None:
    """Published form and ours side by side, with the rank that each gives a method."""
    pairs = [
        pair
        for pair in PAIRS
        if (language == "zh" or pair[1].key not in CHARACTER_KEYS)
        and all(any(entry.estimates.get(column.key) is not None for entry in entries) for column in pair)
    ]
    if not pairs:
        return None
    rows, notes = [], ["Ranks are those of the values, whether or not they differ by more than noise."]
    for group in by_model(entries):
        ranks = {column.key: _ranks(group, column) for pair in pairs for column in pair}
        for entry in group:
            values = {
                key: value_of(entry, key, text=_rank_text(found, entry.method))
                for key, found in ranks.items()
            }
            rows.append(Row(entry.model, entry.method, entry.label, values))
        notes += [_order_note(group, pair, ranks) for pair in pairs if len(group) > 1]
    columns = [
        Column(column.key, column.header, column.direction, column.digits, detail)
        for pair in pairs
        for column, detail in zip(pair, ("published", "corrected"), strict=True)
    ]
    return Table("definitions", "Two definitions of one metric", columns, rows, notes=notes)


def _rank_text(ranks: Mapping[str, int], method: str) -> str:
    return f"rank {ranks[method]}" if method in ranks else ""


def _order_note(
    group: Sequence[Entry], pair: tuple[Column, Column], ranks: Mapping[str, dict[str, int]]
) -> str:
    """A sentence: does the correction change the order of the methods?"""
    old, new = (ranks[column.key] for column in pair)
    model, names = group[0].model, f"{pair[0].header} and {pair[1].header[:1].lower()}{pair[1].header[1:]}"
    if pair[1].key in CHARACTER_KEYS:
        names = f"{pair[0].header} by words and by characters"
    moved = [entry.label for entry in group if old.get(entry.method) != new.get(entry.method)]
    tied = len(old) - len(set(old.values()))
    if not moved:
        return f"{model}: {names} order the methods alike."
    ties = f" ({tied} tied under the published form)" if tied else ""
    return f"{model}: {names} rank {', '.join(moved)} differently{ties}."


def _parts_of_bng(entries: Sequence[Entry]) -> Table | None:
    """How much of the published BNG comes from features that say nothing of the answer."""
    if not any(entry.report.metrics.bng.contributions for entry in entries):
        return None
    columns = [
        Column("bng", "BNG", -1),
        Column("outside", "Not of the response", 0, 3, "run constants, flags, prompt counts"),
        Column("constant", "Response, constant among humans", 0, 3, "in at least one bucket"),
        Column("rest", "Other response features", 0, 3),
        Column("largest", "Largest single feature", 0, 3),
    ]
    rows = []
    for group in by_model(entries):
        for entry in group:
            rows.append(Row(entry.model, entry.method, entry.label, _bng_values(entry)))
    return Table(
        "bng_parts",
        "What the published BNG is made of",
        columns,
        rows,
        notes=[
            (
                "The three columns after BNG add up to it. Robust BNG leaves out the first, and the second in the "
                "buckets where it is constant, and takes perplexities in log space."
            )
        ],
    )


def _bng_values(entry: Entry) -> dict[str, Value]:
    metrics = entry.report.metrics
    parts, total = metrics.bng.contributions, metrics.bng.overall_macro
    if not parts or total is None:
        return {key: Value() for key in ("bng", "outside", "constant", "rest", "largest")}
    outside = set(metrics.bng_robust.not_response_features)
    sums = {"outside": 0.0, "constant": 0.0, "rest": 0.0}
    for part in parts:
        kind = "outside" if part.feature in outside else "constant" if part.zero_variance_buckets else "rest"
        sums[kind] += part.share * total
    values = {key: Value(value, text=f"{value / total:.0%}" if total else "") for key, value in sums.items()}
    largest = max(parts, key=lambda part: part.share)
    return {
        "bng": Value(total, *entry.interval("bng")),
        **values,
        "largest": Value(largest.share * total, text=f"{largest.feature}, {largest.share:.0%}"),
    }


def _recipes(entries: Sequence[Entry], language: str, label: str, others: Sequence[Entry]) -> Table:
    """Cells of another run beside this run's, each with its paired difference from this run's cell."""
    mine = {entry.report.cell.name: entry for entry in entries}
    found = [other for other in others if other.report.cell.name in mine]
    for other in found:
        # Each cell against its own counterpart: same rows, features, parameters and scorer.
        check_comparable([mine[other.report.cell.name], *other.runs], same_cell=True)
    columns, _ = shown_columns([*(mine[other.report.cell.name] for other in found), *found], language)
    tests = {
        (other.report.cell.name, column.key): tested
        for other in found
        for column in columns
        if (tested := difference(mine[other.report.cell.name], other, column.key)) is not None
    }
    corrected = dict(zip(tests, holm([tested.p_value for tested in tests.values()]), strict=True))
    level = 1 - entries[0].report.intervals.confidence
    rows = []
    for other in found:
        name = other.report.cell.name
        here, values = mine[name], {}
        for column in columns:
            text, key = "", (name, column.key)
            if key in tests:
                word, _ = verdict(
                    tests[key], column, corrected[key] < level and seeds_agree(here, other, column.key)
                )
                text = f"{tests[key].estimate:+.{column.digits}f} here, {word}"
            values[column.key] = value_of(other, column.key, text=text)
        rows += method_rows([here], columns)
        rows.append(Row(here.model, other.method, f"{here.label}, {label}", values))
    return Table(
        f"run_{label}",
        f"This run against {label}",
        columns,
        rows,
        notes=[
            f"Differences are this run less the other, in paired tests, {len(tests)} corrected together (Holm)."
        ],
    )
