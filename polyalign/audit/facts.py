"""What an audit looks at: the same facts of our reports, of published reports and of published figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""error: do not use or compare the number; warning: read it with the evidence in mind; note: worth knowing."""

Number = float | int | str | None


@dataclass(frozen=True)
class Finding:
    """One thing to distrust.

    Attributes:
        code: kind of finding, see docs/audit.md.
        severity: see `SEVERITIES`.
        sentence: what is wrong, with its numbers.
        evidence: those numbers by name.
        advice: what to do about it.
    """

    code: str
    severity: Severity
    sentence: str
    evidence: Mapping[str, Number]
    advice: str


@dataclass(frozen=True)
class Gap:
    """What one feature adds to BNG.

    Attributes:
        feature: its name.
        share: of the macro BNG.
        mean_gap: mean over buckets, in human standard deviations.
        constant: whether human answers do not vary in it in any bucket.
        role: of the feature, see `polyalign.features.names`.
    """

    feature: str
    share: float
    mean_gap: float
    constant: bool
    role: str


@dataclass(frozen=True)
class Bucket:
    """Figures of one bucket; None where not measured."""

    bucket_id: str
    rows: int
    bng: float | None = None
    hcr: float | None = None
    raw_em: float | None = None


@dataclass(frozen=True)
class Facts:
    """Everything that is known of one report, whatever it came from; None and empty where it does not say.

    Attributes:
        name: how findings call it: its cell or its file.
        source: `report` (ours), `published report` or `published figures`.
        language, method, model: the cell that its name says.
        rows, rows_expected: rows evaluated, and rows of the split.
        rows_digest: digest of the rows, where there is one.
        common_with: number of other prediction files that it shares its rows with.
        run: the run whose predictions it evaluates, as its path names it.
        prompt_mode, oracle: how the predictions were prompted; whether the prompt is known to show the reference.
        scorer: model that scored the features.
        n_features: features of BNG and HCR.
        values: figures by the short names of `polyalign.metrics.evaluation.estimates_of`, and `bng_weighted`.
        ceilings: what humans reach, by the same names.
        components: components of the aggregate that are there.
        buckets, gaps: by bucket and by feature.
        degenerate: features that are near constant among humans, with the buckets where they are.
        empty, cut, failed: answers that are empty, shares cut at the length limit, and rows with an error.
        frontier_points: points of the fixed-scale frontier; 1 also where an index needs more and has none.
        mauve_texts: texts a side of MAUVE.
        decoding: settings of decoding as text.
        replicates: bootstrap replicates behind its intervals; None where it cannot have any.
        missing: metrics that are null, with the reason.
    """

    name: str
    source: str
    language: str | None = None
    method: str | None = None
    model: str | None = None
    rows: int | None = None
    rows_expected: int | None = None
    rows_digest: str | None = None
    common_with: int = 0
    run: str | None = None
    prompt_mode: str | None = None
    oracle: bool = False
    scorer: str | None = None
    n_features: int | None = None
    values: Mapping[str, float | None] = field(default_factory=dict)
    ceilings: Mapping[str, float | None] = field(default_factory=dict)
    components: Sequence[str] | None = None
    buckets: Sequence[Bucket] = ()
    gaps: Sequence[Gap] = ()
    degenerate: Mapping[str, int] = field(default_factory=dict)
    empty: int | None = None
    cut: float | None = None
    failed: int = 0
    frontier_points: int | None = None
    mauve_texts: int | None = None
    decoding: str | None = None
    replicates: int | None = None
    missing: Mapping[str, str] = field(default_factory=dict)

    def value(self, name: str) -> float | None:
        """A figure, None where it is not there."""
        return self.values.get(name)

    @property
    def published(self) -> bool:
        """Whether it comes from the paper's artifacts."""
        return self.source != "report"


@dataclass(frozen=True)
class Audited:
    """Findings about one subject: a report, a judgement, a detection or a set of reports.

    Attributes:
        subject: its name.
        kind: `report`, `published report`, `published figures`, `judge`, `detector` or `comparison`.
        findings: most severe first.
    """

    subject: str
    kind: str
    findings: Sequence[Finding]

    @property
    def worst(self) -> Severity | None:
        """The most severe of its findings."""
        return min((f.severity for f in self.findings), key=SEVERITIES.index, default=None)


def sorted_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Most severe first, otherwise in the order given."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
