"""Figures of the PolyAlign paper's published artifacts, carried over with what is known to be wrong with each.

    report = published_metrics("en_dpo_llama3b")
    report.value("qa_f1"), report.flags

resources/published/README.md names the source and the columns. Cells are spelt as everywhere in this project.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

FOLDER = Path(__file__).resolve().parent.parent / "resources" / "published"
CITATION = "PolyAlign, arXiv:2606.13227"
TEST_ROWS = {"en": 51480, "zh": 6357}
"""Rows of the published test splits."""

FLAGS = {
    "oracle": "the prompts of these predictions showed the reference answer",
    "partial_rows": "taken on fewer rows than the test split has",
    "sample": "taken on a sample of the test split, by design",
    "other_scorer": "features scored by another model's base than its own",
    "other_method": "predictions of another method than the file's name says",
    "constant_in_bng": "BNG holds 4096/177 = 23.14 for a run constant without human variance",
    "hcr_zero": "HCR is 0 in every bucket, so it ranks nothing",
    "misaligned": "the judge saw another row's prompt beside each answer",
    "nan_scores": "scores hold NaN, so AUROC and rates at fixed false positives mean nothing",
}
"""What a flag says of a published figure."""

METRICS = (
    "qa_f1",
    "rouge_l_f1",
    "raw_em",
    "qa_em",
    "distinct_1",
    "distinct_2",
    "distinct_3",
    "self_bleu_4",
    "bng",
    "bng_weighted",
    "hcr",
    "mean_feature_inside_rate",
    "mauve",
    "c_mauve",
    "tdm",
    "nuf",
    "nuf_index_auc",
    "aggregate",
    "aggregate_recomputed",
    "bng_corrected",
    "nuf_corrected",
    "aggregate_corrected",
)
"""Figures of a metric report; keys that `estimates_of` of a report of ours has too mean the same."""
JUDGE_SCORES = (
    "task_success",
    "factual_grounding",
    "instruction_following",
    "reference_alignment",
    "conditional_appropriateness",
    "response_shape_and_length",
    "discourse_naturalness",
    "safety",
    "overall",
    "utility",
    "conditional_naturalness",
    "distribution_faithfulness",
)
"""Mean scores of a judge: eight dimensions of 1 to 5, then four composites of 0 to 100."""
DETECTION_SCORES = (
    "ai_rate",
    "mean_score",
    "auroc",
    "tpr_at_1_fpr",
    "tpr_at_5_fpr",
    "tpr_at_10_fpr",
    "common_ai_rate",
    "common_human_ai_rate",
)
"""Figures of a detector; the last two on the rows that humans and system have in common."""


@dataclass(frozen=True)
class Published:
    """What every published row has.

    Attributes:
        language, model: as in cell names; model is `human` for human answers.
        method: what the predictions are, hdporef where the prompt was reference-conditioned.
        published_as: the method that the paper's files and tables call them.
        rows: rows that the figures were taken on.
        flags: keys of `FLAGS`.
        values: figures by key; None where none was published.
    """

    language: str
    method: str
    published_as: str
    model: str
    rows: int
    flags: tuple[str, ...]
    values: Mapping[str, float | None]

    @property
    def cell(self) -> str:
        """The cell that the paper publishes the figures under."""
        return f"{self.language}_{self.published_as}_{self.model}"

    @property
    def actual_cell(self) -> str:
        """The cell that the predictions belong to."""
        return f"{self.language}_{self.method}_{self.model}"

    @property
    def comparable(self) -> bool:
        """Whether a figure of ours on the whole test split may stand beside it; HCR at 0 and 23.14 in BNG aside."""
        return not set(self.flags) - {"hcr_zero", "constant_in_bng"}

    @property
    def warnings(self) -> list[str]:
        """A sentence for each flag."""
        return [FLAGS[flag] for flag in self.flags]

    def value(self, key: str) -> float | None:
        """A figure; None where none was published under that key."""
        return self.values.get(key)


@dataclass(frozen=True)
class PublishedReport(Published):
    """A published metric report.

    Attributes:
        report: name of its file.
        main: whether it stands for its cell where several reports of a cell are published.
        rows_expected: rows of the test split.
        predictions_folder: the run whose predictions it evaluates.
        feature_scorer: model whose base scored the features.
    """

    report: str
    main: bool
    rows_expected: int
    predictions_folder: str
    feature_scorer: str


@dataclass(frozen=True)
class PublishedBucket:
    """Figures of one bucket of a published metric report."""

    report: str
    bucket_id: str
    rows: int
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class PublishedJudgement(Published):
    """Mean scores that a judge gave a cell.

    Attributes:
        judge: name of the judge model.
        valid, errors: rows scored, and rows whose answer could not be read.
        predictions_folder: the run that was judged.
        instruction_mismatches, input_mismatches: rows whose echoed fields are not those of the record judged.
        empty_answers: rows with an empty answer.
        misaligned_share: share of rows judged against another row's prompt.
    """

    judge: str
    valid: int
    errors: int
    predictions_folder: str
    instruction_mismatches: int
    input_mismatches: int
    empty_answers: int
    misaligned_share: float


@dataclass(frozen=True)
class PublishedDetection(Published):
    """A detector's figures for a cell, or for the human answers (method and model `human`); rows are those scored.

    Attributes:
        detector: its name.
        unscored: rows without a score.
        common_rows: rows scored for humans and system alike; None for the humans themselves.
    """

    detector: str
    unscored: int
    common_rows: int | None


T = TypeVar("T", bound=Published)


def _read(name: str) -> list[dict[str, str]]:
    with open(FOLDER / name, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def _values(row: Mapping[str, str], keys: tuple[str, ...]) -> dict[str, float | None]:
    return {key: float(row[key]) if row[key] else None for key in keys}


def _common(row: Mapping[str, str], keys: tuple[str, ...], rows: str = "rows") -> dict[str, object]:
    """Constructor arguments that every published row has."""
    names = ("language", "method", "published_as", "model")
    flags = tuple(row["flags"].split())
    return {
        **{name: row[name] for name in names},
        "rows": int(row[rows]),
        "flags": flags,
        "values": _values(row, keys),
    }


@cache
def _reports() -> tuple[PublishedReport, ...]:
    return tuple(
        PublishedReport(
            **_common(row, METRICS),
            report=row["report"],
            main=row["main"] == "1",
            rows_expected=int(row["rows_expected"]),
            predictions_folder=row["predictions_folder"],
            feature_scorer=row["feature_scorer"],
        )
        for row in _read("metrics.csv")
    )


@cache
def _judgements() -> tuple[PublishedJudgement, ...]:
    counts = ("valid", "errors", "instruction_mismatches", "input_mismatches", "empty_answers")
    return tuple(
        PublishedJudgement(
            **_common(row, JUDGE_SCORES),
            judge=row["judge"],
            predictions_folder=row["predictions_folder"],
            misaligned_share=float(row["misaligned_share"]),
            **{name: int(row[name]) for name in counts},
        )
        for row in _read("judge.csv")
    )


@cache
def _detections() -> tuple[PublishedDetection, ...]:
    return tuple(
        PublishedDetection(
            **_common(row, DETECTION_SCORES, rows="scored"),
            detector=row["detector"],
            unscored=int(row["unscored"]),
            common_rows=int(row["common_rows"]) if row["common_rows"] else None,
        )
        for row in _read("detection.csv")
    )


def _of_cell(rows: tuple[T, ...], cell: str | None) -> list[T]:
    """Rows published under a cell; where there are none, those that belong to it."""
    if cell is None:
        return list(rows)
    return [row for row in rows if row.cell == cell] or [row for row in rows if row.actual_cell == cell]


def published_metrics(cell: str) -> PublishedReport | None:
    """The published metric report of a cell such as `en_dpo_llama3b`; None where the paper published none.

    `hdpo` gives what the paper's tables show under HDPO, which its flags may call an oracle; `hdporef` gives the same
    report where none is published under that name.
    """
    return next((report for report in published_reports(cell) if report.main), None)


def published_reports(cell: str | None = None) -> list[PublishedReport]:
    """Every published metric report, or those of a cell; several where a cell was evaluated again or on a sample."""
    return _of_cell(_reports(), cell)


def published_buckets(report: str) -> list[PublishedBucket]:
    """BNG, HCR and inside rate of each bucket of a published metric report, by the name of its file."""
    keys = ("bng", "hcr", "mean_feature_inside_rate")
    return [
        PublishedBucket(report, row["bucket_id"], int(row["rows"]), _values(row, keys))
        for row in _read("metrics_by_bucket.csv")
        if row["report"] == report
    ]


def published_judgements(cell: str | None = None, judge: str | None = None) -> list[PublishedJudgement]:
    """Judges' mean scores, of a cell and of a judge where these are given."""
    return [row for row in _of_cell(_judgements(), cell) if judge in (None, row.judge)]


def published_detections(cell: str | None = None, detector: str | None = None) -> list[PublishedDetection]:
    """Detectors' figures; `en_human_human` and `zh_human_human` are the human answers."""
    return [row for row in _of_cell(_detections(), cell) if detector in (None, row.detector)]
