"""Scores that detectors give human answers and systems, as outlines of histograms: a panel a detector and model."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign.files import StrPath
from polyalign.plots.style import (
    SOFT,
    colour,
    finish,
    legend_below_title,
    mark,
    new_figure,
    plain,
    save,
    settings,
)
from polyalign.tables.names import names_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KEY = (
    "Grey: human answers. Lines: systems, with a mark above at the median of each. Dashed: the threshold;\n"
    "machine text lies to its right. Scores beyond the outer 0.5% are counted in the first and the last bin."
)
_PANEL = 3.2, 2.1


def _shares(found: Mapping[str, Any]) -> np.ndarray:
    """Share of the answers in each bin."""
    counts = np.asarray(found["histogram"])
    return counts / max(1, counts.sum())


def _panel(axes: "Axes", summary: Mapping[str, Any], cells: Sequence[str]) -> None:
    edges = np.asarray(summary["edges"])
    human = _shares(summary["human"])
    axes.stairs(human, edges, fill=True, color="#d9dde3")
    shares = {cell: _shares(summary["systems"][cell]) for cell in cells}
    top = max(human.max(), *(found.max() for found in shares.values()))
    for cell, found in shares.items():
        method = names_of(cell)[1]
        axes.stairs(found, edges, color=colour(method), lw=1.4)
        median = np.clip(summary["systems"][cell]["median_score"], edges[0], edges[-1])
        axes.plot(
            [median], [1.12 * top], mark(method), color=colour(method), mec="white", ms=7, clip_on=False
        )
    if edges[0] <= summary["threshold"] <= edges[-1]:
        axes.axvline(summary["threshold"], ls=(0, (3, 2)), color="#444444", lw=1.0)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.2 * top)
    plain(axes, grid="y")


def draw_detection(
    summaries: Sequence[Mapping[str, Any]],
    cells: Sequence[str],
    titles: Mapping[str, str],
    title: str,
    png: StrPath,
    pdf: StrPath,
) -> None:
    """Draw the histograms of every detector, a row a detector and a column a model.

    Args:
        summaries: summaries of one language.
        cells: systems in table order.
        titles: names of the detectors.
    """
    of_model: dict[str, list[str]] = {}
    for cell in cells:
        of_model.setdefault(names_of(cell)[0], []).append(cell)
    with settings():
        width = max(6.0, 1.2 + _PANEL[0] * len(of_model))
        figure = new_figure(width, 1.5 + _PANEL[1] * len(summaries))
        panels = figure.subplots(len(summaries), len(of_model), squeeze=False)
        for row, summary in zip(panels, summaries, strict=True):
            for axes, own in zip(row, of_model.values(), strict=True):
                _panel(axes, summary, own)
            row[0].set_ylabel("share of answers", fontsize=9)
            row[0].set_title(titles[summary["detector"]], fontsize=11, loc="left", fontweight="bold")
        if len(of_model) > 1:
            for axes, model in zip(panels[0], of_model, strict=True):
                axes.set_title(model, fontsize=9, loc="right", color=SOFT, style="italic")
        for axes in panels[-1]:
            axes.set_xlabel("score: more like a machine →", fontsize=9)
        methods = dict.fromkeys(names_of(cell)[1:] for cell in cells)
        handles = [
            figure.axes[0].plot([], [], marker=mark(method), color=colour(method), mec="white", ms=7)[0]
            for method, _ in methods
        ]
        legend_below_title(figure, handles, [label for _, label in methods])
        finish(figure, title, _KEY, above=0.3)
        save(figure, png, pdf)
