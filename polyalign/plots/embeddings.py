"""Answers on a plane: a panel for each system against the human answers, one with all of them, a row a projection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from polyalign.files import StrPath
from polyalign.plots.style import COLOURS, LINE, MARKS, SOFT, finish, new_figure, save, settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HUMAN_COLOUR = "#4a4f57"
_REGIONS = "#eceff3", "#d5dae1"
_KEY = "Shaded: where half and nine tenths of the human answers lie. Small dots: these answers."
_AUC = " AUC: of a classifier that tells the two apart; 0.5 is chance."
_DISTANT = " How far apart two clouds lie means little in {}."
_PANEL, _ACROSS, _GRID = 2.15, 7, 90
_WIDTH = 0.6
"""Share of the usual kernel width."""
_SHORT, _LONGEST = 12, 22
"""Characters of a label that leave room for a note beside it, and of one that fits a panel."""


class Picture(Protocol):
    """A projection: its title, places (n, 2) and what the axes are, "" where they have no meaning."""

    title: str
    places: np.ndarray
    axes: tuple[str, str]


@dataclass(frozen=True)
class Drawn:
    """A system as it is drawn.

    Attributes:
        label: name in titles.
        note: small print beside it, such as a figure.
        colour, mark: how its answers are drawn.
        points: positions of its answers among the places.
    """

    label: str
    note: str
    colour: str
    mark: str
    points: np.ndarray


def looks(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """{method: (colour, mark)}; unknown methods take those that no known one of them has, in turn."""
    spare = [name for name in COLOURS if name not in methods] or list(COLOURS)
    found, turn = {}, 0
    for method in methods:
        name = method
        if method not in COLOURS:
            name, turn = spare[turn % len(spare)], turn + 1
        found[method] = COLOURS[name], MARKS[name]
    return found


def _regions(axes: "Axes", places: np.ndarray, box: Sequence[float]) -> None:
    """Shade where half and nine tenths of the human answers lie, by a kernel density."""
    from scipy.stats import gaussian_kde

    try:
        # Answers come in islands, which the usual width would run together.
        density = gaussian_kde(places.T, lambda found: _WIDTH * found.scotts_factor())
    except (np.linalg.LinAlgError, ValueError):
        # All on a line: nothing has an area.
        return
    levels = np.quantile(density(places.T), [0.1, 0.5])
    x, y = np.meshgrid(np.linspace(*box[:2], _GRID), np.linspace(*box[2:], _GRID))
    height = density(np.vstack([x.ravel(), y.ravel()])).reshape(x.shape)
    top = max(height.max(), levels[1]) * 1.01
    if levels[0] < levels[1] < top:
        axes.contourf(x, y, height, levels=[*levels, top], colors=_REGIONS, zorder=0)


def _panel(
    axes: "Axes", places: np.ndarray, human: np.ndarray, shown: Sequence[Drawn], box: Sequence[float]
) -> None:
    _regions(axes, places[human], box)
    size = float(np.clip(1500 / max(1, len(human)), 4, 16))
    axes.scatter(*places[human].T, s=size * 0.45, c=HUMAN_COLOUR, lw=0, alpha=0.55, zorder=1, label="human")
    for system in shown:
        axes.scatter(
            *places[system.points].T, s=size, c=system.colour, marker=system.mark, lw=0, alpha=0.65, zorder=2
        )
    axes.set_xlim(*box[:2])
    axes.set_ylim(*box[2:])
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color(LINE)


def _box(places: np.ndarray) -> list[float]:
    """Limits (x, x, y, y) of all places, with a margin."""
    low, high = places.min(axis=0), places.max(axis=0)
    margin = 0.06 * np.maximum(high - low, 1e-9)
    return [low[0] - margin[0], high[0] + margin[0], low[1] - margin[1], high[1] + margin[1]]


def draw_embeddings(
    pictures: Sequence[Picture],
    human: np.ndarray,
    systems: Mapping[str, Drawn],
    title: str,
    png: StrPath,
    pdf: StrPath,
) -> None:
    """Draw every projection: each system against the human answers, then all of them.

    Args:
        human: positions of the human answers among the places.
        systems: what is drawn, in order.
    """
    panels = [[system] for system in systems.values()]
    if len(panels) > 1:
        panels.append(list(systems.values()))
    across = min(_ACROSS, len(panels))
    down = -(-len(panels) // across)
    with settings():
        width = max(6.4, 0.5 + _PANEL * across)
        rows = down * len(pictures)
        stacked = any(len(system.label) > _SHORT for system in systems.values())
        figure = new_figure(width, 0.75 + (_PANEL + (0.27 if stacked else 0.12)) * rows)
        grid = figure.subplots(rows, across, squeeze=False)
        for block, picture in enumerate(pictures):
            box = _box(picture.places)
            cells = [axes for row in grid[block * down : (block + 1) * down] for axes in row]
            for place, axes in enumerate(cells):
                if place >= len(panels):
                    axes.set_axis_off()
                    continue
                _panel(axes, picture.places, human, panels[place], box)
                _head(axes, panels[place], stacked)
                if place % across == 0:
                    named = f"{picture.title}, {picture.axes[1]}" if picture.axes[1] else picture.title
                    axes.set_ylabel(named, fontsize=9)
                if picture.axes[0]:
                    axes.set_xlabel(picture.axes[0], fontsize=8, labelpad=2)
        distant = " and ".join(picture.title for picture in pictures if not picture.axes[0])
        auc = _AUC if any(system.note for system in systems.values()) else ""
        key = _KEY + auc + (_DISTANT.format(distant) if distant else "")
        finish(figure, title, _wrapped(key, width))
        save(figure, png, pdf)


def _head(axes: "Axes", shown: Sequence[Drawn], stacked: bool) -> None:
    """Title of a panel: the system in its colour, with its note beside it, or below where labels are long."""
    if len(shown) > 1:
        axes.set_title("All", fontsize=10, loc="left", fontweight="bold", pad=4)
        return
    (system,) = shown
    # Names of a family differ at their ends.
    label, half = system.label, _LONGEST // 2
    label = label if len(label) <= _LONGEST else f"{label[: half - 1]}…{label[-half:]}"
    pad = 14 if stacked else 4
    axes.set_title(label, fontsize=10, loc="left", fontweight="bold", color=system.colour, pad=pad)
    if system.note and stacked:
        where = {"xycoords": "axes fraction", "textcoords": "offset points"}
        axes.annotate(system.note, (0, 1), xytext=(0, 4), fontsize=8, color=SOFT, **where)
    elif system.note:
        axes.set_title(system.note, fontsize=8, loc="right", color=SOFT, pad=4)


def _wrapped(text: str, width: float) -> str:
    """Small print in lines that fit a figure of a width in inches."""
    from textwrap import wrap

    return "\n".join(wrap(text, int(width * 16)))
