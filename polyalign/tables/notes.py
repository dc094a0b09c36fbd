"""What has to be said below every table: rows, sources, scorer, intervals, tests, decoding, answers cut or empty."""

from collections.abc import Sequence

from polyalign.tables.entries import Entry


def page_notes(entries: Sequence[Entry]) -> list[str]:
    """Sentences that hold for every table made of these entries."""
    return [
        _rows(entries),
        *_sources(entries),
        *_features(entries),
        *_seeds(entries),
        *_intervals(entries),
        *_decoding(entries),
    ]


def _rows(entries: Sequence[Entry]) -> str:
    report = entries[0].report
    of_split = f" of the {report.split} split." if report.split else "."
    return f"{report.coverage.answered:,} of {report.coverage.rows_expected:,} rows{of_split}"


def _sources(entries: Sequence[Entry]) -> list[str]:
    """Which rows rest on what others released: their predictions, or answers made here by their models."""
    told = {"predictions": "Released predictions, not made here", "checkpoint": "Answers of released models"}
    notes = []
    for kind, words in told.items():
        found = [entry for entry in entries if entry.report.source and entry.report.source.kind == kind]
        if not found:
            continue
        hubs = sorted({entry.report.source.hub or "local files" for entry in found})
        models: dict[str, list[str]] = {}
        for entry in found:
            models.setdefault(entry.model, []).append(entry.label)
        rows = "; ".join(f"{model}: {', '.join(labels)}" for model, labels in models.items())
        notes.append(
            f"{words}: {'all rows' if len(found) == len(entries) else rows} (from {', '.join(hubs)})."
        )
    return notes


def _features(entries: Sequence[Entry]) -> list[str]:
    features = entries[0].report.features
    if features is None:
        return []
    scorers = {entry.report.features.scorer for entry in entries}
    if scorers == {None}:
        named = "without language-model features"
    elif len(scorers) == 1:
        named = f"scored by {scorers.pop()}"
    else:
        named = "each model scored by its own base model, so BNG and HCR compare within a model only"
    return [f"Features: {features.feature_set} ({features.n_features}), {named}."]


def _seeds(entries: Sequence[Entry]) -> list[str]:
    """What numbers over several seeds are, apart from the intervals of one of them."""
    several = [entry for entry in entries if entry.further]
    if not several:
        return []
    rows: dict[str, list[str]] = {}
    for entry in several:
        seeds = ", ".join(str(run.report.seed) for run in entry.runs)
        rows.setdefault(seeds, []).append(f"{entry.model} {entry.label}")
    listed = "; ".join(f"seeds {seeds}: {', '.join(names)}" for seeds, names in rows.items())
    return [
        (
            f"Methods with several seeds ({listed}): the number is the mean over them, followed by "
            "their standard deviation (sd), smallest and largest value."
        ),
        (
            "Brackets in these rows are the interval of the first seed alone: they tell what another draw of test rows "
            "would change, the sd what another seed would. Tests are of the means over seeds, on rows drawn for all of "
            "them together, and count only where every seed of one method lies on one side of every seed of the other."
        ),
    ]


def _intervals(entries: Sequence[Entry]) -> list[str]:
    intervals = entries[0].report.intervals
    if not intervals.replicates:
        return ["No intervals: the reports were made without bootstrap."]
    drawn = f"{intervals.confidence:.0%} bootstrap intervals ({intervals.replicates:,} replicates by bucket)"
    tested = f"p < {1 - intervals.confidence:.2g} in paired tests corrected for all tests of the table (Holm)"
    notes = [
        f"Brackets: {drawn}; a value without brackets was not resampled.",
        f"Bold: better than every other method of the model, {tested}.",
    ]
    if not all(entry.drawn for entry in entries):
        notes.append("Some reports come without replicates, so their rows were not tested.")
    return notes


def _decoding(entries: Sequence[Entry]) -> list[str]:
    notes = []
    decodings = {str(entry.report.decoding) for entry in entries if entry.report.decoding is not None}
    if len(decodings) > 1:
        notes.append("Rows were decoded differently: differences between them are not the method's alone.")
    reports = [run.report for entry in entries for run in entry.runs]
    cut = [report.coverage.length_share for report in reports if report.coverage.length_share]
    if cut and max(cut) > 0.01:
        notes.append(f"Up to {max(cut):.0%} of the answers of a row end at the length limit.")
    empty = max(report.coverage.empty_predictions / report.coverage.answered for report in reports)
    if empty > 0.01:
        notes.append(f"Up to {empty:.0%} of the answers of a row are empty.")
    return notes
