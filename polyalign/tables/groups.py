"""Tables by dataset and by bucket: a table a metric, methods in rows, groups in columns."""

from collections.abc import Sequence

from polyalign.metrics.groups import group_key
from polyalign.tables.entries import Entry
from polyalign.tables.main import CHARACTER_KEYS, method_rows
from polyalign.tables.model import Column, Page, Table
from polyalign.tables.names import bucket_label, bucket_order, language_name
from polyalign.tables.notes import page_notes

DATASET_METRICS = (
    Column("qa_f1", "F1", 1),
    Column("char_f1", "F1 (characters)", 1),
    Column("rouge_l_f1", "ROUGE-L", 1),
    Column("char_rouge_l_f1", "ROUGE-L (characters)", 1),
    Column("qa_em", "Exact match", 1),
)
BUCKET_METRICS = (
    Column("qa_f1", "F1", 1),
    Column("char_f1", "F1 (characters)", 1),
    Column("bng", "BNG", -1, 2),
    Column("bng_robust", "Robust BNG", -1, 2),
    Column("hcr_calibrated", "Calibrated HCR", 1),
    Column("mauve", "C-MAUVE", 1),
    Column("tdm", "TDM", 1),
    Column("mean_tokens", "Answer length in tokens", 0, 1),
)
"""Metrics that are shown, each with the header, direction and digits of its table."""


def dataset_page(entries: Sequence[Entry], language: str) -> Page:
    """Utility in each corpus of the language."""
    datasets = {row.dataset: row.n_examples for row in entries[0].report.metrics.utility.by_dataset}
    labels = {name: name for name in datasets}
    return Page(
        "datasets",
        f"{language_name(language)}: utility by dataset",
        language,
        _tables(entries, language, DATASET_METRICS, labels, datasets),
        lead="Overlap with the human answers in each corpus.",
        notes=page_notes(entries),
    )


def bucket_page(entries: Sequence[Entry], language: str) -> Page:
    """Utility, naturalness and length in each bucket."""
    counts = {row.bucket_id: row.n_examples for row in entries[0].report.metrics.utility.by_bucket}
    labels = {name: bucket_label(name) for name in sorted(counts, key=bucket_order)}
    smallest = entries[0].report.parameters.get("min_bucket_size")
    few = (
        f"Buckets of fewer than {smallest} answers have utility and length alone, and no intervals. A bucket that a "
        "metric does not apply to is left out."
    )
    return Page(
        "buckets",
        f"{language_name(language)}: metrics by bucket",
        language,
        _tables(entries, language, BUCKET_METRICS, labels, counts),
        lead=(
            "A bucket is the condition that answers are compared under: track, family and length of the human answer."
        ),
        notes=[*page_notes(entries), few],
    )


def _tables(
    entries: Sequence[Entry],
    language: str,
    metrics: Sequence[Column],
    labels: dict[str, str],
    counts: dict[str, int],
) -> list[Table]:
    """A table for each metric that has values in the groups."""
    tables = []
    for metric in metrics:
        if metric.key in CHARACTER_KEYS and language != "zh":
            continue
        columns = [
            Column(
                group_key(metric.key, name),
                label,
                metric.direction,
                metric.digits,
                f"{counts[name]:,} rows",
                show_arrow=False,
            )
            for name, label in labels.items()
            if any(entry.estimates.get(group_key(metric.key, name)) is not None for entry in entries)
        ]
        if columns:
            title = f"{metric.header} {metric.arrow}".strip()
            tables.append(Table(metric.key, title, columns, method_rows(entries, columns, human=True)))
    return tables
