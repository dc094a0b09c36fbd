"""The page of the judges: composites and scores of every system, how steady the judges are, and whether they agree.

    build_judge([summary, summary], agreement, "results/tables", models=["tiny"])

takes what `polyalign.judge.summary` makes. What the figures mean: docs/judge.md.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.judge.health import MAIN
from polyalign.judge.replies import CUT, OUT_OF_RANGE, TOO_LONG, UNPARSABLE
from polyalign.judge.rubric import Rubric, load_rubric
from polyalign.plots.judge import draw_judge
from polyalign.published import CITATION, published_judgements
from polyalign.tables.html import write_page
from polyalign.tables.model import Column, Page, Row, Table, Value
from polyalign.tables.names import (
    METHOD_LABELS,
    bucket_label,
    bucket_order,
    in_table_order,
    language_name,
    names_of,
    spoken,
)

CAPTION = "Composites of every system"
COUNTS = (
    Column("scored", "Scored", 0, 0),
    Column("errors", "Errors", 0, 0),
    Column("capped", "Capped", 0, 0),
)
REPLIES = (
    Column("asked", "Replies", 0, 0),
    Column(UNPARSABLE, "Not parsed", -1, 0),
    Column(CUT, "Ran into the limit", -1, 0),
    Column(OUT_OF_RANGE, "Out of range", -1, 0),
    Column(TOO_LONG, "Prompt too long", -1, 0),
)
PROBES = (
    Column("rows", "Rows", 0, 0),
    Column("unchanged", "Same eight scores", 1, 3, "share"),
    Column("difference", "Difference of a score", -1, 2, "mean, absolute"),
    Column("shift", "Shift of overall", 0, 2, "mean, of 100", signed=True),
)
PROBE_LABELS = {
    "repeat": "Asked again",
    "answer_first": "Answer before reference",
    "backwards": "Questions backwards",
    "quoted": "Answer in quotation marks",
}


def build_judge(
    summaries: Sequence[Mapping[str, Any]],
    agreement: Mapping[str, Any],
    out_dir: StrPath,
    *,
    models: Sequence[str] = (),
    stand_ins: Sequence[str] = (),
) -> dict[str, Any]:
    """Write `judge_{language}` as HTML, Markdown, LaTeX and CSV, and the figure as PNG and PDF.

    Args:
        summaries: of one language, a judge each, in table order.
        agreement: of these judges.
        models: order of the models.
        stand_ins: judges that are no real ones, which the page then says.

    Returns:
        Language, judges, cells and files, for the manifest.

    Raises:
        BadInput: summaries of several languages or rubrics, or none.
    """
    for name in ("language", "rubric"):
        found = [summary[name] for summary in summaries]
        if not found or any(value != found[0] for value in found):
            raise BadInput(
                f"judges' summaries that differ in their {name}, or none", fix="summarize them together"
            )
    language = summaries[0]["language"]
    page = judge_page(summaries, agreement, models, stand_ins)
    out = Path(out_dir)
    png, pdf = out / f"judge_{language}.png", out / f"judge_{language}.pdf"
    cells = _cells(summaries, models)
    titles = {name: spoken(name) for name in load_rubric().composites}
    draw_judge(summaries, cells, titles, page.title, png, pdf)
    paths = write_page(page, out, {CAPTION: png})
    return {
        "language": language,
        "judges": [summary["judge"] for summary in summaries],
        "cells": cells,
        "files": [str(path) for path in (*paths, png, pdf)],
    }


def judge_page(
    summaries: Sequence[Mapping[str, Any]],
    agreement: Mapping[str, Any],
    models: Sequence[str] = (),
    stand_ins: Sequence[str] = (),
) -> Page:
    """Tables of every judge, then their health and agreement, and what the paper published for the same cells."""
    rubric, language = load_rubric(), summaries[0]["language"]
    cells = _cells(summaries, models)
    tables = [table for summary in summaries for table in _score_tables(summary, cells, rubric)]
    tables += [_replies_table(summaries), *_probe_tables(summaries), *_agreement_tables(agreement, rubric)]
    tables += [table for summary in summaries for table in _group_tables(summary, cells)]
    tables += _published_tables(summaries, cells, rubric)
    notes = [
        "Every mean of a judge is taken on the rows that it scored for all systems.",
        "Composites run from 0 to 100, scores from 1 to 5; caps are applied by the program from the judge's flags.",
    ]
    intervals = summaries[0]["intervals"]
    if intervals["replicates"]:
        notes.append(
            f"Brackets: {intervals['confidence']:.0%} bootstrap intervals ({intervals['replicates']:,} replicates, "
            "rows resampled within their bucket, small buckets together)."
        )
    if stand_ins:
        notes.append(
            f"Stand-ins judged ({', '.join(stand_ins)}): the figures show that the parts run and say nothing about the "
            "methods."
        )
    return Page(
        "judge",
        f"{language_name(language)}: what judges say",
        language,
        tables,
        lead=(
            "Language models grade every system's answers by one rubric, with the conversation, the target profile and "
            "the human answer before them."
        ),
        notes=notes,
    )


def _cells(summaries: Sequence[Mapping[str, Any]], models: Sequence[str]) -> list[str]:
    return in_table_order((cell for summary in summaries for cell in summary["cells"]), models)


def _estimate(found: Mapping[str, Any]) -> Value:
    return Value(found["estimate"], found["low"], found["high"])


def _score_tables(summary: Mapping[str, Any], cells: Sequence[str], rubric: Rubric) -> list[Table]:
    """Composites with counts, then the eight scores, of one judge."""
    judge = summary["judge"]
    note = f"{summary['common_rows']:,} of {summary['rows']:,} rows in common."
    tables = []
    for kind, names, digits, more in (
        ("composites", rubric.composites, 1, COUNTS),
        ("scores", rubric.dimensions, 2, ()),
    ):
        columns = [*(Column(name, spoken(name), 1, digits) for name in names), *more]
        rows = []
        for cell in cells:
            found = summary["cells"][cell]
            errors = found["errors"]
            values = {name: _estimate(found["means"][name]) for name in names}
            values |= {name: Value(found[name]) for name in ("scored", "capped")}
            values["errors"] = Value(sum(errors.values()), text=", ".join(errors).replace("_", " "))
            rows.append(Row(*names_of(cell), values))
        tables.append(Table(f"{kind} {judge}", f"{judge}: {kind}", columns, rows, notes=[note]))
    return tables


def _replies_table(summaries: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for summary in summaries:
        for part, label in (("replies", "Rows"), ("probe_replies", "Rows asked again")):
            found = summary["health"][part]
            rows.append(
                Row(summary["judge"], part, label, {name: Value(count) for name, count in found.items()})
            )
    return Table("replies", "Replies that were read", REPLIES, rows, stub="Asked about", group="Judge")


def _probe_tables(summaries: Sequence[Mapping[str, Any]]) -> list[Table]:
    rows = []
    for summary in summaries:
        for name, found in summary["health"]["probes"].items():
            values = {column.key: Value(found[column.key]) for column in PROBES}
            values["shift"] = Value(found["shift"], found["shift_low"], found["shift_high"])
            rows.append(Row(summary["judge"], name, PROBE_LABELS[name], values))
    note = "The same judgement asked for in another way: what changes is the judge's own noise."
    return [Table("probes", "Asked twice", PROBES, rows, "Second time", "Judge", [note])] if rows else []


def _agreement_tables(agreement: Mapping[str, Any], rubric: Rubric) -> list[Table]:
    """Alpha of every dimension, then Pearson's correlation of every pair of judges; none for a single judge."""
    if not agreement["rows"]:
        return []
    among = "All judges" if len(agreement["judges"]) > 2 else " and ".join(agreement["judges"])
    rows = []
    for name in rubric.dimensions:
        found = agreement["alpha"][name]
        value = Value(found["estimate"], text=found["reason"] or "")
        rows.append(Row(among, name, spoken(name), {"alpha": value}))
    note = (
        f"Krippendorff's alpha of ordinal scores over {agreement['rows']:,} answers that all of them scored."
    )
    column = Column("alpha", "Alpha", 1)
    tables = [Table("alpha", "Agreement of the judges", [column], rows, "Score", "Judges", [note])]
    columns = [Column(name, spoken(name), 1) for name in rubric.composites]
    pairs = [
        Row(
            "Pairs",
            " and ".join(pair["judges"]),
            " and ".join(pair["judges"]),
            {name: _estimate(pair["composites"][name]) for name in rubric.composites},
        )
        for pair in agreement["pearson"]
    ]
    title = "Pearson's correlation of composites"
    return [*tables, Table("pearson", title, columns, pairs, stub="Judges", group="Among")]


