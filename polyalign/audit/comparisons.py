"""What can be said against putting several reports side by side."""

from collections.abc import Iterator, Sequence

from polyalign.audit.facts import Audited, Facts, Finding, sorted_findings


def compare(every: Sequence[Facts]) -> list[Audited]:
    """Findings about the reports of each language and model, where there are several."""
    groups: dict[tuple[str | None, str | None], list[Facts]] = {}
    for facts in every:
        groups.setdefault((facts.language, facts.model), []).append(facts)
    audited = []
    for (language, model), group in groups.items():
        if len(group) > 1:
            findings = [finding for check in CHECKS for finding in check(group)]
            subject = " ".join(part for part in (language, model) if part) or "reports"
            audited.append(Audited(f"{subject} together", "comparison", sorted_findings(findings)))
    return [one for one in audited if one.findings]


def _named(group: Sequence[Facts]) -> str:
    return ", ".join(facts.name for facts in group)


def check_row_sets(group: Sequence[Facts]) -> Iterator[Finding]:
    """Methods that were evaluated on different rows."""
    sets: dict[object, list[Facts]] = {}
    for facts in group:
        if facts.rows is not None:
            sets.setdefault(facts.rows_digest or facts.rows, []).append(facts)
    if len(sets) > 1:
        parts = "; ".join(f"{one[0].rows:,} rows: {_named(one)}" for one in sets.values())
        yield Finding(
            "different_rows",
            "error",
            f"These reports stand on {len(sets)} different sets of rows. {parts}.",
            {"sets": len(sets)},
            "Compare within a set alone, or evaluate all of them on common rows (--common-rows).",
        )


def check_scorers(group: Sequence[Facts]) -> Iterator[Finding]:
    """Reports of one model with features by different scorers."""
    scorers = {facts.scorer for facts in group if facts.scorer}
    if len(scorers) > 1:
        parts = "; ".join(
            f"{scorer}: {_named([facts for facts in group if facts.scorer == scorer])}"
            for scorer in sorted(scorers)
        )
        yield Finding(
            "different_scorers",
            "error",
            f"Features were scored by {len(scorers)} models. {parts}.",
            {"scorers": len(scorers)},
            "BNG, HCR, NUF and aggregate compare within a scorer alone.",
        )


def check_same_predictions(group: Sequence[Facts]) -> Iterator[Finding]:
    """One run's predictions in several reports."""
    runs: dict[str, list[Facts]] = {}
    for facts in group:
        if facts.run:
            # One run is spelt with hyphens here and with underscores there.
            runs.setdefault(facts.run.replace("-", "_"), []).append(facts)
    for several in runs.values():
        if len(several) < 2:
            continue
        scores = [facts.value("qa_f1") for facts in several]
        known = [score for score in scores if score is not None]
        same = len(known) == len(several) and max(known) - min(known) < 1e-9
        methods = {facts.method for facts in several}
        shown = ", ".join(
            f"{facts.name} (F1 {facts.value('qa_f1'):.3f}, BNG {facts.value('bng'):.2f})"
            for facts in several
            if facts.value("qa_f1") is not None and facts.value("bng") is not None
        )
        if same:
            meaning = "The texts are the same, so what differs between them is how features were measured."
        else:
            meaning = "Their F1 differs, so at least one did not evaluate the predictions that it names."
        yield Finding(
            "same_predictions",
            "warning" if same and len(methods) == 1 else "error",
            f"{len(several)} reports name the run {several[0].run}: {shown}. {meaning}",
            {"run": several[0].run, "reports": len(several), "same_f1": int(same)},
            "Keep one of them, and find out what the others are.",
        )


def check_decoding(group: Sequence[Facts]) -> Iterator[Finding]:
    """Methods that were decoded differently."""
    decodings = {facts.decoding for facts in group if facts.decoding}
    if len(decodings) > 1:
        yield Finding(
            "different_decoding",
            "warning",
            f"These reports were decoded in {len(decodings)} different ways.",
            {"decodings": len(decodings)},
            "Differences between them are not the method's alone; predict with one decoding.",
        )


def check_components(group: Sequence[Facts]) -> Iterator[Finding]:
    """Aggregates of different components."""
    parts = {tuple(facts.components) for facts in group if facts.components}
    if len(parts) > 1:
        yield Finding(
            "different_aggregates",
            "error",
            f"Their aggregates are made of {len(parts)} different sets of components.",
            {"sets": len(parts)},
            "Leave the aggregate out of the comparison.",
        )


CHECKS = (check_row_sets, check_scorers, check_same_predictions, check_decoding, check_components)
