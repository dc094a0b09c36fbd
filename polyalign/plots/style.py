"""What all figures share: colours and marks of the methods, plain axes, and files that do not change with the date."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from polyalign.files import StrPath, atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart; marks differ too.
COLOURS = {
    "base": "#8a8a8a",
    "cot": "#56B4E9",
    "sft": "#0072B2",
    "bucketsft": "#009E73",
    "dpo": "#E69F00",
    "hdpo": "#D55E00",
}
MARKS = {"base": "o", "cot": "P", "sft": "s", "bucketsft": "D", "dpo": "^", "hdpo": "v"}
OTHER_COLOUR, OTHER_MARK = "#CC79A7", "X"
INK, SOFT, LINE = "#1d2430", "#5b6675", "#e3e7ec"
_MODEL_GAP = 0.9
"""Room for the name of a model, in rows."""

_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": "#9aa3af",
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    # Text of a PDF stays text.
    "pdf.fonttype": 42,
}


def colour(method: str) -> str:
    """Colour of a method."""
    return COLOURS.get(method, OTHER_COLOUR)


def mark(method: str) -> str:
    """Marker of a method."""
    return MARKS.get(method, OTHER_MARK)


def settings():
    """Context in which a figure is made and saved."""
    from matplotlib import rc_context

    return rc_context(_SETTINGS)


def new_figure(width: float, height: float, **options) -> "Figure":
    """An empty figure of a size in inches, without the state of pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), **options)
    FigureCanvasAgg(figure)
    return figure


def plain(axes: "Axes", *, grid: str = "both") -> None:
    """No frame but a line below and at the left, a light grid behind."""
    axes.grid(axis=grid, color=LINE, lw=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def row_places(models: Sequence[str]) -> list[float]:
    """Vertical place of each row, from 0 downwards, with a gap before each further model."""
    places, place = [], 0.0
    for position, model in enumerate(models):
        if position:
            place += 1.0 if models[position - 1] == model else 1.0 + _MODEL_GAP
        places.append(place)
    return places


def label_rows(axes: "Axes", places: Sequence[float], labels: Sequence[str], models: Sequence[str]) -> None:
    """Write the label of each row at the left, and the name of a model above its first."""
    axes.set_yticks(places, labels, fontsize=10, color="black")
    axes.set_ylim(places[-1] + 0.8, -1.1)
    axes.tick_params(axis="y", length=0)
    for model in dict.fromkeys(models):
        axes.annotate(
            model,
            (0, places[models.index(model)] - 0.75),
            xycoords=("axes fraction", "data"),
            xytext=(-6, 0),
            textcoords="offset points",
            fontsize=9,
            color=SOFT,
            style="italic",
            annotation_clip=False,
            ha="right",
        )


def as_grid(axes: "Axes", rows: int, columns: int) -> None:
    """Make an image of rows by columns a table: white lines between cells, no frame, no ticks."""
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xticks([place - 0.5 for place in range(columns + 1)], minor=True)
    axes.set_yticks([place - 0.5 for place in range(rows + 1)], minor=True)
    axes.grid(which="minor", color="white", lw=1.5)
    axes.tick_params(which="both", length=0, colors=INK)


def legend_below_title(figure: "Figure", handles: Sequence[Any], labels: Sequence[str]) -> None:
    """A legend in one line between title and panels; `finish` has to leave 0.3 inches for it."""
    figure.legend(
        handles,
        labels,
        ncols=len(labels),
        loc="upper left",
        bbox_to_anchor=(0.0, 1 - 0.32 / figure.get_figheight()),
        frameon=False,
        fontsize=9,
    )


def finish(figure: "Figure", title: str, key: str, *, above: float = 0.0) -> None:
    """Put title and key at the edges and fit the rest between them.

    Args:
        title, key: what stands above and, in small print, below.
        above: inches to leave between title and panels, for a legend.
    """
    height, lines = figure.get_figheight(), key.count("\n") + 1
    figure.suptitle(title, x=0.01, y=1 - 0.08 / height, ha="left", va="top", fontsize=12, in_layout=False)
    figure.text(0.01, 0.06 / height, key, fontsize=8, color=SOFT, va="bottom")
    below, top = (0.12 + 0.15 * lines) / height, (0.34 + above) / height
    figure.tight_layout(rect=(0, below, 1, 1 - top), h_pad=1.2)


def save(figure: "Figure", png: StrPath, pdf: StrPath) -> None:
    """Write PNG and PDF without a date, so that the same numbers give the same files."""
    # Embedding a font writes every step of it to the log.
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    for path, metadata in ((png, {"Software": None}), (pdf, {"CreationDate": None})):
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=150, metadata=metadata)


def draw_reason(title: str, reason: str, png: StrPath, pdf: StrPath) -> None:
    """Write a figure that says why it shows nothing."""
    with settings():
        figure = new_figure(7, 1.4)
        figure.suptitle(title, x=0.02, ha="left", fontsize=12)
        figure.text(0.02, 0.35, reason, color=SOFT)
        save(figure, png, pdf)
