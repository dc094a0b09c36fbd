"""The page of the detectors of machine text: a table a detector, and a figure of their scores.

    build_detection([{...}, {...}], "results/tables", models=["tiny"])

takes summaries as `polyalign.detection.summary` makes them. What the figures mean: docs/detection.md.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.plots.detection import draw_detection
from polyalign.published import CITATION, published_detections
from polyalign.tables.html import write_page
from polyalign.tables.model import Column, Page, Row, Table, Value
from polyalign.tables.names import METHOD_LABELS, in_table_order, language_name, names_of

TITLES = {
    "fast_detectgpt": "Fast-DetectGPT",
    "binoculars": "Binoculars",
    "radar": "RADAR",
    "detectgpt": "DetectGPT",
}
COLUMNS = (
    Column("auroc", "AUROC", 0),
    Column("tpr_at_1_fpr", "TPR at 1% FPR", 0),
    Column("tpr_at_5_fpr", "TPR at 5% FPR", 0),
    Column("ai_rate", "Decided machine", 0),
    Column("mean_score", "Mean score", 0),
    Column("scored", "Scored", 0, 0),
    Column("errors", "Errors", 0, 0),
)
PUBLISHED = ("auroc", "tpr_at_1_fpr", "tpr_at_5_fpr", "ai_rate", "mean_score")
CAPTION = "Scores of human answers and of every system"
FEWEST_AT_1 = 100


def build_detection(
    summaries: Sequence[Mapping[str, Any]],
    out_dir: StrPath,
    *,
    models: Sequence[str] = (),
    stand_ins: Sequence[str] = (),
) -> dict[str, Any]:
    """Write `detection_{language}` as HTML, Markdown, LaTeX and CSV, and the figure as PNG and PDF.

    Args:
        summaries: of one language, a detector each, in table order.
        models: order of the models.
        stand_ins: models that stand in for those of the detectors, which the page then says.

    Returns:
        Language, detectors, cells and files, for the manifest.

    Raises:
        BadInput: summaries of several languages, or none.
    """
    languages = {summary["language"] for summary in summaries}
    if len(languages) != 1:
        raise BadInput(
            f"summaries of {len(languages)} languages", expected="one", fix="build a page a language"
        )
    language = languages.pop()
    page = detection_page(summaries, language, models, stand_ins)
    out = Path(out_dir)
    png, pdf = out / f"detection_{language}.png", out / f"detection_{language}.pdf"
    cells, title = _cells(summaries, models), f"{language_name(language)}: scores of the detectors"
    draw_detection(summaries, cells, TITLES, title, png, pdf)
    paths = write_page(page, out, {CAPTION: png})
    return {
        "language": language,
        "detectors": [summary["detector"] for summary in summaries],
        "cells": cells,
        "files": [str(path) for path in (*paths, png, pdf)],
    }


def detection_page(
    summaries: Sequence[Mapping[str, Any]],
    language: str,
    models: Sequence[str] = (),
    stand_ins: Sequence[str] = (),
) -> Page:
    """A table for each detector, and what the paper published for the same cells."""
    cells = _cells(summaries, models)
    tables = [_table(summary, cells) for summary in summaries]
    published = _published(summaries, cells)
    lead = (
        "How well detectors of machine text tell each system's answers from the human ones: AUROC 0.5 is chance, 1 "
        "is certainty. Lower means closer to human text as that detector sees it."
    )
    intervals = summaries[0]["intervals"]
    notes = [
        "Every figure is taken on the rows that have a score for the human answer and for every system.",
        "Decided machine: share of answers at or beyond the detector's own threshold.",
    ]
    if intervals["replicates"]:
        notes.append(
            f"Brackets: {intervals['confidence']:.0%} bootstrap intervals ({intervals['replicates']:,} replicates; "
            "a row's human and machine answer are drawn together)."
        )
    if stand_ins:
        notes.append(
            f"Stand-ins for the detectors' models were used ({', '.join(stand_ins)}): the figures show that the parts "
            "run and say nothing about the detectors or the methods."
        )
    return Page(
        "detection",
        f"{language_name(language)}: detectors of machine text",
        language,
        [*tables, *published],
        lead=lead,
        notes=notes,
    )


def _cells(summaries: Sequence[Mapping[str, Any]], models: Sequence[str]) -> list[str]:
    """Cells of all summaries by model and method, in table order."""
    return in_table_order((cell for summary in summaries for cell in summary["systems"]), models)


def _table(summary: Mapping[str, Any], cells: Sequence[str]) -> Table:
    rows, seen = [], set()
    for cell in cells:
        model, method, label = names_of(cell)
        if model not in seen:
            seen.add(model)
            rows.append(Row(model, "human", "Human answers", _values(summary["human"])))
        rows.append(Row(model, method, label, _values(summary["systems"][cell])))
    human = summary["human"]
    notes = [
        f"{summary['common_rows']:,} of {human['rows']:,} rows in common; threshold {summary['threshold']:.4g}."
    ]
    if not summary["calibrated"]:
        notes.append(f"{summary['note'][:1].upper()}{summary['note'][1:]}.")
    if summary["common_rows"] < FEWEST_AT_1:
        notes.append(f"With fewer than {FEWEST_AT_1} rows, TPR at 1% FPR allows no false positive at all.")
    return Table(summary["detector"], TITLES[summary["detector"]], COLUMNS, rows, notes=notes)


def _values(figures: Mapping[str, Any]) -> dict[str, Value]:
    values = {column.key: Value(figures.get(column.key)) for column in COLUMNS if column.key != "errors"}
    if "auroc" in figures:
        values["auroc"] = Value(figures["auroc"], figures["auroc_low"], figures["auroc_high"])
    count = sum(figures["errors"].values())
    values["errors"] = Value(count, text=", ".join(figures["errors"]).replace("_", " "))
    return values


def _published(summaries: Sequence[Mapping[str, Any]], cells: Sequence[str]) -> list[Table]:
    """What the paper published for these cells, with what forbids a comparison; no table where there is nothing."""
    columns = [column for column in COLUMNS if column.key in PUBLISHED]
    rows = []
    for summary in summaries:
        title = TITLES[summary["detector"]]
        for cell in cells:
            for found in published_detections(cell, title):
                values = {column.key: Value(found.value(column.key)) for column in columns}
                values["flags"] = Value(text="; ".join(found.warnings) or "none", tone="soft")
                label = f"{title}, {METHOD_LABELS[found.published_as]}"
                rows.append(Row(found.model, found.method, label, values))
    if not rows:
        return []
    note = f"Figures as published ({CITATION}); Fast-DetectGPT's mean score is its P(AI) there."
    flags = Column("flags", "Known problems", words=True)
    return [
        Table(
            "published", "Published figures", [*columns, flags], rows, stub="Detector, method", notes=[note]
        )
    ]
