"""What judges say of the methods: a panel a composite, a line a method, a mark a judge with its interval."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from polyalign.files import StrPath
from polyalign.plots.style import (
    SOFT,
    colour,
    finish,
    label_rows,
    legend_below_title,
    new_figure,
    plain,
    row_places,
    save,
    settings,
)
from polyalign.tables.names import names_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = "osD^vPX"
_KEY = "Marks: judges, with the intervals of their means. Colours: methods. From 0 to 100; further right is better."
_LINE, _PANEL = 0.2, 2.5
_SPREAD = 0.55
"""Share of a method's line over which its judges lie."""


def _panel(
    axes: "Axes",
    summaries: Sequence[Mapping[str, Any]],
    systems: Mapping[str, float],
    composite: str,
) -> None:
    """Draw a composite.

    Args:
        systems: vertical place of each cell.
    """
    for number, summary in enumerate(summaries):
        aside = (number - (len(summaries) - 1) / 2) * _SPREAD / max(1, len(summaries))
        for cell, place in systems.items():
            found, method = summary["cells"][cell]["means"][composite], names_of(cell)[1]
            if found["low"] is not None:
                axes.plot([found["low"], found["high"]], [place + aside] * 2, color=colour(method), lw=1.4)
            axes.plot(
                [found["estimate"]],
                [place + aside],
                marker=_MARKS[number % len(_MARKS)],
                color=colour(method),
                ms=5,
                ls="none",
            )
    plain(axes, grid="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def draw_judge(
    summaries: Sequence[Mapping[str, Any]],
    cells: Sequence[str],
    titles: Mapping[str, str],
    title: str,
    png: StrPath,
    pdf: StrPath,
) -> None:
    """Draw the means of every composite.

    Args:
        summaries: summaries of one language.
        cells: systems in table order.
        titles: names of the composites.
    """
    models, _, labels = zip(*map(names_of, cells), strict=True)
    places = row_places(models)
    with settings():
        # Judges of a method are told apart where each has a fifth of an inch.
        height = 1.7 + (places[-1] + 1) * max(0.34, _LINE * len(summaries))
        figure = new_figure(1.6 + _PANEL * len(titles), height)
        panels = figure.subplots(1, len(titles), sharey=True, squeeze=False)[0]
        for axes, (composite, name) in zip(panels, titles.items(), strict=True):
            _panel(axes, summaries, dict(zip(cells, places, strict=True)), composite)
            axes.set_title(name, fontsize=10, loc="left", fontweight="bold")
        label_rows(panels[0], places, labels, models)
        handles = [
            panels[0].plot([], [], marker=_MARKS[number % len(_MARKS)], color=SOFT, ls="none", ms=5)[0]
            for number in range(len(summaries))
        ]
        legend_below_title(figure, handles, [summary["judge"] for summary in summaries])
        finish(figure, title, _KEY, above=0.3)
        save(figure, png, pdf)
