"""Paired tests between methods, corrected for how many a table makes, and the cells that they make bold.

Methods are compared within a model. Two reports are paired where their replicates were drawn together; others are not
tested. Definitions: docs/method.md, Metrics beyond the paper.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

from polyalign.metrics.bootstrap import Difference, holm, paired_difference
from polyalign.tables.entries import Entry
from polyalign.tables.model import Column, Row, Table, Tone, Value

BASELINES = ("base", "sft")
"""Methods that every later one of a table is compared with."""

_Pair = tuple[str, str, str, str]
"""Model, column key and the two methods of a test."""


def difference(a: Entry, b: Entry, key: str, confidence: float = 0.95) -> Difference | None:
    """Paired difference of two entries; None where either has no replicates or they were not drawn together."""
    digests = {entry.report.intervals.draws_digest for entry in (a, b)}
    if len(digests) != 1 or None in digests or key not in a.drawn or key not in b.drawn:
        return None
    return paired_difference(a.drawn[key], b.drawn[key], a.estimates[key], b.estimates[key], confidence)


def seeds_agree(a: Entry, b: Entry, key: str) -> bool:
    """Whether every seed of one entry lies on the same side of every seed of the other.

    The test draws rows again but no seeds, so a difference that some pair of seeds turns round is no more than noise.
    """
    if not a.further and not b.further:
        return True
    values = [[run.own_estimates.get(key) for run in entry.runs] for entry in (a, b)]
    known = [[value for value in found if value is not None] for found in values]
    return all(known) and (min(known[0]) > max(known[1]) or max(known[0]) < min(known[1]))


def by_model(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries of each model, models in order of their first entry."""
    models = dict.fromkeys(entry.model for entry in entries)
    return [[entry for entry in entries if entry.model == model] for model in models]


def best_cells(entries: Sequence[Entry], columns: Sequence[Column]) -> set[tuple[str, str, str]]:
    """(model, method, column key) of values that beat every other method of their model by more than noise.

    Every pair of methods of a model in every column with a direction is a test, and all of them are corrected together
    (Holm). A method that shares a pair without a test with another is never best.
    """
    tests: dict[_Pair, Difference] = {}
    for group in by_model(entries):
        for column in columns:
            if column.direction:
                for a, b in combinations(group, 2):
                    found = difference(a, b, column.key)
                    if found is not None:
                        tests[a.model, column.key, a.method, b.method] = found
    corrected = dict(zip(tests, holm([found.p_value for found in tests.values()]), strict=True))
    best = set()
    for group in by_model(entries):
        level = 1 - group[0].report.intervals.confidence
        for column in columns:
            for entry in group:
                others = [other for other in group if other is not entry]
                if (
                    column.direction
                    and others
                    and all(_beats(entry, other, column, tests, corrected, level) for other in others)
                ):
                    best.add((entry.model, entry.method, column.key))
    return best


def _beats(
    entry: Entry,
    other: Entry,
    column: Column,
    tests: Mapping[_Pair, Difference],
    corrected: Mapping[_Pair, float],
    level: float,
) -> bool:
    """Whether an entry is better than another by its test; a value that is not there is beaten by any."""
    if entry.estimates.get(column.key) is None:
        return False
    if other.estimates.get(column.key) is None:
        return True
    key, sign = (entry.model, column.key, entry.method, other.method), column.direction
    if key not in tests:
        key, sign = (entry.model, column.key, other.method, entry.method), -column.direction
    supported = key in tests and tests[key].estimate * sign > 0 and corrected[key] < level
    return supported and seeds_agree(entry, other, column.key)


def differences_table(entries: Sequence[Entry], columns: Sequence[Column]) -> Table | None:
    """Every method's paired difference from base and from SFT, with a verdict; None where nothing can be paired."""
    pairs = [
        (entry, baseline)
        for group in by_model(entries)
        for position, baseline in enumerate(group)
        if baseline.method in BASELINES
        for entry in group[position + 1 :]
    ]
    tests = {
        (number, column.key): found
        for number, (entry, baseline) in enumerate(pairs)
        for column in columns
        if (found := difference(entry, baseline, column.key)) is not None
    }
    if not tests:
        return None
    corrected = dict(zip(tests, holm([found.p_value for found in tests.values()]), strict=True))
    level = 1 - entries[0].report.intervals.confidence
    shown = [column for column in columns if any(key == column.key for _, key in tests)]
    rows = []
    for number, (entry, baseline) in enumerate(pairs):
        values = {}
        for column in shown:
            found = tests.get((number, column.key))
            if found is None:
                values[column.key] = Value()
                continue
            p_holm = corrected[number, column.key]
            word, tone = verdict(found, column, p_holm < level and seeds_agree(entry, baseline, column.key))
            values[column.key] = Value(
                found.estimate, found.low, found.high, tone == "good", found.p_value, p_holm, word, tone
            )
        rows.append(
            Row(entry.model, entry.method, f"{entry.label} − {baseline.label}", values, baseline.method)
        )
    return Table(
        "differences",
        "Paired differences from base and SFT",
        [_signed(column) for column in shown],
        rows,
        stub="Difference",
        notes=[
            (
                f"Better, worse and differs: p < {level:.2g} in the paired test, corrected (Holm) for the "
                f"{len(tests)} tests of this table. Brackets are not corrected."
            )
        ],
    )


def _signed(column: Column) -> Column:
    return Column(column.key, column.header, column.direction, column.digits, column.detail, signed=True)


def verdict(found: Difference, column: Column, supported: bool) -> tuple[str, Tone]:
    """(better, worse, differs or noise; how to read it) of a difference that its test supports or not."""
    if not supported:
        return "noise", "soft"
    if not column.direction:
        return "differs", ""
    return ("better", "good") if found.estimate * column.direction > 0 else ("worse", "bad")
