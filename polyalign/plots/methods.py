"""Utility and naturalness of every method with their intervals, a panel a metric."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from polyalign.files import StrPath
from polyalign.plots.style import colour, finish, label_rows, new_figure, plain, row_places, save, settings
from polyalign.tables.model import Column, Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANELS = ("qa_f1", "char_f1", "bng", "bng_robust", "hcr_calibrated")
_KEY = "Dots and bars: estimates and intervals.   Black ring: best by more than noise.   Dashed: the human answers."
_SEEDS_KEY = "   Faint dots below: single seeds, whose mean the dot is; bars of the first."
_ROW_HEIGHT = 0.3
_WIDE = 4.0
"""A panel turns to a log axis when its largest value is this many times the median."""


def _panel_columns(table: Table) -> list[Column]:
    keys = [key for key in _PANELS if any(column.key == key for column in table.columns)]
    if "char_f1" in keys:
        keys.remove("qa_f1")
    return [column for key in keys for column in table.columns if column.key == key]


def _set_scale(axes: "Axes", column: Column, shown: Sequence[float]) -> None:
    """From zero where smaller is better; logarithmic where one value dwarfs the others."""
    known = sorted(shown)
    if column.direction >= 0 or not known:
        axes.margins(x=0.12)
    elif known[0] > 0 and known[-1] > _WIDE * known[len(known) // 2]:
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(left=0)


def _draw_panel(
    axes: "Axes", table: Table, rows: Sequence[Row], places: Sequence[float], column: Column
) -> None:
    humans = {row.model: row.values[column.key].estimate for row in table.rows if row.method == "human"}
    for place, row in zip(places, rows, strict=True):
        value = row.values[column.key]
        if value.estimate is None:
            continue
        if value.low is not None:
            ends = [value.low, value.high]
            axes.plot(
                ends, [place, place], color=colour(row.method), lw=2.4, solid_capstyle="round", zorder=2
            )
        ring = (
            {"markeredgecolor": "black", "markeredgewidth": 1.4}
            if value.bold
            else {"markeredgecolor": "white"}
        )
        seeds = [run.values[column.key].estimate for run in row.runs]
        for seed in (estimate for estimate in seeds if estimate is not None):
            # Below the bar, which would hide them.
            axes.plot([seed], [place + 0.3], "o", ms=4, color=colour(row.method), alpha=0.5, mew=0)
        axes.plot([value.estimate], [place], "o", ms=7, color=colour(row.method), zorder=3, **ring)
    for model in table.models:
        there = [place for place, row in zip(places, rows, strict=True) if row.model == model]
        if humans.get(model) is not None and there:
            ends = [min(there) - 0.5, max(there) + 0.5]
            axes.plot([humans[model]] * 2, ends, ls=(0, (2, 2)), color="#444444", lw=1.1)
    lines = [line for row in rows for line in (row, *row.runs)]
    shown = [value for line in lines if (value := line.values[column.key].estimate) is not None]
    _set_scale(axes, column, shown)
    arrow = {1: "larger is better →", -1: "← smaller is better", 0: ""}[column.direction]
    axes.set_title(column.header, fontsize=11, loc="left", fontweight="bold")
    axes.set_xlabel(arrow, fontsize=9)
    plain(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def draw_methods(table: Table, title: str, png: StrPath, pdf: StrPath) -> bool:
    """Draw F1, BNG, robust BNG and calibrated HCR of every method; the dashed line is what humans reach."""
    rows = [row for row in table.rows if row.method != "human"]
    columns, places = _panel_columns(table), row_places([row.model for row in rows])
    height = 1.7 + _ROW_HEIGHT * (places[-1] + 1)
    with settings():
        figure = new_figure(max(7.0, 2.0 + 2.6 * len(columns)), height)
        panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)
        for axes, column in zip(panels[0], columns, strict=True):
            _draw_panel(axes, table, rows, places, column)
        label_rows(panels[0][0], places, [row.label for row in rows], [row.model for row in rows])
        finish(figure, title, _KEY + (_SEEDS_KEY if any(row.runs for row in rows) else ""))
        save(figure, png, pdf)
    return True