def _group_tables(summary: Mapping[str, Any], cells: Sequence[str]) -> list[Table]:
    """The main composite by dataset and by bucket."""
    judge, one = summary["judge"], summary["cells"][cells[0]]
    tables = []
    for key, title, order, label in (
        ("by_dataset", "dataset", None, str),
        ("by_bucket", "bucket", bucket_order, bucket_label),
    ):
        names = sorted(one[key], key=order)
        columns = [Column(name, label(name), 1, 1, f"{one[key][name]['rows']:,} rows") for name in names]
        rows = []
        for cell in cells:
            values = {name: _estimate(summary["cells"][cell][key][name][MAIN]) for name in names}
            rows.append(Row(*names_of(cell), values))
        tables.append(Table(f"{title} {judge}", f"{judge}: {spoken(MAIN).lower()} by {title}", columns, rows))
    return tables


def _published_tables(
    summaries: Sequence[Mapping[str, Any]], cells: Sequence[str], rubric: Rubric
) -> list[Table]:
    """What the paper's judges said of these cells, with what forbids a comparison."""
    rows = []
    for cell in cells:
        for found in published_judgements(cell):
            values = {name: Value(found.value(name)) for name in rubric.composites}
            values["flags"] = Value(text="; ".join(found.warnings) or "none", tone="soft")
            label = f"{METHOD_LABELS[found.published_as]}, {found.judge}"
            rows.append(Row(found.model, found.method, label, values))
    if not rows:
        return []
    columns = [Column(name, spoken(name), 1, 1) for name in rubric.composites]
    flags = Column("flags", "Known problems", words=True)
    note = f"Figures as published ({CITATION}), by a rubric of the same weights in other words."
    return [Table("published", "Published figures", [*columns, flags], rows, "Method, judge", notes=[note])]
