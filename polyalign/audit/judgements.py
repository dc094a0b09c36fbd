"""What can be said against the published judges' and detectors' figures, from these figures alone."""

from collections.abc import Iterator

from polyalign.audit.checks import empty_answers, partial_rows
from polyalign.audit.facts import Audited, Finding, sorted_findings
from polyalign.audit.names import shows_reference
from polyalign.published import (
    TEST_ROWS,
    PublishedDetection,
    PublishedJudgement,
    PublishedReport,
    published_detections,
    published_judgements,
    published_reports,
)

MISALIGNED = 0.01
UNREADABLE = 0.01
FALSE_POSITIVE_RATES = {"tpr_at_1_fpr": 0.01, "tpr_at_5_fpr": 0.05, "tpr_at_10_fpr": 0.10}
OWN_PROMPT = "Never show this as a method; take it again on predictions from the method's own prompt."


def audit_judgements() -> list[Audited]:
    """Findings about every published judgement, then about every detector's figures."""
    found = []
    for row in published_judgements():
        findings = [*partial_rows(row.rows, TEST_ROWS[row.language]), *_judge(row)]
        found.append(Audited(f"{row.judge} on {row.cell}", "judge", sorted_findings(findings)))
    for row in published_detections():
        partial = partial_rows(row.rows + row.unscored, TEST_ROWS[row.language])
        findings = [*partial, *_detector(row), *_detected_run(row)]
        found.append(Audited(f"{row.detector} on {row.cell}", "detector", sorted_findings(findings)))
    return found


def _judge(row: PublishedJudgement) -> Iterator[Finding]:
    if shows_reference(row.predictions_folder):
        yield Finding(
            "oracle",
            "error",
            f"The prompts of these predictions showed the reference answer (run {row.predictions_folder}).",
            {"run": row.predictions_folder},
            OWN_PROMPT,
        )
    mismatched = max(row.instruction_mismatches, row.input_mismatches)
    if mismatched > MISALIGNED * row.rows:
        yield Finding(
            "misaligned",
            "error",
            f"In {row.instruction_mismatches:,} of {row.rows:,} rows the judge saw another row's instruction, in "
            f"{row.input_mismatches:,} another row's input: its scores are not of these answers.",
            {"instructions": row.instruction_mismatches, "inputs": row.input_mismatches, "rows": row.rows},
            "Judge again with rows joined by source_index and checked against the record.",
        )
    yield from empty_answers(row.empty_answers, row.rows)
    if row.rows and row.errors > UNREADABLE * row.rows:
        yield Finding(
            "unreadable",
            "warning",
            f"{row.errors:,} of {row.rows:,} judgements could not be read.",
            {"errors": row.errors, "rows": row.rows},
            "Judge these rows again; means are over the others.",
        )


def _detector(row: PublishedDetection) -> Iterator[Finding]:
    if row.rows and row.value("mean_score") is None:
        yield Finding(
            "nan_scores",
            "error",
            f"{row.rows:,} rows count as scored, but their mean score is not a number: scores hold NaN, so AUROC and "
            "rates at fixed false positives mean nothing.",
            {"scored": row.rows},
            "Score again and refuse NaN; the share decided AI may hold, as it compares rows with a threshold.",
        )
    auroc = row.value("auroc")
    for name, rate in FALSE_POSITIVE_RATES.items():
        found = row.value(name)
        # Below a false positive rate of x the curve is at most its height there, above it at most 1.
        if auroc is not None and found is not None and auroc > rate * found + (1 - rate) + 1e-6:
            yield Finding(
                "impossible_auroc",
                "error",
                f"AUROC is {auroc:.4f} with a true positive rate of {found:.2f} at {rate:.0%} false positives, where "
                f"it can be {rate * found + 1 - rate:.2f} at most.",
                {"auroc": auroc, "false_positive_rate": rate, "true_positive_rate": found},
                "Compute both again from the scores.",
            )
            break


def _detected_run(row: PublishedDetection) -> Iterator[Finding]:
    """Detector files name no run: the metric reports of the same cell on the same rows tell what was scored."""
    same = _reports_on(row.language, row.model, row.rows + row.unscored)
    oracle = [report for report in same if shows_reference(report.predictions_folder)]
    if row.published_as != "hdpo" or not oracle:
        return
    own = [report for report in same if report not in oracle]
    evidence = {"rows": row.rows, "oracle_run": oracle[0].predictions_folder, "other_runs": len(own)}
    if not own:
        yield Finding(
            "oracle",
            "error",
            f"The only published HDPO run of this cell on these {row.rows:,} rows is {oracle[0].predictions_folder}: "
            "its prompts showed the reference answer.",
            evidence,
            OWN_PROMPT,
        )
    else:
        yield Finding(
            "oracle_possible",
            "warning",
            f"Two published runs of this cell have these {row.rows:,} rows, {own[0].predictions_folder} and "
            f"{oracle[0].predictions_folder}, whose prompts showed the reference answer; the figures do not say which "
            "was scored.",
            evidence,
            "Take it as an oracle's until the scored texts are compared with both runs.",
        )


def _reports_on(language: str, model: str, rows: int) -> list[PublishedReport]:
    return [
        report
        for report in published_reports()
        if (report.language, report.model, report.rows) == (language, model, rows)
        and report.published_as in ("hdpo", "hdporef")
    ]
