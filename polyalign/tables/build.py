"""Write every page of tables and every figure of a language from the reports of its cells.

    build_all(["results/metrics/en_base_tiny.json", "results/metrics/en_sft_tiny.json"], "results/tables")

writes {page}_{language}.md, .html, .tex and .csv for the pages `PAGES`, and {figure}_{language}.png and .pdf for the
figures `FIGURES`, for every language of the reports.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from polyalign.errors import BadInput
from polyalign.files import StrPath
from polyalign.plots.contributions import draw_contributions
from polyalign.plots.frontier import draw_frontier
from polyalign.plots.heat_map import draw_heat_map
from polyalign.plots.methods import draw_methods
from polyalign.plots.style import draw_reason
from polyalign.tables.ablation import ablation_page
from polyalign.tables.entries import Entry, read_entry
from polyalign.tables.groups import bucket_page, dataset_page
from polyalign.tables.guards import check_comparable
from polyalign.tables.html import write_page
from polyalign.tables.main import main_page
from polyalign.tables.model import Page
from polyalign.tables.names import language_name, method_rank
from polyalign.tables.published import published_page
from polyalign.tables.seeds import gather_seeds

PAGES = ("main", "datasets", "buckets", "published", "ablation")
FIGURES = ("main", "frontier", "buckets", "contributions")
CAPTIONS = {
    "main": "Utility and naturalness of every method",
    "frontier": "Utility against naturalness",
    "buckets": "Naturalness and utility by bucket",
    "contributions": "What the published BNG is made of",
}
FIGURES_OF_PAGE = {"main": ("main", "frontier"), "buckets": ("buckets",), "ablation": ("contributions",)}
"""Figures that stand in a page's HTML."""


def build_tables(
    metric_files: Sequence[StrPath],
    out_dir: StrPath,
    *,
    models: Sequence[str] = (),
    others: Mapping[str, Sequence[StrPath]] | None = None,
) -> dict:
    """Write the pages and figures of the reports of one language.

    Args:
        metric_files: reports of cells, several seeds of a cell too; their replicates stand beside them as
            `{cell}_bootstrap.parquet`.
        out_dir: folder of the pages and figures.
        models: order of the models; others follow in the order of the files.
        others: reports of other runs by label, for the ablation page.

    Returns:
        Details for the manifest: language, cells, models, what is best, notes and files.

    Raises:
        BadInput: reports that cannot be compared, naming the file and the fix; nothing is written then.
    """
    reports = in_order([read_entry(path) for path in metric_files], models)
    language = _language_of(reports)
    check_comparable(reports, same_cell=True)
    entries = gather_seeds(reports)
    compared = {
        label: gather_seeds(in_order([read_entry(path) for path in files]))
        for label, files in (others or {}).items()
    }
    pages = [
        main_page(entries, language),
        dataset_page(entries, language),
        bucket_page(entries, language),
        published_page(entries, language),
        ablation_page(entries, language, compared),
    ]
    out = Path(out_dir)
    by_name = {page.name: page for page in pages}
    figures = _draw(entries, by_name, out, language)
    files = [path for pair in figures.values() for path in pair]
    for page in pages:
        files += write_page(
            page, out, {CAPTIONS[name]: figures[name][0] for name in FIGURES_OF_PAGE.get(page.name, ())}
        )
    main = by_name["main"].tables[0]
    return {
        "language": language,
        "cells": [entry.report.cell.name for entry in reports],
        "models": main.models,
        "compared": {label: [entry.report.cell.name for entry in found] for label, found in compared.items()},
        "best": [
            {"model": row.model, "method": row.method, "metric": key}
            for row in main.rows
            for key, value in row.values.items()
            if value.bold
        ],
        "notes": [*main.notes, *by_name["main"].notes],
        "files": [str(path) for path in files],
    }


def build_all(metric_files: Sequence[StrPath], out_dir: StrPath) -> list[dict]:
    """Write the pages of every language of the reports; returns the details of each, see `build_tables`."""
    by_language: dict[str, list[StrPath]] = {}
    for path in metric_files:
        by_language.setdefault(read_entry(path).report.cell.language, []).append(path)
    if not by_language:
        raise BadInput("no reports", fix="give at least one metrics file")
    return [build_tables(files, out_dir) for files in by_language.values()]


def in_order(entries: Sequence[Entry], models: Sequence[str] = ()) -> list[Entry]:
    """Entries by model and, within it, in the order in which methods build on each other."""
    order = list(dict.fromkeys([*models, *(entry.model for entry in entries)]))
    return sorted(entries, key=lambda entry: (order.index(entry.model), method_rank(entry.method)))


def _language_of(entries: Sequence[Entry]) -> str:
    languages = list(dict.fromkeys(entry.report.cell.language for entry in entries))
    if not languages:
        raise BadInput("no reports", fix="give at least one metrics file")
    if len(languages) > 1:
        raise BadInput(
            f"reports of {len(languages)} languages: {', '.join(languages)}", fix="build a table a language"
        )
    return languages[0]


def _draw(
    entries: Sequence[Entry], pages: Mapping[str, Page], out: Path, language: str
) -> dict[str, tuple[Path, Path]]:
    """Draw every figure; one without data says so, so that the files are always there."""
    paths = {name: (out / f"{name}_{language}.png", out / f"{name}_{language}.pdf") for name in FIGURES}
    titles = {
        name: f"{language_name(language)}: {CAPTIONS[name][:1].lower()}{CAPTIONS[name][1:]}"
        for name in FIGURES
    }
    drawn = {
        "main": lambda *where: draw_methods(pages["main"].tables[0], *where),
        "frontier": lambda *where: draw_frontier(entries, *where),
        "buckets": lambda *where: draw_heat_map(pages["buckets"].tables, *where),
        "contributions": lambda *where: draw_contributions(entries, *where),
    }
    for name, draw in drawn.items():
        if not draw(titles[name], *paths[name]):
            draw_reason(titles[name], "No data: the reports hold no features.", *paths[name])
    return paths
