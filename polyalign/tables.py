"""Tables of methods from evaluation reports: Markdown, HTML, LaTeX, CSV and a figure.

    build_tables(["results/metrics/en_base_tiny.json", "results/metrics/en_sft_tiny.json"], "results/tables")

writes main_{language}.md, .html, .tex, .csv, .png and .pdf for every language of the reports.
"""

from collections.abc import Sequence
from pathlib import Path

from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.plots import draw_table
from polyalign.table_data import assemble, read_entry
from polyalign.table_formats import to_csv, to_html, to_latex, to_markdown, write_text

FORMATS = ("md", "html", "tex", "csv", "png", "pdf")


def build_table(
    metric_files: Sequence[StrPath], out_dir: StrPath, *, name: str = "main", models: Sequence[str] = ()
) -> dict:
    """Write one table from the reports of one language.

    Args:
        metric_files: reports of cells; their replicates stand beside them as `{cell}_bootstrap.parquet`.
        out_dir: folder of `{name}_{language}.md|html|tex|csv|png|pdf`.
        models: order of the models.

    Returns:
        Details for the manifest: language, cells, models, columns, what is best, and the files.

    Raises:
        BadInput: reports that cannot be compared, naming the file and the fix; nothing is written then.
    """
    entries = [read_entry(path) for path in metric_files]
    languages = list(dict.fromkeys(entry.report.cell.language for entry in entries))
    if len(languages) > 1:
        raise BadInput(
            f"reports of {len(languages)} languages: {', '.join(languages)}", fix="build a table a language"
        )
    if not entries:
        raise BadInput("no reports", fix="give at least one metrics file")
    language = languages[0]
    table = assemble(entries, language, models=models)
    paths = {kind: Path(out_dir) / f"{name}_{language}.{kind}" for kind in FORMATS}
    draw_table(table, paths["png"], paths["pdf"])
    write_text(paths["md"], to_markdown(table))
    write_text(paths["html"], to_html(table, paths["png"]))
    write_text(paths["tex"], to_latex(table))
    write_text(paths["csv"], to_csv(table))
    return {
        "language": language,
        "cells": [entry.report.cell.name for entry in entries],
        "models": table.models,
        "columns": [column.key for column in table.columns],
        "best": [
            {"model": row.model, "method": row.method, "metric": key}
            for row in table.rows
            for key, value in row.values.items()
            if value.bold
        ],
        "notes": table.notes,
        "files": [str(path) for path in paths.values()],
    }


def build_tables(metric_files: Sequence[StrPath], out_dir: StrPath, *, name: str = "main") -> list[dict]:
    """Write a table for every language of the reports; returns the details of each, see `build_table`."""
    by_language: dict[str, list[StrPath]] = {}
    for path in metric_files:
        by_language.setdefault(read_entry(path).report.cell.language, []).append(path)
    if not by_language:
        raise BadInput("no reports", fix="give at least one metrics file")
    return [build_table(files, out_dir, name=name) for files in by_language.values()]
