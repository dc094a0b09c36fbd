"""Audit reports: findings about each, and about putting them side by side, as text, Markdown or JSON.

audited = audit_files(["results/metrics/en_hdpo_llama3b.json"])
print(to_text(audited))
"""

from collections import Counter
from collections.abc import Sequence

from polyalign.audit.checks import check
from polyalign.audit.comparisons import compare
from polyalign.audit.facts import SEVERITIES, Audited, Facts, sorted_findings
from polyalign.audit.judgements import audit_judgements
from polyalign.audit.read import facts_of_figures, read_facts
from polyalign.files import StrPath, dump_json, write_json, write_text
from polyalign.published import CITATION, published_reports

SCHEMA_VERSION = 1
_NOUNS = {
    "report": "report",
    "published report": "published report",
    "published figures": "published report",
    "judge": "judgement",
    "detector": "detection",
    "comparison": "group",
}
_ABOUT = {
    "error": "do not use or compare the number",
    "warning": "read it with the evidence in mind",
    "note": "worth knowing",
}


def audit_facts(every: Sequence[Facts]) -> list[Audited]:
    """Findings about each report, then about each group of reports of one language and model."""
    single = [Audited(facts.name, facts.source, sorted_findings(check(facts))) for facts in every]
    return [*single, *compare(every)]


def audit_files(paths: Sequence[StrPath]) -> list[Audited]:
    """Audit report files, ours and published ones alike.

    Raises:
        BadInput: a file that is neither.
    """
    return audit_facts([read_facts(path) for path in paths])


def audit_published() -> list[Audited]:
    """Audit the published figures that the project carries: metric reports, judgements and detections."""
    return [*audit_facts([facts_of_figures(report) for report in published_reports()]), *audit_judgements()]


def summary(audited: Sequence[Audited]) -> str:
    """One sentence: how many subjects, and how many have errors, warnings and notes."""
    kinds = Counter(_NOUNS[one.kind] for one in audited)
    subjects = ", ".join(f"{count} {noun}{'s' if count > 1 else ''}" for noun, count in kinds.items())
    counts = Counter(finding.severity for one in audited for finding in one.findings)
    of_each = ", ".join(
        f"{counts[severity]} {severity}{'s' if counts[severity] != 1 else ''}" for severity in SEVERITIES
    )
    clean = sum(not one.findings for one in audited)
    return f"{subjects or 'Nothing'}: {of_each}; {clean} without findings."


def has_errors(audited: Sequence[Audited]) -> bool:
    """Whether any finding is an error."""
    return any(one.worst == "error" for one in audited)


def render(audited: Sequence[Audited], form: str, least: str = "note") -> str:
    """As `text`, `markdown` or `json`, with a line end."""
    if form == "json":
        return dump_json(to_json(audited), indent=2) + "\n"
    return to_markdown(audited) if form == "markdown" else to_text(audited, least) + "\n"


def write_audit(paths: Sequence[StrPath], markdown: StrPath, json: StrPath) -> dict:
    """Audit report files and write a page and its JSON; returns counts for a manifest."""
    audited = audit_files(paths)
    write_text(markdown, to_markdown(audited, "What to distrust in these reports"))
    write_json(json, to_json(audited))
    counts = Counter(finding.severity for one in audited for finding in one.findings)
    return {"reports": len(paths), **{severity: counts[severity] for severity in SEVERITIES}}


def to_text(audited: Sequence[Audited], least: str = "note") -> str:
    """Every subject with its findings of at least a severity, for a terminal."""
    shown = SEVERITIES[: SEVERITIES.index(least) + 1]
    lines = []
    for one in audited:
        findings = [finding for finding in one.findings if finding.severity in shown]
        if not findings:
            continue
        lines.append(one.subject)
        for finding in findings:
            lines.append(f"  {finding.severity.upper()} {finding.code}: {finding.sentence}")
            lines.append(f"    {finding.advice}")
        lines.append("")
    return "\n".join([*lines, summary(audited)])


def to_json(audited: Sequence[Audited]) -> dict:
    """Everything, for programs."""
    return {
        "kind": "polyalign-audit",
        "schema_version": SCHEMA_VERSION,
        "summary": summary(audited),
        "audited": [
            {
                "subject": one.subject,
                "kind": one.kind,
                "worst": one.worst,
                "findings": [
                    {**vars(finding), "evidence": dict(finding.evidence)} for finding in one.findings
                ],
            }
            for one in audited
        ],
    }


def to_markdown(audited: Sequence[Audited], title: str = "Audit") -> str:
    """A page: what each severity means, a table of subjects by severity, then the findings."""
    lines = [f"# {title}", "", summary(audited), ""]
    lines += [f"- **{severity}**: {about}" for severity, about in _ABOUT.items()]
    lines += ["", "| subject | errors | warnings | notes | codes |", "| --- | ---: | ---: | ---: | --- |"]
    for one in audited:
        counts = Counter(finding.severity for finding in one.findings)
        codes = ", ".join(finding.code for finding in one.findings if finding.severity != "note")
        cells = [_cell(one.subject), *(str(counts[severity] or "") for severity in SEVERITIES), codes]
        lines.append("| " + " | ".join(cells) + " |")
    for one in audited:
        if one.findings:
            lines += ["", f"## {_cell(one.subject)}", ""]
            for finding in one.findings:
                text = f"{finding.sentence} *{finding.advice}*"
                lines.append(f"- **{finding.severity}**, `{finding.code}`: {_cell(text)}")
    if any(one.kind == "published figures" for one in audited):
        lines += ["", f"Published figures: {CITATION}."]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
