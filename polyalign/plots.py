"""Figures of a table: utility and naturalness of every method with their intervals."""

import logging
from collections.abc import Sequence

from polyalign.files import StrPath, atomic_path
from polyalign.table_data import Column, Row, Table

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = {
    "base": "#999999",
    "cot": "#56B4E9",
    "sft": "#0072B2",
    "bucketsft": "#009E73",
    "dpo": "#E69F00",
    "hdpo": "#D55E00",
}
_OTHER = "#CC79A7"
_PANELS = ("qa_f1", "char_f1", "bng", "bng_robust")
_KEY = "Dots and bars: estimates and intervals.  Black ring: best by more than noise.  Dashed: the human answers."
_ROW_HEIGHT, _GAP = 0.3, 0.9
_WIDE = 4.0
"""A panel turns to a log axis when its largest value is this many times the median."""


def _panel_columns(table: Table) -> list[Column]:
    keys = [key for key in _PANELS if any(column.key == key for column in table.columns)]
    if "char_f1" in keys:
        keys.remove("qa_f1")
    return [column for key in keys for column in table.columns if column.key == key]


def _heights(rows: Sequence[Row]) -> list[float]:
    """Vertical place of each row, with a gap before each further model."""
    places, place = [], 0.0
    for position, row in enumerate(rows):
        if position:
            place += 1.0 + (_GAP if rows[position - 1].model != row.model else 0.0)
        places.append(place)
    return places


def _draw_panel(axes, table: Table, rows: Sequence[Row], column: Column) -> None:
    places = _heights(rows)
    shown = [row.values[column.key].estimate for row in rows]
    humans = {row.model: row.values[column.key].estimate for row in table.rows if row.method == "human"}
    for place, row in zip(places, rows, strict=True):
        value = row.values[column.key]
        if value.estimate is None:
            continue
        colour = COLOURS.get(row.method, _OTHER)
        if value.low is not None:
            axes.plot(
                [value.low, value.high],
                [place, place],
                color=colour,
                lw=2.2,
                solid_capstyle="round",
                zorder=2,
            )
        axes.plot(
            [value.estimate], [place], "o", ms=7.5 if value.bold else 6, color=colour, zorder=3,
            markeredgecolor="black" if value.bold else "white", markeredgewidth=1.3 if value.bold else 0.8,
        )  # fmt: skip
    for model in table.models:
        there = [place for place, row in zip(places, rows, strict=True) if row.model == model]
        if humans.get(model) is not None and there:
            axes.plot(
                [humans[model]] * 2,
                [min(there) - 0.5, max(there) + 0.5],
                ls=(0, (2, 2)),
                color="#444444",
                lw=1,
            )
    known = sorted(value for value in shown if value is not None)
    if (
        known
        and column.direction < 0
        and known[-1] > _WIDE * max(known[len(known) // 2], 1e-9)
        and known[0] > 0
    ):
        axes.set_xscale("log")
    elif column.direction < 0:
        axes.set_xlim(left=0)
    else:
        axes.margins(x=0.12)
    arrow = {1: "larger is better →", -1: "← smaller is better", 0: ""}[column.direction]
    axes.set_title(column.header, fontsize=11, loc="left", fontweight="bold")
    axes.set_xlabel(arrow, fontsize=9, color="#555555")
    axes.grid(axis="x", color="#e5e7eb", lw=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=9, colors="#333333")


def draw_table(table: Table, png: StrPath, pdf: StrPath) -> None:
    """Draw F1 and BNG of every method, with intervals, as PNG and PDF; the dashed line is what humans reach."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    # Embedding a font writes every step of it to the log.
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    rows = [row for row in table.rows if row.method != "human"]
    columns, places = _panel_columns(table), _heights(rows)
    height = 1.8 + _ROW_HEIGHT * (places[-1] + 1)
    with plt.rc_context({"font.family": "DejaVu Sans", "pdf.fonttype": 42}):
        figure, panels = plt.subplots(
            1, len(columns), figsize=(2.2 + 2.9 * len(columns), height), sharey=True, squeeze=False
        )
        for axes, column in zip(panels[0], columns, strict=True):
            _draw_panel(axes, table, rows, column)
        first = panels[0][0]
        first.set_yticks(places, [row.label for row in rows], fontsize=10)
        first.set_ylim(places[-1] + 0.8, -1.1)
        for model in table.models:
            top = min(place for place, row in zip(places, rows, strict=True) if row.model == model)
            first.annotate(
                    model, (0, top - 0.62), xycoords=("axes fraction", "data"), fontsize=9, color="#555555",
                    style="italic", annotation_clip=False, xytext=(-6, 0), textcoords="offset points", ha="right",
                )  # fmt: skip
        figure.suptitle(table.title, x=0.01, ha="left", fontsize=12)
        figure.text(0.01, 0.01, _KEY, fontsize=8, color="#555555")
        figure.tight_layout(rect=(0, 0.3 / height, 1, 1))
        # No date inside, so that the same numbers give the same file.
        for path, metadata in ((png, {"Software": None}), (pdf, {"CreationDate": None})):
            with atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=160, metadata=metadata)
        plt.close(figure)
