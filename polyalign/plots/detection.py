"""Scores that detectors give human answers and systems, as outlines of histograms: a panel a detector and model."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign.files import StrPath
from polyalign.plots.style import SOFT, colour, finish, legend_below_title, new_figure, plain, save, settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KEY = (
    "Grey: human answers. Lines: systems. Dashed: the threshold; machine text lies to its right.\n"
    "Scores beyond the outer 0.5% are counted in the first and the last bin."
)
_PANEL = 3.2, 2.1


def _outline(axes: "Axes", edges: np.ndarray, counts: Sequence[int], method: str) -> None:
    share = np.asarray(counts) / max(1, sum(counts))
    axes.stairs(share, edges, color=colour(method), lw=1.5, label=method)


def _panel(axes: "Axes", summary: Mapping[str, Any], cells: Sequence[tuple[str, str, str]]) -> None:
    edges = np.asarray(summary["edges"])
    human = np.asarray(summary["human"]["histogram"])
    axes.stairs(human / max(1, human.sum()), edges, fill=True, color="#d9dde3", label="human")
    for cell, method, _ in cells:
        _outline(axes, edges, summary["systems"][cell]["histogram"], method)
    if edges[0] <= summary["threshold"] <= edges[-1]:
        axes.axvline(summary["threshold"], ls=(0, (3, 2)), color="#444444", lw=1.0)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    plain(axes, grid="y")


def draw_detection(
    summaries: Sequence[Mapping[str, Any]],
    cells: Sequence[tuple[str, str, str]],
    titles: Mapping[str, str],
    title: str,
    png: StrPath,
    pdf: StrPath,
) -> bool:
    """Draw the histograms of every detector, a row a detector and a column a model.

    Args:
        summaries: summaries of one language.
        cells: (cell, method, model) of every system, in table order.
        titles: names of the detectors.
    """
    models = list(dict.fromkeys(model for _, _, model in cells))
    with settings():
        width = max(6.0, 1.2 + _PANEL[0] * len(models))
        figure = new_figure(width, 1.5 + _PANEL[1] * len(summaries))
        panels = figure.subplots(len(summaries), len(models), squeeze=False)
        for row, summary in zip(panels, summaries, strict=True):
            for axes, model in zip(row, models, strict=True):
                _panel(axes, summary, [cell for cell in cells if cell[2] == model])
            row[0].set_ylabel("share of answers", fontsize=9)
            row[0].set_title(titles[summary["detector"]], fontsize=11, loc="left", fontweight="bold")
        if len(models) > 1:
            for axes, model in zip(panels[0], models, strict=True):
                axes.set_title(model, fontsize=9, loc="right", color=SOFT, style="italic")
        for axes in panels[-1]:
            axes.set_xlabel("score: more like a machine →", fontsize=9)
        handles, labels = panels[0][0].get_legend_handles_labels()
        legend_below_title(figure, handles, labels)
        finish(figure, title, _KEY, above=0.3)
        save(figure, png, pdf)
    return True
