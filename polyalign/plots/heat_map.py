"""Methods in rows, buckets in columns: where a method is far from human, and where it is useful."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from polyalign.files import StrPath
from polyalign.plots.style import INK, as_grid, finish, new_figure, save, settings
from polyalign.tables.model import Row, Table
from polyalign.tables.names import bucket_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = ("bng", "hcr_calibrated", "qa_f1")
_LOG = ("bng", "bng_robust")
_KEY = "Darker is better in every panel. A cell without a number: fewer answers than a bucket needs."
_CELL_WIDTH, _CELL_HEIGHT = 0.78, 0.34


def draw_heat_map(tables: Sequence[Table], title: str, png: StrPath, pdf: StrPath) -> bool:
    """Draw a panel for each of the bucket tables worth it; False, and no files, where there is none."""
    keys = [
        "char_f1" if key == "qa_f1" and any(t.key == "char_f1" for t in tables) else key for key in _SHOWN
    ]
    shown = [table for key in keys for table in tables if table.key == key]
    if not shown:
        return False
    rows = [row for row in shown[0].rows if row.method != "human"]
    columns = max((table.columns for table in shown), key=len)
    panel = _CELL_HEIGHT * len(rows) + 0.55
    height = 1.9 + panel * len(shown)
    with settings():
        # Narrower than 6 inches there is no room for the key.
        figure = new_figure(max(6.0, 2.6 + _CELL_WIDTH * len(columns)), height)
        panels = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
        buckets = [column.key.partition("/")[2] for column in columns]
        for axes, table in zip(panels, shown, strict=True):
            _draw_panel(axes, table, buckets)
        labels = [_stacked(bucket_label(bucket)) for bucket in buckets]
        panels[-1].set_xticks(range(len(buckets)), labels, fontsize=9)
        finish(figure, title, _KEY)
        save(figure, png, pdf)
    return True


def _stacked(label: str) -> str:
    """A bucket's name, a word a line."""
    return "\n".join(label.split())


def _number(row: Row, key: str) -> float:
    """The cell's number, NaN where there is none."""
    value = row.values.get(key)
    return np.nan if value is None or value.estimate is None else value.estimate


def _draw_panel(axes: "Axes", table: Table, buckets: Sequence[str]) -> None:
    rows = [row for row in table.rows if row.method != "human"]
    keys = [f"{table.key}/{bucket}" for bucket in buckets]
    known = {column.key: column for column in table.columns}
    values = np.array([[_number(row, key) for key in keys] for row in rows])
    better = known[next(key for key in keys if key in known)]
    shade = np.log(np.maximum(values, 1e-3)) if table.key in _LOG else values
    if better.direction < 0:
        shade = -shade
    low, high = np.nanmin(shade), np.nanmax(shade)
    # From light to dark, all readable in grey: the order survives any printer and any eye.
    axes.imshow(np.ma.masked_invalid(shade), cmap="Blues", aspect="auto", vmin=low, vmax=high + (high == low))
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            dark = (shade[row, column] - low) > 0.55 * (high - low)
            text = f"{value:.{better.digits}f}" if value < 100 else f"{value:.3g}"
            bold = rows[row].values[keys[column]].bold
            axes.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=8.5,
                color="white" if dark else INK,
                fontweight="bold" if bold else "normal",
            )
    several = len(table.models) > 1
    axes.set_yticks(range(len(rows)), [f"{row.model}  {row.label}" if several else row.label for row in rows])
    axes.set_title(table.title, loc="left", fontsize=11, fontweight="bold")
    as_grid(axes, *values.shape)
    for place in range(1, len(rows)):
        if rows[place].model != rows[place - 1].model:
            axes.axhline(place - 0.5, color=INK, lw=1)
